"""The grid of scores: values by hand, and that the noise of two computations is gone on it."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from cat_keras.evaluation.grid import BITS, as_threshold, midpoints, on_grid

STEP = 2.0**-BITS


def test_values_by_hand():
    assert on_grid([0.4 * STEP, 0.6 * STEP, -0.6 * STEP, 0.75]).tolist() == [0.0, STEP, -STEP, 0.75]
    assert on_grid(100 + 2.0**-11).tolist() == 100.0  # seven bits before the point, nine behind it
    assert on_grid(100 + 2.0**-9).tolist() == 100 + 2.0**-9
    assert np.signbit(on_grid(-0.1 * STEP)) == np.False_


def test_what_is_not_finite_and_what_is_largest_stays():
    values = [np.inf, -np.inf, np.finfo(float).min, np.finfo(float).max]
    np.testing.assert_array_equal(on_grid(values), values)
    assert np.isnan(on_grid(np.nan))


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_value_moves_by_half_a_step_at_most_and_only_once(value):
    rounded = float(on_grid(value))
    assert abs(rounded - value) <= max(1.0, abs(value)) * STEP
    assert float(on_grid(rounded)) == rounded
    assert float(on_grid(-value)) == -rounded


@given(st.floats(-50, 50), st.floats(-50, 50))
def test_order_is_kept(a, b):
    low, high = sorted((a, b))
    assert on_grid(low) <= on_grid(high)


def test_noise_of_float32_seldom_leaves_a_step():
    rng = np.random.default_rng(0)
    scores = -rng.exponential(1.0, 20_000)
    noisy = scores * (1 + rng.normal(0, 1e-7, scores.shape))
    assert (on_grid(scores) != on_grid(noisy)).mean() < 0.02


def test_a_threshold_is_the_value_it_is_nearest_to():
    step = 2 * STEP  # between 1 and 2
    assert as_threshold([1.0, 1 + 0.4 * step, 1 + 0.5 * step, 1 - 0.4 * STEP]).tolist() == [1.0, 1.0, 1 + step, 1.0]
    assert as_threshold([np.inf]).tolist() == [np.inf] and as_threshold(-np.inf) <= np.finfo(float).min


@given(st.lists(st.floats(-9, 9), min_size=2, max_size=20, unique=True))
def test_a_threshold_between_two_scores_separates_them(scores):
    scores = np.unique(on_grid(scores))
    for place, threshold in enumerate(midpoints(scores)):
        assert (scores < as_threshold(threshold)).sum() == place + 1


def test_thresholds_lie_between():
    levels = np.array([-2.0, -1.0, 3.0])
    assert midpoints(levels).tolist() == [-1.5, 1.0]
    assert midpoints(levels[:1]).tolist() == []
    extremes = np.array([np.finfo(float).min, -1.0])
    assert extremes[0] < midpoints(extremes)[0] < -1
    with np.errstate(all="raise"):
        midpoints(extremes)


@pytest.mark.parametrize("shape", [(), (3,), (2, 3)])
def test_any_shape(shape):
    assert on_grid(np.ones(shape)).shape == shape
