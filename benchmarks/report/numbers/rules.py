"""Deferral rules compared on the same predictions: areas, costs and AUROCs, with paired intervals."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

import numpy as np

from benchmarks.report.numbers import averages, rule_resamples
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

LEARNED = ("learned-quality", "learned-diff-01", "learned-diff-prob")
BOUNDS = (RANDOM, ORACLE)
LEAST = 50  # examples that a task must have for a learned rule to be cross-fitted to it
ENSEMBLE = "ensemble_confidences"
METRICS = (*rule_resamples.METRICS, "s_d")
RIVALS = ("max-probability", *LEARNED)  # beside the run's own rule, against a method that asks for help

Ranked = Mapping[str, Mapping[str, Mapping[rule_resamples.Model, np.ndarray]]]  # task → `rule_resamples.of_task`


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
        tasks: that averages are over. rules: those that are compared on them. lacks: every other rule → why it is not.
        standings: (rule, method) → how they do, of methods with a complete seed.
        leads: metric → its difference to every other method by a rule of its, of a method that asks for help by the
            rule that reads this; by (rule, method, rule of the other, other method).
    """

    tasks: tuple[str, ...]
    rules: tuple[str, ...]
    lacks: Mapping[str, str]
    standings: Mapping[tuple[str, str], Standing]
    leads: Mapping[tuple[str, str, str, str], Mapping[str, Interval]]


def names(run: Run) -> list[str]:
    """Every rule that a report tries: those registered, the learned ones, the run's own; the two bounds come last."""
    optional = {**deferral.GIVEN, **deferral.ASKING}
    given = [name for name, rule in optional.items() if set(rule.needs) <= _columns(run, run.covered)]
    every = dict.fromkeys([*deferral.RULES, *LEARNED, *given, run.rule])
    return [*(name for name in every if name not in BOUNDS), *BOUNDS]


def lacking(run: Run, rule: str, tasks: Sequence[str]) -> str:
    """Why a rule cannot score the answers to some tasks, in words; "" where it can, as the run's own must."""
    if rule == run.rule:
        return ""
    declared = deferral.get(rule)
    needs, columns = declared.needs, _columns(run, tasks)
    if declared.needs_fit:
        if any(len(run.examples[name]) < LEAST for name in tasks):
            return f"a task has fewer than {LEAST} examples"
        needs = (*needs, *declared.fit_needs)
        columns |= {"option_logprobs"}  # a learned rule takes them as they are, empty lists too
    missing = [name for name in needs if name not in columns]
    return f"no {', '.join(missing)}" if missing else ""


def _columns(run: Run, tasks: Sequence[str]) -> set[str]:
    """Names of the columns that rules can read of the answers to all these tasks."""
    cells = [cell for (_, _, name), cell in run.small.items() if name in tasks]
    columns = {*QUALITIES, *(cells[0] if cells else ())}
    if run.imported:  # all its models have all columns; one that says nothing of an answer is empty there
        columns = {name for name in columns if name in QUALITIES or all(_is_filled(cell[name]) for cell in cells)}
    keys = [(method, seed, name) for method in run.methods for seed in run.seeds for name in tasks]
    scored = not run.imported or {"token_logprobs", "option_logprobs"} & columns
    if scored and len(run.seeds) > 1 and all(key in run.small for key in keys):
        columns |= {ENSEMBLE}
    if all(name in run.answers for name in tasks):
        columns |= set(PROBABILITIES)
    return columns if set(tasks) <= set(run.choice_tasks()) else columns - {"option_logprobs"}


def _is_filled(column: Sequence) -> bool:
    """Whether a column of imported answers says something of every answer: a finite number, or a list of some."""
    if isinstance(column, Ragged):
        return bool(column.lengths.all())
    return column.dtype == object or bool(np.isfinite(column).all())


def by_kind(run: Run, cells: Mapping[Key, Cell], baseline: str) -> dict[str, Kind]:
    """Rules × methods, and each method against the baseline one.

    Over all covered tasks and, where a run has both, over classification and generation alone.
    """
    several = kinds(run, run.covered)
    every = {"all tasks": run.covered} | (several if len(several) > 1 else {})
    ranked = {}
    for name in run.covered:
        of_task = [cell for (method, _, of), cell in cells.items() if of == name and method in run.methods]
        rules = [rule for rule in names(run) if not lacking(run, rule, (name,))]
        ranked[name] = rule_resamples.of_task(name, of_task, rules)
    return {kind: _kind(run, cells, ranked, tasks, baseline) for kind, tasks in every.items()}


def kinds(run: Run, tasks: Sequence[str]) -> dict[str, tuple[str, ...]]:
    """ "classification" and "generation" → those of some tasks that are of it, where there are any."""
    choice = run.choice_tasks()
    found = {
        "classification": tuple(name for name in tasks if name in choice),
        "generation": tuple(name for name in tasks if name not in choice),
    }
    return {kind: of_kind for kind, of_kind in found.items() if of_kind}


def _kind(run: Run, cells: Mapping[Key, Cell], ranked: Ranked, tasks: tuple[str, ...], baseline: str) -> Kind:
    lacks = {rule: lacking(run, rule, tasks) for rule in names(run)}
    rules = tuple(rule for rule, reason in lacks.items() if not reason)
    baseline_seeds = run.complete_seeds(baseline)

    def of_method(method: str, seeds: Sequence[int]) -> list[str]:
        return [r for r in rules if all(cells[method, seed, name].has(r) for seed in seeds for name in tasks)]

    standings = {}
    for method in run.methods if tasks else ():
        seeds = run.complete_seeds(method)
        if seeds:
            shared = [seed for seed in seeds if seed in baseline_seeds]
            common = [r for r in of_method(method, seeds) if r in of_method(baseline, baseline_seeds)]
            gains = _gains(ranked, tasks, common, method, baseline, shared)
            standings |= _standings(run, cells, ranked, tasks, of_method(method, seeds), method, seeds, gains)
    lacks = {rule: reason for rule, reason in lacks.items() if reason}
    return Kind(tasks, rules, lacks, standings, _leads(run, ranked, tasks, standings))


def _gains(
    ranked: Ranked, tasks: Sequence[str], rules: Sequence[str], method: str, baseline: str, seeds: Sequence[int]
) -> dict[str, Interval]:
    """Rule → AUDC of a method minus that of the baseline, both by this rule; none for the baseline itself."""
    gains = {}
    for rule in rules if seeds and method != baseline else ():
        models = {name: [(rule, name, seed) for seed in seeds] for name in (method, baseline)}
        gains[rule] = _pooled(ranked, tasks, models, "audc").interval(method, baseline)
    return gains


def _standings(
    run: Run,
    cells: Mapping[Key, Cell],
    ranked: Ranked,
    tasks: Sequence[str],
    rules: Sequence[str],
    method: str,
    seeds: Sequence[int],
    gains: Mapping[str, Interval],
) -> dict[tuple[str, str], Standing]:
    models = {rule: [(rule, method, seed) for seed in seeds] for rule in rules}
    pooled = {metric: _pooled(ranked, tasks, models, metric) for metric in METRICS}
    rivals = [rule for rule in rules if rule not in (*BOUNDS, run.rule)]
    areas = replace(pooled["audc"], examples=(sum(len(run.examples[name]) for name in tasks),))
    p_values = significance.holm([areas.p_value(rule, run.rule) for rule in rivals]) if rivals else []
    p_holm = dict(zip(rivals, map(float, p_values), strict=True))
    standings = {}
    for rule in rules:
        curves = averages.curves(cells, method, seeds, tasks, rule)
        standings[rule, method] = Standing(
            seeds=len(seeds),
            audc=over_seeds(curve.audc for curve in curves.values()),
            compared={
                metric: Compared(resamples.interval(rule), resamples.interval(rule, run.rule))
                for metric, resamples in pooled.items()
            },
            cost=averages.pooled(curves).qnc,
            p_holm=p_holm.get(rule, float("nan")),
            gain=gains.get(rule),
        )
    return standings


def _leads(
    run: Run, ranked: Ranked, tasks: Sequence[str], standings: Mapping[tuple[str, str], Standing]
) -> dict[tuple[str, str, str, str], dict[str, Interval]]:
    """`Kind.leads`, on the seeds that both methods have."""
    leads = {}
    for rule, method in (key for key in standings if key[0] in deferral.ASKING):
        rivals = [key for key in standings if key[0] in (run.rule, *RIVALS) and key[1] != method]
        for other_rule, other in rivals:
            seeds = [seed for seed in run.complete_seeds(method) if seed in run.complete_seeds(other)]
            if not seeds:
                continue
            pairs = {"own": (rule, method), "other": (other_rule, other)}
            # s_d of a method is between the two bounds of its own answers.
            pairs |= {f"{bound} {name}": (bound, name) for bound in BOUNDS for name in (method, other)}
            models = {name: [(*pair, seed) for seed in seeds] for name, pair in pairs.items()}
            leads[rule, method, other_rule, other] = {
                metric: _pooled(ranked, tasks, models, metric).interval("own", "other") for metric in METRICS
            }
    return leads


def _pooled(
    ranked: Ranked, tasks: Sequence[str], models: Mapping[str, Sequence[rule_resamples.Model]], metric: str
) -> AudcBootstrap:
    """A metric in every resample, averaged over tasks and then over seeds, which are drawn alike for every name.

    Args:
        models: name → its (rule, method, seed), one per seed.
    """
    every_model = [model for group in models.values() for model in group]
    if metric == "s_d":
        audc = {model: np.mean([ranked[name]["audc"][model] for name in tasks], axis=0) for model in every_model}
        values = np.array([_s_d(audc, *model) for model in every_model]).T
    else:
        by_task = np.array([[ranked[name][metric][model] for model in every_model] for name in tasks])
        values = _mean_of_defined(by_task).T
    labels = {name: ["/".join(map(str, model)) for model in group] for name, group in models.items()}
    every_label = tuple(label for group in labels.values() for label in group)
    joined = AudcBootstrap(("mean",), every_label, values[:1], values[None, 1:])  # values: (1 + R, models)
    return pool_seeds(joined, labels, np.random.default_rng(DRAWS))


def _mean_of_defined(values: np.ndarray) -> np.ndarray:
    """Mean over tasks, (tasks, models, 1 + R) → (models, 1 + R), of those that define the metric on the data.

    A resample may define it nowhere although the data do, since it may lack right answers; the value on the data then
    stands for it.
    """
    values = np.where(np.isnan(values), values[..., :1], values)
    defined = ~np.isnan(values)
    with np.errstate(invalid="ignore"):
        return np.where(defined, values, 0).sum(axis=0) / defined.sum(axis=0)


def _s_d(audc: Mapping[rule_resamples.Model, np.ndarray], rule: str, method: str, seed: int) -> np.ndarray:
    random, oracle = audc[RANDOM, method, seed], audc[ORACLE, method, seed]
    room = oracle - random
    return np.where(room > 1e-9, (audc[rule, method, seed] - random) / np.maximum(room, 1e-9), np.nan)
