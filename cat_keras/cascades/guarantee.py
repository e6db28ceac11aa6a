"""A guarantee for a threshold: Learn-then-Test (arXiv 2110.01052) by fixed-sequence testing.

For each candidate threshold, the hypothesis "its expected loss exceeds alpha" is tested with a p-value that is valid
for any number of independent examples. The order of the tests is fixed beforehand and begins with the candidate that
most likely keeps the guarantee. Each test is at the full level delta, and testing ends at the first hypothesis that is
not rejected. The chance that any candidate before it breaks the guarantee is then at most delta, so any of these may be
chosen, also by means of the same examples.

    >>> losses = np.array([[0] * 100, [0] * 97 + [1] * 3, [0] * 90 + [1] * 10])  # three candidates, 100 examples
    >>> binomial_p_value(losses, 0.1).round(4).tolist()
    [0.0, 0.0078, 0.5832]
    >>> fixed_sequence(binomial_p_value(losses, 0.1), delta=0.05)
    2
"""

from dataclasses import dataclass

import numpy as np
import scipy  # loads its parts, some of which take long, where they are used first

from cat_keras.errors import CatKerasError, check_number

STAKE = 0.75  # at most this share of the stake at which a loss of 1 takes all capital, so that some is always left


def binomial_p_value(losses: np.ndarray, alpha: float) -> np.ndarray:
    """`P(Bin(n, α) <= Σ losses)`: exact for losses 0 and 1.

    Args:
        losses: (..., n), each 0 or 1, independent along the last axis.
        alpha: in (0, 1).

    Returns:
        (...), p-values of "the expected loss exceeds alpha".
    """
    return scipy.stats.binom.cdf(losses.sum(-1), losses.shape[-1], alpha)


def hoeffding_bentkus_p_value(losses: np.ndarray, alpha: float) -> np.ndarray:
    """`min(exp(−n h(min(r, α), α)), e P(Bin(n, α) <= ⌈n r⌉))`, r the mean loss, h the binary relative entropy.

    The Hoeffding–Bentkus p-value for losses in [0, 1]: arXiv 2110.01052, after Bates et al., arXiv 2101.02703.
    Arguments as in `binomial_p_value`.
    """
    n = losses.shape[-1]
    mean = losses.mean(-1)
    low = np.minimum(mean, alpha)
    hoeffding = np.exp(-n * (scipy.special.rel_entr(low, alpha) + scipy.special.rel_entr(1 - low, 1 - alpha)))
    # Rounding may put n times the mean slightly above the whole number that it is.
    bentkus = np.e * scipy.stats.binom.cdf(np.ceil(n * mean - 1e-9), n, alpha)
    return np.minimum(np.minimum(hoeffding, bentkus), 1.0)


def betting_p_value(losses: np.ndarray, alpha: float, delta: float) -> np.ndarray:
    """`1 / max_t Π_{i<=t} (1 − ν_i (x_i − α))`, for losses x in [0, 1]: sharp where their variance is small.

    If the expected loss were alpha or more, the product would be a nonnegative supermartingale that starts at 1, which
    exceeds 1/δ with probability at most δ (Ville). The stakes ν_i depend on earlier examples alone, through the
    empirical variance so far, as in Waudby-Smith and Ramdas, arXiv 2010.09686. The p-value depends on the order of the
    examples, which must be independent of their content. Arguments as in `binomial_p_value`.

    Args:
        delta: the level that the stakes are made for; the p-value holds at any.
    """
    n = losses.shape[-1]
    count = np.arange(1, n + 1)
    mean = (0.5 + np.cumsum(losses, -1)) / (1 + count)
    variance = (0.25 + np.cumsum((losses - mean) ** 2, -1)) / (1 + count)
    earlier_variance = np.concatenate([np.full((*losses.shape[:-1], 1), 0.25), variance[..., :-1]], -1)
    stakes = np.minimum(np.sqrt(2 * np.log(1 / delta) / (n * earlier_variance)), STAKE / (1 - alpha))
    capital = np.cumsum(np.log1p(-stakes * (losses - alpha)), -1)
    return np.exp(-np.maximum(capital.max(-1), 0.0))


def fixed_sequence(p_values: np.ndarray, delta: float) -> int:
    """How many leading hypotheses are rejected at family-wise level delta: those before the first p-value above it."""
    above = np.asarray(p_values) > delta
    return int(np.argmax(above)) if above.any() else len(above)


@dataclass(frozen=True)
class Guarantee:
    """With probability 1 − delta over the draw of the calibration examples, the expectation of `of` is at most alpha.

    Args:
        alpha: the bound that is guaranteed, in the unit of `of`, between 0 and the largest possible value.
        delta: chance that the guarantee fails, in (0, 1).
        of: "loss", quality of the largest model's answer minus that of the cascade's, in [-1, 1]; "risk", 1 − quality,
            in [0, 1]; "cost" of a query.
        bound: for "cost", the most that a query can cost; without it nothing can be guaranteed of the expectation.
        test: "binomial" (for losses 0 and 1 alone), "hoeffding-bentkus" or "betting"; by default the sharpest that is
            valid: "binomial" for the risk of exact matches, else "betting". ("hoeffding-bentkus" cannot certify a loss
            of 0.05 on the scale [-1, 1], even with a thousand examples on which both models agree.)

    Raises:
        CatKerasError: a value out of range.
    """

    alpha: float
    delta: float
    of: str = "loss"
    bound: float | None = None
    test: str | None = None

    def __post_init__(self):
        if self.of not in ("loss", "risk", "cost") or (self.bound is not None) != (self.of == "cost"):
            raise CatKerasError(
                "A guarantee is of loss, risk or cost, and of cost it needs bound=, the most a query can cost. "
                f"Received: of={self.of!r}, bound={self.bound}"
            )
        if self.test not in (None, "binomial", "hoeffding-bentkus", "betting"):
            raise CatKerasError(f"A test is binomial, hoeffding-bentkus or betting. Received: {self.test!r}")
        if self.bound is not None:
            check_number("bound of a guarantee", self.bound, "(0, 1e+100]")
        check_number("alpha of a guarantee", self.alpha, f"(0, {self._max!r})")
        check_number("delta of a guarantee", self.delta, "(0, 1)")

    @property
    def _max(self) -> float:
        return float(self.bound) if self.of == "cost" else 1.0

    def certified(self, losses: np.ndarray, binary: bool = False) -> int:
        """For how many leading candidates the guarantee holds, jointly.

        Args:
            losses: (candidates, n): the value of `of` on each example, candidates in the order of testing.
            binary: whether losses are 0 and 1 by definition, not just in these examples.

        Raises:
            CatKerasError: losses outside their range, or not 0 and 1 under the binomial test.
        """
        return fixed_sequence(self.p_values(losses, self.alpha, binary), self.delta)

    def p_values(self, losses: np.ndarray, alpha: float, binary: bool = False) -> np.ndarray:
        """(candidates,): of "the expectation exceeds alpha"; arguments as in `certified`."""
        check_number("alpha of a guarantee", alpha, f"(0, {self._max!r})")
        bottom = -1.0 if self.of == "loss" else 0.0
        if losses.min() < bottom or losses.max() > self._max:
            raise CatKerasError(
                f"A {self.of} lies in [{bottom:g}, {self._max:g}]. Received: from {losses.min():g} to {losses.max():g}"
            )
        unit, level = (losses - bottom) / (self._max - bottom), (alpha - bottom) / (self._max - bottom)
        test = self.test or ("binomial" if binary else "betting")
        if test == "betting":
            return betting_p_value(unit, level, self.delta)
        if test == "hoeffding-bentkus":
            return hoeffding_bentkus_p_value(unit, level)
        if not np.isin(unit, (0, 1)).all():
            raise CatKerasError("The binomial test is of losses 0 and 1. Received: others. Take test='betting'")
        return binomial_p_value(unit, level)

    def least(self, losses: np.ndarray, binary: bool = False) -> float:
        """The smallest alpha, to 1/1000 of its range, that certifies the first candidate; its maximum if none does."""
        alphas = self._max * np.arange(1, 1000) / 1000
        first = losses[:1]
        return next((a for a in alphas if self.p_values(first, a, binary)[0] <= self.delta), self._max)
