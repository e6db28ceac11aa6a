"""One trained model on one task: its scores, its cascade's curves, and the numbers of the per-task table."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import cache, cached_property, lru_cache

import numpy as np

from benchmarks import metrics
from benchmarks.report.numbers import measures
from benchmarks.report.reading.columns import Held, Same
from benchmarks.report.reading.load import Columns, Run
from benchmarks.tasks import task
from cat_keras.cascades import deferral
from cat_keras.cascades.deferral.learned import CrossFit, reference_probability
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.confidence import auroc
from cat_keras.evaluation.curves import DeferralCurve, Outcomes
from cat_keras.evaluation.grid import on_grid

RANDOM, ORACLE = "random", "oracle"


class Cell:
    """Predictions of a small model (one method, one seed) beside those of the large model, on one task.

    Args:
        run: the run. method, seed, task: a key of `run.small`; the large model has answered the task too.
    """

    def __init__(self, run: Run, method: str, seed: int, task: str):
        self.run, self.method, self.seed, self.task = run, method, seed, task
        self.small, self.large = run.small[method, seed, task], run.large[task]
        self._curves: dict[str, DeferralCurve] = {}
        self._outcomes: Outcomes | None = None
        self._scores: dict[str, np.ndarray] = {}

    def outcomes(self, rule: str, ids: Sequence[str] | None = None) -> Outcomes:
        """Scores by `rule`, qualities and costs of the answers, from which the curve follows."""
        if rule == self.run.rule and ids is not None:  # several tables resample these
            if self._outcomes is None:
                self._outcomes = self._made(rule, ids)
            return self._outcomes
        return self._made(rule, ids)

    def _made(self, rule: str, ids: Sequence[str] | None) -> Outcomes:
        small, large = self.small["quality"], self.large["quality"]
        return Outcomes(self.score(rule), small, large, self.small["flops"], self.large["flops"], ids)

    def score(self, rule: str) -> np.ndarray:
        """Scores of the answers as they are compared, (n,); a learned rule is cross-fitted on the task itself.

        The score of random deferral is a constant, since the curve of equal scores is the expectation over all orders.
        """
        if rule not in self._scores:
            is_random = rule == RANDOM
            self._scores[rule] = np.zeros(len(self.small["quality"])) if is_random else self._apply(deferral.get(rule))
        return self._scores[rule]

    def _apply(self, rule: deferral.Rule) -> np.ndarray:
        small, columns = _held(self.small), self._qualities()
        if rule.needs_fit:
            return on_grid(_cross_fit(self).scores(replace(rule, bar=self.run.bars[self.task])))
        if "ensemble_confidences" in rule.needs:
            others = [seed for seed in self.run.seeds if seed != self.seed]
            members = [self.run.small[self.method, seed, self.task] for seed in others]
            columns["ensemble_confidences"] = deferral.confidences([small, *map(_held, members)])
        return rule.compared(ChainMap(columns, small))

    def _qualities(self) -> dict[str, np.ndarray]:
        return {"quality_small": self.small["quality"], "quality_large": self.large["quality"]}

    def learnable(self) -> Mapping[str, Sequence]:
        """The columns that learned rules are fitted to, with `unit`, which tells which examples belong together."""
        columns: dict[str, Sequence] = {**self._qualities(), "unit": self.run.units[self.task]}
        if self.task in self.run.answers:
            places = self.run.answers[self.task]
            columns["probability_small"] = reference_probability(self.small, places)
            columns["probability_large"] = reference_probability(self.large, places)
        return ChainMap(columns, _held(self.small))

    def has(self, rule: str) -> bool:
        """Whether the answers have what a rule of `deferral.ASKING` reads, which those of other methods have not."""
        return rule not in deferral.ASKING or not np.isnan(self.small["defer_logprob"]).any()

    def curve(self, rule: str) -> DeferralCurve:
        """The exact trade-off of deferring by `rule`, computed once per rule."""
        if rule not in self._curves:
            self._curves[rule] = self.outcomes(rule).curve()
        return self._curves[rule]

    @property
    def s_d(self) -> float:
        """Deferral gain of the run's rule between random (0) and the per-example oracle (1)."""
        return self.curve(self.run.rule).s_d(self.curve(ORACLE).audc)

    @cached_property
    def auroc_right(self) -> float:
        """P(a right answer of the small model scores above a wrong one)."""
        return auroc(self._score, self.small_right)

    @cached_property
    def auroc_useful(self) -> float:
        """P(an answer that only the large model gets right scores below one where deferring gains nothing)."""
        return self.measures["auroc_useful"]

    @cached_property
    def measures(self) -> Mapping[str, float]:
        """Further metrics of the score of the run's rule, see `measures.of_score`."""
        return measures.of_score(self._score, self.run.rule, self.small_right, self.large_right, self.small["quality"])

    @cached_property
    def small_right(self) -> np.ndarray:
        """(n,) bool: where the quality is above the bar of the task, see `Run.bars`."""
        return self.small["quality"] > self.run.bars[self.task]

    @cached_property
    def large_right(self) -> np.ndarray:
        """(n,) bool: likewise, by the same bar."""
        return self.large["quality"] > self.run.bars[self.task]

    @cached_property
    def _score(self) -> np.ndarray:
        return self.outcomes(self.run.rule).score


def official(run: Run, name: str, answers: Columns) -> Mapping[str, float]:
    """The official corpus numbers of answers to a task, the answers in the order of its examples."""
    if run.imported:
        return _metric(name).combine(answers["quality"].tolist())
    if "statistics" not in answers:
        return _metric(name).corpus(list(answers["text"]), _examples(run, name))
    try:
        return _metric(name).combine(*answers["statistics"].T.tolist())
    except (IndexError, TypeError, ValueError) as error:
        raise CatKerasError(
            f"Statistics of answers are those that the metric of their task made; {run.folder} has others of {name} "
            f"({error}). {'Run the profile' if run.has_text else 'Keep the run'} again"
        ) from error


def signature(run: Run, name: str) -> str:
    """The official metric of a task, named with the version and the settings that make numbers comparable."""
    if not run.has_text:
        return run.manifest["kept"]["signatures"][name]
    return _metric(name).signature(_examples(run, name)) or _metric(name).name


def statistics(run: Run, name: str, answers: Columns) -> list[tuple[float, ...]]:
    """What is kept of answers instead of their texts; see `metrics.Metric.statistics`."""
    if run.imported:
        return [(quality,) for quality in answers["quality"].tolist()]
    if "statistics" in answers:
        return answers["statistics"].tolist()
    return _metric(name).statistics(list(answers["text"]), _examples(run, name))


def _held(answers: Columns) -> Held:
    return _lately_held(Same(answers))


@lru_cache(maxsize=8)  # a report scores cell by cell with all rules, and compares a cell with its other seeds
def _lately_held(answers: Same) -> Held:
    return Held(answers.thing)


@lru_cache(maxsize=1)
def _cross_fit(cell: Cell) -> CrossFit:
    return CrossFit(cell.learnable(), by="unit")


@lru_cache(maxsize=1)  # a report goes task by task, and judges every model on one before the next
def _examples(run: Run, name: str) -> list[Example]:
    return list(run.examples[name])


@cache
def _metric(name: str) -> metrics.Metric:
    return metrics.of(task.get(name))
