"""Official metrics of the tasks, each with a quality per example for the cascade's curves.

A metric judges texts against examples; it knows no model and no threshold. The libraries behind it are imported when
it is used.
"""

import functools
from collections.abc import Callable, Sequence
from importlib.metadata import version
from typing import Any, Protocol

from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.records import Example


class Metric(Protocol):
    """What every metric offers.

    Attributes:
        name: as `get` takes it. per_example_name: what `per_example` measures, for axis labels.
    """

    name: str
    per_example_name: str

    def per_example(self, text: str, example: Example) -> float:
        """Quality of one answer, in [0, 1]."""

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        """Official numbers of all answers together, the headline first: 0..100, correlations -1..1.

        Raises:
            CatKerasError: no answers, or not one answer per example.
        """

    def signature(self, examples: Sequence[Example]) -> str:
        """What makes a number comparable (tokenizer, references, version); "" where nothing varies."""


def get(name: str, **arguments: Any) -> Metric:
    """The metric of that name.

    Args:
        name: `"accuracy"`, `"exact_match"`, `"f1"`, `"matthews"`, `"bleu+chrf"` or `"rouge"`.
        arguments: `positive`, the positive option of F1; `tokenize`, sacrebleu's tokenizer for BLEU.

    Raises:
        CatKerasError: there is no such metric.
    """
    if name not in _METRICS:
        raise unknown_name("metric", name, _METRICS)
    return _METRICS[name](**arguments)


class Accuracy:
    """Share of answers that are the target, to the letter."""

    name = "accuracy"
    per_example_name = "accuracy"

    def per_example(self, text: str, example: Example) -> float:
        return float(text == example.target)

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        _check(texts, examples)
        return {self.per_example_name: 100 * _mean(self.per_example, texts, examples)}

    def signature(self, examples: Sequence[Example]) -> str:
        return ""


class ExactMatch(Accuracy):
    """Share of answers that are one of the references, surrounding blanks aside."""

    name = "exact_match"
    per_example_name = "exact_match"

    def per_example(self, text: str, example: Example) -> float:
        return float(text.strip() in {reference.strip() for reference in example.references})


class F1(Accuracy):
    """F1 = 2·TP / (2·TP + FP + FN) of one option against all others; 0 where it never occurs."""

    name = "f1"

    def __init__(self, positive: str):
        self.positive = positive

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        from sklearn.metrics import f1_score

        accuracy = super().corpus(texts, examples)
        right = [example.target == self.positive for example in examples]
        f1 = f1_score(right, [text == self.positive for text in texts], zero_division=0.0)
        return {"f1": 100 * float(f1), **accuracy}


class Matthews(Accuracy):
    """Matthews correlation of answers and targets, -1..1; 0 where either is constant."""

    name = "matthews"

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        from sklearn.metrics import matthews_corrcoef

        accuracy = super().corpus(texts, examples)
        targets = [example.target for example in examples]
        # One label on both sides is perfect agreement and no correlation; scikit-learn warns about it.
        constant = len({*texts, *targets}) == 1
        return {"matthews": 0.0 if constant else float(matthews_corrcoef(targets, list(texts))), **accuracy}


class BleuChrf:
    """Corpus BLEU and chrF of sacrebleu over all references; per example sentence chrF."""

    name = "bleu+chrf"
    per_example_name = "sentence chrF"

    def __init__(self, tokenize: str = "13a"):
        self.tokenize = tokenize

    def per_example(self, text: str, example: Example) -> float:
        return self._chrf.sentence_score(text, list(example.references)).score / 100

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        _check(texts, examples)
        streams = _reference_streams(examples)
        return {
            "bleu": self._bleu.corpus_score(list(texts), streams).score,
            "chrf": self._chrf.corpus_score(list(texts), streams).score,
        }

    def signature(self, examples: Sequence[Example]) -> str:
        counts = {len(example.references) for example in examples}
        signatures = []
        for label, metric in (("BLEU", self._bleu), ("chrF2", self._chrf)):
            # sacrebleu notes the number of references while it scores; -1 is its mark for a number that varies.
            metric.num_refs = next(iter(counts)) if len(counts) == 1 else -1
            signatures.append(f"{label} {metric.get_signature()}")
        return "; ".join(signatures)

    @functools.cached_property
    def _bleu(self):
        from sacrebleu.metrics import BLEU

        return BLEU(tokenize=self.tokenize)

    @functools.cached_property
    def _chrf(self):
        from sacrebleu.metrics import CHRF

        return CHRF()


class Rouge:
    """ROUGE-1, ROUGE-2 and ROUGE-Lsum (F-measure, no stemming), each the best over the references; their mean."""

    name = "rouge"
    per_example_name = "ROUGE-Lsum"
    kinds = ("rouge1", "rouge2", "rougeLsum")

    def per_example(self, text: str, example: Example) -> float:
        return self._scores(text, example)["rougeLsum"]

    def corpus(self, texts: Sequence[str], examples: Sequence[Example]) -> dict[str, float]:
        _check(texts, examples)
        scores = [self._scores(text, example) for text, example in zip(texts, examples, strict=True)]
        return {kind: 100 * sum(score[kind] for score in scores) / len(scores) for kind in self.kinds}

    def signature(self, examples: Sequence[Example]) -> str:
        return f"rouge-score stemmer:no|refs:max|version:{version('rouge-score')}"

    def _scores(self, text: str, example: Example) -> dict[str, float]:
        best = self._scorer.score_multi(list(example.references), text)
        return {kind: best[kind].fmeasure for kind in self.kinds}

    @functools.cached_property
    def _scorer(self):
        from rouge_score.rouge_scorer import RougeScorer

        return RougeScorer(list(self.kinds), use_stemmer=False)


_METRICS: dict[str, Callable[..., Metric]] = {
    metric.name: metric for metric in (Accuracy, ExactMatch, F1, Matthews, BleuChrf, Rouge)
}


def _check(texts: Sequence[str], examples: Sequence[Example]) -> None:
    if len(texts) != len(examples) or not len(texts):
        raise CatKerasError(
            f"A metric needs one answer per example and at least one; received {len(texts)} answers to "
            f"{len(examples)} examples"
        )


def _mean(quality: Callable[[str, Example], float], texts: Sequence[str], examples: Sequence[Example]) -> float:
    return sum(quality(text, example) for text, example in zip(texts, examples, strict=True)) / len(texts)


def _reference_streams(examples: Sequence[Example]) -> list[list[str | None]]:
    """References by position, as sacrebleu wants them: stream r holds reference r of every example, or None."""
    most = max(len(example.references) for example in examples)
    return [
        [example.references[r] if r < len(example.references) else None for example in examples] for r in range(most)
    ]
