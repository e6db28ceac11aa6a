"""Metric of answers that are a number on a scale, as in STS-B, which asks how alike two sentences are."""

import math
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.metrics.metric import Metric
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

SCALE = 5.0  # STS-B rates from 0 (unrelated) to 5 (same meaning); Cer et al., 2017, https://aclanthology.org/S17-2001
# What T5 writes for an answer that is no number. It lies just below the scale, so it never counts as a good guess.
UNPARSABLE = -1.0


class PearsonSpearman(Metric):
    """Pearson's and Spearman's correlation, -1..1, of the numbers answered and the one reference of each example.

    The truth is the reference and not the target, so that a task may train on rounded numbers and be judged by the
    exact ones. A correlation with a constant is 0. `unparsable` counts the answers that are no number; they enter as
    -1. The quality of an example is 1 − |difference| / 5, and 0 if the answer is no number.
    """

    name = "pearson_spearman"
    per_example_name = "1 − |difference| / 5"
    needs: ClassVar = {"scipy": "scipy"}

    def _quality(self, text: str, example: Example) -> float:
        answer, truth = _number(text), _truth(example)
        return 0.0 if answer is None else max(0.0, 1 - abs(answer - truth) / SCALE)

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        parsed = [_number(text) for text in texts]
        return [
            (UNPARSABLE if number is None else number, _truth(example), float(number is None))
            for number, example in zip(parsed, examples, strict=True)
        ]

    def combine(self, answers: Sequence[float], truths: Sequence[float], none: Sequence[float]) -> dict[str, float]:
        pearson = spearman = 0.0
        if len(set(answers)) > 1 and len(set(truths)) > 1:
            from scipy.stats import pearsonr, spearmanr

            pearson = float(pearsonr(answers, truths).statistic)
            spearman = float(spearmanr(answers, truths).statistic)
        return {"pearson": pearson, "spearman": spearman, "unparsable": float(sum(none))}


def _number(text: str) -> float | None:
    """The finite number that a text says; None if it says none."""
    try:
        number = float(text)
    except ValueError:
        return None
    return number if math.isfinite(number) else None


def _truth(example: Example) -> float:
    if len(example.references) != 1:
        raise CatKerasError(
            f"A similarity has exactly one reference; example {example.id!r} has {len(example.references)}: "
            f"{list(example.references)}. Correct the task's references"
        )
    truth = _number(example.references[0])
    if truth is None:
        raise CatKerasError(
            f"The reference of a similarity must be a number; example {example.id!r} has {example.references[0]!r}. "
            "Correct the row, or the task's references"
        )
    return truth
