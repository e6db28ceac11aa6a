"""Whole deferral curves in resamples: what every place in the order of deferral adds, as often as it was drawn."""

from collections.abc import Sequence

import numpy as np

from cat_keras.evaluation.curves import tie_groups


class Steps:
    """Steps of one model's curves. A resample of n examples has its kinks at multiples of 1 / n.

    Between two of them the curve rises by what the example drawn there adds. An example whose score others share adds
    the mean of what was drawn of these.

    Args:
        score: (n,) float, the lowest is deferred first. columns: each (n,) float64, what a deferral adds to a curve.
    """

    def __init__(self, score: np.ndarray, columns: Sequence[np.ndarray]):
        self._order, last = tie_groups(score)
        self._first = np.append(0, last[:-1] + 1)
        self._columns = [column[self._order] for column in columns]

    def __call__(self, rows: np.ndarray) -> list[np.ndarray]:
        """The steps of each column at places 1 … n of the order, (B, n) float64 each.

        Args:
            rows: (B, n) int64, how often each resample has each example; every row sums to n.
        """
        ordered = rows.take(self._order, axis=1, mode="clip")  # other modes copy
        if len(self._first) == len(self._order):
            steps = [np.tile(column, len(rows)) for column in self._columns]
        else:  # some scores are equal: a step per group of them
            drawn, ordered = ordered, np.add.reduceat(ordered, self._first, axis=1)
            totals = (np.add.reduceat(drawn * column, self._first, axis=1) for column in self._columns)
            steps = [(total / np.maximum(ordered, 1)).ravel() for total in totals]
        return [np.repeat(step, ordered.ravel()).reshape(rows.shape) for step in steps]


def curves(alone: np.ndarray, steps: np.ndarray) -> np.ndarray:
    """Curves at every multiple of 1 / n, (B, n + 1), that begin at `alone`, (B,), and rise by `steps`, (B, n)."""
    return np.cumsum(np.concatenate([alone[:, None], steps], axis=1), axis=1)


def at_rates(curve: np.ndarray, rate: np.ndarray) -> np.ndarray:
    """(B, K): curves (B, n + 1) at deferral rates (K,), straight between multiples of 1 / n."""
    n = curve.shape[1] - 1
    at = rate * n
    left = np.minimum((at + 1e-9).astype(np.int64), n - 1)
    before = curve[:, left]
    return before + (at - left) * (curve[:, left + 1] - before)
