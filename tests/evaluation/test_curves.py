"""Curves against values worked out by hand, against brute force, and against what must hold for any data."""

from itertools import permutations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.cascades.deferral import NO_ANSWER
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import curves
from cat_keras.evaluation.curves import Outcomes, deferral_curve

# Four queries; by score: −3 (0→1), −2 (1→0) tied with −2 (0→1), −1 (1→1). Costs: small 1 2 3 2, large 10 20 30 40.
#   τ = −∞  deferred none        rate 0    quality (0+1+0+1)/4 = .5    cost 2
#   τ = −2  deferred {−3}        rate 1/4  quality (1+1+0+1)/4 = .75   cost 2 + 10/4        = 4.5
#   τ = −1  deferred {−3,−2,−2}  rate 3/4  quality (1+0+1+1)/4 = .75   cost 2 + (10+20+30)/4 = 17
#   τ = +∞  deferred all         rate 1    quality (1+0+1+1)/4 = .75   cost 2 + 100/4       = 27
# AUDC = 1/4·(.5+.75)/2 + 3/4·.75 = .15625 + .5625 = .71875; random (.5+.75)/2 = .625; relative .71875/.625 − 1 = .15
# Oracle: gains +1 +1 0 −1, ties (+1 +1): rates 0 1/2 3/4 1, quality .5 1 1 .75:
#   area 1/2·.75 + 1/4·1 + 1/4·.875 = .84375; s_d = (.71875 − .625)/(.84375 − .625) = .09375/.21875 = 3/7
# Capped ideal min(.5 + ρ, .75): .75 − .25²/2 = .71875, which this curve reaches: s_d = 1
HAND = {
    "score": [-2.0, -3.0, -1.0, -2.0],
    "quality_small": [1, 0, 1, 0],
    "quality_large": [0, 1, 1, 1],
    "cost_small": [2, 1, 2, 3],
    "cost_large": [20, 10, 40, 30],
}

qualities = st.floats(0, 1).map(lambda q: round(q, 3))
rows = st.lists(st.tuples(st.integers(-4, 4), qualities, qualities, st.integers(0, 9), st.integers(0, 9)), min_size=1)
fast = settings(deadline=None, max_examples=40)


def outcomes(rows, ids=None):
    return Outcomes(*np.array(rows, dtype=float).T, ids=ids)


def random_outcomes(rng, n=50, levels=10):
    ids = rng.permutation([f"e{i}" for i in range(n)])
    return Outcomes(rng.integers(levels, size=n), rng.random(n), rng.random(n), ids=ids)


def test_curve_by_hand():
    curve = deferral_curve(**HAND)
    np.testing.assert_array_equal(curve.threshold, [-np.inf, -2.5, -1.5, np.inf])
    np.testing.assert_array_equal(curve.deferral_rate, [0, 0.25, 0.75, 1])
    np.testing.assert_array_equal(curve.quality, [0.5, 0.75, 0.75, 0.75])
    np.testing.assert_array_equal(curve.cost, [2, 4.5, 17, 27])


def test_areas_by_hand():
    curve = deferral_curve(**HAND)
    small, large = HAND["quality_small"], HAND["quality_large"]
    assert curve.audc == pytest.approx(0.71875)
    assert curve.random_audc == 0.625
    assert curve.relative_audc == pytest.approx(0.15)
    assert curves.oracle_audc(small, large) == pytest.approx(0.84375)
    assert curve.s_d(curves.oracle_audc(small, large)) == pytest.approx(3 / 7)
    assert curves.capped_ideal_audc(small, large) == pytest.approx(0.71875)
    assert curve.s_d(curves.capped_ideal_audc(small, large)) == pytest.approx(1)


def test_an_empty_answer_is_a_point_like_any_other():
    curve = deferral_curve([NO_ANSWER, -1.0, np.finfo(float).max], [0, 1, 1], [1, 1, 1])
    np.testing.assert_array_equal(
        curve.threshold, [-np.inf, np.finfo(float).min / 2 - 0.5, np.finfo(float).max / 2 - 0.5, np.inf]
    )
    assert curve.quality_at(1 / 3) == 1


@fast
@given(rows)
def test_sweep_equals_brute_force_over_thresholds(rows):
    data = outcomes(rows)
    curve = data.curve()
    assert len(curve.threshold) == len(np.unique(data.score)) + 1
    for rate, quality, cost, threshold in zip(
        curve.deferral_rate, curve.quality, curve.cost, curve.threshold, strict=True
    ):
        deferred = data.score < threshold
        assert rate == pytest.approx(deferred.mean())
        assert quality == pytest.approx(np.where(deferred, data.quality_large, data.quality_small).mean())
        assert cost == pytest.approx((data.cost_small + deferred * data.cost_large).mean())


@fast
@given(rows)
def test_ends_are_the_two_models_and_rates_increase(rows):
    data = outcomes(rows)
    curve = data.curve()
    assert curve.deferral_rate[[0, -1]].tolist() == [0, 1]
    assert np.all(np.diff(curve.deferral_rate) > 0)
    assert np.all(np.diff(curve.cost) >= 0)
    np.testing.assert_allclose(curve.quality_at([0, 1]), [data.quality_small.mean(), data.quality_large.mean()])


@fast
@given(rows, st.sampled_from([np.exp, np.cbrt, lambda s: 1e6 * s + 3, lambda s: s**3]))
def test_only_the_order_of_the_scores_matters(rows, increasing):
    data = outcomes(rows)
    other = deferral_curve(increasing(data.score), data.quality_small, data.quality_large)
    np.testing.assert_array_equal(data.curve().deferral_rate, other.deferral_rate)
    np.testing.assert_array_equal(data.curve().quality, other.quality)


@fast
@given(rows, st.randoms(use_true_random=False))
def test_the_order_of_the_rows_does_not_matter(rows, random):
    shuffled = random.sample(rows, len(rows))
    np.testing.assert_allclose(outcomes(rows).curve().quality, outcomes(shuffled).curve().quality, atol=1e-12)


@fast
@given(rows)
def test_a_constant_score_is_a_straight_line(rows):
    data = outcomes([(0, *row[1:]) for row in rows])
    curve = data.curve()
    assert len(curve.threshold) == 2
    assert curve.audc == pytest.approx((data.quality_small.mean() + data.quality_large.mean()) / 2)


@fast
@given(rows)
def test_s_d_is_at_most_one_and_reaches_it(rows):
    data = outcomes(rows)
    ideal = curves.oracle_audc(data.quality_small, data.quality_large)
    gain = data.quality_large - data.quality_small
    if np.ptp(gain) < 1e-6:
        assert np.isnan(data.curve().s_d(ideal))
        return
    assert -1 - 1e-6 <= data.curve().s_d(ideal) <= 1 + 1e-6
    assert deferral_curve(-gain, data.quality_small, data.quality_large).s_d(ideal) == pytest.approx(1)
    assert deferral_curve(gain, data.quality_small, data.quality_large).s_d(ideal) == pytest.approx(-1)


def test_random_deferral_gains_nothing_on_average_exactly():
    # All 5! orders of five queries: the mean of their areas is the random area, not just close to it.
    small, large = np.array([0, 0.2, 1, 0.5, 0.9]), np.array([1, 0.8, 0.1, 0.5, 1])
    ideal = curves.oracle_audc(small, large)
    gains = [deferral_curve(np.array(order), small, large).s_d(ideal) for order in permutations(range(5))]
    assert np.mean(gains) == pytest.approx(0, abs=1e-12)


def test_s_d_and_relative_audc_where_they_are_undefined():
    same = deferral_curve([1, 2], [1, 0], [1, 0])
    assert np.isnan(same.s_d(curves.oracle_audc([1, 0], [1, 0])))
    worse = deferral_curve([1, 2], [1, 1], [1, 0])
    assert np.isnan(worse.s_d(curves.capped_ideal_audc([1, 1], [1, 0])))
    assert np.isnan(deferral_curve([1, 2], [0, 0], [0, 0]).relative_audc)


def test_macro_average_by_hand():
    # Task a rises 0 → 1 along (0, 0) (½, 1) (1, 1); task b is one tie, 1 → 0. At ρ = ½: (1 + ½)/2; at ¼: (½ + ¾)/2.
    a = deferral_curve([1, 2], [0, 1], [2, 0], cost_small=1, cost_large=4)
    b = deferral_curve([1, 1], [1, 1], [0, 0], cost_small=3, cost_large=8)
    np.testing.assert_allclose(a.quality, [0.5, 1.5, 1])
    average = curves.macro_average({"a": a, "b": b}, tasks=["a", "b"], grid=[0, 0.25, 0.5, 1])
    np.testing.assert_allclose(average.quality, [0.75, (1 + 0.75) / 2, (1.5 + 0.5) / 2, 0.5])
    np.testing.assert_allclose(average.cost, [2, 3.5, 5, 8])
    assert np.isnan(average.threshold).all()


def test_area_of_the_average_is_the_average_area():
    rng = np.random.default_rng(1)
    by_task = {f"t{i}": random_outcomes(rng, n=5 + i).curve() for i in range(4)}
    average = curves.macro_average(by_task, tasks=by_task)
    assert average.audc == pytest.approx(np.mean([curve.audc for curve in by_task.values()]))


def test_macro_average_never_hides_a_hole():
    curve = deferral_curve(**HAND)
    with pytest.raises(CatKerasError, match=r"missing: \['b'\]"):
        curves.macro_average({"a": curve}, tasks=["a", "b"])
    with pytest.raises(CatKerasError, match=r"missing: \['b'\]"):
        curves.macro_average({"a": curve, "b": None}, tasks=["a", "b"])
    with pytest.raises(CatKerasError, match=r"not named: \['b'\]"):
        curves.macro_average({"a": curve, "b": curve}, tasks=["a"])
    with pytest.raises(CatKerasError, match="exactly the tasks named"):
        curves.macro_average({}, tasks=[])
    for grid in ([0, 0.5], [0.1, 1], [0, 0.5, 0.5, 1]):
        with pytest.raises(CatKerasError, match="from 0 to 1"):
            curves.macro_average({"a": curve}, tasks=["a"], grid=grid)


@pytest.mark.parametrize("column", ["score", "quality_small", "quality_large", "cost_small", "cost_large"])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_values_that_are_not_numbers(column, bad):
    values = list(HAND[column])
    values[2] = bad
    with pytest.raises(CatKerasError, match=f"{column} must be finite; received {bad} in row 2"):
        deferral_curve(**{**HAND, column: values})


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"quality_small": [1, 0, 1]}, "quality_small has 3"),
        ({"score": []}, "at least one example"),
        ({"score": [[1.0], [2.0]]}, "must be a vector"),
        ({"score": ["a", "b", "c", "d"]}, "one number per example"),
        ({"cost_large": [1, 2, -3, 4]}, "cost_large must not be negative; received -3"),
        ({"ids": ["a", "b", "a", "c"]}, "'a' occurs 2 times"),
        ({"ids": ["a"]}, "one entry per example, 4"),
    ],
)
def test_bad_columns(change, message):
    with pytest.raises(CatKerasError, match=message):
        deferral_curve(**{**HAND, **change})


def test_bad_arguments():
    with pytest.raises(CatKerasError, match="percentage"):
        deferral_curve(**HAND).quality_at(25)
    with pytest.raises(CatKerasError, match="oracle_audc"):
        curves.capped_ideal_audc([0.5], [1])
