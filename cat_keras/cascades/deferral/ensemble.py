"""Disagreement between several trainings of one model: the variance over seeds as a deferral score."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.options import compared, softmax
from cat_keras.cascades.deferral.rule import Rule, flatten, reduce_rows, row_lengths, row_means
from cat_keras.errors import CatKerasError


def confidences(members: Sequence[Mapping[str, Sequence]]) -> np.ndarray:
    """The column `ensemble_confidences` for the answers of the first member of an ensemble.

    Args:
        members: the columns of each model, the one whose answers are judged first; all on the same examples in the
            same order, with `id`, `token_logprobs` and `option_logprobs`.

    Returns:
        (n, members) float64 in [0, 1]. Classification: the probability that each member gives to the option that the
        first one chose. Generation: `exp(mean token log-probability)` of each member's own answer, 0 for an empty one,
        as the likelihood of the first one's answer would take a further pass of each other member [U].

    Raises:
        CatKerasError: members with other examples, or with another number of options.
    """
    first = members[0]
    for other in members[1:]:
        if list(other["id"]) != list(first["id"]):
            raise CatKerasError("Members of an ensemble answer the same examples in the same order; their ids differ")
        if not np.array_equal(row_lengths(other["option_logprobs"]), row_lengths(first["option_logprobs"])):
            raise CatKerasError("Members of an ensemble choose among the same options; their numbers differ")
    lengths = row_lengths(first["option_logprobs"])
    chosen = _first_chosen(flatten(compared(first)), lengths)
    return np.stack([_confidence(member, lengths, chosen) for member in members], axis=1)


def _first_chosen(values: np.ndarray, lengths: np.ndarray) -> np.ndarray:
    """Positions of the chosen options in `values`, which holds the options of all rows; one per row that has any."""
    starts = (np.cumsum(lengths) - lengths)[lengths > 0]
    rows = np.repeat(np.arange(len(starts)), lengths[lengths > 0])
    best = np.flatnonzero(values == np.maximum.reduceat(values, starts)[rows]) if len(starts) else starts
    return best[np.unique(rows[best], return_index=True)[1]]  # the first among equals, as `Predictor` chooses


def _confidence(member: Mapping[str, Sequence], lengths: np.ndarray, chosen: np.ndarray) -> np.ndarray:
    """One member's column of `confidences`, (n,); `lengths` are numbers of options, `chosen` is `_first_chosen`."""
    confidence = np.minimum(np.exp(reduce_rows(member["token_logprobs"], row_means)), 1)
    has_options = lengths > 0
    if has_options.any():
        starts = (np.cumsum(lengths) - lengths)[has_options]
        probabilities = softmax(flatten(compared(member)), starts, lengths[has_options])
        confidence[has_options] = probabilities[chosen]
    return confidence


@dataclass(frozen=True)
class SeedVariance(Rule):
    """Negative variance over seeds of the confidence in the answer, at most 0. arXiv 2310.09250.

    It reads `ensemble_confidences`: per row one number for each member, the model itself included; `confidences` makes
    that column from the predictions of all members. Every member has to run, which the cost of a cascade does not
    include.
    """

    name = "seed-variance"
    needs = ("ensemble_confidences",)

    def score(self, columns):
        lengths = row_lengths(columns["ensemble_confidences"])
        if len(lengths) and lengths.min() < 2:
            example = list(columns["id"])[int(np.argmin(lengths))]
            raise CatKerasError(
                f"seed-variance needs the confidences of at least two members; example {example!r} has "
                f"{lengths.min()}. Train another seed, or use another rule"
            )
        return reduce_rows(columns["ensemble_confidences"], _negative_variance)


def _negative_variance(values, starts, lengths):
    """Minus the variance of each row, for `reduce_rows`."""
    deviations = values - np.repeat(row_means(values, starts, lengths), lengths)
    return -row_means(deviations**2, starts, lengths)
