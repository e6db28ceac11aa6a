"""A cascade at run time: the small model answers, and what it is not sure of goes to the next model."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras import deferral
from cat_keras.decoding import Predictor
from cat_keras.errors import CatKerasError
from cat_keras.records import Example


@dataclass(frozen=True, slots=True)
class Answer:
    """What a cascade says to one query.

    Attributes:
        text: the answer. stage: index of the model that gave it, 0 the smallest.
        score: that model's deferral score (higher = surer). id: of the example.
        flops, seconds: of all stages reached; a stage that deferred is paid for too.
    """

    text: str
    stage: int
    score: float
    id: str
    flops: float
    seconds: float


class Cascade:
    """N language models, smallest first; stage i defers to i + 1 iff its score is below `thresholds[i]`.

    Models may have different tokenizers: a query travels as text.

    Args:
        models: `CausalLM`s, two or more.
        rule: a deferral rule or its name, see `deferral.RULES`.
        thresholds: one per stage but the last; or `calibrate`.
        arguments: of `Predictor`, e.g. max_new_tokens.
    """

    def __init__(self, models, rule="chow-average", thresholds: Sequence[float] | None = None, **arguments):
        if len(models) < 2:
            raise CatKerasError(f"A cascade has at least two models. Received: {len(models)}")
        if thresholds is not None and len(thresholds) != len(models) - 1:
            raise CatKerasError(
                f"A cascade of {len(models)} models has {len(models) - 1} thresholds. Received: {list(thresholds)}"
            )
        self.predictors = [Predictor(m, **arguments) for m in models]
        self.rule = deferral.get(rule) if isinstance(rule, str) else rule
        self.thresholds = None if thresholds is None else [float(t) for t in thresholds]
        self._calibrated_on: frozenset[tuple[str, str]] = frozenset()

    def calibrate(self, examples: Sequence[Example], deferral_rate: float) -> "Cascade":
        """Sets every threshold so that a stage passes on at most this share of the calibration queries it sees.

        Needs no labels. The examples are remembered: answering them later through the cascade is an error, since a
        threshold looks better on the queries it was fitted to.

        Args:
            examples: queries like those to come.
            deferral_rate: in [0, 1].

        Returns:
            The cascade itself.
        """
        if not 0 <= deferral_rate <= 1:
            raise CatKerasError(f"A deferral rate lies in [0, 1]. Received: {deferral_rate}")
        if not examples:
            raise CatKerasError("Calibration needs at least one example. Received: none")
        thresholds, left = [], list(examples)
        for predictor in self.predictors[:-1]:
            scores = self.rule(predictor(left)) if left else np.zeros(0)
            thresholds.append(_threshold(scores, deferral_rate))
            left = [e for e, s in zip(left, scores, strict=True) if s < thresholds[-1]]
        self.thresholds = thresholds
        self._calibrated_on = frozenset((e.task, e.id) for e in examples)
        return self

    def __call__(self, examples: Sequence[Example]) -> list[Answer]:
        """Answers in the order of the examples; deferred ones are regrouped, so every model runs full batches.

        Raises:
            CatKerasError: no thresholds yet, or an example that the thresholds were calibrated on.
        """
        seen = [e for e in examples if (e.task, e.id) in self._calibrated_on]
        if seen:
            raise CatKerasError(
                f"Calibration and test examples are disjoint. Received: {len(seen)} that were calibrated on, "
                f"e.g. {seen[0].task}/{seen[0].id}. Split the data by id"
            )
        return self._answer(examples)

    def generate(self, prompts: Sequence[str]) -> list[Answer]:
        """Free answers to prompts."""
        return self._answer([Example(f"query-{i}", p, "") for i, p in enumerate(prompts)])

    def classify(self, prompts: Sequence[str], options: Sequence[str]) -> list[Answer]:
        """The best of `options` for each prompt."""
        return self._answer([Example(f"query-{i}", p, "", options=tuple(options)) for i, p in enumerate(prompts)])

    def _answer(self, examples):
        if self.thresholds is None:
            raise CatKerasError("A cascade needs thresholds before it answers. Call calibrate, or pass thresholds=")
        answers: list[Answer | None] = [None] * len(examples)
        flops, seconds = np.zeros(len(examples)), np.zeros(len(examples))
        left = np.arange(len(examples))
        for stage, predictor in enumerate(self.predictors):
            if not len(left):
                break
            predictions = predictor([examples[i] for i in left])
            flops[left] += [p.flops for p in predictions]
            seconds[left] += [p.seconds for p in predictions]
            scores = self.rule(predictions)
            last = stage == len(self.predictors) - 1
            keep = np.ones(len(left), bool) if last else scores >= self.thresholds[stage]
            for i, p, s in zip(left[keep], np.array(predictions, object)[keep], scores[keep], strict=True):
                answers[i] = Answer(p.text, stage, float(s), examples[i].id, float(flops[i]), float(seconds[i]))
            left = left[~keep]
        return answers


def _threshold(scores: np.ndarray, rate: float) -> float:
    """The largest τ for which at most `rate` of the scores are below it; +inf when all may be deferred."""
    count = int(rate * len(scores) + 1e-9)
    return float("inf") if count >= len(scores) else float(np.sort(scores)[count])
