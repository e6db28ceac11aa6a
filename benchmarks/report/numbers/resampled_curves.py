"""A method's whole curve in every resample, averaged over tasks and seeds; all resamples are read at once."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.reading.load import Run
from cat_keras.evaluation import resampling
from cat_keras.evaluation.bootstrap import draw_seeds
from cat_keras.evaluation.curves import Outcomes
from cat_keras.evaluation.sweep import Sweep, compiled, rows_of, weighted_sums
from cat_keras.evaluation.tradeoff import DeferralCurve
from cat_keras.evaluation.vectors import ROUNDING

RESAMPLES = 1000
MOST = 401  # points of a curve; if its kinks are more, it is straight between so many evenly spaced points


class Halfway(NamedTuple):
    """What curves offer where half of the queries are deferred, (R,) each.

    Attributes:
        target, budget: quality and cost there. paid: least cost of that quality. quality: best for that cost.
    """

    target: np.ndarray
    budget: np.ndarray
    paid: np.ndarray
    quality: np.ndarray


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

    @cached_property
    def halfway(self) -> Halfway:
        """Of a baseline, with which every method is compared there."""
        target, budget = self.at(self.quality, 0.5), self.at(self.cost, 0.5)
        return Halfway(target, budget, self.cost_at_quality(target), self.quality_at_cost(budget))

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
        left, right = _hull_edges(self.quality, self.cost, x, at)
        rows = np.arange(len(at))
        x0, x1, y0, y1 = (column[rows, ends] for column in (x, y) for ends in (left, right))
        share = np.divide(at - x0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
        return y0 + np.clip(share, 0, 1) * (y1 - y0)


@compiled
def _hull_edges(quality, cost, x, at):
    """Ends of the edge of each upper hull on which column `x` passes `at`, (R,) positions each.

    The search starts at the ends of the rising part. The point farthest above the chord between two vertices is a
    vertex itself. It takes the place of one of the two, so that the chord still passes `at`, until no point lies above
    the chord.
    """
    lefts, rights = np.zeros(len(at), np.int64), np.zeros(len(at), np.int64)
    for r in range(len(at)):
        left, right = 0, np.argmax(quality[r])
        while True:
            rise, run = quality[r, right] - quality[r, left], cost[r, right] - cost[r, left]
            slope = rise / run if run > 0 else 0.0
            highest, most = 0, -np.inf
            for k in range(quality.shape[1]):
                above = (quality[r, k] - quality[r, left]) - (cost[r, k] - cost[r, left]) * slope
                if above > most:
                    highest, most = k, above
            # Where nothing has a cost, the right end itself lies above the chord, whose slope is then taken as 0.
            if not most > 1e-12 or highest == right:
                break
            if x[r, highest] >= at[r]:
                right = highest
            else:
                left = highest
        lefts[r], rights[r] = left, right
    return lefts, rights


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
    sums, areas = (dict.fromkeys(scopes, 0.0) for _ in range(2))
    for name in dict.fromkeys(name for tasks in scopes.values() for name in tasks):
        pooled, of_seeds = _of_task(run, cells, method, seeds, name, rate, weights)
        for scope in (scope for scope, tasks in scopes.items() if name in tasks):
            sums[scope] = sums[scope] + pooled / len(scopes[scope])
            areas[scope] = areas[scope] + of_seeds / len(scopes[scope])
    return {
        scope: Sampled(rate, *np.split(sums[scope], 2, axis=1), np.einsum("rs,rs->r", _s_d(areas[scope]), weights))
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
    run: Run,
    cells: averages.Cells,
    method: str,
    seeds: Sequence[int],
    name: str,
    rate: np.ndarray,
    weights: np.ndarray,
) -> tuple[np.ndarray, np.ndarray]:
    """Of every resample the quality, then the cost, at the rates, (R, 2K), and the three areas of `_s_d`, (R, S, 3).

    Args:
        weights: (R, S), with which the curves of the seeds are averaged; the areas stay apart.
    """
    ids = run.examples[name].ids
    outcomes = {seed: cells[method, seed, name].outcomes(run.rule, ids) for seed in seeds}
    sweep = _CurveSweep(resampling.paired(name, tuple(seeds), outcomes), rate)
    streams = resampling.Streams(np.random.default_rng(DRAWS))
    values = streams.map(name, len(ids), RESAMPLES, sweep, beside=[weights])
    pooled, areas = np.split(values, [2 * len(rate)], axis=1)
    return pooled, areas.reshape(len(values), len(seeds), 3)


class _CurveSweep:
    """Resampled curves of a method's models, one per seed, on one task.

    Args:
        outcomes: of each seed, S of them. rate: (K,) deferral rates.
    """

    def __init__(self, outcomes: Sequence[Outcomes], rate: np.ndarray):
        self.rate = rate
        self.small, self.large, self.cost = (
            np.stack([getattr(one, column) for one in outcomes], axis=1)
            for column in ("quality_small", "quality_large", "cost_small")
        )
        gains = [one.quality_large - one.quality_small for one in outcomes]
        self.curves = [
            Sweep(one.score, np.stack([gain, one.cost_large], axis=1))
            for one, gain in zip(outcomes, gains, strict=True)
        ]
        self.areas = [Sweep(one.score, gain) for one, gain in zip(outcomes, gains, strict=True)]
        self.oracles = [Sweep(-gain, gain) for gain in gains]

    def __call__(self, counts: np.ndarray, weights: np.ndarray) -> np.ndarray:
        """(B, 2K + 3S): quality and cost at the rates, averaged over seeds; of each seed the three areas of `_s_d`.

        Args:
            counts: (n, B), how often each resample has each example. weights: (B, S) of the seeds.
        """
        n, rows = len(counts), rows_of(counts)
        small, large, cost = (weighted_sums(columns, counts) / n for columns in (self.small, self.large, self.cost))
        pooled = np.zeros((2, len(rows), len(self.rate)))
        for seed, curves in enumerate(self.curves):
            curves.add_curves(rows, np.stack([small[seed], cost[seed]]), self.rate, weights[:, seed], pooled)
        audc, oracle = (
            small + np.concatenate([sweep.areas(counts) for sweep in sweeps]) / n**2
            for sweeps in (self.areas, self.oracles)
        )
        areas = np.stack([audc, (small + large) / 2, oracle], axis=-1)  # (S, B, 3)
        return np.concatenate([*pooled, *areas], axis=1)
