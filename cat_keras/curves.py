"""The trade-off of a two-model cascade, exactly: threshold sweep, areas, hull. `bootstrap` gives the areas intervals.

Deferring in the order of a score moves a cascade from the small model alone (deferral rate 0) to the large model for
everything (rate 1; the small one has run too, so its cost stays). One point per distinct threshold; examples with equal
scores are deferred together, and between points the curve is the straight line that breaking the tie at random gives.

    >>> curve = deferral_curve(score=[-3, -1, -2], quality_small=[0, 1, 0], quality_large=[1, 1, 0])
    >>> curve.deferral_rate.round(2).tolist(), curve.quality.round(2).tolist()
    ([0.0, 0.33, 0.67, 1.0], [0.33, 0.67, 0.67, 0.67])
    >>> round(curve.audc, 4)
    0.6111
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import CatKerasError

_ROUNDING = 1e-9  # relative; sums of one column in two orders differ by far less, real differences by far more


def _column(name: str, values, n: int | None = None) -> np.ndarray:
    """`values` as a finite float64 vector (of length n), or an error that says what is wrong with it."""
    try:
        column = np.asarray(values, dtype=np.float64)
    except (TypeError, ValueError) as error:
        raise CatKerasError(f"{name} must hold one number per example ({error}). Received: {values!r:.80}") from None
    if column.ndim != 1 or not column.size:
        raise CatKerasError(f"{name} must be a vector with at least one example. Received shape: {column.shape}")
    if n is not None and len(column) != n:
        raise CatKerasError(
            f"Columns must have one entry per example, {n} like the first; {name} has {len(column)}. "
            "Take them from the same rows"
        )
    bad = np.flatnonzero(~np.isfinite(column))
    if bad.size:
        raise CatKerasError(
            f"{name} must be finite; received {column[bad[0]]} in row {bad[0]} ({bad.size} such of {len(column)}). "
            "Score or leave out those examples before, in every method alike"
        )
    return column


def _distinct(ids, n: int) -> np.ndarray:
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


@dataclass(frozen=True, eq=False)
class Outcomes:
    """What one method's cascade did on one task: one row per example, everything the curve is computed from.

    Attributes:
        score: (n,) float64, higher = keep, see `deferral`.
        quality_small, quality_large: (n,) float64, per-example quality of either model's answer.
        cost_small, cost_large: (n,) float64 ≥ 0, or one number for all: cost of running either model (FLOPs, seconds,
            price). By default cost counts calls of the large model, so that it equals the deferral rate.
        ids: (n,) str, unique; needed only where methods are compared pairwise.

    Raises:
        CatKerasError: no examples, lengths that differ, NaN or infinity, a negative cost, a repeated id.
    """

    score: np.ndarray
    quality_small: np.ndarray
    quality_large: np.ndarray
    cost_small: np.ndarray | float = 0.0
    cost_large: np.ndarray | float = 1.0
    ids: np.ndarray | None = None

    def __post_init__(self):
        n = len(_column("score", self.score))
        for name in ("score", "quality_small", "quality_large", "cost_small", "cost_large"):
            values = getattr(self, name)
            if name.startswith("cost") and np.ndim(values) == 0:
                values = np.full(n, values)
            column = _column(name, values, n)
            if name.startswith("cost") and column.min() < 0:
                raise CatKerasError(f"{name} must not be negative; received {column.min()}. Check its unit and sign")
            object.__setattr__(self, name, column)
        if self.ids is not None:
            object.__setattr__(self, "ids", _distinct(self.ids, n))

    def __len__(self):
        return len(self.score)

    def curve(self) -> "DeferralCurve":
        """The exact sweep over every distinct threshold: one sort."""
        order, last = tie_groups(self.score)
        n = len(self)

        def after(column):
            return np.concatenate([[0.0], np.cumsum(column[order])[last]])

        return DeferralCurve(
            deferral_rate=np.concatenate([[0], last + 1]) / n,
            quality=self.quality_small.mean() + after(self.quality_large - self.quality_small) / n,
            cost=self.cost_small.mean() + after(self.cost_large) / n,
            threshold=np.concatenate([[-np.inf], self.score[order][last[:-1] + 1], [np.inf]]),
        )


def tie_groups(score: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Order in which examples are deferred, (n,), and the last position of each group of equal scores, (groups,)."""
    order = np.argsort(score, kind="stable")
    ordered = score[order]
    return order, np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))


def _trapezoid(y: np.ndarray, x: np.ndarray) -> float:
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


@dataclass(frozen=True, eq=False)
class DeferralCurve:
    """Points of a cascade's trade-off, from never deferring (first) to always deferring (last).

    Attributes:
        deferral_rate: (k,) float64, increasing from 0 to 1: share of the queries that the large model answers.
        quality: (k,) float64, mean quality of the answers given.
        cost: (k,) float64, mean cost per query, `C = mean(c_S) + Σ_deferred c_L / n`: the small model is always paid.
        threshold: (k,) float64, τ of `defer iff score < τ`; −inf and +inf at the ends, NaN where tasks were averaged.
    """

    deferral_rate: np.ndarray
    quality: np.ndarray
    cost: np.ndarray
    threshold: np.ndarray

    @property
    def audc(self) -> float:
        """Area under the deferral curve, `∫_0^1 q(ρ) dρ` by trapezoids; in units of quality. Also AUC-DF."""
        return _trapezoid(self.quality, self.deferral_rate)

    @property
    def random_audc(self) -> float:
        """Expected area of deferring at random, `(q_S + q_L) / 2`."""
        return float(self.quality[0] + self.quality[-1]) / 2

    @property
    def relative_audc(self) -> float:
        """`AUDC / ((q_S + q_L) / 2) − 1`: gain over random deferral, as a share; NaN when both models score 0."""
        return self.audc / self.random_audc - 1 if self.random_audc else float("nan")

    def s_d(self, ideal_audc: float) -> float:
        """Normalised deferral gain, `∫(q − q_random) / ∫(q_ideal − q_random)`. Gatekeeper, arXiv 2502.19335.

        Args:
            ideal_audc: area of the ideal curve: `oracle_audc` (then s_d is in [−1, 1] and the oracle has 1), or
                `capped_ideal_audc` for the literature's form on 0/1 quality.

        Returns:
            1 = ideal, 0 = random, negative = worse than random; NaN when the ideal is no better than random.
        """
        room = ideal_audc - self.random_audc
        if room <= _ROUNDING * max(abs(ideal_audc), abs(self.random_audc)):
            return float("nan")
        return (self.audc - self.random_audc) / room

    def quality_at(self, rate):
        """Mean quality when a share `rate` in [0, 1] is deferred (scalar or array), linear between the points.

        Raises:
            CatKerasError: a rate outside [0, 1].
        """
        if not np.all((np.asarray(rate) >= 0) & (np.asarray(rate) <= 1)):
            raise CatKerasError(f"A deferral rate must be in [0, 1]; received {rate}. Give a share, not a percentage")
        return np.interp(rate, self.deferral_rate, self.quality)

    def upper_hull(self) -> tuple[np.ndarray, np.ndarray]:
        """Cost and quality of the upper convex hull's vertices, by increasing cost; see `upper_hull`."""
        return upper_hull(self.cost, self.quality)

    def _frontier(self):
        """The hull up to its first peak: beyond it, paying more only loses quality."""
        cost, quality = self.upper_hull()
        peak = int(np.argmax(quality)) + 1
        return cost[:peak], quality[:peak]

    def cost_at_quality(self, quality: float) -> float:
        """Least mean cost per query that reaches `quality`, read off the upper convex hull up to its peak.

        A point between two vertices is reached by choosing one of their thresholds at random per query. Returns the
        cheapest point's cost when that is good enough already, NaN when no threshold reaches `quality` (equal up to
        rounding counts as reached).
        """
        costs, qualities = self._frontier()
        enough = quality - _ROUNDING * np.abs(qualities).max()  # or the last digit of a sum would decide the cost
        if not enough <= qualities[-1]:
            return float("nan")
        return float(np.interp(enough, qualities, costs))

    def quality_at_cost(self, cost: float) -> float:
        """Best mean quality within a budget of `cost` per query, read off the upper convex hull up to its peak.

        NaN when the budget is below the small model's cost alone; the peak's quality when it is beyond the peak's cost.
        """
        costs, qualities = self._frontier()
        if not cost >= costs[0] - _ROUNDING * abs(costs[0]):
            return float("nan")
        return float(np.interp(cost, costs, qualities))


def deferral_curve(score, quality_small, quality_large, cost_small=0.0, cost_large=1.0, ids=None) -> DeferralCurve:
    """The curve of `Outcomes(...)`; arguments, units and errors are described there."""
    return Outcomes(score, quality_small, quality_large, cost_small, cost_large, ids).curve()


def oracle_audc(quality_small, quality_large) -> float:
    """Area when the queries that gain most are deferred first: per example, no order of deferral does better."""
    small = _column("quality_small", quality_small)
    large = _column("quality_large", quality_large, len(small))
    return deferral_curve(small - large, small, large).audc


def capped_ideal_audc(quality_small, quality_large) -> float:
    """Area under `min(q_S + ρ, q_L)`, the ideal of s_d in the literature for 0/1 quality: `q_L − (q_L − q_S)² / 2`.

    It lets the large model be right wherever the small one is. A real cascade may beat it when the small model is right
    where the large one is wrong; s_d then exceeds 1. When q_L ≤ q_S it is no better than random, and s_d is NaN.

    Raises:
        CatKerasError: a quality other than 0 and 1, besides what `Outcomes` refuses.
    """
    small = _column("quality_small", quality_small)
    large = _column("quality_large", quality_large, len(small))
    if not np.isin(np.concatenate([small, large]), (0, 1)).all():
        raise CatKerasError(
            f"capped_ideal_audc is defined for qualities 0 and 1; received values in [{min(small.min(), large.min())}, "
            f"{max(small.max(), large.max())}]. Use oracle_audc for graded quality"
        )
    return float(large.mean() - max(0.0, large.mean() - small.mean()) ** 2 / 2)


def upper_hull(cost, quality) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper convex hull of the points (cost, quality), both (k,), by increasing cost.

    Runs from the cheapest to the dearest point, so it may fall after its peak. Of points of one cost the best counts.
    """
    cost = _column("cost", cost)
    quality = _column("quality", quality, len(cost))
    order = np.lexsort((-quality, cost))
    hull: list[tuple[float, float]] = []
    for c, q in zip(cost[order].tolist(), quality[order].tolist(), strict=True):
        if hull and c == hull[-1][0]:
            continue
        while len(hull) > 1 and not _turns_right(hull[-2], hull[-1], (c, q)):
            hull.pop()
        hull.append((c, q))
    costs, qualities = np.array(hull).T
    return costs, qualities


def _turns_right(a, b, c) -> bool:
    return (b[0] - a[0]) * (c[1] - a[1]) < (b[1] - a[1]) * (c[0] - a[0])


def auroc(score, positive) -> float:
    """P(score of a positive > score of a negative), ties counting one half: the area under the ROC curve.

    Args:
        score: (n,) float, higher = more likely positive.
        positive: (n,) bool (or 0/1), e.g. "the small model is right".

    Returns:
        in [0, 1]; NaN when there is no positive or no negative, for then it is undefined.
    """
    score = _column("score", score)
    positive = _column("positive", positive, len(score))
    if not np.isin(positive, (0, 1)).all():
        raise CatKerasError(
            f"positive must be true or false (1 or 0) per example; received values in [{positive.min()}, "
            f"{positive.max()}]. Compare graded quality to a bar first"
        )
    negatives, positives = np.sort(score[positive == 0]), score[positive == 1]
    if not len(negatives) or not len(positives):
        return float("nan")
    # Counting a negative once from either side gives a tie the weight 1/2 after halving.
    below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(below.mean() / 2 / len(negatives))


def macro_average(
    curves: Mapping[str, DeferralCurve | None], tasks: Iterable[str], grid: np.ndarray | None = None
) -> DeferralCurve:
    """Average of several tasks' curves, each task deferring the same share of its own queries.

    Args:
        curves: task name → its curve.
        tasks: every task that the average is said to be over. Required, so that a hole cannot go unnoticed.
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
    grid = _column("grid", grid)
    if grid[0] != 0 or grid[-1] != 1 or np.any(np.diff(grid) <= 0):
        raise CatKerasError(f"grid must increase from 0 to 1; received {grid}. Try numpy.linspace(0, 1, 101)")

    def mean(column):
        values = [np.interp(grid, curves[task].deferral_rate, getattr(curves[task], column)) for task in sorted(curves)]
        return np.mean(values, axis=0)

    return DeferralCurve(grid, mean("quality"), mean("cost"), np.full(len(grid), np.nan))
