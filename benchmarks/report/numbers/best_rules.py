"""What is left of an advantage once every method has the rule that is best for it on validation data.

A learned rule or a router before the cascade may give to plain training what a mask gives. So each method is given, for
classification and for generation, the rule by which it was best on validation data, and is judged on test data by that.
All are compared by the mean quality over all budgets between the costs of the two models, since a router before a
cascade has no area over the share of deferred queries.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import pyarrow

from benchmarks.report.numbers import costs, grids, routing
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.numbers.rules import BOUNDS, ENSEMBLE, kinds, lacking, names
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.reading import analysis
from benchmarks.report.reading.load import Run
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, pool_seeds

BASELINE = "xent"
BEST, SAME = "best", "same"  # each method by its own rule; all by the rule of the run

Chosen = Mapping[str, Mapping[str, str]]  # method → kind of task → its rule


@dataclass(frozen=True)
class Standing:
    """How a method does on test data.

    Attributes:
        method: its name. rules: kind of task → the rule that validation data chose.
        quality: mean over all budgets, tasks and seeds by these rules, in [0, 1], with its 95 % interval.
        gain: that minus the same of the baseline by its own rules, p: of no gain. gain_by_same: both by the rule of the
            run instead. None, and NaN, for the baseline.
        worth: what the chosen rules add to the rule of the run.
    """

    method: str
    rules: Mapping[str, str]
    quality: Interval
    gain: Interval | None
    p: float
    gain_by_same: Interval | None
    worth: Interval


def rows(validation: Summary, test: Summary, facts: Mapping) -> pyarrow.Table:
    """The quality of every method by its own rules and by the rule of the run, per seed and resample, for `standings`.

    Args:
        validation: a run that chooses; of a grid each method's best point. test: a run that judges, of one point each.
        facts: more to say of them.

    Raises:
        CatKerasError: the runs share no tasks or not the baseline, have different rules, or no seed is complete for all
            methods.
    """
    tasks, methods = _shared(validation.run, test.run)
    by_kind = kinds(test.run, tasks)
    ways = {kind: _ways(validation.run, test.run, of_kind) for kind, of_kind in by_kind.items()}
    points = {method: grids.best_point(validation, method) for method in methods}
    chosen = _chosen(validation, by_kind, ways, points)
    choices = {BEST: chosen, SAME: {method: dict.fromkeys(by_kind, routing.CASCADE) for method in methods}}
    measured = _qualities(test, by_kind, ways, {method: grids.only_point(test, method) for method in methods})
    seeds = sorted(set.intersection(*map(set, measured.values())))
    if not seeds:
        raise CatKerasError(f"Methods are compared on seeds that all have. Received: {test.run.folder}, without one")
    series = [(method, choice, seed) for method in methods for choice in choices for seed in seeds]
    quality = [_over_tasks(measured[m][seed], by_kind, ways, choices[choice][m]) for m, choice, seed in series]
    labels = dict(zip(("method", "rules", "seed"), zip(*series, strict=True), strict=True))
    about = {
        "chosen": {m: {kind: _rule(test.run, way) for kind, way in chosen[m].items()} for m in methods},
        "points": points, "tasks": tasks, "rule": test.run.rule, "ways": ways,
        "examples": sum(len(test.run.examples[name]) for name in tasks),
    }  # fmt: skip
    return analysis.described(analysis.of_resamples(labels, quality, "quality"), {**facts, **about})


def _shared(validation: Run, test: Run) -> tuple[list[str], list[str]]:
    """The tasks and the methods that two runs share, points of a grid not told apart."""
    tasks = [name for name in test.covered if name in validation.covered]
    of_both = [dict.fromkeys(grids.split(name)[0] for name in run.methods) for run in (test, validation)]
    methods = [name for name in of_both[0] if name in of_both[1]]
    if not tasks or BASELINE not in methods:
        raise CatKerasError(
            f"Rules are chosen by one run and judged by another with the same tasks and methods, {BASELINE} among "
            f"them. Received: {validation.folder} and {test.folder}, which share {', '.join(tasks) or 'no task'} and "
            f"{', '.join(methods) or 'no method'}"
        )
    if validation.rule != test.rule:
        raise CatKerasError(
            "What a choice of rules is worth is told against one rule. Received: runs that defer by "
            f"{validation.rule} and by {test.rule}. Run one of them again with rule = {test.rule!r} in its profile"
        )
    return tasks, methods


def _over_tasks(quality: Mapping[str, np.ndarray], by_kind: Mapping, ways: Mapping, rules: Mapping) -> np.ndarray:
    """(1 + R,) mean over all tasks, each by the rule of its kind."""
    sums = [quality[kind][:, ways[kind].index(rules[kind])] * len(tasks) for kind, tasks in by_kind.items()]
    return np.sum(sums, axis=0) / sum(map(len, by_kind.values()))


def standings(table: pyarrow.Table) -> list[Standing]:
    """All methods of `rows`, the baseline first."""
    frame, chosen = table.to_pandas(), analysis.facts(table)["chosen"]
    labels, columns = {}, {}
    for (method, rules, seed), part in frame.groupby(["method", "rules", "seed"], sort=True):
        label = f"{method}/{rules}/{seed}"
        labels.setdefault((method, rules), []).append(label)
        columns[label] = part.sort_values("resample")["quality"].to_numpy()
    values = np.array(list(columns.values())).T  # (1 + R, methods × rules × seeds)
    joined = AudcBootstrap(("mean",), tuple(columns), values[:1], values[None, 1:])
    pooled = pool_seeds(joined, {"/".join(key): of for key, of in labels.items()}, np.random.default_rng(DRAWS))
    base = {choice: f"{BASELINE}/{choice}" for choice in (BEST, SAME)}
    found = []
    for method in sorted(chosen, key=lambda name: (name != BASELINE, list(chosen).index(name))):
        own = {choice: f"{method}/{choice}" for choice in (BEST, SAME)}
        gains = {c: None if method == BASELINE else pooled.interval(own[c], base[c]) for c in (BEST, SAME)}
        p = float("nan") if method == BASELINE else pooled.p_value(own[BEST], base[BEST])
        quality, worth = pooled.interval(own[BEST]), pooled.interval(own[BEST], own[SAME])
        found.append(Standing(method, chosen[method], quality, gains[BEST], p, gains[SAME], worth))
    return found


def _ways(validation: Run, test: Run, tasks: Sequence[str]) -> list[str]:
    """The rules that can judge any method's answers to all these tasks in both runs, each answer by what one model says
    of it; a router too where there are prompts."""
    runs, left_out = (validation, test), {test.rule, *BOUNDS, *deferral.ASKING}
    lone = [rule for rule in names(test) if rule not in left_out and ENSEMBLE not in deferral.get(rule).needs]
    ways = [rule for rule in lone if not any(lacking(run, rule, tasks) for run in runs)]
    routed = all(routing.reads_prompts(run, name) for run in runs for name in tasks)
    return [routing.CASCADE, *ways, *([routing.BOTH] if routed else [])]


def _chosen(summary: Summary, by_kind: Mapping, ways: Mapping, points: Mapping[str, str]) -> Chosen:
    """The way with the highest quality of each method at its point, in the mean over seeds and the tasks of a kind."""
    chosen = {}
    for method, of_seeds in _qualities(summary, by_kind, ways, points, resamples=0).items():
        means = {kind: np.mean([quality[kind][0] for quality in of_seeds.values()], axis=0) for kind in by_kind}
        chosen[method] = {kind: ways[kind][int(np.argmax(mean))] for kind, mean in means.items()}
    return chosen


def _qualities(
    summary: Summary, by_kind: Mapping, ways: Mapping, points: Mapping[str, str], resamples: int = routing.RESAMPLES
) -> dict[str, dict[int, dict[str, np.ndarray]]]:
    """Method → seed → kind of task → (1 + R, ways) mean quality over all budgets and the tasks of that kind.

    Args:
        points: method → its name in the run.
    """
    run, measure = summary.run, costs.known(summary.run)[0]
    models = {(method, seed): (name, seed) for method, name in points.items() for seed in run.complete_seeds(name)}
    if missing := [method for method in points if method not in {of for of, _ in models}]:
        raise CatKerasError(
            f"Rules are judged by seeds that answered all tasks. Received: {run.folder}, none of {', '.join(missing)}"
        )
    found = {method: {} for method in points}
    for kind, tasks in by_kind.items():
        by_task = []
        for task in tasks:
            cells = {(*model, task): summary.cells[*model, task] for model in models.values()}
            routes = routing.of_keys(run, task, list(cells)) if routing.BOTH in ways[kind] else {}
            by_task.append(routing.judged(task, cells, routes, (*ways[kind], routing.COIN), measure, resamples))
        for (method, seed), model in models.items():
            areas = [judged[*model, task].areas[:, :-1] for task, judged in zip(tasks, by_task, strict=True)]
            found[method].setdefault(seed, {})[kind] = np.mean(areas, axis=0)
    return found


def _rule(run: Run, way: str) -> str:
    return run.rule if way == routing.CASCADE else way
