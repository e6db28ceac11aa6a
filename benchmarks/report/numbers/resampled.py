"""Whole trade-offs in every resample, averaged over tasks and seeds, and what is read off many of them at once."""

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
MOST = 401  # points of a curve: with tasks of more examples, it is straight between them


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
        enough = quality - ROUNDING * np.abs(self.quality).max(axis=1)
        reached = enough <= self.quality.max(axis=1)
        return np.where(reached, self._read(self.quality, self.cost, enough), np.nan)

    def quality_at_cost(self, budget: np.ndarray) -> np.ndarray:
        """(R,): `DeferralCurve.quality_at_cost` of (R,) budgets, NaN below the cost of the small model alone."""
        affordable = budget >= self.cost[:, 0] * (1 - ROUNDING)
        return np.where(affordable, self._read(self.cost, self.quality, budget), np.nan)

    def _read(self, known: np.ndarray, wanted: np.ndarray, at: np.ndarray) -> np.ndarray:
        """On the rising part of each upper hull, `wanted` where `known` is `at`; level beyond its ends."""
        at = np.broadcast_to(at, len(self.cost))
        left, right = self._edge(known, at)
        (x0, x1), (y0, y1) = ((_pick(each, left), _pick(each, right)) for each in (known, wanted))
        share = np.divide(at - x0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
        return y0 + np.clip(share, 0, 1) * (y1 - y0)

    def _edge(self, known: np.ndarray, at: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Ends of the edge of each upper hull on which `known` passes `at`, (R,) positions each.

        The point farthest above the chord between two vertices is a vertex, and takes the place of one of them, until
        no point is above.
        """
        rows = np.arange(len(at))
        left, right = np.zeros(len(at), np.int64), self.quality.argmax(axis=1)
        while len(rows):
            cost, quality = self.cost[rows], self.quality[rows]
            (x0, x1), (y0, y1) = ((_pick(c, left[rows]), _pick(c, right[rows])) for c in (cost, quality))
            slope = np.divide(y1 - y0, x1 - x0, out=np.zeros_like(x0), where=x1 > x0)
            above = (quality - y0[:, None]) - slope[:, None] * (cost - x0[:, None])
            highest = above.argmax(axis=1)
            found = (_pick(above, highest) > 1e-12) & (highest != right[rows])  # it is, where nothing has a cost
            rows, highest = rows[found], highest[found]
            past = known[rows, highest] >= at[rows]
            right[rows[past]], left[rows[~past]] = highest[past], highest[~past]
        return left, right


def _pick(columns: np.ndarray, places: np.ndarray) -> np.ndarray:
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
    for name in dict.fromkeys(name for own in scopes.values() for name in own):
        drawn = _of_task(run, cells, method, seeds, name, rate)
        pooled = np.einsum("rsk,rs->rk", drawn[..., :-3], weights)
        for scope in (scope for scope, own in scopes.items() if name in own):
            curves[scope] = curves[scope] + pooled / len(scopes[scope])
            areas[scope] = areas[scope] + drawn[..., -3:] / len(scopes[scope])
    return {
        scope: Sampled(rate, *np.split(curves[scope], 2, axis=1), np.einsum("rs,rs->r", _s_d(areas[scope]), weights))
        for scope in scopes
    }


def _rates(run: Run) -> np.ndarray:
    """Deferral rates between which every resampled curve is straight, unless these are too many."""
    sizes = {len(run.examples[name]) for name in run.covered}
    rates = np.unique(np.concatenate([np.arange(n + 1) / n for n in sizes]))
    return rates if len(rates) <= MOST else np.linspace(0, 1, MOST)


def _s_d(areas: np.ndarray) -> np.ndarray:
    """From areas (..., 3) of the rule, of random deferral and of the oracle."""
    own, random, oracle = np.moveaxis(areas, -1, 0)
    room = oracle - random
    some = room > ROUNDING * np.maximum(np.abs(oracle), np.abs(random))
    return np.divide(own - random, room, out=np.full_like(room, np.nan), where=some)


def _of_task(run: Run, cells, method: str, seeds: Sequence[int], name: str, rate: np.ndarray) -> np.ndarray:
    """(R, S, 2K + 3): quality, then cost, at the rates, and the areas that s_d takes."""
    ids = run.examples[name].ids
    own = {seed: cells[method, seed, name].outcomes(run.rule, ids) for seed in seeds}
    swept = [_Swept(each, rate) for each in resampling.paired(name, tuple(seeds), own)]

    def compute(counts):
        found = np.empty((len(counts), len(swept), 2 * len(rate) + 3))
        for i, each in enumerate(swept):
            each(counts, found[:, i])
        return found

    return resampling.Streams(np.random.default_rng(DRAWS)).map(name, len(ids), RESAMPLES, compute)


class _Swept:
    """One model on one task: counts (B, n) → (B, 2K + 3), see `_of_task`.

    A resample of n examples has its kinks at multiples of 1 / n. There its curve is the running sum over the examples
    in the order of deferral, each as often as it was drawn; examples with equal scores take their mean.
    """

    def __init__(self, own: Outcomes, rate: np.ndarray):
        self.n, self.rate = len(own), rate
        self.alone = own.quality_small / self.n, own.cost_small / self.n
        gain = own.quality_large - own.quality_small
        self.order, last = tie_groups(own.score)
        self.first = np.append(0, last[:-1] + 1)
        self.steps = [step[self.order] / self.n for step in (gain, own.cost_large)]
        # Equal gains may be deferred one by one in any order, which is faster than together.
        rank = np.empty(self.n)
        rank[np.argsort(-gain, kind="stable")] = np.arange(self.n)
        self.ideal = Sweep(Outcomes(rank, own.quality_small, own.quality_large))

    def __call__(self, counts: np.ndarray, out: np.ndarray):
        k, curves = len(self.rate), self._curves(counts)
        out[:, :k], out[:, k : 2 * k] = map(self._at_rates, curves)
        random = (curves[0][:, 0] + curves[0][:, -1]) / 2
        out[:, -3:] = np.stack([(curves[0].sum(axis=1) - random) / self.n, random, self.ideal.audc(counts)], axis=1)

    def _curves(self, counts: np.ndarray) -> list[np.ndarray]:
        """Quality and cost at every multiple of 1 / n, (B, n + 1) each."""
        ordered = counts.take(self.order, axis=1, mode="clip")  # other modes copy
        size, steps = ordered, [np.tile(step, len(counts)) for step in self.steps]
        if len(self.first) < self.n:
            size = np.add.reduceat(ordered, self.first, axis=1)
            totals = (np.add.reduceat(ordered * step, self.first, axis=1) for step in self.steps)
            steps = [(total / np.maximum(size, 1)).ravel() for total in totals]
        drawn = np.repeat(np.arange(size.size), size.ravel().astype(np.int64))
        return [self._curve(counts, *each, drawn) for each in zip(self.alone, steps, strict=True)]

    def _curve(self, counts: np.ndarray, alone: np.ndarray, step: np.ndarray, drawn: np.ndarray) -> np.ndarray:
        curve = np.empty((len(counts), self.n + 1))
        curve[:, 0] = np.einsum("rn,n->r", counts, alone)
        curve[:, 1:] = step.take(drawn, mode="clip").reshape(counts.shape)
        return np.cumsum(curve, axis=1, out=curve)

    def _at_rates(self, curve: np.ndarray) -> np.ndarray:
        if len(self.rate) == self.n + 1:  # then these are its kinks, as all of them are among the rates
            return curve
        at = self.rate * self.n
        left = np.minimum((at + ROUNDING).astype(np.int64), self.n - 1)
        before = curve[:, left]
        return before + (at - left) * (curve[:, left + 1] - before)
