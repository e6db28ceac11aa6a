"""Bias–variance alignment: how far several trainings of one classifier disagree, beside how far they are off together.

For R members with probabilities p_r over the options of an example, mean p̄ and right option y (arXiv 2310.09250):

    Bias² = ‖p̄ − e_y‖² − Var / R,     Var = Σ_r ‖p_r − p̄‖² / (R − 1)

Var / R is what Var adds to ‖p̄ − e_y‖² on average, so that both are estimates without a bias. The paper finds
log Var ≈ log Bias² + C on rightly answered examples, and that training with cross-entropy weakens it.
"""

from typing import NamedTuple

import numpy as np
import scipy  # loads its parts, some of which take long, where they are used first

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import vectors

NAN = float("nan")
TEMPERATURES = (-4.0, 4.0)  # natural logarithms of the temperatures that are looked at
LEAST = 10  # examples that a line is fitted to


class Decomposition(NamedTuple):
    """Of each of n examples: bias² (which may be negative, as it is an estimate), variance, and whether p̄ is right."""

    bias: np.ndarray
    variance: np.ndarray
    right: np.ndarray


class Line(NamedTuple):
    """The least-squares line of log Var over log Bias²: slope, intercept, share of variance explained, examples."""

    slope: float
    intercept: float
    r2: float
    count: int


def decompose(probabilities: np.ndarray, answers: np.ndarray) -> Decomposition:
    """Bias² and variance of every example.

    Args:
        probabilities: (members, n, options) float; 0 for options that an example does not have.
        answers: (n,) int, place of the right option.

    Raises:
        CatKerasError: fewer than two members, shapes that do not fit, or numbers that are no probabilities.
    """
    probabilities, answers = np.asarray(probabilities, np.float64), np.asarray(answers)
    if probabilities.ndim != 3 or len(probabilities) < 2 or answers.shape != probabilities.shape[1:2]:
        raise CatKerasError(
            "Bias and variance are estimated from probabilities (members, n, options) of two members or more and n "
            f"answers. Received: shapes {probabilities.shape} and {answers.shape}"
        )
    vectors.within_unit("probabilities", probabilities.ravel())
    if not np.allclose(probabilities.sum(2), 1, atol=1e-6):
        raise CatKerasError("Probabilities of the options of an example add up to 1. Received: others")
    members = len(probabilities)
    mean = probabilities.mean(0)
    variance = ((probabilities - mean) ** 2).sum((0, 2)) / (members - 1)
    error = mean - np.eye(mean.shape[1])[answers]
    return Decomposition((error**2).sum(1) - variance / members, variance, mean.argmax(1) == answers)


def line(bias: np.ndarray, variance: np.ndarray) -> Line:
    """The line through the examples whose bias² and variance are above 0, which have logarithms.

    Args:
        bias, variance: (n,), see `decompose`.

    Returns:
        NaN for slope, intercept and r2 where fewer than 10 examples count, or all have one bias.
    """
    counts = (np.asarray(bias) > 0) & (np.asarray(variance) > 0)
    x, y = np.log(bias[counts]), np.log(variance[counts])
    if len(x) < LEAST or np.ptp(x) == 0:
        return Line(NAN, NAN, NAN, len(x))
    (xx, xy), (_, yy) = np.cov(x, y)
    slope = xy / xx
    return Line(float(slope), float(y.mean() - slope * x.mean()), float(xy**2 / (xx * yy)) if yy else NAN, len(x))


def temperature(logprobs: np.ndarray, answers: np.ndarray) -> float:
    """The temperature by which log-probabilities are divided so that the right options become likeliest.

    It minimises the mean of −log softmax(logprobs / T) of the right option (Guo et al., arXiv 1706.04599). Its
    logarithm is rounded to thousandths, far finer than labels tell it. The last digits of the minimum are those of the
    processor, and would decide which of two nearly equal confidences is larger.

    Args:
        logprobs: (n, options) float, −inf for options that an example does not have. answers: (n,) int.
    """
    rows = np.arange(len(answers))

    def loss(log_temperature: float) -> float:
        return float(-np.log(np.maximum(tempered(logprobs, np.exp(log_temperature))[rows, answers], 1e-300)).mean())

    minimum = scipy.optimize.minimize_scalar(loss, bounds=TEMPERATURES, method="bounded", options={"xatol": 1e-6})
    return float(np.exp(round(minimum.x, 3)))


def tempered(logprobs: np.ndarray, temperature: float = 1.0) -> np.ndarray:
    """softmax(logprobs / temperature) over the last axis; −inf becomes 0."""
    scaled = np.asarray(logprobs, np.float64) / temperature
    odds = np.exp(scaled - scaled.max(-1, keepdims=True))
    return odds / odds.sum(-1, keepdims=True)
