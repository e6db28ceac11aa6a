"""Metrics of answers that are right or wrong."""

from collections.abc import Sequence

from benchmarks.metrics.metric import check_answers, percent_of
from cat_keras.errors import CatKerasError
from cat_keras.records import Example


class Accuracy:
    """Share of answers that are the target, to the letter."""

    name = "accuracy"
    per_example_name = "accuracy"

    def per_example(self, text: str, example: Example) -> float:
        return float(text == example.target)

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        check_answers(texts, examples)
        return {self.per_example_name: percent_of(self.per_example, texts, examples)}

    def signature(self, examples: Sequence[Example]) -> str:
        return ""


class ExactMatch(Accuracy):
    """Share of answers that are one of the references, surrounding blanks aside."""

    name = "exact_match"
    per_example_name = "exact_match"

    def per_example(self, text: str, example: Example) -> float:
        return float(text.strip() in {reference.strip() for reference in example.references})


class F1(Accuracy):
    """F1 = 2·TP / (2·TP + FP + FN) of one option against all others, and accuracy; 0 where it never occurs.

    Args:
        positive: the option that counts as positive.
    """

    name = "f1"

    def __init__(self, positive: str):
        self.positive = positive

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        accuracy = super().corpus(texts, examples)
        return {"f1": self._f1(texts, examples), **accuracy}

    def _f1(self, texts: Sequence[str], examples: Sequence[Example]) -> float:
        from sklearn.metrics import f1_score

        for example in examples:
            # A positive that is no option would quietly score 0 for ever.
            if example.options and self.positive not in example.options:
                raise CatKerasError(
                    f"The positive option of metric {self.name} must be one of {list(example.options)}; received "
                    f"{self.positive!r}. Correct `positive` in the task's metric_args"
                )
        right = [example.target == self.positive for example in examples]
        return 100 * float(f1_score(right, [text == self.positive for text in texts], zero_division=0.0))


class MacroF1Accuracy(Accuracy):
    """Unweighted mean of the F1 of every option that occurs, and accuracy: the pair that SuperGLUE's CB reports."""

    name = "macro_f1_accuracy"

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        from sklearn.metrics import f1_score

        accuracy = super().corpus(texts, examples)
        targets = [example.target for example in examples]
        f1 = f1_score(targets, list(texts), average="macro", zero_division=0.0)
        return {"macro_f1": 100 * float(f1), **accuracy}


class Matthews(Accuracy):
    """Matthews correlation of answers and targets, -1..1, and accuracy; 0 where either is constant."""

    name = "matthews"

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        accuracy = super().corpus(texts, examples)
        targets = [example.target for example in examples]
        # One label on both sides is perfect agreement and no correlation; scikit-learn warns about it.
        constant = len({*texts, *targets}) == 1
        return {"matthews": 0.0 if constant else float(matthews_corrcoef(targets, list(texts))), **accuracy}
