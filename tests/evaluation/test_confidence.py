"""Metrics of a score: by hand, by brute force, and as well-kept libraries compute them."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import gaussian_kde
from sklearn.metrics import brier_score_loss, roc_auc_score

from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence

fast = settings(deadline=None, max_examples=60)
pairs = st.lists(st.tuples(st.integers(-3, 3), st.booleans()), min_size=1)


@fast
@given(pairs)
def test_auroc_equals_scikit_learn(pairs):
    score, positive = map(list, zip(*pairs, strict=True))
    if len(set(positive)) == 2:
        assert confidence.auroc(score, positive) == pytest.approx(roc_auc_score(positive, score))
    else:
        assert np.isnan(confidence.auroc(score, positive))


def test_auroc_by_hand():
    # Positives 3, 2; negatives 2, 1: of four pairs three are in order and one is tied.
    assert confidence.auroc([3, 2, 2, 1], [True, True, False, False]) == 3.5 / 4


def test_calibration_by_hand():
    # Two bins, closed above: {0, .4, .5} with 1 of 3 right, mean .3; {.9} right.
    sure, right = [0.0, 0.4, 0.5, 0.9], [0, 1, 0, 1]
    found = confidence.reliability(sure, right, bins=2)
    np.testing.assert_allclose(found.confidence, [0.3, 0.9])
    np.testing.assert_allclose(found.accuracy, [1 / 3, 1])
    np.testing.assert_array_equal(found.count, [3, 1])
    assert confidence.ece(sure, right, bins=2) == pytest.approx(3 / 4 * (1 / 3 - 0.3) + 1 / 4 * 0.1)
    assert confidence.brier(sure, right) == pytest.approx((0.6**2 + 0.5**2 + 0.1**2) / 4)


def test_empty_bins_are_nan_and_count_nothing():
    found = confidence.reliability([1.0, 1.0], [1, 0])
    assert np.isnan(found.accuracy[:-1]).all()
    assert found.accuracy[-1] == confidence.ece([1.0, 1.0], [1, 0]) == 0.5


@pytest.mark.parametrize(("n", "expected"), [(20, 0.1775690677226336), (300, 0.18921392176549953)])
def test_ece_equals_netcal(n, expected):
    """`netcal.metrics.ECE(15).measure` of netcal 1.4.0 on these points; the points of n = 300 follow those of 20."""
    rng = np.random.default_rng(0)
    for size in (20, 300):
        sure = rng.random(size)
        right = rng.random(size) < sure**2
        if size == n:
            assert confidence.ece(sure, right) == pytest.approx(expected, rel=1e-12)


@fast
@given(st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1))
def test_brier_equals_scikit_learn(pairs):
    sure, right = map(list, zip(*pairs, strict=True))
    assert confidence.brier(sure, right) == pytest.approx(
        brier_score_loss(right, sure, labels=[False, True]), abs=1e-12
    )


def test_selective_risk_by_hand():
    # Kept from the highest score: losses 0, 1, 0: risks 0, 1/2, 1/3; generalised (over n) 0, 1/3, 1/3.
    score, loss = [3, 2, 1], [0, 1, 0]
    assert confidence.aurc(score, loss) == pytest.approx((0 + 1 / 2 + 1 / 3) / 3)
    assert confidence.augrc(score, loss) == pytest.approx((0 + 1 / 6 + 1 / 3) / 3)  # middles of three trapezoids
    # Tied: each of the last two is wrong half the time.
    assert confidence.aurc([3, 1, 1], loss) == pytest.approx((0 + 1 / 4 + 1 / 3) / 3)


def torch_uncertainty(score, loss):
    """AURC and AUGRC as torch-uncertainty 0.13.0 has them: trapezoids from coverage 1/n, over a range of 1 − 1/n."""
    errors, n = np.asarray(loss)[np.argsort(-np.asarray(score))], len(loss)
    coverage = np.arange(1, n + 1) / n
    risk = np.cumsum(errors) / np.arange(1, n + 1)
    return [np.trapezoid(y, coverage) / (1 - 1 / n) for y in (risk, risk * coverage)], risk


def test_selective_risk_differs_from_torch_uncertainty_by_the_rule_of_integration_alone():
    rng = np.random.default_rng(1)
    (documented, _), _ = torch_uncertainty([0.7, 0.6, 0.8], [0, 1, 0])
    assert documented == pytest.approx(0.0833, abs=1e-4)  # the example of its documentation
    for n in (3, 50):
        score, loss = rng.random(n), rng.integers(2, size=n)
        (aurc, augrc), risk = torch_uncertainty(score, loss)
        # A mean over n coverages against trapezoids between them; n points against n − 1 intervals.
        assert confidence.aurc(score, loss) == pytest.approx(((n - 1) * aurc + (risk[0] + risk[-1]) / 2) / n)
        # From coverage 0, where nothing is kept, to 1/n there is one more triangle.
        assert confidence.augrc(score, loss) == pytest.approx((1 - 1 / n) * augrc + risk[0] / n / n / 2)


@fast
@given(pairs)
def test_augrc_is_a_function_of_auroc_and_accuracy(pairs):
    score, wrong = np.array([p[0] for p in pairs]), np.array([p[1] for p in pairs])
    ranking, risk = confidence.auroc(score, ~wrong), wrong.mean()
    misordered = 0 if np.isnan(ranking) else (1 - ranking) * risk * (1 - risk)
    assert confidence.augrc(score, wrong) == pytest.approx(misordered + risk**2 / 2)


@fast
@given(st.lists(st.tuples(st.integers(0, 3), st.floats(0, 1)), min_size=1, max_size=20), st.integers(0, 2**32 - 1))
def test_ties_have_the_expectation_of_a_random_order(pairs, seed):
    score, loss = (np.array(column, dtype=float) for column in zip(*pairs, strict=True))
    rng, found = np.random.default_rng(seed), []
    for _ in range(400):
        order = np.lexsort((rng.random(len(score)), -score))
        found.append(np.mean(np.cumsum(loss[order]) / np.arange(1, len(loss) + 1)))
    error = 5 * np.std(found) / 20 + 1e-9
    assert confidence.aurc(score, loss) == pytest.approx(np.mean(found), abs=error)


def test_density_overlap_equals_scipy():
    rng = np.random.default_rng(2)
    sure, right = rng.random(80), rng.random(80) < 0.6
    kernels = [gaussian_kde(sure[side]) for side in (right, ~right)]
    at = np.linspace(-1, 2, 20_001)
    expected = np.trapezoid(np.minimum(*(kernel(at) for kernel in kernels)), at)
    assert confidence.density_overlap(sure, right) == pytest.approx(expected, abs=1e-4)


def test_density_overlap_of_the_same_and_of_the_separate():
    sure = np.tile([0.1, 0.2, 0.4], 2)
    assert confidence.density_overlap(sure, [1, 1, 1, 0, 0, 0]) == pytest.approx(1, abs=1e-3)
    assert confidence.density_overlap([0.1, 0.101, 0.9, 0.901], [0, 0, 1, 1]) == pytest.approx(0, abs=1e-6)
    assert np.isnan(confidence.density_overlap([0.1, 0.1, 0.9, 0.8], [0, 0, 1, 1]))
    assert np.isnan(confidence.density_overlap([0.1, 0.2], [1, 1]))


def test_masses_by_hand():
    found = confidence.mass_table([1, 1, 0, 0, 0], [1, 0, 1, 0, 0])
    assert found == (0.2, 0.2, 0.2, 0.4)
    assert found._fields == ("both", "small_only", "large_only", "neither")


def test_bad_columns():
    with pytest.raises(CatKerasError, match="true or false"):
        confidence.auroc([1, 2], [0.5, 1])
    with pytest.raises(CatKerasError, match=r"confidence must be in \[0, 1\]; received values in \[-2\.0, 0\.5\]"):
        confidence.ece([-2, 0.5], [0, 1])
    with pytest.raises(CatKerasError, match="loss has 1"):
        confidence.aurc([1, 2], [0])
    with pytest.raises(CatKerasError, match="large_right has 1"):
        confidence.mass_table([1, 0], [1])


def test_the_bar_of_graded_quality_is_the_median_of_all_models():
    assert confidence.bar([np.array([0.0, 1.0]), np.array([1.0])]) == 0.5
    assert confidence.bar([np.array([0.1, 0.2]), np.array([0.4])]) == 0.2
