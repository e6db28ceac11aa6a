"""Quality of a score or a confidence by itself, before any cascade: ranking, calibration, selective risk.

`right` says per example whether the small model's answer is right. A *score* only ranks; a *confidence* is a score that
claims to be a probability, such as `max-probability`, or the exponential of a mean token log-probability.
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np

from cat_keras.errors import check_number
from cat_keras.evaluation import vectors

POINTS = "[1, 1000000]"  # of a sum
NAN = float("nan")


def bar(qualities: Sequence[np.ndarray]) -> float:
    """The quality above which an answer counts as right, for `auroc`.

    Quality that is 0 or 1 has only one sensible bar. Graded quality has none, so the bar is the median of all answers,
    with about as many above as below.

    Args:
        qualities: of the answers of each model that is compared, (n,) each.
    """
    values = np.concatenate(qualities)
    return 0.5 if np.isin(values, (0, 1)).all() else float(np.median(values))


def auroc(score, positive) -> float:
    """P(score of a positive > score of a negative), ties counting one half: the area under the ROC curve.

    Args:
        score: (n,) float, higher = more likely positive.
        positive: (n,) bool (or 0/1), e.g. "the small model is right".

    Returns:
        in [0, 1]; NaN, as undefined, when there is no positive or no negative.
    """
    score = vectors.finite("score", score)
    positive = vectors.true_or_false("positive", positive, len(score))
    negatives, positives = np.sort(score[~positive]), score[positive]
    if not len(negatives) or not len(positives):
        return NAN
    # The sum counts a lower negative twice and a tied one once, so halving it gives ties the weight 1/2.
    below = np.searchsorted(negatives, positives, "left") + np.searchsorted(negatives, positives, "right")
    return float(below.mean() / 2 / len(negatives))


class Reliability(NamedTuple):
    """Bins of a reliability diagram, each (bins,): mean confidence, share right (both NaN where empty), examples."""

    confidence: np.ndarray
    accuracy: np.ndarray
    count: np.ndarray


def reliability(confidence, right, bins: int = 15) -> Reliability:
    """Share of right answers by stated confidence, in bins of equal width, closed above: (0, 1/15], (1/15, 2/15] …

    Confidence 0 belongs to the first bin, as in the code of Guo et al., arXiv 1706.04599.

    Raises:
        CatKerasError: a confidence outside [0, 1], or `right` not true or false.
    """
    confidence = vectors.within_unit("confidence", confidence)
    right = vectors.true_or_false("right", right, len(confidence))
    edges = np.linspace(0, 1, check_number("bins", bins, POINTS, whole=True) + 1)
    bin_index = np.maximum(np.searchsorted(edges, confidence, "left") - 1, 0)
    count = np.bincount(bin_index, minlength=bins)
    with np.errstate(invalid="ignore"):  # 0/0 in an empty bin
        means = [np.bincount(bin_index, column, minlength=bins) / count for column in (confidence, right)]
    return Reliability(*means, count)


def ece(confidence, right, bins: int = 15) -> float:
    """Expected calibration error, `Σ_b n_b / n · |accuracy_b − confidence_b|`. Guo et al., arXiv 1706.04599, eq. 3."""
    diagram = reliability(confidence, right, bins)
    filled = diagram.count > 0
    gaps = np.abs(diagram.accuracy - diagram.confidence)[filled]
    return float(gaps @ diagram.count[filled] / diagram.count.sum())


def brier(confidence, right) -> float:
    """Brier score of "the answer is right", `mean (confidence − right)²`, in [0, 1]: half the sum over two classes."""
    confidence = vectors.within_unit("confidence", confidence)
    right = vectors.true_or_false("right", right, len(confidence))
    return float(np.mean((confidence - right) ** 2))


def _expected_losses(score, loss) -> np.ndarray:
    """Losses from the highest score to the lowest, (n,).

    Examples with equal scores get their mean loss: what a random order among them gives in expectation.
    """
    score = vectors.finite("score", score)
    loss = vectors.within_unit("loss", loss, len(score))
    _, group, count = np.unique(-score, return_inverse=True, return_counts=True)
    return np.repeat(np.bincount(group, loss) / count, count)


def aurc(score, loss) -> float:
    """Area under the risk–coverage curve, `1/n Σ_i mean(losses of the i highest scores)`. arXiv 1805.08206, eq. 3.

    It is the mean over the n coverages, as in that paper; code that integrates by trapezoids differs by O(1/n).
    Examples with equal scores enter with their mean loss, which is the expectation over their order.

    Args:
        score: (n,) float, higher = kept first.
        loss: (n,) in [0, 1], e.g. 1 − quality.

    Returns:
        in [0, 1], lower is better.
    """
    losses = _expected_losses(score, loss)
    return float(np.mean(np.cumsum(losses) / np.arange(1, len(losses) + 1)))


def augrc(score, loss) -> float:
    """Area under the generalised risk–coverage curve, `∫_0^1 P(wrong and kept at coverage c) dc`. arXiv 2407.01032.

    Integrated by trapezoids from coverage 0; the curve is straight over examples with equal scores. On 0/1 losses of
    mean r the area is exactly `(1 − AUROC) r (1 − r) + r² / 2`, the paper's eq. 7.

    Args:
        score, loss: as in `aurc`.

    Returns:
        in [0, 1/2] for 0/1 losses at best 0, lower is better.
    """
    losses = _expected_losses(score, loss)
    return float(np.mean(np.cumsum(losses) - losses / 2) / len(losses))


def density_overlap(confidence, right, points: int = 512) -> float:
    """Overlap s_o of the densities of the confidence where right and where wrong, `∫ min(p_right, p_wrong)`.

    Gatekeeper, arXiv 2502.19335. Densities are Gaussian kernel estimates with Scott's bandwidth [U]. They are
    integrated beyond [0, 1], because kernels near the ends reach over them and cutting there would lose mass.

    Args:
        confidence: (n,) float. right: (n,) bool or 0/1. points: of the integral.

    Returns:
        in [0, 1], lower is better; NaN where a side has fewer than two distinct values and so no density.
    """
    check_number("points", points, POINTS, whole=True)
    confidence = vectors.summable("confidence", confidence)
    right = vectors.true_or_false("right", right, len(confidence))
    sides = [confidence[right], confidence[~right]]
    if any(len(np.unique(side)) < 2 for side in sides):
        return NAN
    widths = [side.std(ddof=1) * len(side) ** -0.2 for side in sides]
    grid = np.linspace(confidence.min() - 4 * max(widths), confidence.max() + 4 * max(widths), points)
    return float(np.trapezoid(np.minimum(*map(_density, sides, widths, (grid, grid))), grid))


def _density(values: np.ndarray, width: float, grid: np.ndarray) -> np.ndarray:
    """Gaussian kernel density of the values at the points of a grid, (points,)."""
    # As scipy.stats.gaussian_kde, whose import takes longer than a report. Few points at a time bound memory.
    step = max(1, 2**16 // len(values))
    sums = [
        np.exp(((values - grid[start : start + step, None]) / width) ** 2 / -2).sum(axis=1)
        for start in range(0, len(grid), step)
    ]
    return np.concatenate(sums) / (len(values) * width * np.sqrt(2 * np.pi))


class Masses(NamedTuple):
    """Shares of the examples by which models are right; they sum to 1.

    Deferring gains on `large_only`, harms on `small_only` and changes nothing on the others.
    """

    both: float
    small_only: float
    large_only: float
    neither: float


def mass_table(small_right, large_right) -> Masses:
    """Which model is right on which share of the examples; both arguments (n,) bool or 0/1."""
    small = vectors.true_or_false("small_right", small_right)
    large = vectors.true_or_false("large_right", large_right, len(small))
    shares = (small & large, small & ~large, ~small & large, ~small & ~large)
    return Masses(*(float(share.mean()) for share in shares))
