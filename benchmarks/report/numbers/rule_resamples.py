"""Metrics of deferral rules in every resample of a task's examples; all rules and methods share the resamples."""

from collections.abc import Iterable, Sequence

import numpy as np

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.numbers.intervals import DRAWS
from cat_keras.evaluation.curves import tie_groups
from cat_keras.evaluation.resampling import Streams

RESAMPLES = 1000
METRICS = ("audc", "auroc_small_right", "auroc_large_right_small_wrong")
Model = tuple[str, str, int]  # rule, method, seed


def of_task(task: str, cells: Iterable[Cell], rules: Sequence[str]) -> dict[str, dict[Model, np.ndarray]]:
    """Metric → (rule, method, seed) → its value on the data, then in every resample, (1 + R,); NaN where undefined.

    Args:
        task: its name. cells: of that task, one per method and seed. rules: by name.
    """
    by_metric: dict[str, dict[Model, np.ndarray]] = {metric: {} for metric in METRICS}
    rankings = [_Ranking(cell, rules) for cell in cells]
    if not rankings:
        return by_metric

    def compute(weights):
        return np.concatenate([ranking.metrics(weights) for ranking in rankings], axis=1)

    n = len(rankings[0].gain)
    on_data = compute(np.ones((1, n)))
    resampled = Streams(np.random.default_rng(DRAWS)).map(task, n, RESAMPLES, compute)
    values = np.concatenate([on_data, resampled])  # (1 + R, orders of all rankings, metrics)
    start = 0
    for ranking in rankings:
        for rule, place in ranking.places.items():
            for i, metric in enumerate(METRICS):
                by_metric[metric][rule, ranking.cell.method, ranking.cell.seed] = values[:, start + place, i]
        start += len(ranking.orders)
    return by_metric


class _Ranking:
    """A cell's answers in each order in which some rule defers them; rules that defer in the same order share it.

    Attributes:
        gain: (n, 3), by how much deferring an answer raises each of: the quality, the number of wrong answers of the
            small model that were deferred, and the number of deferred answers that only the large model gets right.
        alone: (n, 3), the quality without deferring, and whether the answer is one of the wrong, or of the useful ones.
        orders: distinct orders. places: rule → the place of its order among them.
    """

    def __init__(self, cell: Cell, rules: Sequence[str]):
        self.cell = cell
        small, large = cell.small["quality"], cell.large["quality"]
        hits = [~cell.small_right, cell.large_right & ~cell.small_right]
        self.gain, self.alone = np.column_stack([large - small, *hits]), np.column_stack([small, *hits])
        by_rule = {rule: _Order(cell.outcomes(rule).score) for rule in rules}
        distinct = {order.key: order for order in by_rule.values()}
        self.orders = list(distinct.values())
        places = {key: i for i, key in enumerate(distinct)}
        self.places = {rule: places[order.key] for rule, order in by_rule.items()}

    def metrics(self, weights: np.ndarray) -> np.ndarray:
        """`METRICS` of every order in every resample, (R, orders, 3), from counts (R, n) that sum to n.

        An AUROC follows from the area A under the curve of the hits found over the deferral rate. With the share P of
        hits among all answers, `A = P ((1 − P) AUROC + P / 2)`; equal scores count one half on both sides.
        """
        counts, alone = weights.astype(np.float32), weights @ self.alone / weights.shape[1]
        areas = np.stack([order.areas(counts, self.gain) for order in self.orders], axis=1)
        share = alone[:, None, 1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = (areas[..., 1:] / share - share / 2) / (1 - share)
        auroc[np.broadcast_to((share == 0) | (share == 1), auroc.shape)] = np.nan
        return np.concatenate([areas[..., :1] + alone[:, None, :1], auroc], axis=2)


class _Order:
    """An order of deferral, in which equal scores are deferred together, and areas under curves of gains in that order.

    An example adds its gain to the curve from its own deferral on, so the area is a sum of gains times the share of
    examples that are deferred later, half of the example's own group included. That share is the same for all kinds of
    gain, which therefore cost one pass (`bootstrap.Sweep` sums the gains before each example, one kind per pass).

    Attributes:
        order: (n,) examples in the order. first, next: (n,) in that order, where the example's group of equal scores
            begins, and where the next group does. key: equal for equal orders.
    """

    def __init__(self, score: np.ndarray):
        self.order, last = tie_groups(score)
        sizes = np.diff(last, prepend=-1)
        self.first, self.next = (np.repeat(ends, sizes) for ends in (last + 1 - sizes, last + 1))
        self.key = self.order.tobytes() + sizes.tobytes()

    def areas(self, counts: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Areas under the curves of mean gain over the deferral rate, (R, kinds).

        Args:
            counts: (R, n) float32, in which counts and their sums are exact. gain: (n, kinds).
        """
        n = counts.shape[1]
        counts = counts.take(self.order, axis=1, mode="clip")  # other modes copy
        sums = np.zeros((len(counts), n + 1), np.float32)
        np.cumsum(counts, axis=1, out=sums[:, 1:])
        after = 2 * n - sums.take(self.first, axis=1, mode="clip") - sums.take(self.next, axis=1, mode="clip")
        after *= counts
        return after.astype(np.float64) @ gain[self.order] / (2 * n**2)
