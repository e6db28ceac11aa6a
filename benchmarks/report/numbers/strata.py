"""Quality by stratum: the group of examples, such as easy and hard, that the data sort an example into."""

import numpy as np

from benchmarks.report.numbers.averages import Measured, mean, over_seeds
from benchmarks.report.reading.load import Run
from benchmarks.tasks import task


def strata(run: Run) -> dict[str, tuple[int, dict[str, Measured]]]:
    """Stratum → (number of tasks that have it, quality averaged over these tasks by method and for "large")."""
    # A group that holds examples together, such as a question of MultiRC, is no stratum.
    names = [name for name in run.covered if not task.get(name).together]
    groups = {example.group for name in names for example in run.examples[name] if example.group}
    strata = {}
    for group in sorted(groups):
        masks = {name: np.array([example.group == group for example in run.examples[name]]) for name in names}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        by_method = {
            method: over_seeds(
                mean(run.small[method, seed, name]["quality"][mask].mean() for name, mask in masks.items())
                for seed in run.complete_seeds(method)
            )
            for method in run.methods
        }
        large = mean(run.large[name]["quality"][mask].mean() for name, mask in masks.items())
        strata[group] = (len(masks), {**by_method, "large": Measured(large)})
    return strata
