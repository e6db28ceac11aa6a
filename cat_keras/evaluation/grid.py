"""The grid on which scores are compared, so that two computations of one number agree.

The log-likelihood of an answer differs in its last digits with the batch it was computed in, because matrix products of
other shapes add in another order. Compared as they are, equal answers would be different, and a threshold that sits
exactly on a score would be passed in one batch and missed in the next.
"""

import numpy as np

BITS = 16
"""Scores up to 1 in size are multiples of 2^-16 (0.000015), larger ones have 16 significant bits.

Log-likelihoods of float32 models differ between batches by some 1e-6 relative to their size: a tenth of a step. [U]
"""


def on_grid(values) -> np.ndarray:
    """The nearest values of the grid; what is not finite stays as it is.

    Args:
        values: numbers of any shape, such as log-probabilities (nats), probabilities or scores.

    Returns:
        float64 of the same shape. Values on the grid are returned unchanged, to the bit.
    """
    values = np.asarray(values, np.float64)
    _, exponent = np.frexp(values)  # |value| < 2^exponent
    steps = np.maximum(exponent, 0) - BITS
    with np.errstate(over="ignore", invalid="ignore"):
        rounded = np.ldexp(np.rint(np.ldexp(values, -steps)), steps)
    return np.where(np.isfinite(rounded), rounded, values) + 0.0  # adding 0 makes 0 of -0


def as_threshold(values) -> np.ndarray:
    """The values of the grid that thresholds stand for: the nearest, and the upper one of two equally near ones.

    Scores are on the grid, so that comparing them with these says the same as comparing them with the thresholds, also
    where a threshold is a score that was not rounded.
    """
    return on_grid(np.nextafter(np.asarray(values, np.float64), np.inf))


def midpoints(levels: np.ndarray) -> np.ndarray:
    """Thresholds between neighbours of (k,) increasing distinct values of the grid: (k − 1,) float64.

    A threshold halfway between two scores that occur is as far as can be from being passed by rounding.
    """
    return levels[:-1] / 2 + levels[1:] / 2
