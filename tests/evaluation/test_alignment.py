"""Bias and variance of an ensemble: values by hand, estimates without a bias, and the line through their logarithms."""

import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import alignment


def test_by_hand():
    """Two members, one example with options (right, wrong): p = (0.8, 0.2) and (0.6, 0.4)."""
    parts = alignment.decompose(np.array([[[0.8, 0.2]], [[0.6, 0.4]]]), np.array([0]))
    # mean (0.7, 0.3); Var = 2 · (0.1² + 0.1²) / 1 = 0.04; ‖p̄ − e‖² = 0.3² + 0.3² = 0.18; bias² = 0.18 − 0.04 / 2
    np.testing.assert_allclose((parts.variance[0], parts.bias[0]), (0.04, 0.16))
    assert parts.right.tolist() == [True]


def test_both_estimates_have_no_bias():
    """Averaged over many ensembles of three they are those of the distribution that the members come from."""
    rng, members, ensembles = np.random.default_rng(0), 3, 40_000
    p = rng.beta(2, 3, size=(members, ensembles))
    parts = alignment.decompose(np.stack([p, 1 - p], axis=2), np.zeros(ensembles, int))
    mean, variance = 2 / 5, 6 / 150
    np.testing.assert_allclose(parts.variance.mean(), 2 * variance, rtol=0.01)
    np.testing.assert_allclose(parts.bias.mean(), 2 * (1 - mean) ** 2, rtol=0.01)


def test_options_that_an_example_lacks_change_nothing():
    p = np.random.default_rng(1).dirichlet((1, 1, 1), size=(4, 30))
    answers = np.arange(30) % 3
    padded = np.concatenate([p, np.zeros((4, 30, 2))], axis=2)
    for before, after in zip(alignment.decompose(p, answers), alignment.decompose(padded, answers), strict=True):
        np.testing.assert_allclose(before, after)


def test_the_line_is_that_of_the_logarithms():
    bias = np.linspace(0.01, 1, 50)
    line = alignment.line(np.append(bias, -0.1), np.append(2 * bias**1.5, 0.3))
    np.testing.assert_allclose(line, (1.5, np.log(2), 1, 50))
    few = alignment.line(bias[:9], bias[:9])
    assert np.isnan(few[:3]).all() and few.count == 9


def test_a_temperature_undoes_what_confidence_was_multiplied_by():
    rng = np.random.default_rng(2)
    logits = rng.normal(size=(20_000, 3))
    answers = np.array([rng.choice(3, p=row) for row in alignment.tempered(logits)])
    assert alignment.temperature(3 * logits, answers) == pytest.approx(3, rel=0.05)
    assert alignment.tempered(np.array([[0.0, 0.0, -np.inf]])).tolist() == [[0.5, 0.5, 0.0]]


@pytest.mark.parametrize("seed", range(5))
def test_a_temperature_does_not_depend_on_the_last_digits_of_a_processor(seed):
    rng = np.random.default_rng(seed)
    logits, answers = rng.normal(size=(80, 4)), rng.integers(4, size=80)
    noisy = logits * (1 + 1e-14 * rng.normal(size=logits.shape))
    assert alignment.temperature(noisy, answers) == alignment.temperature(logits, answers)


@pytest.mark.parametrize(
    ("probabilities", "answers", "message"),
    [
        (np.full((1, 2, 2), 0.5), [0, 1], "two members or more"),
        (np.full((2, 2, 2), 0.5), [0], "Received: shapes"),
        (np.full((2, 1, 2), 0.4), [0], "add up to 1"),
        (np.full((2, 1, 2), np.nan), [0], "probabilities"),
    ],
)
def test_bad_input(probabilities, answers, message):
    with pytest.raises(CatKerasError, match=message):
        alignment.decompose(probabilities, np.array(answers))
