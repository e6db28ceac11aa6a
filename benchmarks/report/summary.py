"""Everything the report shows as numbers: averages over tasks, spreads over seeds, intervals, references."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np

from benchmarks import task
from benchmarks.report.cells import ORACLE, RANDOM, Cell
from benchmarks.report.load import START, Run
from cat_keras import deferral
from cat_keras.bootstrap import AudcBootstrap, Interval, bootstrap_audc, pool_seeds
from cat_keras.curves import DeferralCurve, macro_average

RATES = (0.0, 0.25, 0.5, 0.75, 1.0)
RESAMPLES = 1000
DRAWS = 2406  # seed of every resampling: the same run gives the same interval to the last digit


class Measured(NamedTuple):
    """A mean over seeds and their standard deviation; NaN for what is undefined, `sd` NaN with one seed."""

    mean: float
    sd: float = float("nan")


def over_seeds(values: Iterable[float]) -> Measured:
    values = np.array(list(values), dtype=float)
    if not values.size:
        return Measured(float("nan"))
    return Measured(float(values.mean()), float(values.std(ddof=1)) if len(values) > 1 else float("nan"))


@dataclass(frozen=True, eq=False)
class Row:
    """A line of the main table: a method, or a reference that has a curve.

    Attributes:
        name: as printed. method: "" for references. seeds: those that the averages take.
        curves: seed → curve averaged over tasks. curve: their average, None when no seed is complete.
        quality: at `RATES`. audc, s_d, auroc, cost: see `tables`. live: share of live tokens in training.
        interval, difference: 95 % intervals of AUDC and of its difference to the baseline, None where not computable.
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
    interval: Interval | None = None
    difference: Interval | None = None
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
        rules: scope → (tasks, rule → method → AUDC). strata: group → (number of tasks, row name → quality).
    """

    run: Run
    cells: Mapping[tuple[str, int, str], Cell]
    baseline: str
    rows: tuple[Row, ...]
    references: tuple[Row, ...]
    target: float
    large_quality: float
    large_cost: float
    rules: Mapping[str, tuple[tuple[str, ...], dict[str, dict[str, Measured]]]] = field(default_factory=dict)
    strata: Mapping[str, tuple[int, dict[str, Measured]]] = field(default_factory=dict)

    def row(self, method: str) -> Row:
        return next(row for row in (*self.rows, *self.references) if row.method == method)


def summarize(run: Run) -> Summary:
    """Computes everything; needs no model and no framework."""
    cells = {key: Cell(run, *key) for key in run.small if key[2] in run.large}
    baseline = "xent" if "xent" in run.methods else run.methods[0]
    target = _target(run, cells, baseline)
    intervals = _Intervals(run, cells, baseline)
    rows = tuple(_row(run, cells, method, target, intervals) for method in run.methods)
    references = [_row(run, cells, START, target, intervals)] if run.start_seeds else []
    references += [_row(run, cells, baseline, target, intervals, rule) for rule in (RANDOM, ORACLE)]
    return Summary(
        run, cells, baseline, rows, tuple(references), target,
        large_quality=_mean(run.large[name]["quality"].mean() for name in run.covered),
        large_cost=_mean(run.large[name]["flops"].mean() for name in run.covered),
        rules=_rules(run, cells),
        strata=_strata(run, cells),
    )  # fmt: skip


def _mean(values: Iterable[float]) -> float:
    values = list(values)
    return float(np.mean(values)) if values else float("nan")


def _curves(run: Run, cells, method: str, rule: str) -> dict[int, DeferralCurve]:
    """Seed → curve averaged over all covered tasks, for the complete seeds."""
    if not run.covered:
        return {}
    return {
        seed: macro_average({name: cells[method, seed, name].curve(rule) for name in run.covered}, run.covered)
        for seed in run.complete_seeds(method)
    }


def _pooled(curves: Mapping[int, DeferralCurve]) -> DeferralCurve | None:
    return macro_average(curves, curves) if curves else None


def _target(run: Run, cells, baseline: str) -> float:
    curve = _pooled(_curves(run, cells, baseline, run.rule))
    return float(curve.quality_at(0.5)) if curve else float("nan")


def _row(run: Run, cells, method: str, target: float, intervals: "_Intervals", rule: str = "") -> Row:
    """The line of a method, or (with a rule) of a reference: how that rule would do on the same predictions."""
    curves = _curves(run, cells, method, rule or run.rule)
    curve, seeds = _pooled(curves), tuple(curves)
    s_d, aurocs = [], []
    for seed in seeds:
        own = [cells[method, seed, name] for name in run.covered]
        # The ratio of averages, not the average of ratios: defined also where single tasks leave no room to defer.
        s_d.append(curves[seed].s_d(_mean(cell.curve(ORACLE).audc for cell in own)))
        aurocs.append(_mean(cell.auroc_right for cell in own if not np.isnan(cell.auroc_right)))
    costs = [each.cost_at_quality(target) for each in curves.values()]
    return Row(
        name=f"{method}, {rule}" if rule else method,
        method="" if rule else method,
        seeds=seeds,
        curves=curves,
        curve=curve,
        quality=tuple(over_seeds(float(each.quality_at(rate)) for each in curves.values()) for rate in RATES),
        audc=over_seeds(each.audc for each in curves.values()),
        s_d=Measured(_mean(s_d)) if rule else over_seeds(s_d),  # 0 and 1 by definition, in every seed
        auroc=Measured(float("nan")) if rule else over_seeds(aurocs),
        # Of the averaged curve, so that a seed that does not reach the target is no hole.
        cost=Measured(curve.cost_at_quality(target) if curve else float("nan"), over_seeds(costs).sd),
        live=over_seeds(() if rule or method == START else run.live(method)),
        interval=None if rule else intervals.of(method),
        difference=None if rule else intervals.versus_baseline(method),
        holes=_holes(run, cells, method),
        alike=() if rule else _alike(run, cells, method, seeds),
    )


def _holes(run: Run, cells, method: str) -> tuple[str, ...]:
    holes = [f"task {name}: the large model's answers are missing" for name in run.tasks if name not in run.large]
    for seed in run.start_seeds if method == START else run.seeds:
        lacks = [name for name in run.covered if (method, seed, name) not in cells]
        if lacks:
            holes.append(f"seed {seed}: left out, {', '.join(lacks)} missing")
    return tuple(holes)


def _alike(run: Run, cells, method: str, seeds: tuple[int, ...]) -> tuple[str, ...]:
    return tuple(name for name in run.covered if any(np.isnan(cells[method, s, name].auroc_right) for s in seeds))


class _Intervals:
    """Bootstrap intervals of the AUDC: examples within tasks, and seeds, resampled; methods paired."""

    def __init__(self, run: Run, cells, baseline: str):
        self.run, self.baseline, self.result = run, baseline, None
        models = [(m, s) for m in (*run.methods, START) for s in run.complete_seeds(m) if run.covered]
        if models:
            ids = {name: [example.id for example in run.examples[name]] for name in run.covered}
            self.result = bootstrap_audc(
                {
                    name: {f"{m}/{s}": cells[m, s, name].outcomes(run.rule, ids[name]) for m, s in models}
                    for name in run.covered
                },
                np.random.default_rng(DRAWS),
                RESAMPLES,
            )

    def of(self, method: str) -> Interval | None:
        pooled = self._pool([method], self.run.complete_seeds(method))
        return pooled.interval(method) if pooled else None

    def versus_baseline(self, method: str) -> Interval | None:
        """On the seeds that both have; None for the baseline itself."""
        theirs = self.run.complete_seeds(self.baseline)
        shared = [seed for seed in self.run.complete_seeds(method) if seed in theirs]
        pooled = self._pool([method, self.baseline], shared) if method != self.baseline else None
        return pooled.interval(method, versus=self.baseline) if pooled else None

    def _pool(self, methods: list[str], seeds) -> AudcBootstrap | None:
        if not self.result or not seeds:
            return None
        names = {method: [f"{method}/{seed}" for seed in seeds] for method in methods}
        return pool_seeds(self.result, names, np.random.default_rng(DRAWS))


def _rules(run: Run, cells):
    """AUDC by rule and method, over all covered tasks, and over classification alone with the rules only it has."""
    names = list(dict.fromkeys([*deferral.RULES, run.rule]))
    everywhere = [name for name in names if "option_logprobs" not in deferral.get(name).needs]
    choice = run.choice_tasks()
    scopes = {"all tasks": (run.covered, names if choice == run.covered else everywhere)}
    if choice and choice != run.covered:
        scopes["classification"] = (choice, names)
    return {
        scope: (tasks, {rule: _by_method(run, cells, tasks, rule) for rule in rules})
        for scope, (tasks, rules) in scopes.items()
    }


def _by_method(run: Run, cells, tasks, rule: str) -> dict[str, Measured]:
    return {
        method: over_seeds(
            _mean(cells[method, seed, name].curve(rule).audc for name in tasks) for seed in run.complete_seeds(method)
        )
        for method in run.methods
    }


def _strata(run: Run, cells):
    """Quality by group of example, averaged over the tasks that have the group; "large" is a row of its own."""
    # A group that holds examples together, such as a question of MultiRC, is no stratum.
    names = [name for name in run.covered if not task.get(name).together]
    groups = {e.group: None for name in names for e in run.examples[name] if e.group}
    strata = {}
    for group in sorted(groups):
        masks = {name: np.array([e.group == group for e in run.examples[name]]) for name in names}
        masks = {name: mask for name, mask in masks.items() if mask.any()}
        by_row = {
            method: over_seeds(
                _mean(run.small[method, seed, name]["quality"][mask].mean() for name, mask in masks.items())
                for seed in run.complete_seeds(method)
            )
            for method in run.methods
        }
        large = _mean(run.large[name]["quality"][mask].mean() for name, mask in masks.items())
        strata[group] = (len(masks), {**by_row, "large": Measured(large)})
    return strata
