"""Longer cascades: what all models of a run give within each budget, and whether those in the middle pay.

Thresholds are chosen on other examples than they are judged on. All cascades are compared by their mean quality over
all budgets between the costs of the small and the large model, at equal cost therefore.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers.cells import Cell
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.numbers.rules import LEAST
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.reading.load import Run
from cat_keras.cascades import routing
from cat_keras.cascades.frontier import frontier
from cat_keras.cascades.playback import Stages
from cat_keras.evaluation.bootstrap import Interval, draw_seeds
from cat_keras.evaluation.resampling import Streams

ARROW = " → "
TWO = "the better of two models"  # at each budget, of the cascades of one model and the large one
RATIONAL = "rational"
BUDGETS = 21
RESAMPLES = 1000


class Standing(NamedTuple):
    """How the cascades of a method do, averaged over tasks and seeds; qualities in [0, 1] with 95 % intervals.

    Attributes:
        quality: cascade → mean quality over all budgets between the costs of its first and of the large model.
        minus: cascade of two models, or `TWO` → mean quality of the whole cascade minus its, over the same budgets.
        versus_baseline: quality of the whole cascade minus that of the baseline, on the seeds of both; None for itself.
        rational: with thresholds by rational tuning minus with those of the grid; of the baseline's first seed alone,
            since many small models of confidences take their time. NaN elsewhere.
        curves: cascade → (4, K), by budget: mean cost, mean quality, and its interval.
        alone: (stages, 2) mean cost and quality of each model.
    """

    quality: Mapping[str, Interval]
    minus: Mapping[str, Interval]
    versus_baseline: Interval | None
    rational: Interval
    curves: Mapping[str, np.ndarray]
    alone: np.ndarray


@dataclass(frozen=True, eq=False)
class Chains:
    """The longer cascades of a run.

    Attributes:
        roles: of its models, in the order in which they are asked. tasks: that averages are over.
        lacks: other covered tasks → why they are left out. standings: by method.
    """

    roles: tuple[str, ...]
    tasks: tuple[str, ...]
    lacks: Mapping[str, str]
    standings: Mapping[str, Standing]

    @property
    def whole(self) -> str:
        """The name of the cascade of all models."""
        return ARROW.join(self.roles)

    @property
    def pairs(self) -> tuple[str, ...]:
        """Names of the cascades of one model and the large one."""
        return tuple(f"{role}{ARROW}{self.roles[-1]}" for role in self.roles[:-1])


class _Judged(NamedTuple):
    """The models of a method and seed on a task, or averaged over tasks.

    Attributes:
        areas: (1 + R, columns) on the data and in every resample: each cascade over its own budgets, then the whole one
            over the budgets of each pair. means: (1 + R, cascades, 2, K) quality and cost by budget.
        alone: (stages, 2). rational: (1 + R,), by rational tuning minus by the grid; NaN where it was not asked for.
    """

    areas: np.ndarray
    means: np.ndarray
    alone: np.ndarray
    rational: np.ndarray


def compare(summary: Summary) -> Chains | None:
    """All methods of a run of three or more models; None for a run of two."""
    run = summary.run
    if not run.middle:
        return None
    roles = ("small", *run.middle, "large")
    lacks = {name: _lacking(run, name) for name in run.covered}
    tasks = tuple(name for name, reason in lacks.items() if not reason)
    chains = Chains(roles, tasks, {name: reason for name, reason in lacks.items() if reason}, {})
    judged = {}
    for method in run.methods if tasks else ():
        seeds = [seed for seed in run.seeds if all(_complete(run, method, seed, name) for name in tasks)]
        for seed in seeds:
            first = method == summary.baseline and seed == seeds[0]
            parts = [_of_task(summary, name, method, seed, first) for name in tasks]
            judged[method, seed] = _Judged(*(np.mean(values, axis=0) for values in zip(*parts, strict=True)))
    by_method = {method: [seed for m, seed in judged if m == method] for method in run.methods}
    for method, seeds in by_method.items():
        if seeds:
            chains.standings[method] = _standing(chains, summary.baseline, method, by_method, judged)
    return chains


def _lacking(run: Run, name: str) -> str:
    """Why a task is left out, or ""."""
    if len(run.examples[name]) < LEAST:
        return f"fewer than {LEAST} examples"
    every = [run.small, *run.middle.values()]
    cells = [run.large[name], *(cell for cells in every for key, cell in cells.items() if key[2] == name)]
    if any(np.isnan(cell["flops"]).any() for cell in cells):
        return "the FLOPs of a model are not known"
    return ""


def _complete(run: Run, method: str, seed: int, name: str) -> bool:
    return all((method, seed, name) in cells for cells in (run.small, *run.middle.values()))


def stages(summary: Summary, method: str, seed: int, name: str) -> Stages:
    """Scores, qualities and FLOPs of all models on a task."""
    run = summary.run
    smaller = [summary.cells[method, seed, name]]
    smaller += [Cell(run.without_smaller(role), method, seed, name) for role in run.middle]
    answers = [cell.small for cell in smaller] + [run.large[name]]
    return Stages(
        np.stack([cell.score(run.rule) for cell in smaller]),
        np.stack([each["quality"] for each in answers]).astype(np.float64),
        np.stack([each["flops"] for each in answers]).astype(np.float64),
    )


def _of_task(summary: Summary, name: str, method: str, seed: int, with_rational: bool) -> _Judged:
    """One method and seed on one task; all of them and all cascades share the resamples."""
    whole = stages(summary, method, seed, name)
    fold_of = routing.folds(name, summary.run.units[name].tolist())
    n, count = len(fold_of), len(whole.scores)
    budgets = np.linspace(*whole.cost[[0, -1]].mean(axis=1), BUDGETS)
    pairs = [_pair(whole, i) for i in range(count)]
    ways = [frontier(systems, fold_of, budgets) for systems in ([whole], pairs, *([pair] for pair in pairs))]
    ways += [frontier([whole], fold_of, budgets, RATIONAL)] if with_rational else []
    matrix = np.stack([np.stack([way.quality, way.cost]) for way in ways]).reshape(-1, n).T / n
    costs = whole.cost.T / n

    def compute(counts):  # (n, B)
        means = (counts.T @ matrix).reshape(counts.shape[1], len(ways), 2, BUDGETS)
        ends = counts.T @ costs
        high = np.maximum(ends[:, -1], ends[:, :-1].max(axis=1) * (1 + 1e-9) + 1e-300)

        def area(way, first):  # of a way, over the budgets from the cost of a stage
            return routing.area(means[:, way, 0], means[:, way, 1], ends[:, first], high)

        columns = [area(0, 0), area(1, 0), *(area(2 + i, i) for i in range(count)), *(area(0, i) for i in range(count))]
        columns.append(area(-1, 0) - columns[0] if with_rational else np.full(len(high), np.nan))
        return np.concatenate([np.stack(columns, axis=1), means.reshape(len(means), -1)], axis=1)

    resampled = Streams(np.random.default_rng(DRAWS)).map(name, n, RESAMPLES, compute)
    table = np.concatenate([compute(np.ones((n, 1))), resampled])
    areas, means = np.split(table, [3 + 2 * count], axis=1)
    means = means.reshape(len(table), len(ways), 2, BUDGETS)[:, : 2 + count]
    alone = np.stack([whole.cost.mean(axis=1), whole.quality.mean(axis=1)], axis=1)
    return _Judged(areas[:, :-1], means, alone, areas[:, -1])


def _pair(whole: Stages, i: int) -> Stages:
    """The cascade of one model and the last."""
    return Stages(whole.scores[[i]], whole.quality[[i, -1]], whole.cost[[i, -1]])


def _standing(
    chains: Chains,
    baseline: str,
    method: str,
    seeds: Mapping[str, Sequence[int]],
    judged: Mapping[tuple[str, int], _Judged],
) -> Standing:
    own = [judged[method, seed] for seed in seeds[method]]
    table, count = _pooled([each.areas for each in own]), len(chains.roles) - 1
    names = (chains.whole, TWO, *chains.pairs)
    minus = {TWO: table[:, 0] - table[:, 1]}
    minus |= {pair: table[:, 2 + count + i] - table[:, 2 + i] for i, pair in enumerate(chains.pairs)}
    shared = [seed for seed in seeds[method] if seed in seeds[baseline]] if method != baseline else []
    versus = [judged[method, seed].areas[:, 0] - judged[baseline, seed].areas[:, 0] for seed in shared]
    means = _pooled([each.means for each in own])
    return Standing(
        {name: _interval(table[:, i]) for i, name in enumerate(names)},
        {name: _interval(values) for name, values in minus.items()},
        _interval(_pooled(versus)) if versus else None,
        _interval(own[0].rational),
        {name: _curve(means[:, i]) for i, name in enumerate(names)},
        np.mean([each.alone for each in own], axis=0),
    )


def _pooled(values: Sequence[np.ndarray]) -> np.ndarray:
    """Mean over seeds of what each has on the data and in every resample, (1 + R, …); resamples draw the seeds anew."""
    weights = draw_seeds(np.random.default_rng(DRAWS), len(values), RESAMPLES)
    drawn = sum(weights[:, i].reshape(-1, *[1] * (each.ndim - 1)) * each[1:] for i, each in enumerate(values))
    return np.concatenate([np.mean([each[0] for each in values], axis=0)[None], drawn])


def _interval(values: np.ndarray) -> Interval:
    """Of the value on the data and those in every resample, (1 + R,)."""
    return Interval.of(values[0], values[1:])


def _curve(means: np.ndarray) -> np.ndarray:
    """(4, K) of (1 + R, 2, K)."""
    low, high = np.quantile(means[1:, 0], (0.025, 0.975), axis=0)
    return np.stack([means[0, 1], means[0, 0], low, high])
