"""Resamples of what deferral rules are judged by: all rules and methods of a task on the same ones."""

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
    ranked = [_Ranked(cell, rules) for cell in cells]
    found: dict[str, dict[Model, np.ndarray]] = {metric: {} for metric in METRICS}
    if not ranked:
        return found

    def compute(weights):
        return np.concatenate([each.metrics(weights) for each in ranked], axis=1)

    n = len(ranked[0].gain)
    resampled = Streams(np.random.default_rng(DRAWS)).map(task, n, RESAMPLES, compute)
    values, before = np.concatenate([compute(np.ones((1, n))), resampled]), 0  # (1 + R, orders, metrics)
    for each in ranked:
        for rule, place in each.places.items():
            for i, metric in enumerate(METRICS):
                found[metric][rule, each.cell.method, each.cell.seed] = values[:, before + place, i]
        before += len(each.orders)
    return found


class _Ranked:
    """Answers of a cell in the orders in which rules defer them; rules that order alike share one.

    Attributes:
        gain: (n, 3), what deferring an answer finds: quality, a wrong answer, an answer that only the large model gets
            right. alone: (n, 3), the quality there without deferring, and whether there is something to find.
    """

    def __init__(self, cell: Cell, rules: Sequence[str]):
        self.cell = cell
        small, large = cell.small["quality"], cell.large["quality"]
        hits = [~cell.small_right, cell.large_right & ~cell.small_right]
        self.gain, self.alone = np.column_stack([large - small, *hits]), np.column_stack([small, *hits])
        orders = {rule: _Order(cell.outcomes(rule).score) for rule in rules}
        keys = {key: i for i, key in enumerate(dict.fromkeys(order.key for order in orders.values()))}
        self.places = {rule: keys[order.key] for rule, order in orders.items()}
        self.orders = list({order.key: order for order in orders.values()}.values())

    def metrics(self, weights: np.ndarray) -> np.ndarray:
        """`METRICS` of every order in every resample, (R, orders, 3), from counts (R, n) that sum to n.

        The AUROC follows from the area A under the curve of found hits, of which there is a share P:
        `A = P ((1 − P) AUROC + P / 2)`, equal scores counting one half in both.
        """
        counts, alone = weights.astype(np.float32), weights @ self.alone / weights.shape[1]
        areas = np.stack([order.areas(counts, self.gain) for order in self.orders], axis=1)
        share = alone[:, None, 1:]
        with np.errstate(divide="ignore", invalid="ignore"):
            auroc = (areas[..., 1:] / share - share / 2) / (1 - share)
        auroc[np.broadcast_to((share == 0) | (share == 1), auroc.shape)] = np.nan
        return np.concatenate([areas[..., :1] + alone[:, None, :1], auroc], axis=2)


class _Order:
    """A deferral order, equal scores together, and what is found on the way, of several kinds at once.

    `bootstrap.Sweep` chains what was found before each example, kind by kind; what is deferred after it is the same for
    all kinds. Counts and their sums are exact in single precision.
    """

    def __init__(self, score: np.ndarray):
        self.order, last = tie_groups(score)
        sizes = np.diff(last, prepend=-1)
        self.first, self.next = (np.repeat(ends, sizes) for ends in (last + 1 - sizes, last + 1))
        self.key = self.order.tobytes() + sizes.tobytes()

    def areas(self, counts: np.ndarray, gain: np.ndarray) -> np.ndarray:
        """Areas under the curves of mean gain over the deferral rate, (R, kinds), from counts (R, n) float32."""
        n = counts.shape[1]
        counts = counts.take(self.order, axis=1, mode="clip")  # other modes copy
        sums = np.zeros((len(counts), n + 1), np.float32)
        np.cumsum(counts, axis=1, out=sums[:, 1:])
        after = 2 * n - sums.take(self.first, axis=1, mode="clip") - sums.take(self.next, axis=1, mode="clip")
        after *= counts
        return after.astype(np.float64) @ gain[self.order] / (2 * n**2)
