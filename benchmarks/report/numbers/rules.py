"""Deferral rules beside each other on the same predictions: areas, costs and rankings, with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import rankings
from benchmarks.report.numbers.averages import Measured, over_seeds
from benchmarks.report.numbers.cells import ORACLE, RANDOM, Cell
from benchmarks.report.numbers.intervals import DRAWS
from benchmarks.report.numbers.outcome import outcome
from benchmarks.report.reading.load import Key, Run
from cat_keras.cascades import deferral
from cat_keras.cascades.deferral.learned import PROBABILITIES, QUALITIES
from cat_keras.data.ragged import Ragged
from cat_keras.evaluation import significance
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, pool_seeds
from cat_keras.evaluation.curves import macro_average

LEARNED = ("learned-quality", "learned-diff-01", "learned-diff-prob")
BOUNDS = (RANDOM, ORACLE)
LEAST = 50  # examples of a task that a learned rule is cross-fitted to
ENSEMBLE = "ensemble_confidences"
METRICS = (*rankings.METRICS, "s_d")


class Compared(NamedTuple):
    """A metric of a rule, and that minus the metric of the run's rule; 95 % intervals from the same resamples."""

    own: Interval
    difference: Interval


class Standing(NamedTuple):
    """How a rule does with the answers of a method.

    Attributes:
        seeds: how many the averages take. audc: in [0, 1]. compared: by name, see `METRICS`; NaN where undefined.
        cost: least cost that reaches the large model's quality, of the large model's cost.
        p_holm: of "the same AUDC as by the run's rule", corrected for all rules with this method; NaN for references.
        gain: AUDC minus that of the baseline method by the same rule, over the seeds that both have; None without any.
    """

    seeds: int
    audc: Measured
    compared: Mapping[str, Compared]
    cost: float
    p_holm: float
    gain: Interval | None

    @property
    def outcome(self) -> str:
        """Against the run's rule: "win" or "loss" where `p_holm` < 0.05, "" for a reference, otherwise "tie"."""
        if np.isnan(self.p_holm):
            return ""
        return outcome(self.compared["audc"].difference.estimate, self.p_holm)


@dataclass(frozen=True, eq=False)
class Kind:
    """Rules on tasks of one kind.

    Attributes:
        tasks: that averages are over. standings: (rule, method) → how they do, methods with a complete seed.
        rules: compared here. lacks: rule → why it is not.
    """

    tasks: tuple[str, ...]
    rules: tuple[str, ...]
    lacks: Mapping[str, str]
    standings: Mapping[tuple[str, str], Standing]


def names(run: Run) -> list[str]:
    """Every rule that a report asks for: those registered, the learned ones, the run's own; last the two bounds."""
    given = [name for name, rule in deferral.GIVEN.items() if set(rule.needs) <= _columns(run, run.covered)]
    every = dict.fromkeys([*deferral.RULES, *LEARNED, *given, run.rule])
    return [*(name for name in every if name not in BOUNDS), *BOUNDS]


def lacking(run: Run, rule: str, tasks: Sequence[str]) -> str:
    """Why a rule cannot score the answers to some tasks, in words; "" where it can, as the run's own must."""
    if rule == run.rule:
        return ""
    found = deferral.get(rule)
    if found.needs_fit and any(len(run.examples[name]) < LEAST for name in tasks):
        return f"a task has fewer than {LEAST} examples"
    needs = (*found.needs, *found.fit_needs) if found.needs_fit else found.needs
    there = _columns(run, tasks) | ({"option_logprobs"} if found.needs_fit else set())  # it takes lists that are empty
    missing = [name for name in needs if name not in there]
    return f"no {', '.join(missing)}" if missing else ""


def _columns(run: Run, tasks: Sequence[str]) -> set[str]:
    """What rules can read of the answers to the tasks."""
    cells = [cell for (_, _, name), cell in run.small.items() if name in tasks]
    there = {*QUALITIES, *(cells[0] if cells else ())}
    if run.imported:  # its columns are there for all models, and filled for those whose answers say something
        there = {name for name in there if name in QUALITIES or all(map(_filled, (cell[name] for cell in cells)))}
    scored = not run.imported or {"token_logprobs", "option_logprobs"} & there
    there |= {ENSEMBLE} if scored and _has_ensembles(run, tasks) else set()
    there |= set(PROBABILITIES) if all(name in run.answers for name in tasks) else set()
    return there if set(tasks) <= set(run.choice_tasks()) else there - {"option_logprobs"}


def _filled(column: Sequence) -> bool:
    """Whether a column of imported answers says something of every answer: a finite number, or a list of some."""
    if isinstance(column, Ragged):
        return bool(column.lengths.all())
    return column.dtype == object or bool(np.isfinite(column).all())


def _has_ensembles(run: Run, tasks: Sequence[str]) -> bool:
    keys = [(method, seed, name) for method in run.methods for seed in run.seeds for name in tasks]
    return len(run.seeds) > 1 and all(key in run.small for key in keys)


def by_kind(run: Run, cells: Mapping[Key, Cell], baseline: str) -> dict[str, Kind]:
    """Rules × methods, and each method against the baseline one.

    Over all covered tasks and, where a run has both, over classification and generation alone.
    """
    choice = run.choice_tasks()
    kinds = {"all tasks": run.covered, "classification": choice}
    kinds["generation"] = tuple(name for name in run.covered if name not in choice)
    kinds = {kind: tasks for kind, tasks in kinds.items() if kind == "all tasks" or 0 < len(tasks) < len(run.covered)}
    ranked = {name: _ranked(run, cells, name) for name in run.covered}
    return {kind: _kind(run, cells, ranked, tasks, baseline) for kind, tasks in kinds.items()}


def _ranked(run: Run, cells: Mapping[Key, Cell], name: str):
    own = [cell for (method, _, of), cell in cells.items() if of == name and method in run.methods]
    return rankings.of_task(name, own, [rule for rule in names(run) if not lacking(run, rule, (name,))])


def _kind(run: Run, cells, ranked, tasks: tuple[str, ...], baseline: str) -> Kind:
    lacks = {rule: lacking(run, rule, tasks) for rule in names(run)}
    of_baseline = run.complete_seeds(baseline)
    rules = tuple(rule for rule, why in lacks.items() if not why)
    standings = {}
    for method in run.methods if tasks else ():
        seeds = run.complete_seeds(method)
        if seeds:
            shared = [seed for seed in seeds if seed in of_baseline]
            gains = _gains(ranked, tasks, rules, method, baseline, shared)
            standings |= _standings(run, cells, ranked, tasks, rules, method, seeds, gains)
    return Kind(tasks, rules, {rule: why for rule, why in lacks.items() if why}, standings)


def _gains(ranked, tasks, rules, method: str, baseline: str, seeds) -> dict[str, Interval]:
    """Rule → AUDC of a method minus that of the baseline, both by this rule; none for the baseline itself."""
    gains = {}
    for rule in rules if seeds and method != baseline else ():
        models = {name: [(rule, name, seed) for seed in seeds] for name in (method, baseline)}
        gains[rule] = _pooled(_means(ranked, tasks, models, "audc"), models).interval(method, baseline)
    return gains


def _standings(run: Run, cells, ranked, tasks, rules, method: str, seeds, gains) -> dict[tuple[str, str], Standing]:
    models = {rule: [(rule, method, seed) for seed in seeds] for rule in rules}
    pooled = {metric: _pooled(_means(ranked, tasks, models, metric), models) for metric in METRICS}
    rivals = [rule for rule in rules if rule not in (*BOUNDS, run.rule)]
    p_values = significance.holm([pooled["audc"].p_value(rule, run.rule) for rule in rivals]) if rivals else []
    p_holm = dict(zip(rivals, map(float, p_values), strict=True))
    found = {}
    for rule in rules:
        compared = {
            metric: Compared(each.interval(rule), each.interval(rule, run.rule)) for metric, each in pooled.items()
        }
        curves = {
            seed: macro_average({name: cells[method, seed, name].curve(rule) for name in tasks}, tasks)
            for seed in seeds
        }
        audc = over_seeds(each.audc for each in curves.values())
        cost = macro_average(curves, curves).qnc
        p_value = p_holm.get(rule, float("nan"))
        found[rule, method] = Standing(len(seeds), audc, compared, cost, p_value, gains.get(rule))
    return found


def _means(ranked, tasks: Sequence[str], models, metric: str) -> np.ndarray:
    """Averages over tasks of every rule and seed, (1 + R, models)."""
    every = [model for own in models.values() for model in own]
    if metric != "s_d":
        values = np.array([[ranked[name][metric][model] for model in every] for name in tasks])
        return _mean_of_defined(values).T
    audc = {model: np.mean([ranked[name]["audc"][model] for name in tasks], axis=0) for model in every}
    return np.array([_s_d(audc, *model) for model in every]).T


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over tasks, (tasks, models, 1 + R) → (models, 1 + R), of those that define the metric on the data.

    A resample may lack right answers that the data have; it then counts as the data do.
    """
    values = np.where(np.isnan(values), values[..., :1], values)
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)


def _s_d(audc: Mapping[tuple, np.ndarray], rule: str, method: str, seed: int) -> np.ndarray:
    random, oracle = audc[RANDOM, method, seed], audc[ORACLE, method, seed]
    room = oracle - random
    return np.where(room > 1e-9, (audc[rule, method, seed] - random) / np.maximum(room, 1e-9), np.nan)


def _pooled(values: np.ndarray, models: Mapping[str, Sequence[tuple]]) -> AudcBootstrap:
    """Rules over their seeds, drawn alike for every rule."""
    names = {rule: ["/".join(map(str, model)) for model in own] for rule, own in models.items()}
    every = tuple(name for own in names.values() for name in own)
    joined = AudcBootstrap(("mean",), every, values[:1], values[None, 1:])
    return pool_seeds(joined, names, np.random.default_rng(DRAWS))
