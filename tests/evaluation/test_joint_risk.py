"""Joint risks by hand and in resamples, and what the plug-in score promises."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence, rejection


def world(n=40_000, seed=0, inside=0.5, shift=2.0):
    """Inputs on a line: own ones around 0, from elsewhere around `shift`; P(right) falls with |x|."""
    rng = np.random.default_rng(seed)
    outside = rng.random(n) >= inside
    x = rng.normal(size=n) + shift * outside
    right = 1 / (1 + np.exp(np.abs(x) * 2 - 3))
    loss = (rng.random(n) > right).astype(float)
    return x, np.exp(shift * x - shift**2 / 2), right, loss, outside


def test_four_rows_by_hand():
    curve = rejection.joint_curve([3, 1, 2, 0], [0, 1, 0, 0], [0, 0, 1, 1], c_fn=0.6)
    # Keeping the wrong one of two own inputs costs 0.4 / 2, keeping one of two from elsewhere 0.6 / 2.
    np.testing.assert_allclose(curve.joint, [0.8, 0.5, 0.3, 0.0, 0.0], atol=1e-12)
    np.testing.assert_allclose(curve.kept, [3 / 4, 2 / 3, 1 / 2, 0, 0])
    np.testing.assert_allclose(curve.outside, [1, 0.5, 0.5, 0, 0])
    assert curve.rejected.tolist() == [0, 0.25, 0.5, 0.75, 1]
    assert curve.area == pytest.approx(0.25 * (0.4 + 0.5 + 0.3)) and curve.joint_at(0.125) == pytest.approx(0.65)


def test_equal_scores_are_rejected_together_and_count_as_a_random_order_does():
    loss, outside = [1, 0, 0, 1], [0, 0, 1, 0]
    tied = rejection.joint_curve([1, 1, 1, 1], loss, outside)
    assert tied.rejected.tolist() == [0, 1]
    orders = [rejection.joint_curve(np.random.default_rng(i).permutation(4), loss, outside).area for i in range(4000)]
    assert tied.area == pytest.approx(np.mean(orders), abs=5e-3)


@given(st.lists(st.tuples(st.integers(0, 4), st.floats(0, 1), st.booleans()), min_size=2, max_size=30), st.floats(0, 1))
@settings(max_examples=60, deadline=None)
def test_what_holds_of_any_rows(rows, c_fn):
    score, loss, outside = map(np.array, zip(*rows, strict=True))
    outside[0], outside[1] = True, False
    curve = rejection.joint_curve(score, loss, outside, c_fn)
    assert (np.diff(curve.joint) <= 1e-12).all() and (np.diff(curve.rejected) > 0).all()
    assert curve.joint[0] == pytest.approx(c_fn + (1 - c_fn) * loss[~outside].mean()) and curve.joint[-1] == 0
    moved = rejection.joint_curve(score * 3.0 - 7, loss, outside, c_fn)  # a rising change of the score changes nothing
    np.testing.assert_allclose(moved.joint, curve.joint)
    once = rejection.resampled(score, loss, outside, c_fn, np.ones((2, len(rows))))
    np.testing.assert_allclose(once[0][1], curve.rejected)
    np.testing.assert_allclose(once[1][1], curve.joint, atol=1e-12)


def test_a_resample_is_the_rows_repeated():
    rng = np.random.default_rng(3)
    score, loss, outside = rng.integers(0, 9, 30), rng.random(30), np.arange(30) < 12
    draw = np.concatenate([rng.integers(0, 12, 12), rng.integers(12, 30, 18)])
    weights = np.bincount(draw, minlength=30)[None].astype(float)
    expected = rejection.joint_curve(score[draw], loss[draw], outside[draw])
    rejected, joint = rejection.resampled(score, loss, outside, rejection.C_FN, weights)
    assert np.trapezoid(joint[0], rejected[0]) == pytest.approx(expected.area)
    assert np.interp(0.3, rejected[0], joint[0]) == pytest.approx(expected.joint_at(0.3))


def test_with_weight_on_own_inputs_alone_it_is_their_augrc():
    _, _, right, loss, outside = world(500)
    order = np.where(outside, -right - 9, right)  # those from elsewhere are rejected first
    share = (~outside).mean()
    area = rejection.joint_curve(order, loss, outside, c_fn=0.0).area
    own = confidence.augrc(right[~outside], loss[~outside])
    assert area == pytest.approx(own * share + loss[~outside].mean() * (1 - share))


@pytest.mark.parametrize("inside", [0.5, 0.9, 1.0])
def test_thresholds_on_the_score_are_the_rule_at_every_multiplier(inside):
    _, ratio, right, _, _ = world(2000)
    score = rejection.plugin_score(right, ratio, 0.75, inside)
    for multiplier in (0.01, 0.1, 0.3, 0.7, 1.5):
        c_in, c_out = multiplier * inside, 0.75 - multiplier * (1 - inside)
        rejects = 0.25 * (1 - right) + c_out * ratio > c_in
        np.testing.assert_array_equal(rejects, score < -multiplier)


@pytest.mark.parametrize("shift", [0.5, 2.0, 4.0])
@pytest.mark.parametrize("c_fn", [0.2, 0.75])
def test_known_densities_make_the_plug_in_rule_the_best(shift, c_fn):
    """On large samples no other score is better, not even within noise: at every budget and in the area."""
    x, ratio, right, loss, outside = world(inside=0.6, shift=shift)
    others = {"probability": right, "density": -ratio, "place": -x, "sum": right - ratio, "either": -np.abs(x)}
    best = rejection.joint_curve(rejection.plugin_score(right, ratio, c_fn, 0.6), loss, outside, c_fn)
    for name, score in others.items():
        curve = rejection.joint_curve(score, loss, outside, c_fn)
        assert best.area <= curve.area + 2e-3, name
        assert all(best.joint_at(b) <= curve.joint_at(b) + 8e-3 for b in (0.1, 0.3, 0.5, 0.8)), name


def test_without_anything_from_elsewhere_confidence_decides():
    _, _, right, _, _ = world(500)
    score = rejection.plugin_score(right, np.zeros(500), 0.75, 0.9)
    np.testing.assert_array_equal(np.argsort(score, kind="stable"), np.argsort(right, kind="stable"))
    far = rejection.plugin_score([0.9, 0.9], [0.0, 5.0])
    assert far[0] > far[1]


def test_bad_input():
    with pytest.raises(CatKerasError, match=r"inputs of both kinds\. Received: 0 of 2 from elsewhere"):
        rejection.joint_curve([1, 2], [0, 1], [0, 0])
    with pytest.raises(CatKerasError, match="c_fn is a number"):
        rejection.joint_curve([1, 2], [0, 1], [0, 1], c_fn=1.5)
    with pytest.raises(CatKerasError, match="at least 0"):
        rejection.plugin_score([0.5], [-1.0])
    with pytest.raises(CatKerasError, match=r"inside is a number in \(0, 1\]"):
        rejection.plugin_score([0.5], [1.0], inside=0)
