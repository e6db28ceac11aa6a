"""Router or cascade: what is better on these examples at equal cost, a decision from the prompt or from the answer?

A router is fitted to the prompts of a task and to how well both models answered them, cross-fitted like the learned
rules. It pays one model per query, a cascade pays the small model for all; so both are compared by their mean quality
over all budgets between the costs of the two models.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np
import pyarrow.compute

from benchmarks.report.numbers import costs
from benchmarks.report.numbers.cells import Cell
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.numbers.rules import LEAST, lacking
from benchmarks.report.numbers.summary import Summary
from benchmarks.report.reading.load import Run
from benchmarks.report.reading.routes import STEPS, Routes
from cat_keras.cascades import routing
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, pool_seeds
from cat_keras.evaluation.curves import Outcomes
from cat_keras.evaluation.resampling import Streams

CASCADE, LEARNED, ROUTE, BOTH, COIN = "cascade", "learned cascade", "route", "route, then cascade", "coin"
LEARNED_RULE = "learned-quality"  # it learns from the answers what a router learns from prompts, of the same qualities
SHARES = (0.25, 0.5, 0.75)  # of the budget above the small model's cost, at which the quality is given
RESAMPLES = 1000
ROUTER = routing.Router()
KEPT_WITHOUT = "these results were kept without the scores of a router"


class Standing(NamedTuple):
    """How a way does with the answers of a method, averaged over tasks and seeds.

    Attributes:
        quality: mean over all budgets between the costs of the two models, in [0, 1], with its 95 % interval.
        difference: that minus the cascade's, with its interval. p_value: of "as good as the cascade".
        at: quality at `SHARES`. audc: area over the share of queries that the large model answers; NaN for both.
    """

    quality: Interval
    difference: Interval
    p_value: float
    at: tuple[float, ...]
    audc: float


@dataclass(frozen=True, eq=False)
class Routing:
    """Routers beside cascades.

    Attributes:
        tasks: that averages are over. lacks: other covered tasks → why they are left out.
        standings: (way, method) → how it does. reason: why nothing was judged, or "".
        ways: those that are compared, the coin last; a cascade by a learned rule where the tasks allow it.
    """

    tasks: tuple[str, ...]
    lacks: Mapping[str, str]
    standings: Mapping[tuple[str, str], Standing]
    reason: str = ""
    ways: tuple[str, ...] = ()


def scores(run: Run) -> Routes:
    """Scores of routers for every model and task whose prompts can be read; those of kept results as they were."""
    if not run.has_text:
        return run.routes
    found = {}
    for name in run.covered:
        keys = [key for key in run.small if key[2] == name]
        if keys and not _unreadable(run, name):
            found |= of_keys(run, name, keys)
    return found


def reads_prompts(run: Run, name: str) -> bool:
    """Whether there are scores of routers for a task, or prompts to make some from."""
    if run.has_text:
        return not _unreadable(run, name)
    return all(key in run.routes for key in run.small if key[2] == name)


def of_keys(run: Run, name: str, keys: Sequence[tuple[str, int, str]]) -> Routes:
    """Scores of the routers of some models on one task of which `reads_prompts` is true."""
    if not run.has_text:
        return {key: run.routes[key] for key in keys}
    return of_task(run, name, run.examples[name].table["prompt"].to_pylist(), keys)


def of_task(run: Run, name: str, prompts: Sequence[str], keys: Sequence[tuple[str, int, str]]) -> Routes:
    """Scores of the routers of several models on one task."""
    qualities = np.stack([run.small[key]["quality"] for key in keys])
    values = routing.cross_fitted(
        ROUTER, prompts, qualities, run.large[name]["quality"], name, run.units[name].tolist()
    )
    return dict(zip(keys, np.rint(values * STEPS).astype(np.int16), strict=True))


def _unreadable(run: Run, name: str) -> str:
    """Why no router can be fitted to a task, or ""."""
    if len(run.examples[name]) < LEAST:
        return f"fewer than {LEAST} examples"
    if run.has_text and pyarrow.compute.count_distinct(run.examples[name].table["prompt"]).as_py() < LEAST:
        return "no prompts" + (", name their column when you import: --column prompt=HEADER" if run.imported else "")
    return ""


def compare(summary: Summary) -> Routing:
    """All ways with the answers of all methods."""
    run = summary.run
    if not run.has_text and not run.routes:
        return Routing((), {}, {}, KEPT_WITHOUT)
    kind = costs.known(run)[0]
    lacks = {name: _lacking(run, name, kind) for name in run.covered}
    tasks = tuple(name for name, reason in lacks.items() if not reason)
    lacks = {name: reason for name, reason in lacks.items() if reason}
    if not tasks:
        reasons = dict.fromkeys(lacks.values())
        return Routing((), lacks, {}, "; ".join(reasons) or "the large model has answered no task")
    routes = scores(run)
    cells = {key: cell for key, cell in summary.cells.items() if key[2] in tasks and key in routes}
    learned = (LEARNED,) if run.rule != LEARNED_RULE and not lacking(run, LEARNED_RULE, tasks) else ()
    ways, by_task = (CASCADE, *learned, ROUTE, BOTH, COIN), {}
    for name in tasks:
        by_task |= judged(name, {key: cell for key, cell in cells.items() if key[2] == name}, routes, ways, kind)
    examples, standings = sum(len(run.examples[name]) for name in tasks), {}
    for method in run.methods:
        seeds = [seed for seed in run.seeds if all((method, seed, name) in cells for name in tasks)]
        if seeds:
            standings |= _standings(method, seeds, tasks, by_task, examples, ways)
    return Routing(tasks, lacks, standings, "" if standings else "no small model has answered all tasks", ways)


def _lacking(run: Run, name: str, kind: costs.Kind) -> str:
    if reason := _unreadable(run, name):
        return reason
    keys = [key for key in run.small if key[2] == name]
    if not run.has_text and not any(key in run.routes for key in keys):
        return KEPT_WITHOUT
    large = costs.column("large", run.large[name], kind).mean()
    if any(costs.column("small", run.small[key], kind).mean() >= large for key in keys):
        return "the large model costs no more than the small one"
    return ""


class Judged(NamedTuple):
    """A model on a task. areas: (1 + R, ways), mean quality over all budgets, on the data and in every resample.
    at: (ways, SHARES). audc: (ways,), NaN where it is not defined."""

    areas: np.ndarray
    at: np.ndarray
    audc: np.ndarray


def judged(
    name: str,
    cells: Mapping[tuple, Cell],
    routes: Routes,
    ways: Sequence[str],
    kind: costs.Kind,
    resamples: int = RESAMPLES,
) -> dict[tuple, Judged]:
    """Every model on one task; all of them and all ways share the resamples.

    Args:
        cells: of this task, by their key. routes: of the same keys, where a way routes. ways: those above, the coin
            last, or names of deferral rules for cascades by these. resamples: R; 0 where no interval is asked for.
    """
    run = next(iter(cells.values())).run
    fold_of = routing.folds(name, run.units[name].tolist())
    n, columns, ends, found = len(fold_of), [], [], {}
    for key, cell in cells.items():
        quality = np.stack([cell.small["quality"], cell.large["quality"]])
        cost = np.stack([costs.column(model, getattr(cell, model), kind) for model in ("small", "large")])
        scored = _scores(cell, ways, routes.get(key))
        of_cell = [_way(way, scored, quality, cost, fold_of) for way in ways[:-1]]
        columns.append(np.stack([np.stack([way.quality, way.cost]) for way in of_cell]))
        ends.append(np.concatenate([quality, cost]))
        audc = {way: Outcomes(each, *quality).curve().audc for way, each in scored.items()} | {COIN: quality.mean()}
        found[key] = _at(of_cell, quality, cost), np.array([audc.get(way, np.nan) for way in ways])
    k = routing.BUDGETS
    matrix = np.stack(columns).reshape(-1, n).T / n  # (n, cells × ways × (quality, cost) × K)
    matrix, ends = np.ascontiguousarray(matrix), np.concatenate(ends).T / n

    def compute(counts):  # (n, B)
        counts = counts.T
        means = (counts @ matrix).reshape(-1, 2, k)
        small, large, low, high = np.moveaxis((counts @ ends).reshape(-1, 4), 1, 0)
        low, high = (np.repeat(each, len(ways) - 1) for each in (low, np.maximum(high, low * (1 + 1e-9) + 1e-300)))
        areas = routing.area(means[:, 0], means[:, 1], low, high).reshape(len(counts), len(columns), -1)
        coin = ((small + large) / 2).reshape(len(counts), len(columns), 1)
        return np.concatenate([areas, coin], axis=2)

    areas = compute(np.ones((n, 1)))
    if resamples:
        drawn = Streams(np.random.default_rng(DRAWS)).map(name, n, resamples, compute)
        areas = np.concatenate([areas, drawn])
    return {key: Judged(areas[:, i], *more) for i, (key, more) in enumerate(found.items())}


def _scores(cell: Cell, ways: Sequence[str], route: np.ndarray | None) -> dict[str, np.ndarray]:
    """Way → the scores that it defers or routes by; a way of both reads two of them."""
    rules = {CASCADE: cell.run.rule, LEARNED: LEARNED_RULE}
    scored = {CASCADE: cell.outcomes(cell.run.rule).score}
    scored |= {way: cell.score(rules.get(way, way)) for way in ways if way not in (CASCADE, ROUTE, BOTH, COIN)}
    return scored if route is None else scored | {ROUTE: route / STEPS}


def _way(name: str, scored: Mapping[str, np.ndarray], quality, cost, fold_of) -> routing.Way:
    if name == ROUTE:
        return routing.route(scored[ROUTE], quality, cost, fold_of)
    if name == BOTH:
        return routing.route_then_cascade(scored[ROUTE], scored[CASCADE], quality, cost, fold_of)
    return routing.cascade(scored[name], quality, cost, fold_of)


def _at(ways: Sequence[routing.Way], quality: np.ndarray, cost: np.ndarray) -> np.ndarray:
    """(ways, SHARES): quality within shares of the budget above the small model's cost."""
    low, high = cost.mean(axis=1)
    budgets = low + np.array(SHARES) * (high - low)
    rows = [np.interp(budgets, np.maximum.accumulate(w.cost.mean(axis=1)), w.quality.mean(axis=1)) for w in ways]
    small, large = quality.mean(axis=1)
    return np.stack([*rows, small + np.array(SHARES) * (large - small)])


def _standings(
    method: str,
    seeds: Sequence[int],
    tasks: Sequence[str],
    by_task: Mapping[tuple, Judged],
    examples: int,
    ways: Sequence[str],
) -> dict[tuple[str, str], Standing]:
    """How all ways do with the answers of a method."""
    found = [[by_task[method, seed, name] for name in tasks] for seed in seeds]
    areas = np.array([np.mean([each.areas for each in row], axis=0) for row in found])  # (S, 1 + R, ways)
    labels = {way: [f"{way}/{seed}" for seed in seeds] for way in ways}
    values = np.moveaxis(areas, 0, 2).reshape(len(areas[0]), -1)  # (1 + R, ways × S)
    every = tuple(label for group in labels.values() for label in group)
    joined = AudcBootstrap(("mean",), every, values[:1], values[None, 1:])
    pooled = replace(pool_seeds(joined, labels, np.random.default_rng(DRAWS)), examples=(examples,))
    at = np.mean([[each.at for each in row] for row in found], axis=(0, 1))
    audc = np.mean([[each.audc for each in row] for row in found], axis=(0, 1))
    return {
        (way, method): Standing(
            pooled.interval(way),
            pooled.interval(way, CASCADE),
            float("nan") if way == CASCADE else pooled.p_value(way, CASCADE),
            tuple(at[i].tolist()),
            float(audc[i]),
        )
        for i, way in enumerate(ways)
    }
