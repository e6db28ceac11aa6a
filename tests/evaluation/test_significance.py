"""p-values and their corrections: by hand, against scipy, and by what they promise."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from scipy.stats import false_discovery_control

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import significance

p_values = st.lists(st.floats(0, 1), min_size=1, max_size=30)


def test_corrections_by_hand():
    # Sorted: .01·4, .02·3, .03·2, .04·1, never falling: .04 .06 .06 .06. BH: .04·4/4 for all, as .01·4/1 is no less.
    np.testing.assert_allclose(significance.holm([0.04, 0.01, 0.03, 0.02]), [0.06, 0.04, 0.06, 0.06])
    np.testing.assert_allclose(significance.benjamini_hochberg([0.04, 0.01, 0.03, 0.02]), [0.04] * 4)
    np.testing.assert_allclose(significance.holm([0.5, 0.6]), [1, 1])


@given(p_values)
def test_benjamini_hochberg_equals_scipy(p):
    np.testing.assert_allclose(significance.benjamini_hochberg(p), false_discovery_control(p), atol=1e-15)


@given(p_values, st.floats(0.001, 0.5))
def test_holm_rejects_as_its_definition_does(p, level):
    order, rejected = np.argsort(p, kind="stable"), np.zeros(len(p), dtype=bool)
    for rank, i in enumerate(order):
        if p[i] * (len(p) - rank) > level:
            break
        rejected[i] = True
    np.testing.assert_array_equal(significance.holm(p) <= level, rejected)


def test_what_was_not_tested_is_not_counted():
    for adjust in (significance.holm, significance.benjamini_hochberg):
        found = adjust([0.01, np.nan, 0.02])
        np.testing.assert_array_equal(found[[0, 2]], adjust([0.01, 0.02]))
        assert np.isnan(found[1])
        assert adjust([]).shape == (0,)


def test_two_sided():
    assert significance.two_sided([1, 2, 3, -1]) == 2 * 2 / 5
    assert significance.two_sided([1.0] * 99) == 0.02
    assert significance.two_sided([0.0] * 99) == 1
    assert significance.two_sided([1e-16] * 99) == 1  # the last digit of a sum is no difference


def test_no_p_value():
    with pytest.raises(CatKerasError, match="in \\[0, 1\\]"):
        significance.holm([0.1, 2.0])
