"""Deferral rules that read the tokens of the answer."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import ClassVar

import numpy as np

from cat_keras.cascades.deferral.rule import Rule, reduce_rows, row_lengths, row_means
from cat_keras.errors import SHARE, CatKerasError, check_number


@dataclass(frozen=True)
class ChowSum(Rule):
    """`Σ l_i`, the log-probability of the whole answer (nats); favours short answers. arXiv 2404.10136.

    An empty answer scores `NO_ANSWER`.
    """

    name = "chow-sum"
    needs = ("token_logprobs",)

    def score(self, columns):
        return reduce_rows(columns["token_logprobs"], lambda values, starts, _: np.add.reduceat(values, starts))


@dataclass(frozen=True)
class ChowAverage(Rule):
    """`Σ l_i / n`, the mean token log-probability (nats per token). arXiv 2404.10136; CAT's default [S].

    An empty answer scores `NO_ANSWER`.
    """

    name = "chow-average"
    needs = ("token_logprobs",)

    def score(self, columns):
        return reduce_rows(columns["token_logprobs"], row_means)


@dataclass(frozen=True)
class ChowQuantile(Rule):
    """The α-quantile of `{l_i}` (nats): how sure the small model was of its least certain tokens. arXiv 2404.10136.

    An empty answer scores `NO_ANSWER`. The quantile interpolates linearly between order statistics, as `numpy.quantile`
    does by default [U].

    Args:
        alpha: in [0, 1]; 0 is the minimum, 1 the maximum.
    """

    alpha: float
    needs = ("token_logprobs",)

    def __post_init__(self):
        check_number("alpha of chow-quantile", self.alpha, SHARE)

    @property
    def name(self):
        return f"chow-quantile-{self.alpha:.15g}"

    def score(self, columns):
        return reduce_rows(columns["token_logprobs"], self._quantiles)

    def _quantiles(self, values, starts, lengths):
        if self.alpha == 0:
            return np.minimum.reduceat(values, starts)
        return quantiles(values, starts, lengths, (self.alpha,))[:, 0]


def quantiles(values: np.ndarray, starts: np.ndarray, lengths: np.ndarray, alphas: Sequence[float]) -> np.ndarray:
    """Quantiles of rows, none of them empty: (rows, alphas), as `numpy.quantile` gives them row by row, to the bit."""
    row = np.repeat(np.arange(len(lengths)), lengths)
    rising = values[np.lexsort((values, row))]  # one sort for all rows, which stay where they are
    places = np.multiply.outer(lengths - 1, np.asarray(alphas, np.float64))
    below = np.floor(places).astype(np.int64)
    above = np.minimum(below + 1, (lengths - 1)[:, None])
    low, high, share = rising[starts[:, None] + below], rising[starts[:, None] + above], places - below
    with np.errstate(invalid="ignore"):  # infinities are interpolated to NaN, which `Rule.__call__` reports
        step = high - low
        # numpy counts from the nearer end, so that the ends themselves are exact.
        return np.where(share < 0.5, low + step * share, high - step * (1 - share))


class _MeasuredRule(Rule):
    """The mean over the tokens of a measure that `Prediction` has only where the predictor was asked for it."""

    sign: ClassVar[int]

    def score(self, columns):
        measured, answers = columns[self.needs[0]], columns["token_logprobs"]
        bad = np.flatnonzero(row_lengths(measured) != row_lengths(answers))
        if bad.size:
            raise CatKerasError(
                f"{self.name} needs {self.needs[0]} of every answer token; example {list(columns['id'])[bad[0]]!r} has "
                "them not. Ask the predictor to measure them"
            )
        return reduce_rows(measured, lambda *rows: self.sign * row_means(*rows))


@dataclass(frozen=True)
class TokenEntropy(_MeasuredRule):
    """Negative mean entropy of the small model's distribution at each answer token (nats), at most 0.

    An empty answer scores `NO_ANSWER`.
    """

    name = "token-entropy"
    needs = ("token_entropies", "token_logprobs")
    sign = -1


@dataclass(frozen=True)
class TokenMargin(_MeasuredRule):
    """Mean difference of the two largest probabilities at each answer token, in [0, 1].

    An empty answer scores `NO_ANSWER`.
    """

    name = "token-margin"
    needs = ("token_margins", "token_logprobs")
    sign = 1
