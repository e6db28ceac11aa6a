"""What each method changes against the baseline and against other methods: differences with their intervals."""

from collections.abc import Iterator, Sequence
from functools import cache, cached_property, partial
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages, grids
from benchmarks.report.numbers.cells import ORACLE
from benchmarks.report.numbers.outcome import outcome
from benchmarks.report.numbers.per_task import Record
from benchmarks.report.numbers.resampled_curves import Sampled, exact, resampled
from benchmarks.report.numbers.scopes import Scope
from benchmarks.report.numbers.summary import Summary
from cat_keras.evaluation import significance

CAT = ("cat-xent", "cat-dist")
OBJECTIVES = ("xent", "dist", *CAT)  # those of the paper; every other method of a run is a control or a rival
# The paper's headline: cost at matched quality, as a relative change, and gain in quality at matched cost.
SAVING, POINTS = -0.5, 0.02

NAN = float("nan")


class Change(NamedTuple):
    """A difference of two methods.

    Attributes:
        method, versus: the difference is the first minus the second.
        scope, tasks: name of the average and number of its tasks. seeds: how many both methods have.
        measure: one of `differences`, or "audc".
        estimate, low, high: the difference with its 95 % interval; infinite where resamples do not reach what is
            compared.
        p: of "no difference". unreached: number of resamples in which the measure is not defined.
        p_holm: corrected for all methods that this one is compared with; NaN against the baseline.
    """

    method: str
    versus: str
    scope: str
    tasks: int
    seeds: int
    measure: str
    estimate: float
    low: float
    high: float
    p: float
    unreached: int = 0
    p_holm: float = NAN

    @property
    def outcome(self) -> str:
        """ "win", "tie" or "loss" by `p_holm`."""
        return outcome(self.estimate, self.p_holm)


def differences(curves: Sampled, base: Sampled) -> dict[str, np.ndarray]:
    """Measure → (R,) differences, `curves` minus `base`; NaN where undefined. Qualities in [0, 1].

    `s_d`: the deferral gain between random (0) and the oracle (1). `small`, `quality_25`: the quality at 0 and at 25 %
    deferral.

    `cost`: the cost of the quality that the baseline's cascade has at 50 % deferral, as a share of what the baseline
    pays for it, minus 1. `quality_same_cost`: the quality for what the baseline's cascade costs at 50 % deferral.
    `quality_half_cost`: the quality for half of what the baseline pays for the quality named first, minus that quality;
    it is not negative where half the cost is enough.
    """
    target, budget, paid, quality = base.halfway
    paid = np.where(paid > 0, paid, np.nan)
    return {
        "s_d": curves.s_d - base.s_d,
        "small": curves.quality[:, 0] - base.quality[:, 0],
        "quality_25": curves.at(curves.quality, 0.25) - base.at(base.quality, 0.25),
        "cost": curves.cost_at_quality(target) / paid - 1,
        "quality_same_cost": curves.quality_at_cost(budget) - quality,
        "quality_half_cost": curves.quality_at_cost((1 + SAVING) * paid) - target,
    }


# What an undefined difference counts as in a resample: more than any cost, less than any quality.
UNREACHED = {"cost": np.inf, "quality_same_cost": -np.inf, "quality_half_cost": -np.inf}


def without_price(base: Sampled) -> set[str]:
    """Measures that have no meaning: all over cost where FLOPs are not known, and shares of a cost that is 0.

    Args:
        base: the baseline's own curve. A target that it reaches, as it does, has a price if its costs have.
    """
    if np.isnan(base.cost).any():
        return set(UNREACHED)
    return set() if base.halfway.paid[0] > 0 else {"cost", "quality_half_cost"}


class Changes:
    """The changes of a run's methods, computed on first use.

    Args:
        summary: of the run. scopes: averages, all tasks first.
    """

    def __init__(self, summary: Summary, scopes: Sequence[Scope]):
        self.summary, self.scopes = summary, scopes
        self._exact = cache(self._exact_curves)
        self._base = cache(partial(self._resampled_curves, summary.baseline))  # every method is compared with it

    @cached_property
    def versus_baseline(self) -> dict[tuple[str, str, str], Change]:
        """(scope, method, measure) → change.

        Of the baseline itself there is only `quality_half_cost`, since every other difference is 0 by definition.
        """
        changes = [change for method in self.summary.run.methods for change in self._of_method(method)]
        return {(change.scope, change.method, change.measure): change for change in changes}

    @cached_property
    def versus_others(self) -> dict[tuple[str, str], Change]:
        """(CAT method, other method) → change of the AUDC over all tasks; the baseline is none of the others."""
        run, changes = self.summary.run, {}
        for method in (name for name in CAT if name in run.methods):
            others = [name for name in run.methods if name not in (method, self.summary.baseline)]
            family = [change for other in others for change in self._audc(method, other, self.scopes[0])]
            corrected = significance.holm([change.p for change in family])
            for change, p_holm in zip(family, corrected, strict=True):
                changes[method, change.versus] = change._replace(p_holm=float(p_holm))
        return changes

    @cached_property
    def versus_same_point(self) -> dict[tuple[str, str], Change]:
        """(method, point) → change of the AUDC over all tasks against the baseline's method at that point of a grid."""
        names = {grids.split(name): name for name in self.summary.run.methods}
        base, changes = grids.split(self.summary.baseline)[0], {}
        for (method, point), name in names.items():
            if point and method != base and (base, point) in names:
                for change in self._audc(name, names[base, point], self.scopes[0]):
                    changes[method, point] = change
        return changes

    def needed(self, method: str) -> tuple[float, float]:
        """s_d with which a method would halve the baseline's cost, and would gain the headline's points at its cost.

        Its answers stay as they are, and its curve moves towards that of the per-example oracle. Infinite where even
        the oracle is not enough, the method's own s_d where nothing is missing; NaN without a complete seed, or where
        there is no price to compare.
        """
        scope = self.scopes[0]
        seeds = self._shared_seeds(method, scope)
        if not seeds:
            return NAN, NAN
        curves, base = (self._exact(name, seeds, scope) for name in (method, self.summary.baseline))
        oracle = averages.pooled(averages.curves(self.summary.cells, method, seeds, scope.tasks, ORACLE))
        moved = _towards(curves, Sampled.one(oracle))
        gains = differences(moved, base)
        reached = {"quality_half_cost": gains["quality_half_cost"] >= 0}
        reached |= {"quality_same_cost": gains["quality_same_cost"] >= POINTS}
        s_d = {name: float(moved.s_d[steps.argmax()]) if steps.any() else np.inf for name, steps in reached.items()}
        return tuple((s_d | dict.fromkeys(s_d.keys() & without_price(base), NAN)).values())

    def records(self) -> list[Record]:
        """The rows of `changes.csv`: quality in [0, 1], cost as a share of the baseline's."""
        every = (*self.versus_baseline.values(), *self.versus_others.values(), *self.versus_same_point.values())
        # Where the baseline is a point of a grid, its comparisons are among those at the same point too.
        distinct = {(c.method, c.versus, c.scope, c.measure): c for c in every}
        return [
            {"method": c.method, "baseline": c.versus, "scope": c.scope, "tasks": c.tasks, "seeds": c.seeds}
            | {"measure": c.measure, "estimate": c.estimate, "low": c.low, "high": c.high}
            | {"p": c.p, "p_holm": c.p_holm, "resamples_unreached": c.unreached}
            for c in distinct.values()
        ]

    def _of_method(self, method: str) -> Iterator[Change]:
        by_seeds: dict[tuple[int, ...], list[Scope]] = {}  # scopes with the same seeds are resampled together
        for scope in self.scopes:
            by_seeds.setdefault(self._shared_seeds(method, scope), []).append(scope)
        by_seeds.pop((), None)
        for seeds, scopes in by_seeds.items():
            base = self._base(seeds, tuple(scopes))
            curves = base if method == self.summary.baseline else self._resampled_curves(method, seeds, scopes)
            for scope in scopes:
                yield from self._in_scope(method, seeds, scope, curves[scope.name], base[scope.name])

    def _in_scope(
        self, method: str, seeds: tuple[int, ...], scope: Scope, curves: Sampled, base: Sampled
    ) -> Iterator[Change]:
        baseline = self.summary.baseline
        exact_base = self._exact(baseline, seeds, scope)
        estimates, meaningless = differences(self._exact(method, seeds, scope), exact_base), without_price(exact_base)
        yield from self._audc(method, baseline, scope)
        for measure, sample in differences(curves, base).items():
            if method != baseline or measure == "quality_half_cost":
                examples = sum(len(self.summary.run.examples[name]) for name in scope.tasks)
                numbers = _interval(float(estimates[measure][0]), sample, UNREACHED.get(measure, NAN), examples)
                if measure in meaningless:
                    numbers = (NAN, NAN, NAN, NAN)
                yield Change(method, baseline, scope.name, len(scope.tasks), len(seeds), measure, *numbers)

    def _audc(self, method: str, versus: str, scope: Scope) -> Iterator[Change]:
        """The change of the AUDC, from the resamples of the main table; nothing without a shared seed."""
        intervals = self.summary.intervals
        comparison = intervals.versus(method, versus, scope.tasks)
        if comparison:
            interval, p_value = comparison
            seeds = intervals.shared(method, versus, scope.tasks)
            yield Change(method, versus, scope.name, len(scope.tasks), len(seeds), "audc", *interval, p_value)

    def _shared_seeds(self, method: str, scope: Scope) -> tuple[int, ...]:
        """Seeds with which the method and the baseline have the whole scope."""
        return self.summary.intervals.shared(method, self.summary.baseline, scope.tasks) if scope.tasks else ()

    def _exact_curves(self, method: str, seeds: tuple[int, ...], scope: Scope) -> Sampled:
        return exact(self.summary.run, self.summary.cells, method, seeds, scope.tasks)

    def _resampled_curves(self, method: str, seeds: tuple[int, ...], scopes: Sequence[Scope]) -> dict[str, Sampled]:
        tasks = {scope.name: scope.tasks for scope in scopes}
        return resampled(self.summary.run, self.summary.cells, method, seeds, tasks)


def _interval(
    estimate: float, sample: np.ndarray, unreached: float, examples: int
) -> tuple[float, float, float, float, int]:
    """The last fields of a `Change`, up to `unreached`, from the differences in all resamples.

    Args:
        sample: (R,) differences, NaN where undefined. unreached: what these count as; if it is NaN, they are left out.
        examples: how many were resampled.
    """
    undefined = np.isnan(sample)
    sample = sample[~undefined] if np.isnan(unreached) else np.where(undefined, unreached, sample)
    if not len(sample):
        return estimate, NAN, NAN, NAN, int(undefined.sum())
    with np.errstate(invalid="ignore"):
        ends = np.quantile(sample, (0.025, 0.975))
    low, high = (float(unreached if np.isnan(end) else end) for end in ends)  # NaN: between two infinite values
    p_value = significance.two_sided(np.clip(sample, -1e9, 1e9), examples=examples)
    return estimate, low, high, p_value, int(undefined.sum())


def _towards(curve: Sampled, oracle: Sampled, steps: int = 1001) -> Sampled:
    """`steps` curves that lead evenly from one curve, of whatever s_d, to that of the oracle on the same answers."""
    rate, share = np.union1d(curve.rate, oracle.rate), np.linspace(0, 1, steps)[:, None]

    def mixed(name):
        start, end = (np.interp(rate, c.rate, getattr(c, name)[0]) for c in (curve, oracle))
        return start + share * (end - start)

    return Sampled(rate, mixed("quality"), mixed("cost"), curve.s_d + share[:, 0] * (1 - curve.s_d))
