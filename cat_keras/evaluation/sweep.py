"""Areas under curves of a cascade in many resamples at once, in one pass over the examples in the order of deferral.

A table of counts has a row per example and a column per resample. Sums over the examples are then additions of whole
rows, which the processor makes for many resamples in one instruction, where a running sum within each resample would
be a chain of additions that wait for one another.
"""

import numpy as np

from cat_keras.evaluation.curves import tie_groups

_RUN = 8  # neighbours in the order of deferral that are summed as blocks of rows; only their totals are chained
_FEW = 8  # groups of equal scores whose totals are multiplied, without a sum over all examples
_EXACT = 2**24  # whole numbers up to here are exact in float32


class Sweep:
    """An order in which n examples are deferred, sorted once and then weighed by any number of resamples.

    An example adds its gain to the curve from its own deferral on, so that the area is a sum of gains, each times the
    number of examples that are deferred later. Examples with equal scores are deferred together: over such a group the
    curve is one straight line, for which half of the group counts as later. The numbers of later examples serve all
    kinds of gain, and examples without any gain are left out of the sum.

    Args:
        score: (n,) float, the lowest is deferred first. gain: (n,) or (n, kinds) float64, by how much deferring an
            example raises what the curves are of.
    """

    def __init__(self, score: np.ndarray, gain: np.ndarray):
        order, last = tie_groups(score)
        sizes = np.diff(last, prepend=-1)
        n, columns = len(order), -(-len(order) // _RUN)
        gain = np.asarray(gain, np.float64).reshape(n, -1)
        self._groups = None
        if len(last) <= _FEW and (gain == np.rint(gain)).all():  # random deferral, or the oracle's of right and wrong
            member = np.empty((n, len(last)))
            member[order] = np.repeat(np.eye(len(last)), sizes, axis=0)
            self._groups = np.concatenate([member[:, :, None], member[:, :, None] * gain[:, None]], axis=2)
            return
        self._columns, self._padding = columns, columns * _RUN - n
        # Neighbours form a column of _RUN rows; row after row of that matrix is what is gathered.
        self._arranged = np.append(order, np.zeros(self._padding, order.dtype)).reshape(-1, _RUN).T.ravel()
        gain = gain[order]
        gaining = np.flatnonzero(gain.any(axis=1))
        self._examples, self._gain = order[gaining], gain[gaining]
        self._first, self._next = (
            self._row_of_sum(np.repeat(ends, sizes)[gaining]) for ends in (last + 1 - sizes, last + 1)
        )

    def _row_of_sum(self, deferred: np.ndarray) -> np.ndarray:
        """Where `areas` holds the sum over the first so many examples; that over none comes last."""
        place = deferred - 1
        row = place % _RUN * self._columns + place // _RUN
        return np.where(deferred > 0, row, _RUN * self._columns)

    def areas(self, counts: np.ndarray) -> np.ndarray:
        """Areas under the curves of summed gains over the number of deferred examples, (kinds, B) float64.

        Args:
            counts: (n, B), how often each resample has each example; float32 for whole numbers, else float64.
        """
        if self._groups is not None:
            return self._areas_of_groups(counts)
        sums = np.empty((len(self._arranged) + 1, counts.shape[1]), counts.dtype)
        runs = sums[:-1].reshape(_RUN, self._columns, -1)
        counts.take(self._arranged, axis=0, out=sums[:-1], mode="clip")  # other modes buffer the output, a copy
        runs[_RUN - self._padding :, -1] = 0
        sums[-1] = 0
        for j in range(1, _RUN):
            runs[j] += runs[j - 1]
        totals = list(runs[-1])
        for column in range(1, self._columns):
            np.add(totals[column - 1], totals[column], out=totals[column])
        runs[:-1, 1:] += runs[-1, :-1]
        later = sums.take(self._first, axis=0, mode="clip")
        later += sums.take(self._next, axis=0, mode="clip")
        np.subtract(2 * totals[-1], later, out=later)
        later *= counts.take(self._examples, axis=0, mode="clip")
        return weighted_sums(self._gain, later, largest=2 * len(counts) ** 2) / 2

    def _areas_of_groups(self, counts: np.ndarray) -> np.ndarray:
        """`areas` from the totals of each group of equal scores: how many it has in a resample, and what they gain."""
        groups = self._groups.shape[1]
        totals = weighted_sums(self._groups.reshape(len(counts), -1), counts, largest=len(counts))
        sizes, gains = np.split(totals.reshape(groups, -1, counts.shape[1]), [1], axis=1)  # (groups, 1 or kinds, B)
        deferred = np.cumsum(sizes, axis=0)
        later = 2 * deferred[-1] - 2 * deferred + sizes
        return np.einsum("gkb,gkb->kb", np.broadcast_to(later, gains.shape), gains) / 2


def weighted_sums(columns: np.ndarray, counts: np.ndarray, largest: int) -> np.ndarray:
    """Sums of columns (n, kinds) over the examples, each as often as it counts (n, B): (kinds, B) float64.

    Args:
        largest: that the sum of a column of float32 `counts` can be. Where all sums are whole numbers that float32
            holds, they are exact whatever the order of addition, and a matrix product is used. Its last digit would
            otherwise depend on the number of threads.
    """
    whole = counts.dtype == np.float32 and (columns == np.rint(columns)).all()
    if whole and largest * np.abs(columns).max(initial=0) < _EXACT:
        return (columns.T.astype(np.float32) @ counts).astype(np.float64)
    return np.einsum("nk,nb->kb", columns, counts.astype(np.float64))


def audc(sweeps: list[Sweep], quality_small: np.ndarray, counts: np.ndarray) -> np.ndarray:
    """Areas under deferral curves, (kinds of all sweeps, B), in units of quality.

    Args:
        sweeps: of the gain in quality. quality_small: (n, kinds of all sweeps), of the small model alone.
        counts: (n, B), see `Sweep.areas`; each resample has n examples, or weights with any positive sum.
    """
    total = counts.sum(axis=0, dtype=np.float64)
    alone = weighted_sums(quality_small, counts, largest=len(counts))
    return alone / total + np.concatenate([sweep.areas(counts) for sweep in sweeps]) / total**2
