"""Deferral rules for classification: they read the likelihoods of all options; a row without options raises."""

from abc import abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import Rule, reduce_rows, row_lengths
from cat_keras.errors import CatKerasError


def softmax(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Probabilities of the options of every row, (total,); NaN where all options of a row are impossible."""
    with np.errstate(invalid="ignore"):  # −inf − −inf is NaN, which `Rule.__call__` reports
        odds = np.exp(values - np.repeat(np.maximum.reduceat(values, starts), lengths))
        return odds / np.repeat(np.add.reduceat(odds, starts), lengths)


def compared(columns: Mapping[str, Sequence]) -> Sequence[Sequence[float]]:
    """The column that options were compared by: `option_scores` where the answers have them, else `option_logprobs`.

    Raises:
        CatKerasError: some rows have as many scores as options, and others have not.
    """
    logprobs = columns["option_logprobs"]
    if "option_scores" not in columns or not row_lengths(columns["option_scores"]).any():
        return logprobs
    bad = np.flatnonzero(row_lengths(columns["option_scores"]) != row_lengths(logprobs))
    if bad.size:
        raise CatKerasError(
            f"Options are compared alike in all rows. Received: option_scores of some rows, and another number than of "
            f"option_logprobs for example {list(columns['id'])[bad[0]]!r}. Take answers of one setting of compare"
        )
    return columns["option_scores"]


class _OptionRule(Rule):
    """A score of the distribution `softmax(compared(columns))` of each row, by default that of `option_logprobs`."""

    needs = ("option_logprobs",)

    def score(self, columns):
        lengths = row_lengths(columns["option_logprobs"])
        if not lengths.all():
            example = list(columns["id"])[int(np.argmin(lengths))]
            raise CatKerasError(
                f"{self.name} needs the log-likelihood of every option; example {example!r} has none. "
                "Use a chow rule for generation"
            )

        def score_rows(values, starts, lengths):
            return self.reduce(softmax(values, starts, lengths), starts, lengths)

        return reduce_rows(compared(columns), score_rows)

    @staticmethod
    @abstractmethod
    def reduce(probabilities: np.ndarray, starts: np.ndarray, lengths: np.ndarray) -> np.ndarray:
        """One score per row, (rows,), from the probabilities of all rows' options, (total,)."""


@dataclass(frozen=True)
class MaxProbability(_OptionRule):
    """`max p` with `p = softmax(option_logprobs)`, in (0, 1]: the chosen option's share of the options' likelihood.

    All gaps beyond 36 nats round to 1 and become ties.
    """

    name = "max-probability"

    @staticmethod
    def reduce(probabilities, starts, lengths):
        return np.maximum.reduceat(probabilities, starts)


@dataclass(frozen=True)
class Margin(_OptionRule):
    """Difference of the two largest of `softmax(option_logprobs)`, in [0, 1]; 1 where there is only one option.

    With two options it orders examples as `MaxProbability` does.
    """

    name = "margin"

    @staticmethod
    def reduce(probabilities, starts, lengths):
        rows = np.repeat(np.arange(len(starts)), lengths)
        ordered = probabilities[np.lexsort((probabilities, rows))]
        last = starts + lengths - 1
        return ordered[last] - np.where(lengths > 1, ordered[np.maximum(last - 1, 0)], 0)


@dataclass(frozen=True)
class Entropy(_OptionRule):
    """`Σ p log p` with `p = softmax(option_logprobs)`: the negative entropy over the options (nats), at most 0."""

    name = "entropy"

    @staticmethod
    def reduce(probabilities, starts, lengths):
        logs = np.log(np.where(probabilities == 0, 1, probabilities))  # 0 log 0 = 0; NaN stays and is reported
        return np.add.reduceat(probabilities * logs, starts)
