"""Deferral curves of a two-model cascade, exact: the sweep over all thresholds, ideal curves, averages over tasks.

The curves are `tradeoff.DeferralCurve`s; `bootstrap` and `bands` give their intervals.

Deferring in the order of a score moves a cascade from the small model alone (deferral rate 0) to the large model for
everything (rate 1, where the small model has run too and its cost stays). A curve has one point per distinct threshold.
Examples with equal scores are deferred together; the straight line between two points is what breaking the tie at
random gives on average.

    >>> curve = deferral_curve(score=[-3, -1, -2], quality_small=[0, 1, 0], quality_large=[1, 1, 0])
    >>> curve.deferral_rate.round(2).tolist(), curve.quality.round(2).tolist()
    ([0.0, 0.33, 0.67, 1.0], [0.33, 0.67, 0.67, 0.67])
    >>> round(curve.audc, 4)
    0.6111
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import SHARE, CatKerasError, check_number, check_numbers
from cat_keras.evaluation import vectors
from cat_keras.evaluation.grid import midpoints
from cat_keras.evaluation.tradeoff import DeferralCurve

COST = f"[0, {vectors.LARGEST:g}]"


def _unique_ids(ids, n: int) -> np.ndarray:
    ids = np.asarray(ids, dtype=str)
    if ids.shape != (n,):
        raise CatKerasError(f"ids must have one entry per example, {n}; ids has shape {ids.shape}")
    names, counts = np.unique(ids, return_counts=True)
    if len(names) < n:
        raise CatKerasError(
            f"Example ids must be unique within a task; {str(names[counts.argmax()])!r} occurs {counts.max()} times. "
            "Remove the repeated rows, or make one Outcomes per task"
        )
    return ids


def _is_unknown(values, n: int) -> bool:
    """Whether a column of n numbers is NaN throughout."""
    try:
        column = np.asarray(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        return False
    return column.shape == (n,) and bool(np.isnan(column).all())


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one method's cascade did on one task: one row per example, with all that its curve is computed from.

    Attributes:
        score: (n,) float64, higher = keep, see `deferral`. Compared as they are: scores that models computed belong on
            the grid of `evaluation.grid` first.
        quality_small, quality_large: (n,) float64, per-example quality of either model's answer.
        cost_small, cost_large: (n,) float64 ≥ 0, or one number for all: cost of running either model (FLOPs, seconds,
            price). By default cost counts calls of the large model, so that it equals the deferral rate. NaN
            throughout where it is unknown: the curve then has no cost.
        ids: (n,) str, unique; needed only where methods are compared pairwise.

    Raises:
        CatKerasError: no examples, lengths that differ, single NaNs or infinity, a negative cost, a repeated id.
    """

    score: np.ndarray
    quality_small: np.ndarray
    quality_large: np.ndarray
    cost_small: np.ndarray | float = 0.0
    cost_large: np.ndarray | float = 1.0
    ids: np.ndarray | None = None

    def __post_init__(self):
        n = len(vectors.finite("score", self.score))
        for name in ("score", "quality_small", "quality_large", "cost_small", "cost_large"):
            values = getattr(self, name)
            if name.startswith("cost") and (np.isscalar(values) or getattr(values, "ndim", 1) == 0):
                unknown = _is_unknown([values], 1)
                values = np.full(n, np.nan if unknown else check_number(name, values, COST))
            if name.startswith("cost") and _is_unknown(values, n):
                object.__setattr__(self, name, np.full(n, np.nan))
                continue
            column = vectors.finite(name, values, n) if name == "score" else vectors.summable(name, values, n)
            if name.startswith("cost") and column.min() < 0:
                raise CatKerasError(f"{name} must not be negative; received {column.min()}. Check its unit and sign")
            object.__setattr__(self, name, column)
        if self.ids is not None:
            object.__setattr__(self, "ids", _unique_ids(self.ids, n))

    def __len__(self):
        return len(self.score)

    def curve(self) -> DeferralCurve:
        """The exact sweep over every distinct threshold; takes one sort."""
        order, last = tie_groups(self.score)
        n = len(self)

        def sum_over_deferred(column):
            return np.concatenate([[0.0], np.cumsum(column[order])[last]])

        return DeferralCurve(
            deferral_rate=np.concatenate([[0], last + 1]) / n,
            quality=self.quality_small.mean() + sum_over_deferred(self.quality_large - self.quality_small) / n,
            cost=self.cost_small.mean() + sum_over_deferred(self.cost_large) / n,
            threshold=np.concatenate([[-np.inf], midpoints(self.score[order][last]), [np.inf]]),
        )


def tie_groups(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order in which examples are deferred, (n,), and the last position of each group of equal scores, (groups,)."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def deferral_curve(score, quality_small, quality_large, cost_small=0.0, cost_large=1.0, ids=None) -> DeferralCurve:
    """The curve of `Outcomes(...)`; arguments, units and errors are described there."""
    return Outcomes(score, quality_small, quality_large, cost_small, cost_large, ids).curve()


def oracle_audc(quality_small, quality_large) -> float:
    """Area when the queries that gain most are deferred first; no order of deferral has a larger one."""
    small = vectors.summable("quality_small", quality_small)
    large = vectors.summable("quality_large", quality_large, len(small))
    return deferral_curve(small - large, small, large).audc


def capped_ideal_audc(quality_small, quality_large) -> float:
    """Area under `min(q_S + ρ, q_L)`, the ideal of s_d in the literature for 0/1 quality: `q_L − (q_L − q_S)² / 2`.

    It assumes that the large model is right wherever the small one is. Where the small model is right and the large one
    wrong, a real cascade may beat it; s_d then exceeds 1. When q_L ≤ q_S it is no better than random, and s_d is NaN.

    Raises:
        CatKerasError: a quality other than 0 and 1, besides what `Outcomes` refuses.
    """
    small = vectors.finite("quality_small", quality_small)
    large = vectors.finite("quality_large", quality_large, len(small))
    if not np.isin(np.concatenate([small, large]), (0, 1)).all():
        raise CatKerasError(
            f"capped_ideal_audc is defined for qualities 0 and 1; received values in [{min(small.min(), large.min())}, "
            f"{max(small.max(), large.max())}]. Use oracle_audc for graded quality"
        )
    return float(large.mean() - max(0.0, large.mean() - small.mean()) ** 2 / 2)


def macro_average(
    curves: Mapping[str, DeferralCurve | None], tasks: Iterable[str], grid: np.ndarray | None = None
) -> DeferralCurve:
    """Average of several tasks' curves, each task deferring the same share of its own queries.

    Args:
        curves: task name → its curve.
        tasks: every task that the average is said to be over. Required, so that a missing task cannot go unnoticed.
        grid: (k,) deferral rates, increasing from 0 to 1. By default all rates that occur in any curve, for which the
            area of the average is exactly the average of the areas.

    Returns:
        mean quality and mean cost at each rate; thresholds are NaN, as each task has its own.

    Raises:
        CatKerasError: a task without a curve, a curve of a task not named, or a bad grid.
    """
    expected, present = set(tasks), {task for task, curve in curves.items() if curve is not None}
    if not expected or expected != present:
        raise CatKerasError(
            f"A macro average must be over exactly the tasks named, {sorted(expected)}; "
            f"missing: {sorted(expected - present)}, not named: {sorted(present - expected)}. "
            "Run what is missing, or name the tasks that the average is over"
        )
    if grid is None:
        grid = np.unique(np.concatenate([curve.deferral_rate for curve in curves.values()]))
    grid = vectors.finite("grid", check_numbers("grid", grid, SHARE, remedy="Try numpy.linspace(0, 1, 101)"))
    if grid[0] != 0 or grid[-1] != 1 or np.any(np.diff(grid) <= 0):
        raise CatKerasError(f"grid must increase from 0 to 1; received {grid}. Try numpy.linspace(0, 1, 101)")

    def mean(column):
        values = [np.interp(grid, curves[task].deferral_rate, getattr(curves[task], column)) for task in sorted(curves)]
        return np.mean(values, axis=0)

    return DeferralCurve(grid, mean("quality"), mean("cost"), np.full(len(grid), np.nan))
