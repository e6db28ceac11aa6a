"""p-values of paired resamples, and their correction for testing many tasks at once."""

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import vectors

_ROUNDING = 1e-9


def two_sided(samples, scale: float = 1.0) -> float:
    """p-value of "the difference is 0" from bootstrap samples of it, dual to the percentile interval.

    `2 min(P(d ≤ 0), P(d ≥ 0))`, at most 1, each share as `(1 + count) / (1 + R)`, so that a finite number of resamples
    never claims certainty: the least value is 2 / (1 + R).

    Args:
        samples: (R,) float, a difference in each resample.
        scale: size of what was subtracted; a difference below 1e−9 of it is rounding, and counts as 0.
    """
    samples = vectors.finite("samples", samples)
    rounding = _ROUNDING * abs(scale)
    below, above = np.sum(samples <= rounding), np.sum(samples >= -rounding)
    return float(min(1.0, 2 * (1 + min(below, above)) / (1 + len(samples))))


def holm(p_values) -> np.ndarray:
    """Holm's step-down adjustment: rejecting where it is < α keeps P(any false rejection) < α under any dependence.

    Holm, Scandinavian Journal of Statistics 6 (1979).

    Args:
        p_values: (n,) in [0, 1]; NaN = not tested: stays NaN and is not counted.

    Returns:
        (n,) float64, adjusted p-values.
    """
    return _adjusted(p_values, _holm)


def benjamini_hochberg(p_values) -> np.ndarray:
    """Benjamini–Hochberg adjustment: rejecting where it is < α keeps the expected share of false rejections < α.

    Under independence or positive dependence; arguments and result as in `holm`.
    """
    # scipy.stats has it too, but its import takes longer than a report's arithmetic.
    return _adjusted(p_values, _benjamini_hochberg)


def _holm(rising: np.ndarray) -> np.ndarray:
    return np.maximum.accumulate(np.minimum(1, rising * np.arange(len(rising), 0, -1)))


def _benjamini_hochberg(rising: np.ndarray) -> np.ndarray:
    shares = rising * len(rising) / np.arange(1, len(rising) + 1)
    return np.minimum(1, np.minimum.accumulate(shares[::-1])[::-1])


def _adjusted(p_values, adjust) -> np.ndarray:
    """`adjust` gets the p-values that are there, from the least to the largest."""
    try:
        adjusted = np.array(p_values, dtype=np.float64)
    except (TypeError, ValueError, OverflowError) as error:
        raise CatKerasError(f"p-values are numbers, or NaN ({error}). Received: {p_values!r:.80}") from None
    tested = np.flatnonzero(~np.isnan(adjusted))
    if adjusted.ndim != 1 or np.any((adjusted[tested] < 0) | (adjusted[tested] > 1)):
        raise CatKerasError(f"p-values must be in [0, 1]; received {p_values!r:.80}. Pass p-values, not statistics")
    order = tested[np.argsort(adjusted[tested], kind="stable")]
    adjusted[order] = adjust(adjusted[order])
    return adjusted
