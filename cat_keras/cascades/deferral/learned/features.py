"""The features of an answer that a learned rule reads, and the probability of the reference as a target."""

from collections.abc import Mapping, Sequence

import numpy as np

from cat_keras.cascades.deferral.options import Entropy, Margin, MaxProbability, compared, softmax
from cat_keras.cascades.deferral.rule import flatten, reduce_rows, row_lengths
from cat_keras.cascades.deferral.tokens import quantiles
from cat_keras.errors import CatKerasError

DECILES = tuple(np.linspace(0, 1, 11).tolist())
Columns = Mapping[str, Sequence]


def features(columns: Columns, embedding: bool = False) -> tuple[np.ndarray, np.ndarray]:
    """The features of each answer.

    Args:
        columns: with `token_logprobs`, `option_logprobs` and, if `embedding` is true, `embedding`.
        embedding: whether to add the embedding.

    Returns:
        (n,) bool, whether there is an answer, and (n, 18 + d) float64. The columns are deciles, sum, mean and number of
        the token log-probabilities, zeros where there is no answer; largest probability, margin, negative entropy and
        number of the options, zeros for generation; and the embedding.
    """
    tokens = reduce_rows(columns["token_logprobs"], _token_features, 0.0, (len(DECILES) + 3,))
    options = reduce_rows(compared(columns), _option_features, 0.0, (4,))
    parts = [tokens, options]
    if embedding:
        parts.append(_embeddings(columns["embedding"], len(tokens)))
    return row_lengths(columns["token_logprobs"]) > 0, np.concatenate(parts, axis=1)


def _token_features(values, starts, lengths):
    sums = np.add.reduceat(values, starts)
    return np.column_stack([quantiles(values, starts, lengths, DECILES), sums, sums / lengths, lengths])


def _option_features(values, starts, lengths):
    probabilities = softmax(values, starts, lengths)
    reduced = [rule.reduce(probabilities, starts, lengths) for rule in (MaxProbability, Margin, Entropy)]
    return np.column_stack([*reduced, lengths])


def _embeddings(column: Sequence[Sequence[float]], n: int) -> np.ndarray:
    lengths = row_lengths(column)
    if n and (lengths.min() != lengths.max() or not lengths[0]):
        raise CatKerasError(
            f"embedding must have one vector of one size per example; received sizes {lengths.min()} to "
            f"{lengths.max()}. Ask the predictor for embeddings"
        )
    return flatten(column).reshape(n, -1)


def reference_probability(predictions: Columns, references: Sequence[int]) -> np.ndarray:
    """The probability that a model gives to the right option: the column `probability_small` or `probability_large`.

    Args:
        predictions: columns of one model's answers, with `option_logprobs`. references: (n,) index of the right option.

    Returns:
        (n,) float64 in [0, 1], from `softmax` of what the options were compared by.

    Raises:
        CatKerasError: a row has no option of that index.
    """
    column, places = compared(predictions), np.asarray(references, dtype=np.int64)
    lengths = row_lengths(column)
    bad = np.flatnonzero((places < 0) | (places >= lengths))
    if bad.size:
        raise CatKerasError(
            f"The right option is one of the options; row {bad[0]} has {lengths[bad[0]]}, place {places[bad[0]]} is "
            "asked for. diff-prob is for classification"
        )
    starts = np.cumsum(lengths) - lengths
    return softmax(flatten(column), starts, lengths)[starts + places]
