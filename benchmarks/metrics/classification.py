"""Metrics of answers that are right or wrong."""

from collections.abc import Sequence
from typing import ClassVar

from benchmarks.metrics.metric import Metric, code, percent
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

SKLEARN = {"sklearn": "scikit-learn"}


class Accuracy(Metric):
    """Share of answers that are exactly the target, or another of the references where an example has several."""

    name = "accuracy"
    per_example_name = "accuracy"

    def _quality(self, text: str, example: Example) -> float:
        return float(text == example.target)

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        return [(self.per_example(text, example),) for text, example in zip(texts, examples, strict=True)]

    def combine(self, right: Sequence[float]) -> dict[str, float]:
        return {self.per_example_name: percent(right)}


class ExactMatch(Accuracy):
    """Share of answers that are one of the references; surrounding blanks do not count."""

    name = "exact_match"
    per_example_name = "exact_match"

    def _quality(self, text: str, example: Example) -> float:
        return float(text.strip() in {reference.strip() for reference in example.references})


class F1(Accuracy):
    """F1 = 2·TP / (2·TP + FP + FN) of one option against all others, and accuracy.

    F1 is 0 where the option is neither a target nor an answer, even if all answers are right.

    Args:
        positive: the option that counts as positive.
    """

    name = "f1"
    needs: ClassVar = SKLEARN

    def __init__(self, positive: str):
        self.positive = positive

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        """Three 0s or 1s per answer: whether it is right, the target is positive, the answer is positive."""
        for example in examples:
            # With a positive that is no option F1 would always be 0, and nobody would know why.
            if example.options and self.positive not in example.options:
                raise CatKerasError(
                    f"The positive option of metric {self.name} must be one of {list(example.options)}; received "
                    f"{self.positive!r}. Correct `positive` in the task's metric_args"
                )
        return [
            (self.per_example(text, example), float(example.target == self.positive), float(text == self.positive))
            for text, example in zip(texts, examples, strict=True)
        ]

    def combine(self, right, truth, answer) -> dict[str, float]:
        from sklearn.metrics import f1_score

        return {"f1": 100 * float(f1_score(truth, answer, zero_division=0.0)), **super().combine(right)}


class _Labelled(Accuracy):
    """A metric of answers that are labels. Its statistics are whether an answer is right, and target and answer as
    `code`s."""

    needs: ClassVar = SKLEARN

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        return [
            (self.per_example(text, example), code(example.target), code(text))
            for text, example in zip(texts, examples, strict=True)
        ]


class MacroF1Accuracy(_Labelled):
    """Unweighted mean of the F1 of every option that occurs, and accuracy: what SuperGLUE reports for CB."""

    name = "macro_f1_accuracy"

    def combine(self, right, truth, answer) -> dict[str, float]:
        from sklearn.metrics import f1_score

        f1 = f1_score(truth, answer, average="macro", zero_division=0.0)
        return {"macro_f1": 100 * float(f1), **super().combine(right)}


class Matthews(_Labelled):
    """Matthews correlation of answers and targets, -1..1, and accuracy; 0 where either is constant."""

    name = "matthews"

    def combine(self, right, truth, answer) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        # If all targets and answers are one label, there is no correlation, and scikit-learn would warn about it.
        constant = len({*truth, *answer}) == 1
        return {"matthews": 0.0 if constant else float(matthews_corrcoef(truth, answer)), **super().combine(right)}
