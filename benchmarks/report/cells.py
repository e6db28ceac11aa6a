"""One trained model on one task: its scores, its cascade's curves, and the numbers of the per-task table."""

from collections.abc import Mapping, Sequence
from functools import cache, cached_property

import numpy as np

from benchmarks import metrics, task
from benchmarks.report.load import Run
from cat_keras import deferral
from cat_keras.curves import DeferralCurve, Outcomes, auroc

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

    def outcomes(self, rule: str, ids: Sequence[str] | None = None) -> Outcomes:
        """What deferring by `rule` does. A random score is a constant: its curve is then the expected one exactly."""
        small, large = self.small["quality"], self.large["quality"]
        columns = deferral.columns(self.small, quality_small=small, quality_large=large)
        score = np.zeros(len(small)) if rule == RANDOM else deferral.get(rule)(columns)
        return Outcomes(score, small, large, self.small["flops"], self.large["flops"], ids)

    def curve(self, rule: str) -> DeferralCurve:
        """The exact sweep, computed once per rule."""
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
        return auroc(self._score, self._right(self.small))

    @cached_property
    def auroc_useful(self) -> float:
        """P(an answer that only the large model gets right scores below one where deferring gains nothing)."""
        return auroc(-self._score, self._right(self.large) & ~self._right(self.small))

    @cached_property
    def _score(self) -> np.ndarray:
        return self.outcomes(self.run.rule).score

    def _right(self, predictions) -> np.ndarray:
        return predictions["quality"] > self.run.bars[self.task]


def official(run: Run, name: str, texts: Sequence[str]) -> Mapping[str, float]:
    """The official corpus numbers of answers to a task, in the order of its examples."""
    return _metric(name).corpus(list(texts), run.examples[name])


def signature(run: Run, name: str) -> str:
    """The official metric of a task with what makes it comparable."""
    return _metric(name).signature(run.examples[name]) or _metric(name).name


@cache
def _metric(name: str) -> metrics.Metric:
    found = task.get(name)
    return metrics.get(found.metric, **found.metric_args)
