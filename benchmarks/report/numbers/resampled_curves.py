"""A method's whole curve in every resample, averaged over tasks and seeds; all resamples are read at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report.numbers import averages
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.reading.load import Run
from cat_keras.evaluation import resampling
from cat_keras.evaluation.bootstrap import Sweep, draw_seeds
from cat_keras.evaluation.curves import Outcomes, tie_groups
from cat_keras.evaluation.tradeoff import ROUNDING, DeferralCurve

RESAMPLES = 1000
MOST = 401  # points of a curve; if its kinks are more, it is straight between so many evenly spaced points


@dataclass(frozen=True, eq=False)
class Sampled:
    """R curves over common deferral rates, each read as `DeferralCurve` reads one.

    Attributes:
        rate: (K,) float64, increasing from 0 to 1. quality, cost: (R, K) float64; the cost never falls.
        s_d: (R,) float64, mean over seeds; NaN where even the oracle gains nothing.
    """

    rate: np.ndarray
    quality: np.ndarray
    cost: np.ndarray
    s_d: np.ndarray

    @classmethod
    def one(cls, curve: DeferralCurve, s_d: float = float("nan")) -> "Sampled":
        return cls(curve.deferral_rate, curve.quality[None], curve.cost[None], np.array([s_d]))

    def at(self, column: np.ndarray, rate: float) -> np.ndarray:
        """(R,): `quality` or `cost` at a deferral rate."""
        right = max(1, int(np.searchsorted(self.rate, rate)))
        share = (rate - self.rate[right - 1]) / (self.rate[right] - self.rate[right - 1])
        return column[:, right - 1] + share * (column[:, right] - column[:, right - 1])

    def cost_at_quality(self, quality: np.ndarray) -> np.ndarray:
        """(R,): `DeferralCurve.cost_at_quality` of (R,) qualities, NaN where not reached."""
        target = quality - ROUNDING * np.abs(self.quality).max(axis=1)
        reached = target <= self.quality.max(axis=1)
        return np.where(reached, self._on_hull(self.quality, self.cost, target), np.nan)

    def quality_at_cost(self, budget: np.ndarray) -> np.ndarray:
        """(R,): `DeferralCurve.quality_at_cost` of (R,) budgets, NaN below the cost of the small model alone."""
        affordable = budget >= self.cost[:, 0] * (1 - ROUNDING)
        return np.where(affordable, self._on_hull(self.cost, self.quality, budget), np.nan)

    def _on_hull(self, x: np.ndarray, y: np.ndarray, at: np.ndarray) -> np.ndarray:
        """(R,): column `y` where column `x` is `at`, on the rising part of each upper hull; level beyond its ends."""
        at = np.broadcast_to(at, len(self.cost))
        left, right = self._hull_edge(x, at)
        (x0, x1), (y0, y1) = ((_pick(column, left), _pick(column, right)) for column in (x, y))
        share = np.divide(at - x0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
        return y0 + np.clip(share, 0, 1) * (y1 - y0)

    def _hull_edge(self, x: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the edge of each upper hull on which column `x` passes `at`, (R,) positions each.

        The search starts at the ends of the rising part. The point farthest above the chord between two vertices is a
        vertex itself. It takes the place of one of the two, so that the chord still passes `at`, until no point lies
        above the chord.
        """
        rows = np.arange(len(at))
        left, right = np.zeros(len(at), np.int64), self.quality.argmax(axis=1)
        while len(rows):
            cost, quality = self.cost[rows], self.quality[rows]
            (x0, x1), (y0, y1) = ((_pick(c, left[rows]), _pick(c, right[rows])) for c in (cost, quality))
            slope = np.divide(y1 - y0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
            above = (quality - y0[:, None]) - slope[:, None] * (cost - x0[:, None])
            highest = above.argmax(axis=1)
            # Where nothing has a cost, the right end itself lies above the chord, whose slope is then taken as 0.
            unfinished = (_pick(above, highest) > 1e-12) & (highest != right[rows])
            rows, highest = rows[unfinished], highest[unfinished]
            past = x[rows, highest] >= at[rows]
            right[rows[past]], left[rows[~past]] = highest[past], highest[~past]
        return left, right


def _pick(columns: np.ndarray, places: np.ndarray) -> np.ndarray:
    """(R,): the element of each row at its place."""
    return columns[np.arange(len(columns)), places]


def exact(run: Run, cells: averages.Cells, method: str, seeds: Sequence[int], tasks: Sequence[str]) -> Sampled:
    """The data themselves, as one resample: the curve and the s_d of the main table."""
    by_seed = averages.curves(cells, method, seeds, tasks, run.rule)
    s_d = averages.over_seeds(averages.s_d(cells, method, by_seed, tasks))
    return Sampled.one(averages.pooled(by_seed), s_d.mean)


def resampled(
    run: Run, cells: averages.Cells, method: str, seeds: Sequence[int], scopes: Mapping[str, Sequence[str]]
) -> dict[str, Sampled]:
    """Curves of a method in resamples of examples and seeds: those that `Intervals` draws, the first of them.

    Args:
        scopes: name → tasks that are averaged. seeds: that have all of these tasks.

    Returns:
        scope → `RESAMPLES` curves.
    """
    rate, weights = _rates(run), draw_seeds(np.random.default_rng(DRAWS), len(seeds), RESAMPLES)
    curves, areas = (dict.fromkeys(scopes, 0.0) for _ in range(2))
    for name in dict.fromkeys(name for tasks in scopes.values() for name in tasks):
        samples = _of_task(run, cells, method, seeds, name, rate)
        pooled = np.einsum("rsk,rs->rk", samples[..., :-3], weights)
        for scope in (scope for scope, tasks in scopes.items() if name in tasks):
            curves[scope] = curves[scope] + pooled / len(scopes[scope])
            areas[scope] = areas[scope] + samples[..., -3:] / len(scopes[scope])
    return {
        scope: Sampled(rate, *np.split(curves[scope], 2, axis=1), np.einsum("rs,rs->r", _s_d(areas[scope]), weights))
        for scope in scopes
    }


def _rates(run: Run) -> np.ndarray:
    """Deferral rates between which every resampled curve is straight, or `MOST` evenly spaced ones if they are more."""
    sizes = {len(run.examples[name]) for name in run.covered}
    rates = np.unique(np.concatenate([np.arange(n + 1) / n for n in sizes]))
    return rates if len(rates) <= MOST else np.linspace(0, 1, MOST)


def _s_d(areas: np.ndarray) -> np.ndarray:
    """s_d from areas (..., 3) of the run's rule, of random deferral and of the oracle."""
    audc, random, oracle = np.moveaxis(areas, -1, 0)
    room = oracle - random
    defined = room > ROUNDING * np.maximum(np.abs(oracle), np.abs(random))
    return np.divide(audc - random, room, out=np.full_like(room, np.nan), where=defined)


def _of_task(
    run: Run, cells: averages.Cells, method: str, seeds: Sequence[int], name: str, rate: np.ndarray
) -> np.ndarray:
    """(R, S, 2K + 3): of every seed the quality, then the cost, at the rates, and the three areas of `_s_d`."""
    ids = run.examples[name].ids
    outcomes = {seed: cells[method, seed, name].outcomes(run.rule, ids) for seed in seeds}
    sweeps = [_CurveSweep(rows, rate) for rows in resampling.paired(name, tuple(seeds), outcomes)]

    def compute(counts):
        out = np.empty((len(counts), len(sweeps), 2 * len(rate) + 3))
        for i, sweep in enumerate(sweeps):
            sweep(counts, out[:, i])
        return out

    return resampling.Streams(np.random.default_rng(DRAWS)).map(name, len(ids), RESAMPLES, compute)


class _CurveSweep:
    """Resampled curves of one model on one task: counts (B, n) → (B, 2K + 3), see `_of_task`.

    A resample of n examples has its kinks at multiples of 1 / n. There its curve is the running sum over the examples
    in the order of deferral, each as often as it was drawn; an example whose score others share counts as the mean of
    those.
    """

    def __init__(self, outcomes: Outcomes, rate: np.ndarray):
        self.n, self.rate = len(outcomes), rate
        self.alone = outcomes.quality_small / self.n, outcomes.cost_small / self.n
        gain = outcomes.quality_large - outcomes.quality_small
        self.order, last = tie_groups(outcomes.score)
        self.first = np.append(0, last[:-1] + 1)
        self.steps = [step[self.order] / self.n for step in (gain, outcomes.cost_large)]
        # The oracle defers the largest gain first. Its score is the rank, not the gain: examples of equal gain may be
        # deferred in any order without changing the curve, and `Sweep` is faster without equal scores.
        rank = np.empty(self.n)
        rank[np.argsort(-gain, kind="stable")] = np.arange(self.n)
        self.oracle = Sweep(Outcomes(rank, outcomes.quality_small, outcomes.quality_large))

    def __call__(self, counts: np.ndarray, out: np.ndarray):
        k = len(self.rate)
        quality, cost = self._curves(counts)
        out[:, :k], out[:, k : 2 * k] = self._at_rates(quality), self._at_rates(cost)
        random = (quality[:, 0] + quality[:, -1]) / 2
        audc = (quality.sum(axis=1) - random) / self.n  # trapezoids of width 1 / n
        out[:, -3:] = np.stack([audc, random, self.oracle.audc(counts)], axis=1)

    def _curves(self, counts: np.ndarray) -> list[np.ndarray]:
        """Quality and cost at every multiple of 1 / n, (B, n + 1) each."""
        ordered = counts.take(self.order, axis=1, mode="clip")  # other modes copy
        sizes, steps = ordered, [np.tile(step, len(counts)) for step in self.steps]
        if len(self.first) < self.n:  # some scores are equal: a step per group of them
            sizes = np.add.reduceat(ordered, self.first, axis=1)
            totals = (np.add.reduceat(ordered * step, self.first, axis=1) for step in self.steps)
            steps = [(total / np.maximum(sizes, 1)).ravel() for total in totals]
        places = np.repeat(np.arange(sizes.size), sizes.ravel().astype(np.int64))  # each step as often as it was drawn
        curves = []
        for alone, step in zip(self.alone, steps, strict=True):
            curve = np.empty((len(counts), self.n + 1))
            curve[:, 0] = np.einsum("rn,n->r", counts, alone)
            curve[:, 1:] = step.take(places, mode="clip").reshape(counts.shape)
            curves.append(np.cumsum(curve, axis=1, out=curve))
        return curves

    def _at_rates(self, curve: np.ndarray) -> np.ndarray:
        if len(self.rate) == self.n + 1:  # the rates include all kinks of the curve, so here they are just these
            return curve
        at = self.rate * self.n
        left = np.minimum((at + ROUNDING).astype(np.int64), self.n - 1)
        before = curve[:, left]
        return before + (at - left) * (curve[:, left + 1] - before)
