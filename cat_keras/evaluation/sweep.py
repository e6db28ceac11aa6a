"""An order in which examples are deferred, and in many resamples at once the areas and the curves that it gives.

Sums run over the examples in the order of deferral, in compiled loops. A table of counts has a row per example and a
column per resample, so that the processor adds to many areas in one instruction; a curve walks through the counts of
its own resample. No sum depends on the number of threads.
"""

from collections.abc import Callable, Sequence

import numba
import numpy as np

from cat_keras.evaluation.curves import tie_groups


def compiled(loop: Callable) -> Callable:
    """Compiles a loop on its first call, for any number of threads; the code is kept where a folder can be written."""
    try:
        return numba.njit(loop, nogil=True, cache=True)
    except RuntimeError:  # neither the package's folder nor the user's own can be written
        return numba.njit(loop, nogil=True)


class Sweep:
    """An order in which n examples are deferred, sorted once and then weighed by any number of resamples.

    Examples with equal scores are deferred together: over such a group every curve is one straight line.

    Args:
        score: (n,) float, the lowest is deferred first. gain: (n,) or (n, kinds) float64, by how much deferring an
            example raises what the curves are of.
    """

    def __init__(self, score: np.ndarray, gain: np.ndarray):
        self._order, self._last = tie_groups(score)
        gain = np.asarray(gain, np.float64).reshape(len(self._order), -1)
        self._gain = np.ascontiguousarray(gain[self._order].T)

    def areas(self, counts: np.ndarray) -> np.ndarray:
        """Areas under the curves of summed gains over the number of deferred examples, (kinds, B) float64.

        Args:
            counts: (n, B), how often each resample has each example, float32 or float64.
        """
        return _areas(counts, self._order, self._last, self._gain)

    def curves(self, counts: np.ndarray, alone: np.ndarray, rate: np.ndarray) -> np.ndarray:
        """Curves of every resample at the deferral rates (K,), each a mean over the examples, (kinds, B, K) float64.

        Args:
            counts: (n, B), how often each resample has each example; every column sums to n.
            alone: (kinds, B) float64, where the curves begin.
        """
        curves = np.zeros((len(self._gain), counts.shape[1], len(rate)))
        self.add_curves(rows_of(counts), alone, rate, np.ones(counts.shape[1]), curves)
        return curves

    def add_curves(self, rows: np.ndarray, alone: np.ndarray, rate: np.ndarray, weight: np.ndarray, to: np.ndarray):
        """Adds `curves`, each times the weight of its resample, (B,) float64, to `to`, (kinds, B, K) float64.

        Args:
            rows: (B, n) int32, from `rows_of`.
        """
        n = rows.shape[1]
        places = np.asarray(rate, np.float64) * n
        left = np.minimum((places + 1e-9).astype(np.int64), n - 1)
        _add_curves(rows, self._order, self._last, alone, self._gain / n, left, places - left, weight, to)


def rows_of(counts: np.ndarray) -> np.ndarray:
    """Counts (n, B) as a row per resample, (B, n) int32."""
    return counts.T.astype(np.int32, order="C")


def weighted_sums(columns: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Sums of columns (n, kinds) over the examples, each as often as it counts (n, B): (kinds, B) float64."""
    return _weighted_sums(np.asarray(columns, np.float64), counts)


def audc(sweeps: Sequence[Sweep], quality_small: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Areas under deferral curves, (kinds of all sweeps, B), in units of quality.

    Args:
        sweeps: of the gain in quality. quality_small: (n, kinds of all sweeps), of the small model alone.
        counts: (n, B), see `Sweep.areas`; each resample has n examples, or weights with any positive sum.
    """
    total = counts.sum(axis=0, dtype=np.float64)
    areas = np.concatenate([sweep.areas(counts) for sweep in sweeps])
    return weighted_sums(quality_small, counts) / total + areas / total**2


def auroc(area: np.ndarray, share: np.ndarray) -> np.ndarray:
    """AUROC of finding hits by deferral, from the area A under the share of all examples that are hits found.

    With P hits among all examples, `A = P ((1 − P) AUROC + P / 2)`; equal scores count one half on both sides.

    Args:
        area: A in each resample, in units of the examples. share: P; NaN is returned where it is 0 or 1.
    """
    one_sided = (share == 0) | (share == 1)
    with np.errstate(divide="ignore", invalid="ignore"):
        return np.where(one_sided, np.nan, (area / share - share / 2) / (1 - share))


@compiled
def _weighted_sums(columns, counts):
    sums = np.zeros((columns.shape[1], counts.shape[1]))
    for i in range(len(counts)):
        for kind in range(len(sums)):
            value = columns[i, kind]
            if value != 0:
                for r in range(counts.shape[1]):
                    sums[kind, r] += value * counts[i, r]
    return sums


@compiled
def _areas(counts, order, last, gain):
    """An example adds its gain to the curve from its own deferral on: half of its own group, and all later ones."""
    resamples, kinds = counts.shape[1], len(gain)
    areas = np.zeros((kinds, resamples))
    from_here = np.zeros(resamples)  # twice the number of examples that are not deferred yet
    for row in counts:
        for r in range(resamples):
            from_here[r] += 2 * np.float64(row[r])
    drawn, gained = np.empty(resamples), np.empty((kinds, resamples))
    first = 0
    for end in last:
        if first == end:
            row = counts[order[end]]
            for kind in range(kinds):
                rise = gain[kind, end]
                if rise != 0:
                    for r in range(resamples):
                        areas[kind, r] += rise * row[r] * (from_here[r] - row[r])
            for r in range(resamples):
                from_here[r] -= 2 * row[r]
        else:
            drawn[:], gained[:] = 0, 0
            for place in range(first, end + 1):
                row = counts[order[place]]
                for r in range(resamples):
                    drawn[r] += row[r]
                for kind in range(kinds):
                    rise = gain[kind, place]
                    if rise != 0:
                        for r in range(resamples):
                            gained[kind, r] += rise * row[r]
            for kind in range(kinds):
                for r in range(resamples):
                    areas[kind, r] += gained[kind, r] * (from_here[r] - drawn[r])
            for r in range(resamples):
                from_here[r] -= 2 * drawn[r]
        first = end + 1
    return areas / 2


@compiled
def _add_curves(rows, order, last, alone, gain, left, share, weight, to):
    """Of each resample and kind, the whole curve first, at all multiples of 1 / n, and then what lies at the rates."""
    n = rows.shape[1]
    curve = np.empty(n + 4)
    for kind in range(len(gain)):
        for r in range(len(rows)):
            _walk(rows[r], order, last, alone[kind, r], gain[kind], curve)
            for k in range(len(left)):
                before = curve[left[k]]
                to[kind, r, k] += weight[r] * (before + share[k] * (curve[left[k] + 1] - before))


@compiled
def _walk(row, order, last, value, gain, curve):
    """Writes a resample's sums after 0, 1, …, n deferrals to `curve`, (n + 4,); the last three places are spare.

    Each deferral of a group adds the mean of what was drawn of it. Nearly all examples are drawn at most three times.
    Three writes without a question are faster than as many as it takes, and the next group writes over those that were
    too many.
    """
    curve[0] = value
    after, first = 1, 0
    for end in last:
        if first == end:
            drawn, rise = row[order[end]], gain[end]
            gained = drawn * rise
        else:
            drawn, gained = 0, 0.0
            for place in range(first, end + 1):
                drawn += row[order[place]]
                gained += row[order[place]] * gain[place]
            rise = gained / max(drawn, 1)
        curve[after] = value + rise
        curve[after + 1] = value + 2 * rise
        curve[after + 2] = value + 3 * rise
        for k in range(3, drawn):
            curve[after + k] = value + (k + 1) * rise
        value += gained
        after += drawn
        first = end + 1
