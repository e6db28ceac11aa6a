"""Rules that read the tokens of the answer."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.deferral.rule import Rule, reduce_rows
from cat_keras.errors import CatKerasError


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
        return reduce_rows(columns["token_logprobs"], lambda values, starts, n: np.add.reduceat(values, starts) / n)


@dataclass(frozen=True)
class ChowQuantile(Rule):
    """The α-quantile of `{l_i}` (nats): how sure the small model was of its least sure tokens. arXiv 2404.10136.

    An empty answer scores `NO_ANSWER`. The quantile interpolates linearly between order statistics, as `numpy.quantile`
    does by default [U].

    Args:
        alpha: in [0, 1]; 0 is the minimum, 1 the maximum.
    """

    alpha: float
    needs = ("token_logprobs",)

    def __post_init__(self):
        if not 0 <= self.alpha <= 1:
            raise CatKerasError(f"The alpha of chow-quantile must be in [0, 1]; received {self.alpha}. Try 0.1")

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
    """Quantiles of rows that all hold something, (rows, alphas); NaN where infinities are interpolated."""
    found = np.empty((len(starts), len(alphas)))
    # Rows of one length form a matrix: one vectorised quantile per distinct length, and no padding.
    by_length = np.argsort(lengths, kind="stable")
    distinct, first = np.unique(lengths[by_length], return_index=True)
    for length, rows in zip(distinct, np.split(by_length, first[1:]), strict=True):
        matrix = values[starts[rows, None] + np.arange(length)]
        with np.errstate(invalid="ignore"):  # `Rule.__call__` reports it
            found[rows] = np.quantile(matrix, alphas, axis=1).T
    return found


@dataclass(frozen=True)
class TokenEntropy(Rule):
    """Negative mean entropy of the small model's distribution at each answer token (nats), at most 0.

    Reads `token_entropies`, which `Prediction` holds when they were asked for. An empty answer scores `NO_ANSWER`.
    """

    name = "token-entropy"
    needs = ("token_entropies",)

    def score(self, columns):
        return reduce_rows(columns["token_entropies"], lambda values, starts, n: -np.add.reduceat(values, starts) / n)


@dataclass(frozen=True)
class TokenMargin(Rule):
    """Mean difference of the two largest probabilities at each answer token, in [0, 1].

    Reads `token_margins`, which `Prediction` holds when they were asked for. An empty answer scores `NO_ANSWER`.
    """

    name = "token-margin"
    needs = ("token_margins",)

    def score(self, columns):
        return reduce_rows(columns["token_margins"], lambda values, starts, n: np.add.reduceat(values, starts) / n)
