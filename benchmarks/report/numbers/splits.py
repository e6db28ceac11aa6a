"""The run's numbers split by group of examples."""

import numpy as np

from benchmarks.report.numbers.averages import Measured, mean, over_seeds
from benchmarks.report.reading.load import Run
from benchmarks.tasks import task


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
