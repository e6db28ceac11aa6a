"""Metrics of short free-text answers to questions, judged by the words they share with accepted answers."""

import re
import string
from collections import Counter
from collections.abc import Sequence
from typing import ClassVar

from benchmarks.metrics.metric import Metric, percent
from benchmarks.metrics.scripts import SPACED, UNSPACED, count_unread, letters_of
from cat_keras.data.records import Example

_ARTICLES = re.compile(r"\b(a|an|the)\b")
_NO_PUNCTUATION = str.maketrans("", "", string.punctuation)
# TriviaQA's script removes four more quotation marks, and leaves a blank where SQuAD's leaves nothing.
_BLANK_PUNCTUATION = str.maketrans(dict.fromkeys(string.punctuation + "‘’´`", " "))


def token_f1(answer: str, truth: str) -> float:
    """F1 = 2·P·R / (P + R) of the words of two normalised texts, repeated words counted; 0 if they share none."""
    words, true_words = answer.split(), truth.split()
    n_shared = sum((Counter(words) & Counter(true_words)).values())
    if not n_shared:
        return 0.0
    precision, recall = n_shared / len(words), n_shared / len(true_words)
    return 2 * precision * recall / (precision + recall)


def squad_normalise(text: str) -> str:
    """Lower case, no punctuation, no articles, single blanks, in the order of SQuAD's official scripts."""
    return _without_articles(text.lower().translate(_NO_PUNCTUATION))


def trivia_qa_normalise(text: str) -> str:
    """As for SQuAD, but punctuation becomes a blank: "U.S." becomes "u s", and "rock'n'roll" three words."""
    return _without_articles(text.lower().translate(_BLANK_PUNCTUATION))


class TriviaQa(Metric):
    """Exact match and token F1, each the best over all aliases (Joshi et al., 2017; its `triviaqa_evaluation.py`).

    Normalisation leaves nothing of an alias that is an article or punctuation alone ("A", "?"). The official script
    then gives an empty answer a point, and no token F1 to the right one. For the quality of an example such an alias is
    compared as it is written, but for case and blanks.
    """

    name = "trivia_qa"
    per_example_name = "exact_match"
    scripts = SPACED
    remedy = "The exact match is right in all scripts; judge longer answers with chrF (metric bleu+chrf)"
    version = 2  # quality where references are articles or punctuation alone
    needs: ClassVar = {"regex": "regex"}
    numbers = ("exact_match", "f1")  # the headline first, which is also the quality of an example

    def unread(self, examples: Sequence[Example]) -> int:
        return count_unread(letters_of(UNSPACED), examples)

    def _quality(self, text: str, example: Example) -> float:
        references = [reference for reference in example.references if reference.strip()]
        if not references:  # the question has no answer
            return self.scores(text, ("",))[self.numbers[0]]
        if not self._words(text):
            return float(any(_written(text) == _written(reference) for reference in references))
        worded = [reference for reference in references if self._words(reference)]
        return self.scores(text, worded)[self.numbers[0]] if worded else 0.0

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        scores = [self.scores(text, example.references) for text, example in zip(texts, examples, strict=True)]
        return [tuple(score[number] for number in self.numbers) for score in scores]

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        return {number: percent(column) for number, column in zip(self.numbers, columns, strict=True)}

    def scores(self, text: str, references: Sequence[str]) -> dict[str, float]:
        """Both official numbers of one answer, in [0, 1]."""
        answer, truths = self._normalise(text), self._truths(references)
        return {"exact_match": float(answer in truths), "f1": max(self._f1(answer, truth) for truth in truths)}

    def _words(self, text: str) -> str:
        return trivia_qa_normalise(text)

    def _normalise(self, text: str) -> str:
        return self._words(text)

    def _truths(self, references: Sequence[str]) -> list[str]:
        return [self._normalise(reference) for reference in references]

    def _f1(self, answer: str, truth: str) -> float:
        return token_f1(answer, truth)


class Squad(TriviaQa):
    """Token F1 and exact match, each the best over the accepted answers (Rajpurkar et al., 2018; `evaluate-v2.0.py`).

    Accepted answers that are empty once normalised are left out. If none remains, the question is unanswerable and only
    the empty answer is right. If all questions are answerable (SQuAD v1.1), this is the metric of v1.1. The quality of
    an example leaves no accepted answer out, see `TriviaQa`; where `no_answer` is accepted, it is right and silence is
    not.

    Args:
        no_answer: a text that stands for the empty answer, in answers and references alike. It is needed because a
            target cannot be empty.
    """

    name = "squad"
    per_example_name = "token F1"
    numbers = ("f1", "exact_match")

    def __init__(self, no_answer: str = ""):
        self.no_answer = no_answer
        self._abstention = squad_normalise(no_answer)

    def _words(self, text: str) -> str:
        return squad_normalise(text)

    def _normalise(self, text: str) -> str:
        text = self._words(text)
        return "" if text == self._abstention else text

    def _truths(self, references: Sequence[str]) -> list[str]:
        return [truth for truth in super()._truths(references) if truth] or [""]

    def _f1(self, answer: str, truth: str) -> float:
        return token_f1(answer, truth) if answer and truth else float(answer == truth)


def _written(text: str) -> str:
    """The text in lower case, with single blanks."""
    return " ".join(text.lower().split())


def _without_articles(text: str) -> str:
    """The text without articles, and with single blanks between its words."""
    return " ".join(_ARTICLES.sub(" ", text).split())
