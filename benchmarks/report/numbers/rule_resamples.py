"""Metrics of deferral rules in every resample of a task's examples; all rules and methods share the resamples."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.numbers.intervals import DRAWS
from cat_keras.evaluation.resampling import Streams
from cat_keras.evaluation.sweep import Sweep, auroc, weighted_sums

RESAMPLES = 1000
METRICS = ("audc", "auroc_small_right", "auroc_large_right_small_wrong")
Model = tuple[str, str, int]  # rule, method, seed


def of_task(task: str, cells: Iterable[Cell], rules: Sequence[str]) -> dict[str, dict[Model, np.ndarray]]:
    """Metric → (rule, method, seed) → its value on the data, then in every resample, (1 + R,); NaN where undefined.

    Args:
        task: its name. cells: of that task, one per method and seed. rules: by name; a cell that lacks what one reads
            is without it.
    """
    by_metric: dict[str, dict[Model, np.ndarray]] = {metric: {} for metric in METRICS}
    rankings = [_Ranking(cell, [rule for rule in rules if cell.has(rule)]) for cell in cells]
    if not rankings:
        return by_metric

    def compute(counts):
        return np.concatenate([ranking.metrics(counts) for ranking in rankings], axis=1)

    n = len(rankings[0].alone)
    on_data = compute(np.ones((n, 1), np.float32))
    resampled = Streams(np.random.default_rng(DRAWS)).map(task, n, RESAMPLES, compute)
    values = np.concatenate([on_data, resampled])  # (1 + R, orders of all rankings, metrics)
    start = 0
    for ranking in rankings:
        for rule, place in ranking.places.items():
            for i, metric in enumerate(METRICS):
                by_metric[metric][rule, ranking.cell.method, ranking.cell.seed] = values[:, start + place, i]
        start += len(ranking.sweeps)
    return by_metric


class _Ranking:
    """A cell's answers in each order in which some rule defers them; rules that defer in the same order share it.

    Deferring an answer may raise each of: the quality, the number of wrong answers of the small model that were
    deferred, and the number of deferred answers that only the large model gets right.

    Attributes:
        alone: (n, 3), the quality without deferring, and whether the answer is one of the wrong, or of the useful ones.
        sweeps: of the distinct orders. places: rule → the place of its order among them.
    """

    def __init__(self, cell: Cell, rules: Sequence[str]):
        self.cell = cell
        small, large = cell.small["quality"], cell.large["quality"]
        hits = [~cell.small_right, cell.large_right & ~cell.small_right]
        gain, self.alone = np.column_stack([large - small, *hits]), np.column_stack([small, *hits])
        sweeps, self.places = {}, {}
        for rule in rules:
            score = cell.score(rule)
            rank = np.unique(score, return_inverse=True)[1].tobytes()  # equal for scores that defer alike
            if rank not in sweeps:
                sweeps[rank] = Sweep(score, gain)
            self.places[rule] = list(sweeps).index(rank)
        self.sweeps = list(sweeps.values())

    def metrics(self, counts: np.ndarray) -> np.ndarray:
        """`METRICS` of every order in every resample, (R, orders, 3), from counts (n, R) whose columns sum to n."""
        n = len(counts)
        alone = weighted_sums(self.alone, counts).T / n
        areas = np.stack([sweep.areas(counts).T for sweep in self.sweeps], axis=1) / n**2
        aurocs = auroc(areas[..., 1:], alone[:, None, 1:])
        return np.concatenate([areas[..., :1] + alone[:, None, :1], aurocs], axis=2)
