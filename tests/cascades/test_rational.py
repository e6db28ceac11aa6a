"""Rational tuning: the scale, the copula and the mixture by known values; the chain against play; exact optima."""

import itertools

import numpy as np
import pytest
from scipy import stats

import cat_keras as ck
from cat_keras.cascades import rational
from cat_keras.cascades.playback import Stages
from cat_keras.cascades.rational.chain import gumbel
from cat_keras.cascades.rational.confidence import fit_mixture, mixture_cdf
from cat_keras.errors import CatKerasError


def calibrated(n, models=3, seed=0, cost=(1.0, 4.0, 16.0, 64.0)):
    """Stages whose scores are probabilities of being right, alike between neighbours; the last model is better."""
    rng = np.random.default_rng(seed)
    shared = rng.normal(size=n)
    z = [0.7 * shared + 0.7 * rng.normal(size=n) + i for i in range(models)]
    phi = 1 / (1 + np.exp(-np.array(z)))
    quality = (rng.random((models, n)) < phi).astype(float)
    return Stages(phi[:-1], quality, np.tile(np.array(cost[:models])[:, None], n))


def test_the_scale_of_confidence():
    p = np.array([0.0, 0.1, 0.5, 0.9, 1.0])
    z = rational.spread(p)
    assert z[2] == 0 and z[3] == pytest.approx(-z[1]) and (np.diff(z) > 0).all() and np.isfinite(z).all()
    assert z[3] == pytest.approx(-np.log(2) - np.log(0.1))
    assert rational.spread(np.log(p[1:4])) == pytest.approx(z[1:4])
    assert rational.spread(np.array([-3.0, 4.0])).tolist() == [-3.0, 4.0]  # no probability: as it is


def test_the_copula():
    u, v = np.meshgrid(np.linspace(0, 1, 11), np.linspace(0, 1, 11))
    assert gumbel(u, v, 1.0) == pytest.approx(u * v)
    assert gumbel(u, v, 200.0) == pytest.approx(np.minimum(u, v), abs=0.01)
    for theta in (1.0, 2.0, 7.0):
        joint = gumbel(u, v, theta)
        assert joint[:, -1] == pytest.approx(v[:, -1]) and joint[-1] == pytest.approx(u[-1])
        assert (np.diff(np.diff(joint, axis=0), axis=1) > -1e-12).all()  # every rectangle has a probability


@pytest.mark.parametrize("shapes", [(2.0, 5.0, 2.0, 5.0), (2.0, 20.0, 20.0, 2.0), (1.0, 1.0, 1.0, 1.0)])
def test_the_mixture_of_betas(shapes):
    rng = np.random.default_rng(0)
    x = np.concatenate([rng.beta(*shapes[:2], 1500), rng.beta(*shapes[2:], 1500)])
    grid = np.linspace(0, 1, 21)
    truth = (stats.beta.cdf(grid, *shapes[:2]) + stats.beta.cdf(grid, *shapes[2:])) / 2
    assert mixture_cdf(fit_mixture(x), grid) == pytest.approx(truth, abs=0.03)


def test_few_values_are_taken_as_even():
    assert mixture_cdf(fit_mixture(np.array([0.2, 0.3])), np.array([0.25, 1.0])).tolist() == [0.25, 1.0]


def test_expected_is_what_play_gives():
    stages = calibrated(20_000)
    chain = rational.Chain.fit(stages)
    assert all(theta > 1.1 for theta in chain.thetas)
    sizes = [len(each.thresholds) for each in chain.confidences]
    places = np.array(list(itertools.product(*(range(0, size, 9) for size in sizes))))
    thresholds = np.stack([c.thresholds[p] for c, p in zip(chain.confidences, places.T, strict=True)], axis=1)
    played, (quality, cost) = stages.points(thresholds), chain.expected(places)
    assert quality == pytest.approx(played.quality, abs=0.02)
    assert cost == pytest.approx(played.cost, abs=0.02 * 21)


@pytest.mark.parametrize("models", [2, 3, 4])
def test_the_best_is_the_best_of_all(models):
    chain = rational.Chain.fit(calibrated(40, models))
    prices = np.array([0.0, 0.002, 0.01, 0.05, 1.0])
    sizes = [len(each.thresholds) for each in chain.confidences]
    step = 1 if models < 4 else 3  # a part of them, where all are too many
    every = np.array(list(itertools.product(*(range(0, size, step) for size in sizes))))
    quality, cost = chain.expected(every)
    best_quality, best_cost = chain.expected(chain.best(prices))
    for i, price in enumerate(prices):
        least = (quality - price * cost).max()
        found = best_quality[i] - price * best_cost[i]
        assert found >= least - 1e-9 and (models == 4 or found == pytest.approx(least, abs=1e-9))


def test_it_tunes_with_few_labels():
    few, many = calibrated(30, 4), calibrated(20_000, 4, seed=1)
    found = ck.tune(few.scores, few.quality, few.cost[:, 0], max_cost=20.0, held_out=0.0, method="rational")
    assert found.calibration.cost <= 20.0 and len(found.thresholds) == 3
    point = many.points(np.array([found.thresholds]))
    best = many.points(rational.path(many)[0])
    assert point.quality[0] > best.quality[best.cost <= point.cost[0]].max() - 0.06
    judged = ck.tune(many.scores[:, :999], many.quality[:, :999], many.cost[:, 0], min_quality=0.8, method="rational")
    assert judged.calibration.quality >= 0.8 and judged.verdict.rows == 499


def test_masses_at_the_ends_and_scores_that_say_nothing():
    stages = calibrated(200)
    tied = Stages(np.clip(stages.scores, 0.4, 0.8), stages.quality, stages.cost)
    thresholds, quality = rational.path(tied)
    assert np.isfinite(quality).all() and len(np.unique(tied.points(thresholds).cost)) > 10
    first = rational.Chain.fit(tied).confidences[0]
    assert first.levels[1] == pytest.approx(np.mean(tied.scores[0] == 0.4))
    assert 1 - first.levels[-2] == pytest.approx(np.mean(tied.scores[0] == 0.8))
    for score in (np.full(200, 0.5), -stages.scores[0]):
        thresholds, quality = rational.path(Stages(np.stack([score, stages.scores[1]]), stages.quality, stages.cost))
        assert np.isfinite(quality).all() and {*thresholds[0]} | {*thresholds[-1]} >= {-np.inf, np.inf}


def test_levels_are_shares_of_the_rows():
    scores = calibrated(3000).scores[0]
    quality = (np.random.default_rng(2).random(3000) < scores).astype(float)
    found = rational.Confidence.fit(scores, quality)
    shares = [(scores < threshold).mean() for threshold in found.thresholds]
    assert found.levels == pytest.approx(shares, abs=0.03) and (np.diff(found.thresholds) >= 0).all()


def test_bad_input():
    stages = calibrated(60)
    with pytest.raises(CatKerasError, match="method of choosing"):
        ck.tune(stages.scores, stages.quality, max_deferral=0.5, method="bayes")
    with pytest.raises(CatKerasError, match="no guarantee"):
        ck.tune(stages.scores, stages.quality, guarantee=(0.3, 0.3), method="rational")
    with pytest.raises(CatKerasError, match=r"trades quality against cost\. Received: a limit on the deferral"):
        ck.tune(stages.scores, stages.quality, max_deferral=0.5, method="rational")
