"""Promises about thresholds: p-values by hand, their validity and power by simulation with a known truth."""

import math

import numpy as np
import pytest
from scipy.stats import binom

from cat_keras.cascades.guarantee import (
    Guarantee,
    betting_p_value,
    binomial_p_value,
    fixed_sequence,
    hoeffding_bentkus_p_value,
)
from cat_keras.cascades.playback import Stages, common_path
from cat_keras.errors import CatKerasError

DRAWS = 1000


def ones(k, n):
    return np.array([1.0] * k + [0.0] * (n - k))


# -- p-values --------------------------------------------------------------------------------------------------------


def test_binomial_by_hand():
    # P(Bin(4, 1/2) <= 1) = (1 + 4) / 16
    assert binomial_p_value(ones(1, 4), 0.5) == pytest.approx(5 / 16)
    assert binomial_p_value(np.zeros(45), 0.05) == pytest.approx(0.95**45)


def test_hoeffding_bentkus_by_hand():
    # Three bad of 100 at alpha 0.1: h(0.03, 0.1) = 0.03 ln 0.3 + 0.97 ln(0.97 / 0.9); the Bentkus side is smaller.
    h = 0.03 * math.log(0.3) + 0.97 * math.log(0.97 / 0.9)
    assert math.exp(-100 * h) == pytest.approx(0.0259, abs=1e-5)
    assert hoeffding_bentkus_p_value(ones(3, 100), 0.1) == pytest.approx(math.e * 0.007836, rel=1e-3)
    # Without any loss: min((1 − α)^n, e (1 − α)^n).
    assert hoeffding_bentkus_p_value(np.zeros(20), 0.1) == pytest.approx(0.9**20)
    # Losses between 0 and 1: n times the mean is rounded up, which 2.5 of 50 shows.
    graded = np.full(50, 0.05)
    expected = min(
        math.exp(-50 * (0.05 * math.log(0.25) + 0.95 * math.log(0.95 / 0.8))), math.e * binom.cdf(3, 50, 0.2)
    )
    assert hoeffding_bentkus_p_value(graded, 0.2) == pytest.approx(expected)
    assert hoeffding_bentkus_p_value(ones(50, 100), 0.1) == 1.0


def test_betting_by_hand():
    # One example: the stake is what the prior variance 1/4 says, below its cap.
    stake = math.sqrt(2 * math.log(1 / 0.9) / 0.25)
    assert betting_p_value(np.array([0.0]), 0.5, 0.9) == pytest.approx(1 / (1 + 0.5 * stake))
    assert betting_p_value(np.array([1.0]), 0.5, 0.9) == 1.0


@pytest.mark.parametrize("test", [binomial_p_value, hoeffding_bentkus_p_value, lambda x, a: betting_p_value(x, a, 0.1)])
def test_p_values_are_valid_on_the_boundary(test):
    draws = (np.random.default_rng(0).random((4000, 60)) < 0.2).astype(float)
    p_values = test(draws, 0.2)
    for level in (0.02, 0.1, 0.3):
        slack = 3 * math.sqrt(level * (1 - level) / len(draws))
        assert (p_values <= level).mean() <= level + slack
    assert (test(draws, 0.4) <= 0.1).mean() > 0.8, "a p-value that never rejects is valid too"


def test_graded_losses_have_valid_p_values():
    draws = np.random.default_rng(1).beta(0.3, 0.7, (4000, 60))  # mean 0.3, most near 0 or 1
    for p_values in (hoeffding_bentkus_p_value(draws, 0.3), betting_p_value(draws, 0.3, 0.1)):
        assert (p_values <= 0.1).mean() <= 0.1 + 3 * math.sqrt(0.09 / 4000)


def test_the_sequence_ends_at_the_first_that_is_kept():
    assert fixed_sequence([0.01, 0.1, 0.11, 0.0], 0.1) == 2
    assert fixed_sequence([0.2, 0.0], 0.1) == 0
    assert fixed_sequence([0.0, 0.05], 0.1) == 2


# -- the promise -----------------------------------------------------------------------------------------------------


def drawn(n, seed):
    """Scores, 0/1 quality of the small model (better when surer) and of the large one; each (DRAWS, n)."""
    rng = np.random.default_rng(seed)
    score = rng.random((DRAWS, n))
    return score, rng.random((DRAWS, n)) < 0.3 + 0.65 * score, rng.random((DRAWS, n)) < 0.85


# What is expected at threshold t: the integral over the scores that are kept, [t, 1], and those that are deferred.
TRUTH = {
    "loss": lambda t: 0.55 * (1 - t) - 0.325 * (1 - t**2),
    "risk": lambda t: 0.15 * t + 0.7 * (1 - t) - 0.325 * (1 - t**2),
    "cost": lambda t: 1 + 10 * t,
}


@pytest.mark.parametrize(
    ("of", "alpha", "test", "n", "deferred"),
    [
        ("loss", 0.05, None, 200, (0.425, 0.75)),  # the least deferral that keeps it, and what is allowed on average
        ("risk", 0.25, None, 200, (0.27, 0.55)),
        ("risk", 0.25, "hoeffding-bentkus", 200, (0.27, 0.62)),
        ("cost", 6.0, None, 200, (0.38, 0.5)),  # here 0.5 is the most that keeps it
    ],
)
def test_coverage_and_power(of, alpha, test, n, deferred):
    delta, broken, found = 0.1, 0, []
    promise = Guarantee(alpha, delta, of, bound=11.0 if of == "cost" else None, test=test)
    paths = common_path(np.random.default_rng(2).random((1, 50)), 40)
    paths = paths if of == "cost" else paths[::-1]
    for score, small, large in zip(*drawn(n, seed=3), strict=True):
        outcomes = Stages(score[None], np.stack([small, large]).astype(float), np.outer([1.0, 10.0], np.ones(n)))
        [(_, quality, cost)] = outcomes.play(paths)
        losses = {"loss": large - quality, "risk": 1 - quality, "cost": cost}[of]
        kept = np.clip(paths[: promise.certified(losses, binary=of == "risk"), 0], 0, 1)
        broken += bool((TRUTH[of](kept) > alpha).any())  # any of them may be chosen, so all of them are promised
        found += [kept[-1]] if len(kept) else []
    assert broken / DRAWS <= delta + 3 * math.sqrt(delta * (1 - delta) / DRAWS)
    assert len(found) > 0.9 * DRAWS
    assert deferred[0] <= np.mean(found) <= deferred[1]


def test_a_small_loss_needs_the_test_that_sees_its_variance():
    agreeing = np.zeros((1, 1000))  # both models say the same
    assert Guarantee(0.05, 0.1).certified(agreeing[:, :100]) == 1
    assert Guarantee(0.05, 0.1, test="hoeffding-bentkus").certified(agreeing) == 0


def test_least_is_where_the_promise_begins():
    promise = Guarantee(0.05, 0.1, "risk")
    losses = np.zeros((1, 30))
    assert promise.certified(losses, binary=True) == 0
    assert promise.least(losses, binary=True) == pytest.approx(1 - 0.1 ** (1 / 30), abs=1e-3)
    assert Guarantee(promise.least(losses, binary=True), 0.1, "risk").certified(losses, binary=True) == 1


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: Guarantee(0.1, 0.1, of="regret"), "loss, risk or cost"),
        (lambda: Guarantee(5.0, 0.1, of="cost"), r"of cost it needs bound=.* bound=None"),
        (lambda: Guarantee(0.1, 0.1, bound=3.0), "of='loss', bound=3.0"),
        (lambda: Guarantee(0.1, 0.1, test="clt"), "Received: 'clt'"),
        (lambda: Guarantee(0.0, 0.1), r"alpha .* in \(0, 1.0\). Received: 0.0"),
        (lambda: Guarantee(12.0, 0.1, "cost", bound=11.0), r"alpha .* in \(0, 11.0\)"),
        (lambda: Guarantee(0.1, 1.0), "delta .* Received: 1.0"),
        (lambda: Guarantee(1.0, 0.1, "cost", bound=2.0).certified(np.array([[3.0]])), r"cost lies in \[0, 2\].* to 3"),
        (lambda: Guarantee(0.1, 0.1, "risk", test="binomial").certified(np.array([[0.5]])), "losses 0 and 1"),
    ],
)
def test_promises_that_cannot_be(make, message):
    with pytest.raises(CatKerasError, match=message):
        make()
