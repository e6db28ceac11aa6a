"""One model's score as a random variable: the probability of being right, and how that is distributed."""

from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts, some of which take long, where they are used first

from cat_keras.cascades.deferral.calibrated import platt, probability
from cat_keras.evaluation.grid import midpoints

LEAST, MOST = 1e-9, 1 - 1e-9  # probabilities that are told apart from 0 and 1
CELLS = 32  # evenly spaced values of φ that are thresholds, and so many more at equal shares of the rows
FEW = 8  # values between the ends; of fewer no distribution but the even one is fitted
SHAPES = (np.log(0.2), np.log(200.0))  # least and largest parameter of a beta distribution, as logarithms


def spread(scores: np.ndarray) -> np.ndarray:
    """Scores on a scale on which what lies near certainty is told apart, rising with the score, (n,).

    With p the score if all scores are in [0, 1], and its exponential if all are ≤ 0 (log-probabilities):
    `−log 2 − log(1 − p)` where p ≥ ½, and `log 2 + log p` below. Other scores stay as they are.
    """
    if scores.min() >= 0 and scores.max() <= 1:
        p = np.clip(scores, LEAST, MOST)
    elif scores.max() <= 0:
        p = np.clip(np.exp(np.maximum(scores, np.log(LEAST))), LEAST, MOST)
    else:
        return scores
    return np.where(p >= 0.5, -np.log(2) - np.log1p(-p), np.log(2) + np.log(p))


@dataclass(frozen=True, eq=False)
class Confidence:
    """The distribution of φ = P(right) of one model, cut into cells by the thresholds that are tried.

    Attributes:
        thresholds: (M,) on the score, increasing from −inf to inf. levels: (M,) P(score < threshold), from 0 to 1.
        cells: (M − 1,) mean φ of a query whose score lies between two neighbouring thresholds.
        phi: (n,) of the rows it was fitted to.
    """

    thresholds: np.ndarray
    levels: np.ndarray
    cells: np.ndarray
    phi: np.ndarray

    @classmethod
    def fit(cls, scores: np.ndarray, quality: np.ndarray) -> "Confidence":
        """From rows of known quality.

        A score that does not rise with the quality says nothing: φ is then the mean quality at all of its thresholds.

        Args:
            scores: (n,) finite, higher = surer. quality: (n,) in [0, 1].
        """
        z = spread(scores)
        curve = platt(z, quality) if np.ptp(z) > 0 else {"slope": 0.0, "intercept": 0.0}
        phi = probability(curve, z)
        known, first_row = np.unique(scores, return_index=True)
        if curve["slope"] <= 0 or np.ptp(phi) <= 0:
            between = midpoints(known)[:: max(1, len(known) // CELLS)]
            levels = np.array([0.0, *(np.mean(scores < threshold) for threshold in between), 1.0])
            cells, same = (np.full(count, quality.mean()) for count in (len(levels) - 1, len(scores)))
            return cls(np.concatenate([[-np.inf], between, [np.inf]]), levels, cells, same)
        low, high = phi.min(), phi.max()
        even = np.linspace(low, high, CELLS + 1)[1:-1]
        shares = np.quantile(phi, np.linspace(0, 1, CELLS + 1)[1:-1])
        inner = np.unique(np.concatenate([even, shares]))
        inner = inner[(inner > low) & (inner < high)]
        # Thresholds on the score itself: as φ rises with it, straight between the scores that occur.
        tau = np.interp(inner, phi[first_row], known)
        first, last = midpoints(known[:2])[0], known[-1]  # which pass on the least score, and all but the largest
        tau = np.concatenate([[-np.inf, first], np.clip(tau, first, last), [last, np.inf]])
        place = np.concatenate([[low], inner, [high]])
        levels = np.concatenate([[0.0], _cdf(phi, place), [1.0]])
        return cls(tau, levels, np.concatenate([[low], midpoints(place), [high]]), phi)


def _cdf(phi: np.ndarray, place: np.ndarray) -> np.ndarray:
    """P(Φ ≤ φ), without the mass at the upper end, at increasing values from the least to the largest φ."""
    low, high = phi.min(), phi.max()
    at_low, at_high = np.mean(phi == low), np.mean(phi == high)
    inner = (phi[(phi > low) & (phi < high)] - low) / (high - low)
    unit = (place - low) / (high - low)
    within = mixture_cdf(fit_mixture(inner), unit)
    return at_low + (1 - at_low - at_high) * within


def fit_mixture(x: np.ndarray) -> np.ndarray:
    """Two beta distributions, (weight, a₁, b₁, a₂, b₂), by maximum likelihood; even ones for fewer than 8 values.

    Args:
        x: (n,) in (0, 1).
    """
    if len(x) < FEW:
        return np.array([0.5, 1.0, 1.0, 1.0, 1.0])
    x = np.clip(np.sort(x), 1e-6, 1 - 1e-6)
    low, high = np.log(x), np.log1p(-x)
    halves = np.array_split(x, 2)
    start = np.concatenate([[0.0], *(np.log(_by_moments(half)) for half in halves)])

    def loss(parameters):
        """Mean negative log-likelihood and its gradient."""
        weights = scipy.special.log_expit(np.array([parameters[0], -parameters[0]]))
        a, b = np.exp(parameters[1::2]), np.exp(parameters[2::2])
        parts = weights + (a - 1) * low[:, None] + (b - 1) * high[:, None] - scipy.special.betaln(a, b)
        total = scipy.special.logsumexp(parts, axis=1)
        share = np.exp(parts - total[:, None])
        both = scipy.special.digamma(a + b)
        to_a = a * np.mean(share * (low[:, None] - scipy.special.digamma(a) + both), axis=0)
        to_b = b * np.mean(share * (high[:, None] - scipy.special.digamma(b) + both), axis=0)
        to_weight = share[:, 0].mean() - scipy.special.expit(parameters[0])
        return -total.mean(), -np.array([to_weight, to_a[0], to_b[0], to_a[1], to_b[1]])

    bounds = [(-4.0, 4.0), *[SHAPES] * 4]
    start = np.clip(start, *np.array(bounds).T)
    found = scipy.optimize.minimize(loss, start, jac=True, method="L-BFGS-B", bounds=bounds).x
    return np.append(scipy.special.expit(found[0]), np.exp(found[1:]))


def mixture_cdf(mixture: np.ndarray, x: np.ndarray) -> np.ndarray:
    """P(X ≤ x) of `fit_mixture`."""
    weight, *shapes = mixture
    one, other = (scipy.special.betainc(a, b, np.clip(x, 0, 1)) for a, b in (shapes[:2], shapes[2:]))
    return weight * one + (1 - weight) * other


def _by_moments(x: np.ndarray) -> np.ndarray:
    """The (a, b) of the beta distribution with the mean and the variance of x."""
    mean = x.mean()
    size = np.clip(mean * (1 - mean) / max(x.var(), 1e-6) - 1, 0.5, 100)
    return np.array([mean, 1 - mean]) * size
