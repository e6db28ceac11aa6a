"""The run's numbers split another way: by deferral rule, and by group of examples."""

import numpy as np

from benchmarks import task
from benchmarks.report.averages import Measured, mean, over_seeds
from benchmarks.report.load import Run
from cat_keras import deferral


def rules(run: Run, cells):
    """AUDC by rule and method, over all covered tasks, and over classification alone with the rules only it has."""
    names = list(dict.fromkeys([*deferral.RULES, run.rule]))
    everywhere = [name for name in names if "option_logprobs" not in deferral.get(name).needs]
    choice = run.choice_tasks()
    scopes = {"all tasks": (run.covered, names if choice == run.covered else everywhere)}
    if choice and choice != run.covered:
        scopes["classification"] = (choice, names)
    return {
        scope: (tasks, {rule: _by_method(run, cells, tasks, rule) for rule in rules})
        for scope, (tasks, rules) in scopes.items()
    }


def _by_method(run: Run, cells, tasks, rule: str) -> dict[str, Measured]:
    return {
        method: over_seeds(
            mean(cells[method, seed, name].curve(rule).audc for name in tasks) for seed in run.complete_seeds(method)
        )
        for method in run.methods
    }


def strata(run: Run):
    """Quality by group of example, averaged over the tasks that have the group; "large" is a row of its own."""
    # A group that holds examples together, such as a question of MultiRC, is no stratum.
    names = [name for name in run.covered if not task.get(name).together]
    groups = {e.group: None for name in names for e in run.examples[name] if e.group}
    strata = {}
    for group in sorted(groups):
        masks = {name: np.array([e.group == group for e in run.examples[name]]) for name in names}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        by_row = {
            method: over_seeds(
                mean(run.small[method, seed, name]["quality"][mask].mean() for name, mask in masks.items())
                for seed in run.complete_seeds(method)
            )
            for method in run.methods
        }
        large = mean(run.large[name]["quality"][mask].mean() for name, mask in masks.items())
        strata[group] = (len(masks), {**by_row, "large": Measured(large)})
    return strata
