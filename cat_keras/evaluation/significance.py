"""p-values of paired resamples, and their correction for testing many tasks at once."""

import numpy as np

from cat_keras.errors import COUNT, CatKerasError, check_number
from cat_keras.evaluation import vectors
from cat_keras.evaluation.vectors import ROUNDING


def two_sided(samples, scale: float = 1.0, examples: int | None = None) -> float:
    """p-value of "the difference is 0" from bootstrap samples of it, dual to the percentile interval.

    It is `2 min(P(d ≤ 0), P(d ≥ 0))`, at most 1. Each probability is estimated as `(1 + count) / (1 + R)`, so that a
    finite number of resamples never claims certainty: the smallest possible value is 2 / (1 + R).

    Args:
        samples: (R,) float, a difference in each resample.
        scale: size of what was subtracted; a difference below 1e−9 of it is rounding and counts as 0.
        examples: how many were resampled, if known. Resamples of very few are all alike and would seem certain, so no
            p-value is below that of the sign test if all n examples agree, 2^(1−n): 1 for one example.
    """
    samples = vectors.finite("samples", samples)
    check_number("scale", scale, "(-inf, inf)")
    if examples is not None:
        check_number("examples", examples, COUNT, whole=True)
    rounding = ROUNDING * abs(scale)
    below, above = np.sum(samples <= rounding), np.sum(samples >= -rounding)
    least = 0.0 if examples is None else 2.0 ** (1 - min(examples, 1000))
    return float(min(1.0, max(least, 2 * (1 + min(below, above)) / (1 + len(samples)))))


def holm(p_values) -> np.ndarray:
    """Holm's step-down adjustment: rejecting values < α keeps P(any false rejection) < α under any dependence.

    Holm, Scandinavian Journal of Statistics 6 (1979).

    Args:
        p_values: (n,) in [0, 1]. NaN means not tested; it stays NaN and is not counted.

    Returns:
        (n,) float64, adjusted p-values.
    """
    p_values, order = _checked(p_values)
    rising = p_values[order]
    p_values[order] = np.maximum.accumulate(np.minimum(1, rising * np.arange(len(rising), 0, -1)))
    return p_values


def benjamini_hochberg(p_values) -> np.ndarray:
    """Benjamini–Hochberg adjustment: rejecting values < α keeps the expected share of false rejections < α.

    This holds under independence or positive dependence. Arguments and result as in `holm`.
    """
    # scipy.stats has it too, but its import takes longer than a report's arithmetic.
    p_values, order = _checked(p_values)
    rising = p_values[order]
    shares = rising * len(rising) / np.arange(1, len(rising) + 1)
    p_values[order] = np.minimum(1, np.minimum.accumulate(shares[::-1])[::-1])
    return p_values


def _checked(p_values) -> tuple[np.ndarray, np.ndarray]:
    """A copy of the p-values, (n,) float64, and the places of those that are not NaN, by increasing p-value."""
    try:
        copy = np.array(p_values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CatKerasError(f"p-values are numbers, or NaN ({error}). Received: {p_values!r:.80}") from None
    tested = np.flatnonzero(~np.isnan(copy))
    if copy.ndim != 1 or np.any((copy[tested] < 0) | (copy[tested] > 1)):
        raise CatKerasError(f"p-values must be in [0, 1]; received {p_values!r:.80}. Pass p-values, not statistics")
    return copy, tested[np.argsort(copy[tested], kind="stable")]
