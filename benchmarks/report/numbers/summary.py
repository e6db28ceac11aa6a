"""The summary of a run: a row of averages per method, with spreads over seeds and intervals, and its references."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from functools import cached_property
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages, measures
from benchmarks.report.numbers.averages import Measured, mean, over_seeds
from benchmarks.report.numbers.cells import ORACLE, RANDOM, Cell
from benchmarks.report.numbers.intervals import DRAWS, RESAMPLES, Intervals
from benchmarks.report.numbers.rules import Kind, by_kind
from benchmarks.report.numbers.strata import strata
from benchmarks.report.reading.load import START, Key, Run
from benchmarks.tasks import task
from cat_keras.errors import unknown_name
from cat_keras.evaluation.bands import Band
from cat_keras.evaluation.bootstrap import Interval
from cat_keras.evaluation.curves import DeferralCurve

__all__ = ["DRAWS", "RATES", "RESAMPLES", "Measured", "Row", "Summary", "over_seeds", "summarize"]

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)  # of deferral, at which the main table gives the quality
NAN = float("nan")


@dataclass(frozen=True, eq=False)
class Row:
    """A line of the main table: a method, or a reference that has a curve.

    Attributes:
        name: as printed. method: "" for a reference that is a deferral rule. seeds: those that the averages take.
        curves: seed → curve averaged over tasks. curve: their average, None when no seed is complete.
        quality: at `RATES`. audc, s_d, auroc, cost: explained in the notes of `main_tables.main_table`.
        live: share of live tokens in training.
        measures: every other metric, see `measures`: of the curve, or of the score averaged over tasks.
        undefined: metric of the score → tasks on which it is not defined, which its average leaves out.
        interval, difference: 95 % intervals of AUDC and of its difference to the baseline, None where not computable.
        p_value: of that difference, NaN likewise.
        holes: what the averages lack, in words.
        alike: tasks without an AUROC, since all answers to them are right or all are wrong.
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
    p_value: float = NAN
    holes: tuple[str, ...] = ()
    alike: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Summary:
    """All numbers of a report.

    Attributes:
        run: what they are computed from. cells: one per complete (method, seed, task).
        baseline: the method that the others are compared with.
        rows: methods in the order of the manifest. references: the start, random and oracle deferral of the baseline.
        target: the quality at which costs are compared, NaN without a baseline.
        large_quality, large_cost: of the large model alone, averaged over the covered tasks.
        cost_range: FLOPs per query that AIQ is over, common to all methods. intervals: the resamples of all tasks.
        strata: group → (number of tasks, method or "large" → quality), see `strata`.
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
        """The line of a method or of the start."""
        return next(row for row in (*self.rows, *self.references) if row.method == method)

    @cached_property
    def rules(self) -> dict[str, Kind]:
        """Kind of task → deferral rules × methods on these tasks."""
        return by_kind(self.run, self.cells, self.baseline)

    def scopes(self) -> dict[str, tuple[str, ...]]:
        """Averages over tasks: "all", then "suite: …" and "cluster: …" where these are not all covered tasks."""
        covered = self.run.covered
        by_scope = {"all": covered}
        for kind in ("suite", "cluster"):
            for name in covered:
                declared = task.get(name)
                for group in declared.suites if kind == "suite" else (declared.cluster,):
                    scope = f"{kind}: {group}"
                    by_scope[scope] = (*by_scope.get(scope, ()), name)
        return {scope: tasks for scope, tasks in by_scope.items() if scope == "all" or len(tasks) < len(covered)}

    def only(self, tasks: Iterable[str]) -> "Summary":
        """The summary of some of the tasks alone, from the same resamples.

        Raises:
            CatKerasError: a task that the run does not have.
        """
        tasks, run = tuple(tasks), self.run
        for name in tasks:
            if name not in run.tasks:
                raise unknown_name("task of the run", name, run.tasks)
        part = replace(
            run,
            tasks=tuple(name for name in run.tasks if name in tasks),
            small={key: cell for key, cell in run.small.items() if key[2] in tasks},
            large={name: cell for name, cell in run.large.items() if name in tasks},
            missing=tuple(cell for cell in run.missing if cell.rpartition("/")[2] in tasks),
        )
        return _summary(part, self.cells, self.intervals)

    def bands(self, versus: str | None = None) -> dict[str, dict[str, Band]]:
        """Scope or covered task → method → band of its curve, computed on first use.

        Args:
            versus: a method: bands of the difference to it instead.

        Returns:
            methods and the start, each with the seeds that have the whole scope; absent where there is none.
        """
        if versus not in self._bands:
            scopes = {**self.scopes(), **{name: (name,) for name in self.run.covered}}
            made = self.intervals.bands({k: v for k, v in scopes.items() if v}, versus or self.baseline)
            for kind, by_scope in made.items():
                self._bands.setdefault(kind, by_scope)
        return self._bands[versus]


def summarize(run: Run) -> Summary:
    """Computes everything; needs no model and no framework."""
    cells = {key: Cell(run, *key) for key in run.small if key[2] in run.large}
    return _summary(run, cells, Intervals(run, cells))


def _summary(run: Run, cells: Mapping[Key, Cell], intervals: Intervals) -> Summary:
    cells = {key: cell for key, cell in cells.items() if key[2] in run.large}
    baseline = "xent" if "xent" in run.methods else run.methods[0]
    baseline_curve = averages.pooled(_curves(run, cells, baseline, run.rule))
    inputs = _Inputs(
        run=run,
        cells=cells,
        baseline=baseline,
        intervals=intervals,
        target=float(baseline_curve.quality_at(0.5)) if baseline_curve else NAN,
        large_cost=mean(run.large[name]["flops"].mean() for name in run.covered),
        cost_range=measures.cost_range(
            curve for method in run.methods for curve in _curves(run, cells, method, run.rule).values()
        ),
    )
    references = [_method_row(inputs, START)] if run.start_seeds else []
    references += [_rule_row(inputs, rule) for rule in (RANDOM, ORACLE)]
    return Summary(
        run=run,
        cells=cells,
        baseline=baseline,
        rows=tuple(_method_row(inputs, method) for method in run.methods),
        references=tuple(references),
        target=inputs.target,
        large_quality=mean(run.large[name]["quality"].mean() for name in run.covered),
        large_cost=inputs.large_cost,
        cost_range=inputs.cost_range,
        intervals=intervals,
        strata=strata(run),
    )


class _Inputs(NamedTuple):
    """What every row is computed from; see `Summary`."""

    run: Run
    cells: Mapping[Key, Cell]
    baseline: str
    intervals: Intervals
    target: float
    large_cost: float
    cost_range: measures.Range


def _curves(run: Run, cells: Mapping[Key, Cell], method: str, rule: str) -> dict[int, DeferralCurve]:
    """Seed → curve averaged over all covered tasks, for the complete seeds."""
    return averages.curves(cells, method, run.complete_seeds(method), run.covered, rule)


def _method_row(inputs: _Inputs, method: str) -> Row:
    """The line of a method: what its curves say, what its scores say, and what the resamples say."""
    run, cells = inputs.run, inputs.cells
    row = _curve_row(inputs, method, method, run.rule)
    of_seed = [[cells[method, seed, name] for name in run.covered] for seed in row.seeds]
    aurocs = [_mean_of_defined(cell.auroc_right for cell in group) for group in of_seed]
    scores = [
        {key: _mean_of_defined(cell.measures[key] for cell in group) for key in group[0].measures} for group in of_seed
    ]
    difference, p_value = inputs.intervals.versus(method, inputs.baseline, run.covered) or (None, NAN)
    return replace(
        row,
        method=method,
        s_d=over_seeds(averages.s_d(cells, method, row.curves, run.covered)),
        auroc=over_seeds(aurocs),
        live=over_seeds(() if method == START else run.live(method)),
        measures={**row.measures, **_each_over_seeds(scores)},
        undefined=_undefined(inputs, method, row.seeds),
        interval=inputs.intervals.of(method, run.covered),
        difference=difference,
        p_value=p_value,
        alike=tuple(
            name for name in run.covered if any(np.isnan(cells[method, s, name].auroc_right) for s in row.seeds)
        ),
    )


def _rule_row(inputs: _Inputs, rule: str) -> Row:
    """The line of a reference: how another rule would do on the answers of the baseline."""
    row = _curve_row(inputs, f"{inputs.baseline}, {rule}", inputs.baseline, rule)
    s_d = averages.s_d(inputs.cells, inputs.baseline, row.curves, inputs.run.covered)
    return replace(row, s_d=Measured(mean(s_d)))  # without a spread: it is 0 or 1 by definition, in every seed


def _curve_row(inputs: _Inputs, name: str, method: str, rule: str) -> Row:
    """What the curves alone say when the answers of a method are deferred by a rule; all else is left undefined."""
    run, target = inputs.run, inputs.target
    curves = _curves(run, inputs.cells, method, rule)
    curve = averages.pooled(curves)
    spread = over_seeds(c.cost_at_quality(target) for c in curves.values()).sd
    return Row(
        name=name,
        method="",
        seeds=tuple(curves),
        curves=curves,
        curve=curve,
        quality=tuple(over_seeds(float(c.quality_at(rate)) for c in curves.values()) for rate in RATES),
        audc=over_seeds(c.audc for c in curves.values()),
        s_d=Measured(NAN),
        auroc=Measured(NAN),
        # The mean is that of the averaged curve, so that one seed that does not reach the target is no hole.
        cost=Measured(curve.cost_at_quality(target) if curve else NAN, spread),
        live=Measured(NAN),
        measures=_each_over_seeds(
            [measures.of_curve(c, inputs.cost_range, inputs.large_cost) for c in curves.values()]
        ),
        holes=_holes(run, inputs.cells, method),
    )


def _each_over_seeds(by_seed: list[dict[str, float]]) -> dict[str, Measured]:
    """Metric → its mean and spread over seeds; {} without seeds."""
    return {key: over_seeds(values[key] for values in by_seed) for key in (by_seed[0] if by_seed else ())}


def _mean_of_defined(values: Iterable[float]) -> float:
    return mean(value for value in values if not np.isnan(value))


def _undefined(inputs: _Inputs, method: str, seeds: tuple[int, ...]) -> dict[str, tuple[str, ...]]:
    by_metric: dict[str, dict[str, None]] = {}
    for name in inputs.run.covered:
        for seed in seeds:
            for key, value in inputs.cells[method, seed, name].measures.items():
                if np.isnan(value):
                    by_metric.setdefault(key, {})[name] = None
    return {key: tuple(names) for key, names in by_metric.items()}


def _holes(run: Run, cells: Mapping[Key, Cell], method: str) -> tuple[str, ...]:
    holes = [f"task {name}: the large model's answers are missing" for name in run.tasks if name not in run.large]
    for seed in run.expected_seeds(method):
        missing = [name for name in run.covered if (method, seed, name) not in cells]
        if missing:
            holes.append(f"seed {seed}: left out, {', '.join(missing)} missing")
    return tuple(holes)
