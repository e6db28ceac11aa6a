"""What is read off a curve: by hand, by brute force, and as the papers' own code computes it."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_curves import HAND, outcomes, rows

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import tradeoff
from cat_keras.evaluation.curves import deferral_curve

fast = settings(deadline=None, max_examples=40)


def test_read_off_by_hand():
    curve = deferral_curve(**HAND)
    np.testing.assert_allclose(curve.quality_at([0, 0.125, 0.25, 1]), [0.5, 0.625, 0.75, 0.75])
    # Hull: (2, .5), (4.5, .75), (27, .75); a quality of .6 is 40 % of the way up the first edge: 2 + .4·2.5 = 3.
    np.testing.assert_allclose(curve.upper_hull(), [[2, 4.5, 27], [0.5, 0.75, 0.75]])
    assert curve.cost_at_quality(0.6) == pytest.approx(3)
    assert curve.cost_at_quality(0.75) == pytest.approx(4.5)
    assert curve.cost_at_quality(0.1) == 2
    assert np.isnan(curve.cost_at_quality(0.76))
    assert curve.quality_at_cost(3) == pytest.approx(0.6)
    assert curve.quality_at_cost(2) == 0.5
    assert curve.quality_at_cost(1000) == 0.75
    assert np.isnan(curve.quality_at_cost(1.9))


def test_other_papers_metrics_by_hand():
    curve = deferral_curve(**HAND)
    assert curve.peak == 0.75
    # The area under the hull above: 2.5·(.5 + .75)/2 + 22.5·.75 = 18.4375, over a range of 25.
    assert curve.aiq() == pytest.approx(18.4375 / 25)
    assert curve.aiq(2, 4.5) == pytest.approx(0.625)
    assert curve.aiq(3, 5) == pytest.approx((1.5 * (0.6 + 0.75) / 2 + 0.5 * 0.75) / 2)
    assert curve.aiq(2, 52) == pytest.approx((18.4375 + 25 * 0.75) / 50)
    # AUDC .71875: recovers (.71875 − .5) of a gap of .25. Half the gap is .625, half way up the first edge.
    assert curve.apgr == pytest.approx(0.875)
    assert [curve.cpt(x) for x in (0, 0.5, 1)] == pytest.approx([0, 0.125, 0.25])
    # .75, the large model's quality, for 4.5; the large model alone costs 25.
    assert curve.qnc == pytest.approx(0.18)


def test_where_nothing_is_to_be_gained():
    worse = deferral_curve([1, 2], [1, 1], [1, 0])
    assert np.isnan([worse.apgr, worse.cpt(0.5)]).all()
    assert worse.qnc == 0  # the small model alone is better than the large one, and costs nothing here
    free = deferral_curve([1, 2], [0, 1], [1, 1], cost_large=0)
    assert np.isnan(free.qnc)
    assert np.isnan(deferral_curve(**HAND).aiq(1.9, 3))


@fast
@given(rows, st.floats(0.01, 20))
def test_aiq_equals_brute_force_over_mixtures_of_two_thresholds(rows, width):
    curve = outcomes(rows).curve()
    low = curve.cost.min()
    budgets = np.linspace(low, low + width, 401)
    best = np.full(len(budgets), curve.quality[curve.cost <= low + 1e-12].max())
    for c1, q1 in zip(curve.cost, curve.quality, strict=True):
        best = np.maximum(best, np.where(budgets >= c1, q1, -np.inf))
        for c2, q2 in zip(curve.cost, curve.quality, strict=True):
            if c2 > c1:
                share = (budgets - c1) / (c2 - c1)
                best = np.maximum(best, np.where((share >= 0) & (share <= 1), q1 + share * (q2 - q1), -np.inf))
    # A maximum of straight lines has at most k corners, each within one of 400 steps and of the range of quality.
    slack = np.ptp(curve.quality) * len(curve.cost) / 400 + 1e-9
    assert curve.aiq(low, low + width) == pytest.approx(np.trapezoid(best, budgets) / width, abs=slack)


def routellm(curve, recovered):
    """APGR and CPT in percent as `routellm/evals/evaluate.py` of routellm 0.2.0 computes them."""
    percent, weak, strong = 100 * curve.deferral_rate, curve.quality[0], curve.quality[-1]
    areas = [np.trapezoid(q, percent / 100) for q in (curve.quality, 0 * percent + weak, 0 * percent + strong)]
    calls = np.interp(recovered * (strong - weak) + weak, curve.quality, percent)
    return (areas[0] - areas[1]) / (areas[2] - areas[1]), calls


@pytest.mark.parametrize("seed", range(5))
def test_apgr_and_cpt_equal_routellm(seed):
    rng = np.random.default_rng(seed)
    small = rng.random(50) / 2
    curve = deferral_curve(rng.random(50), small, small + rng.random(50) / 2)  # rises: its interpolation needs that
    for x in (0.2, 0.5, 0.8):
        apgr, calls = routellm(curve, x)
        assert curve.apgr == pytest.approx(apgr)
        assert 100 * curve.cpt(x) == pytest.approx(calls)


@fast
@given(rows, st.floats(0, 1))
def test_cpt_is_the_first_rate_that_is_good_enough(rows, recovered):
    curve = outcomes(rows).curve()
    if curve.quality[-1] - curve.quality[0] < 1e-6:
        return
    wanted, rate = curve.quality[0] + recovered * (curve.quality[-1] - curve.quality[0]), curve.cpt(recovered)
    assert curve.quality_at(rate) >= wanted - 1e-6
    assert (curve.quality_at(np.linspace(0, max(0, rate - 1e-6), 50))[:-1] < wanted + 1e-9).all()


def test_hull_skips_what_is_below_it_and_may_fall():
    # (1, .2) is below the chord from (0, .1) to (2, .6), .35 there; (3, .55) is above that from (2, .6) to (4, .4), .5.
    cost, quality = tradeoff.upper_hull([4, 0, 2, 1, 3, 2], [0.4, 0.1, 0.6, 0.2, 0.55, 0.3])
    np.testing.assert_array_equal(cost, [0, 2, 3, 4])
    np.testing.assert_array_equal(quality, [0.1, 0.6, 0.55, 0.4])


@fast
@given(rows)
def test_hull_is_concave_and_above_every_point(rows):
    curve = outcomes(rows).curve()
    cost, quality = curve.upper_hull()
    assert np.all(np.diff(cost) > 0)
    assert np.all(np.interp(curve.cost, cost, quality) >= curve.quality - 1e-9)
    slopes = np.diff(quality) / np.diff(cost)
    assert np.all(np.diff(slopes) <= 1e-9 * (1 + np.abs(slopes[1:])))


def test_a_budget_beyond_the_peak_is_not_spent():
    # Only the first deferral helps; the next two harm: quality 1/3, 2/3, 1/3, 0.
    curve = deferral_curve([1, 2, 3], [0, 1, 0], [1, 0, 0])
    assert curve.quality[-1] < curve.peak
    assert curve.quality_at_cost(1.0) == pytest.approx(2 / 3)
    assert curve.aiq() == pytest.approx(1 / 3 * (1 / 3 + 2 / 3) / 2 + 2 / 3 * 2 / 3)


def test_reaching_the_large_model_exactly_is_not_lost_to_rounding():
    rng = np.random.default_rng(0)
    for _ in range(20):
        small, gain = rng.random(97) / 3, rng.random(97) / 3
        curve = deferral_curve(rng.random(97), small, small + gain)
        assert curve.cost_at_quality(np.mean(small + gain)) == pytest.approx(1, abs=1e-6)
        assert curve.qnc == pytest.approx(1, abs=1e-6)
        assert curve.cpt(1) == pytest.approx(1, abs=1e-6)


def test_bad_arguments():
    curve = deferral_curve(**HAND)
    with pytest.raises(CatKerasError, match="percentage"):
        curve.quality_at(25)
    with pytest.raises(CatKerasError, match=r"Received: 50\. Try 0\.5"):
        curve.cpt(50)
    with pytest.raises(CatKerasError, match="from low to a higher high; received 3 to 3"):
        curve.aiq(3, 3)
