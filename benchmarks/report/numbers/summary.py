"""Everything the report shows as numbers: averages over tasks, spreads over seeds, intervals, references."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages, measures, splits
from benchmarks.report.numbers.averages import Measured, mean, over_seeds
from benchmarks.report.numbers.cells import ORACLE, RANDOM, Cell
from benchmarks.report.numbers.intervals import DRAWS, RESAMPLES, Intervals
from benchmarks.report.numbers.rules import Kind, by_kind
from benchmarks.report.reading.load import START, Key, Run
from benchmarks.tasks import task
from cat_keras.errors import unknown_name
from cat_keras.evaluation.bands import Band
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.evaluation.curves import DeferralCurve

__all__ = ["DRAWS", "RATES", "RESAMPLES", "Measured", "Row", "Summary", "over_seeds", "summarize"]

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)


@dataclass(frozen=True, eq=False)
class Row:
    """A line of the main table: a method, or a reference that has a curve.

    Attributes:
        name: as printed. method: "" for references. seeds: those that the averages take.
        curves: seed → curve averaged over tasks. curve: their average, None when no seed is complete.
        quality: at `RATES`. audc, s_d, auroc, cost: see `tables`. live: share of live tokens in training.
        measures: every other metric, see `measures`: of the curve, or of the score averaged over tasks.
        undefined: metric of the score → tasks on which it is not defined, which its average leaves out.
        interval, difference: 95 % intervals of AUDC and of its difference to the baseline, None where not computable.
        p_value: of that difference, NaN likewise.
        holes: what the averages lack, in words. alike: tasks without an AUROC: all answers right or all wrong.
    """

    name: str
    method: str
    seeds: tuple[int, ...]
    curves: Mapping[int, DeferralCurve]
    curve: DeferralCurve | None
    quality: tuple[Measured, ...]
    audc: Measured
    s_d: Measured
    auroc: Measured
    cost: Measured
    live: Measured
    measures: Mapping[str, Measured] = field(default_factory=dict)
    undefined: Mapping[str, tuple[str, ...]] = field(default_factory=dict)
    interval: Interval | None = None
    difference: Interval | None = None
    p_value: float = float("nan")
    holes: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Summary:
    """All numbers of a report.

    Attributes:
        run: where they come from. cells: one per complete (method, seed, task). baseline: what methods are compared to.
        rows: methods in the order of the manifest. references: the start, random and oracle deferral of the baseline.
        target: the quality at which costs are compared, NaN without a baseline.
        large_quality, large_cost: of the large model alone, averaged over the covered tasks.
        cost_range: FLOPs per query that AIQ is over, common to all methods. intervals: what they are drawn from.
        strata: group → (number of tasks, row name → quality).
    """

    run: Run
    cells: Mapping[tuple[str, int, str], Cell]
    baseline: str
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    target: float
    large_quality: float
    large_cost: float
    cost_range: measures.Range
    intervals: Intervals
    strata: Mapping[str, tuple[int, dict[str, Measured]]] = field(default_factory=dict)
    _bands: dict[str | None, dict[str, dict[str, Band]]] = field(default_factory=dict, init=False, repr=False)

    def row(self, method: str) -> Row:
        return next(row for row in (*self.rows, *self.references) if row.method == method)

    @cached_property
    def rules(self) -> dict[str, Kind]:
        """Deferral rules × methods, by kind of task."""
        return by_kind(self.run, self.cells, self.baseline)

    def scopes(self) -> dict[str, tuple[str, ...]]:
        """Averages over tasks: "all", then "suite: …" and "cluster: …" where these are not all covered tasks."""
        found = {"all": self.run.covered}
        for kind in ("suite", "cluster"):
            for name in self.run.covered:
                declared = task.get(name)
                for group in declared.suites if kind == "suite" else (declared.cluster,):
                    found[f"{kind}: {group}"] = (*found.get(f"{kind}: {group}", ()), name)
        return {scope: tasks for scope, tasks in found.items() if scope == "all" or len(tasks) < len(self.run.covered)}

    def only(self, tasks: Iterable[str]) -> "Summary":
        """The summary of some of the tasks alone, from the same resamples.

        Raises:
            CatKerasError: a task that the run does not have.
        """
        return _summary(_restricted(self.run, tuple(tasks)), self.cells, self.intervals)

    def bands(self, versus: str | None = None) -> dict[str, dict[str, Band]]:
        """Scope or covered task → method → band of its curve, computed on first use.

        Args:
            versus: a method: bands of the difference to it instead.

        Returns:
            methods and the start, each with the seeds that have the whole scope; absent where there is none.
        """
        if versus not in self._bands:
            scopes = {**self.scopes(), **{name: (name,) for name in self.run.covered}}
            self._bands[versus] = self.intervals.bands({k: v for k, v in scopes.items() if v}, versus)
        return self._bands[versus]


def summarize(run: Run) -> Summary:
    """Computes everything; needs no model and no framework."""
    cells = {key: Cell(run, *key) for key in run.small if key[2] in run.large}
    return _summary(run, cells, Intervals(run, cells))


def _summary(run: Run, cells: Mapping[Key, Cell], intervals: Intervals) -> Summary:
    cells = {key: cell for key, cell in cells.items() if key[2] in run.large}
    baseline = "xent" if "xent" in run.methods else run.methods[0]
    shared = _Shared(
        run, cells, baseline, intervals,
        target=_target(run, cells, baseline),
        large_cost=mean(run.large[name]["flops"].mean() for name in run.covered),
        cost_range=measures.cost_range(
            curve for method in run.methods for curve in _curves(run, cells, method, run.rule).values()
        ),
    )  # fmt: skip
    rows = tuple(_row(shared, method) for method in run.methods)
    references = [_row(shared, START)] if run.start_seeds else []
    references += [_row(shared, baseline, rule) for rule in (RANDOM, ORACLE)]
    return Summary(
        run, cells, baseline, rows, tuple(references), shared.target,
        large_quality=mean(run.large[name]["quality"].mean() for name in run.covered),
        large_cost=shared.large_cost,
        cost_range=shared.cost_range,
        intervals=intervals,
        strata=splits.strata(run),
    )  # fmt: skip


def _restricted(run: Run, tasks: tuple[str, ...]) -> Run:
    for name in tasks:
        if name not in run.tasks:
            raise unknown_name("task of the run", name, run.tasks)
    return replace(
        run,
        tasks=tuple(name for name in run.tasks if name in tasks),
        small={key: cell for key, cell in run.small.items() if key[2] in tasks},
        large={name: cell for name, cell in run.large.items() if name in tasks},
        missing=tuple(cell for cell in run.missing if cell.rpartition("/")[2] in tasks),
    )


class _Shared(NamedTuple):
    """What every row is computed from; see `Summary`."""

    run: Run
    cells: Mapping[Key, Cell]
    baseline: str
    intervals: Intervals
    target: float
    large_cost: float
    cost_range: measures.Range


def _curves(run: Run, cells, method: str, rule: str) -> dict[int, DeferralCurve]:
    """Seed → curve averaged over all covered tasks, for the complete seeds."""
    return averages.curves(cells, method, run.complete_seeds(method), run.covered, rule)


def _target(run: Run, cells, baseline: str) -> float:
    curve = averages.pooled(_curves(run, cells, baseline, run.rule))
    return float(curve.quality_at(0.5)) if curve else float("nan")


def _row(shared: _Shared, method: str, rule: str = "") -> Row:
    """The line of a method, or (with a rule) of a reference: how that rule would do on the same predictions."""
    run, cells = shared.run, shared.cells
    curves = _curves(run, cells, method, rule or run.rule)
    curve, seeds = averages.pooled(curves), tuple(curves)
    s_d = averages.s_d(cells, method, curves, run.covered)
    aurocs = [[cells[method, seed, name].auroc_right for name in run.covered] for seed in seeds]
    aurocs = [mean(value for value in own if not np.isnan(value)) for own in aurocs]
    costs = [each.cost_at_quality(shared.target) for each in curves.values()]
    interval, difference, p_value = (None, None, float("nan")) if rule else _inference(shared, method)
    return Row(
        name=f"{method}, {rule}" if rule else method,
        method="" if rule else method,
        seeds=seeds,
        curves=curves,
        curve=curve,
        quality=tuple(over_seeds(float(each.quality_at(rate)) for each in curves.values()) for rate in RATES),
        audc=over_seeds(each.audc for each in curves.values()),
        s_d=Measured(mean(s_d)) if rule else over_seeds(s_d),  # 0 and 1 by definition, in every seed
        auroc=Measured(float("nan")) if rule else over_seeds(aurocs),
        # Of the averaged curve, so that a seed that does not reach the target is no hole.
        cost=Measured(curve.cost_at_quality(shared.target) if curve else float("nan"), over_seeds(costs).sd),
        live=over_seeds(() if rule or method == START else run.live(method)),
        measures=_measures(shared, curves, "" if rule else method),
        undefined={} if rule else _undefined(shared, method, seeds),
        interval=interval,
        difference=difference,
        p_value=p_value,
        holes=_holes(run, cells, method),
        alike=() if rule else _alike(run, cells, method, seeds),
    )


def _inference(shared: _Shared, method: str) -> tuple[Interval | None, Interval | None, float]:
    """Interval of the AUDC, that of its difference to the baseline, and the p-value of the difference."""
    tasks, intervals = shared.run.covered, shared.intervals
    versus = intervals.versus(method, shared.baseline, tasks) or (None, float("nan"))
    return intervals.of(method, tasks), *versus


def _measures(shared: _Shared, curves: Mapping[int, DeferralCurve], method: str) -> dict[str, Measured]:
    """Of the curves and, for a method, of its scores; over seeds."""
    by_seed = []
    for seed, curve in curves.items():
        found = measures.of_curve(curve, shared.cost_range, shared.large_cost)
        scores = [shared.cells[method, seed, name].measures for name in shared.run.covered] if method else []
        for key in scores[0] if scores else ():
            found[key] = mean(each[key] for each in scores if not np.isnan(each[key]))
        by_seed.append(found)
    return {key: over_seeds(each[key] for each in by_seed) for key in (by_seed[0] if by_seed else ())}


def _undefined(shared: _Shared, method: str, seeds: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    found: dict[str, dict[str, None]] = {}
    for name in shared.run.covered:
        for seed in seeds:
            for key, value in shared.cells[method, seed, name].measures.items():
                if np.isnan(value):
                    found.setdefault(key, {})[name] = None
    return {key: tuple(names) for key, names in found.items()}


def _holes(run: Run, cells, method: str) -> tuple[str, ...]:
    holes = [f"task {name}: the large model's answers are missing" for name in run.tasks if name not in run.large]
    for seed in run.start_seeds if method == START else run.seeds:
        lacks = [name for name in run.covered if (method, seed, name) not in cells]
        if lacks:
            holes.append(f"seed {seed}: left out, {', '.join(lacks)} missing")
    return tuple(holes)


def _alike(run: Run, cells, method: str, seeds: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(name for name in run.covered if any(np.isnan(cells[method, s, name].auroc_right) for s in seeds))
