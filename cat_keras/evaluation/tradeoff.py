"""The trade-off curve of a cascade, and every number that the literature reads off one; `curves` makes them."""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from cat_keras.errors import SHARE, CatKerasError, check_number, check_numbers
from cat_keras.evaluation import vectors
from cat_keras.evaluation.vectors import ROUNDING

NAN = float("nan")


def _trapezoid(y: np.ndarray, x: np.ndarray) -> float:
    """Area under the straight lines between the points (x, y)."""
    return float(np.sum(np.diff(x) * (y[1:] + y[:-1])) / 2)


@dataclass(frozen=True, eq=False)
class DeferralCurve:
    """Points of a cascade's trade-off, from never deferring (first) to always deferring (last).

    Numbers over the deferral rate follow the straight lines between the points. Numbers over cost follow the upper
    convex hull, whose points are reached by choosing one of two thresholds at random per query. What is undefined is
    NaN.

    Attributes:
        deferral_rate: (k,) float64, increasing from 0 to 1: share of the queries that the large model answers.
        quality: (k,) float64, mean quality of the answers given.
        cost: (k,) float64, mean cost per query, `C = mean(c_S) + Σ_deferred c_L / n`: the small model is always paid.
            NaN where it is unknown, and then every number over cost is.
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
        return self.audc / self.random_audc - 1 if self.random_audc else NAN

    @property
    def peak(self) -> float:
        """Best quality of any point; it may exceed that of both models."""
        return float(self.quality.max())

    def s_d(self, ideal_audc: float) -> float:
        """Normalised deferral gain, `∫(q − q_random) / ∫(q_ideal − q_random)`. Gatekeeper, arXiv 2502.19335.

        Args:
            ideal_audc: area of the ideal curve: `oracle_audc` (then s_d is in [−1, 1] and the oracle has 1), or
                `capped_ideal_audc` for the literature's form on 0/1 quality.

        Returns:
            1 = ideal, 0 = random, negative = worse than random; NaN when the ideal is no better than random.
        """
        check_number("ideal_audc", ideal_audc, "(-inf, inf)")
        ideal_gain = ideal_audc - self.random_audc
        if ideal_gain <= ROUNDING * max(abs(ideal_audc), abs(self.random_audc)):
            return NAN
        return (self.audc - self.random_audc) / ideal_gain

    @property
    def apgr(self) -> float:
        """Average performance gap recovered, `(AUDC − q_S) / (q_L − q_S)`. RouteLLM, arXiv 2406.18665.

        The paper sums ten equal steps of the share of strong calls; this is the integral they approximate. Random
        deferral has 1/2. NaN unless the large model is better, as there is no gap to recover.
        """
        return (self.audc - self.quality[0]) / self._gap()

    def cpt(self, recovered: float) -> float:
        """Call-performance threshold CPT(x): least share of strong calls that recovers x of the gap. RouteLLM.

        The first rate at which the curve, straight between its points, has `q_S + x (q_L − q_S)`.

        Args:
            recovered: x in [0, 1].

        Returns:
            in [0, 1]; NaN unless the large model is better.

        Raises:
            CatKerasError: x outside [0, 1].
        """
        check_number("recovered, the x of CPT(x),", recovered, SHARE, remedy="Try 0.5")
        quality = self.quality[0] + recovered * self._gap() - ROUNDING * np.abs(self.quality).max()
        if np.isnan(quality):
            return NAN
        first = int(np.argmax(self.quality >= quality))
        if first == 0:
            return 0.0
        segment = slice(first - 1, first + 1)
        return float(np.interp(quality, self.quality[segment], self.deferral_rate[segment]))

    def _gap(self) -> float:
        """`q_L − q_S`; NaN unless the large model is better."""
        gap = float(self.quality[-1] - self.quality[0])
        return gap if gap > ROUNDING * np.abs(self.quality).max() else NAN

    def quality_at(self, rate):
        """Mean quality when a share `rate` in [0, 1] is deferred (scalar or array), linear between the points.

        Raises:
            CatKerasError: a rate outside [0, 1].
        """
        check_numbers("rate", rate, SHARE, remedy="Give a share, not a percentage")
        return np.interp(rate, self.deferral_rate, self.quality)

    def upper_hull(self) -> tuple[np.ndarray, np.ndarray]:
        """Cost and quality of the upper convex hull's vertices, by increasing cost; see `upper_hull`."""
        return upper_hull(self.cost, self.quality)

    @property
    def has_cost(self) -> bool:
        """Whether the cost is known."""
        return not np.isnan(self.cost).any()

    @cached_property
    def _frontier(self) -> tuple[np.ndarray, np.ndarray]:
        """Cost and quality of the hull's vertices up to its first peak: beyond it, paying more only loses quality.

        A single NaN each where the cost is unknown, which no budget covers and no quality is reached by.
        """
        if not self.has_cost:
            return np.array([NAN]), np.array([NAN])
        cost, quality = self.upper_hull()
        count = int(np.argmax(quality)) + 1
        return cost[:count], quality[:count]

    def cost_at_quality(self, quality: float) -> float:
        """Least mean cost per query that reaches `quality`, read off the upper convex hull up to its peak.

        A point between two vertices is reached by choosing one of their thresholds at random per query. Returns the
        cheapest point's cost when that is good enough already, and NaN when no threshold reaches `quality` (equal up to
        rounding counts as reached) or it is NaN itself.
        """
        if isinstance(quality, float) and np.isnan(quality):  # an undefined quality: averages that miss a model have it
            return NAN
        check_number("quality", quality, "(-inf, inf)")
        costs, qualities = self._frontier
        # Without the tolerance, the last digit of a sum would decide the cost.
        enough = quality - ROUNDING * np.abs(qualities).max()
        if not enough <= qualities[-1]:
            return NAN
        return float(np.interp(enough, qualities, costs))

    def quality_at_cost(self, cost: float) -> float:
        """Best mean quality within a budget of `cost` per query, read off the upper convex hull up to its peak.

        NaN when the budget is below the small model's cost alone, or is NaN itself; the peak's quality when it is
        beyond the peak's cost.
        """
        if isinstance(cost, float) and np.isnan(cost):  # a budget in costs that are not known
            return NAN
        check_number("cost", cost, "[-inf, inf]")
        costs, qualities = self._frontier
        if not _affords(cost, costs[0]):
            return NAN
        return float(np.interp(cost, costs, qualities))

    def aiq(self, low: float | None = None, high: float | None = None) -> float:
        """Average improvement in quality, `1/(high − low) ∫ hull(c) dc`. RouterBench, arXiv 2403.12031.

        The hull is the non-decreasing one: beyond its peak it stays level, as nobody pays more for less. The number
        depends on the range, so curves are comparable over the same range only.

        Args:
            low, high: budgets per query, in the unit of `cost`; by default the curve's own cheapest and dearest point.

        Returns:
            a mean quality; NaN when `low` is below the small model's cost alone, where there is no cascade.

        Raises:
            CatKerasError: `high` is not above `low`.
        """
        costs, qualities = self._frontier
        if not self.has_cost:
            return NAN
        low = self.cost.min() if low is None else check_number("low", low, "(-inf, inf)")
        high = self.cost.max() if high is None else check_number("high", high, "(-inf, inf)")
        if not high > low:
            raise CatKerasError(f"AIQ is a mean over budgets from low to a higher high; received {low:g} to {high:g}")
        if not _affords(low, costs[0]):
            return NAN
        budgets = np.unique(np.concatenate([[low, high], costs[(costs > low) & (costs < high)]]))
        return _trapezoid(np.interp(budgets, costs, qualities), budgets) / float(high - low)

    @property
    def qnc(self) -> float:
        """Quality-neutral cost: least cost that reaches the large model's quality, over the large model's own cost.

        UniRoute, arXiv 2502.08773, defines it for routers, which pay one model per query. A cascade also pays the small
        model for what it defers, so a cascade that must defer everything has `1 + c_S / c_L`. NaN when the large model
        is free.
        """
        large_cost = float(self.cost[-1] - self.cost[0])
        return (
            self.cost_at_quality(float(self.quality[-1])) / large_cost
            if large_cost > ROUNDING * abs(self.cost[-1])
            else NAN
        )


def _affords(budget: float, cheapest: float) -> bool:
    """Whether a budget covers the cheapest cost, up to rounding."""
    return bool(budget >= cheapest - ROUNDING * abs(cheapest))


def upper_hull(cost, quality) -> tuple[np.ndarray, np.ndarray]:
    """Vertices of the upper convex hull of the points (cost, quality), both (k,), by increasing cost.

    It runs from the cheapest to the dearest point, so it may fall after its peak. Of points of equal cost the best
    counts.
    """
    cost = vectors.summable("cost", cost)
    quality = vectors.summable("quality", quality, len(cost))
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
    """Whether the path from a over b to c bends downwards, so that b is a vertex of the upper hull."""
    return (b[0] - a[0]) * (c[1] - a[1]) < (b[1] - a[1]) * (c[0] - a[0])
