"""Routers: labels and areas by hand, fits against others, ways at equal cost, and a file that gives the same scores."""

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

import cat_keras as ck
from cat_keras.cascades import routing
from cat_keras.cascades.routing import features, logistic, ways
from cat_keras.errors import CatKerasError


def queries(n=300, seed=0):
    """Prompts whose words say whether the small model will be right, and qualities (2, n)."""
    rng = np.random.default_rng(seed)
    hard = rng.random(n) < 0.5
    words = rng.choice("oak elm ash fir yew".split(), (n, 6))
    prompts = [f"{'prove' if h else 'name'} {' '.join(row)}" for h, row in zip(hard, words, strict=True)]
    return prompts, np.stack([rng.random(n) < np.where(hard, 0.2, 0.95), rng.random(n) < 0.9]).astype(float)


def test_labels_by_hand():
    assert routing.soft_labels([1, 0, 1, 0], [1, 1, 0, 0]).tolist() == [1, 0, 1, 1]
    # Pairs of the first query: 1 ≥ 1, 1 ≥ 1, not 0 ≥ 1, not 0 ≥ 1. Of the second: 0 ≥ 0 twice of four.
    assert routing.soft_labels([[1, 0], [0, 0]], [[1, 1], [0, 1]]).tolist() == [0.5, 0.5]
    assert routing.soft_labels([0.5, 0.2], [0.6, 0.6], margin=0.2).tolist() == [1, 0]


def test_the_margin_spreads_the_labels():
    assert routing.best_margin([1, 0, 1], [1, 1, 0]) == 0
    small, large = np.zeros(4), np.array([0.1, 0.2, 0.3, 0.4])
    assert routing.best_margin(small, large) == 0.2  # half of the labels are 1
    twice = [np.repeat(each[:, None], 2, axis=1) for each in (small, large)]
    assert routing.best_margin(*twice) == 0.2


@given(st.lists(st.floats(0, 1), min_size=2, max_size=20), st.integers(0, 99))
@settings(max_examples=50, deadline=None)
def test_spread_is_the_mean_difference_of_pairs(values, seed):
    from cat_keras.cascades.routing.labels import _spread

    labels = np.array(values)
    assert _spread(labels) == pytest.approx(np.abs(labels[:, None] - labels).mean(), abs=1e-12)


def test_logistic_is_the_minimum_and_leaves_one_out():
    rng = np.random.default_rng(0)
    x, y = rng.normal(size=(60, 3)), rng.random(60)
    design = np.column_stack([x - x.mean(axis=0), np.ones(60)])
    beta, hessian = logistic._newton(design, y, 1.0, np.zeros(4))
    ridge = np.array([1.0, 1.0, 1.0, 0.0])
    gradient = design.T @ (1 / (1 + np.exp(-design @ beta)) - y) + ridge * beta
    assert np.abs(gradient).max() < 1e-6
    losses = []
    for i in range(60):
        others = np.arange(60) != i
        fitted, _ = logistic._newton(design[others], y[others], 1.0, np.zeros(4))
        z = design[i] @ fitted
        losses.append(np.logaddexp(0, z) - y[i] * z)
    assert logistic._left_out(design, y, beta, hessian) == pytest.approx(np.mean(losses), rel=1e-3)


@pytest.mark.parametrize("labels", [np.zeros(20), np.ones(20), np.arange(20) < 10])
def test_logistic_stays_finite(labels):
    x = np.linspace(-1, 1, 20)[:, None]
    p = logistic.probability(x, *logistic.fit(x, labels.astype(float)))
    assert np.isfinite(p).all() and abs(p.mean() - np.clip(labels.mean(), 0.025, 0.975)) < 0.03
    assert 0 not in labels or 1 not in labels or p[0] > 0.9 > 0.1 > p[-1]


def test_it_learns_and_its_file_says_the_same(tmp_path):
    prompts, quality = queries()
    router = routing.Router().fit(prompts, *quality)
    hard, easy = (router.score([f"{word} oak elm ash fir yew ash"])[0] for word in ("prove", "name"))
    assert hard < 0.5 < 0.8 < easy
    router.write(tmp_path / "router.json")
    again = routing.FittedRouter.read(tmp_path / "router.json")
    assert np.array_equal(again.score(prompts), router.score(prompts)) and again.router == router.router
    assert b"prove" in (tmp_path / "router.json").read_bytes()


def test_states_do_as_features(tmp_path):
    rng = np.random.default_rng(0)
    states, quality = rng.normal(size=(200, 12)), np.ones((2, 200))
    states[:, 3] = 7.0  # constant
    quality[0] = states[:, 0] > 0
    router = routing.Router("states").fit(states, *quality)
    assert np.corrcoef(router.score(states), quality[0])[0, 1] > 0.7
    router.write(tmp_path / "router.json")
    assert np.array_equal(routing.FittedRouter.read(tmp_path / "router.json").score(states), router.score(states))
    with pytest.raises(CatKerasError, match="12 numbers"):
        router.score(states[:, :5])


@pytest.mark.slow  # loads TensorFlow
def test_states_of_a_model_do_not_depend_on_the_batch():
    from cat_keras.modeling import models

    texts = ["name oak", "prove that an elm is no ash", "yew", "fir fir fir fir fir fir"] * 3
    model = models.build(models.train_tokenizer(texts, 320), layers=1, width=16, heads=1, feedforward=16)
    states = routing.states(model, texts, batch_size=3)
    assert states.shape == (12, 16) and np.allclose(states[:4], states[4:8], atol=1e-5)
    assert np.allclose(routing.states(model, texts[1:2])[0], states[1], atol=1e-5)
    assert not np.allclose(states[0], states[1], atol=1e-3)
    assert routing.Router("states").fit(states, np.ones(12), np.ones(12)).score(states) == pytest.approx(1, abs=0.1)


def test_the_cost_of_routing_has_no_sunk_part():
    prompts, quality = queries()
    router = routing.Router().fit(prompts, *quality)
    others, held_out = queries(seed=1)
    chosen = router.calibrate(others, held_out, [1.0, 5.0], max_cost=3.0)
    share = np.mean(router.score(others) < chosen.thresholds[0])
    assert chosen.deferral == (pytest.approx(share),) and chosen.cost == pytest.approx((1 - share) + 5 * share)
    assert chosen.alone_cost == (1.0, 5.0) and chosen.cost <= 3.0
    assert chosen.quality > held_out[0].mean() + share * (held_out[1].mean() - held_out[0].mean()) + 0.05  # than chance


def test_a_score_is_of_a_router_that_did_not_learn_from_it():
    prompts, quality = queries(120)
    small = quality[0]
    units = [i // 2 for i in range(120)]
    one = routing.cross_fitted(routing.Router(), prompts, small, quality[1], "t", units)[0]
    fold_of = routing.folds("t", units)
    other_labels = np.where(fold_of == fold_of[0], 1 - small, small)
    other = routing.cross_fitted(routing.Router(), prompts, other_labels, quality[1], "t", units)[0]
    own = fold_of == fold_of[0]
    shift = (other - one)[own]
    assert np.ptp(shift) < 1e-12 and np.ptp((other - one)[~own]) > 1e-3  # but for the common mean
    assert (fold_of[::2] == fold_of[1::2]).all() and len(set(fold_of)) == 5
    assert np.corrcoef(one, small)[0, 1] > 0.5


def test_area_by_hand():
    one = np.ones(1)
    quality, cost = np.array([[0.0, 1.0]]), np.array([[1.0, 3.0]])
    assert routing.area(quality, cost, one, 3 * one) == pytest.approx([0.5])
    assert routing.area(quality, cost, one, 2 * one) == pytest.approx([0.25])
    assert routing.area(quality, cost, one, 5 * one) == pytest.approx([(1.0 + 2.0) / 4])  # level after the last
    assert routing.area(quality, cost, 0 * one, 3 * one) == pytest.approx([1 / 3])  # and before the first


def test_pairs_of_thresholds_are_what_playing_them_gives():
    rng = np.random.default_rng(0)
    quality, cost = rng.random((2, 40)), rng.random((2, 40)) + [[0.5], [3.0]]
    direct, deferred = rng.random((3, 40)) < 0.4, rng.random((4, 40)) < 0.5
    gives, takes = ways.pair_means(direct, deferred, quality, cost)
    for i in range(3):
        for j in range(4):
            q, c = ways._outcomes(direct[i], deferred[j], quality, cost)
            assert gives[4 * i + j] == pytest.approx(q.mean()) and takes[4 * i + j] == pytest.approx(c.mean())


def test_budgets_mix_neighbours_on_the_hull():
    cost, quality = np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.0, 0.1, 0.8, 0.7, 1.0])
    corners, shares = ways.mixtures(cost, quality, np.array([1.0, 2.0, 4.0, 9.0]))
    assert shares.sum(axis=0).tolist() == [1, 1, 1, 1]
    assert (quality[corners] * shares).sum(axis=0) == pytest.approx([0.0, 0.4, 0.9, 1.0])
    assert (cost[corners] * shares).sum(axis=0) == pytest.approx([1.0, 2.0, 4.0, 5.0])


def test_thresholds_keep_ties_together():
    found = ways.thresholds(np.array([0.0] * 10 + [1.0] * 10))
    assert found[0] == -np.inf and found[-1] == np.inf and set(found[1:-1]) == {-np.inf, 0.5}


def test_ways_at_equal_cost():
    """A router that knows all beats a cascade that does; with a free small model they are alike."""
    rng = np.random.default_rng(0)
    n, weights = 2000, np.full((1, 2000), 1 / 2000)
    right = rng.random(n) < 0.6
    quality, score, noise = np.stack([right, np.ones(n)]).astype(float), right + rng.random(n), rng.random(n)
    fold_of = routing.folds("", range(n))

    def areas(price):
        cost = np.tile([[price], [4.0]], n)
        low, high = cost[:, :1]
        found = (
            routing.cascade(score, quality, cost, fold_of),
            routing.route(score, quality, cost, fold_of),
            routing.route_then_cascade(noise, score, quality, cost, fold_of),
            routing.route(noise, quality, cost, fold_of),
        )
        assert all(way.cost.min() >= price for way in found)
        return [float(way.area(weights, low, high)[0]) for way in found]

    cascade, route, both, chance = areas(2.0)
    # Deferring 40 % costs 2 + 0.4 · 4 in a cascade and 0.6 · 2 + 0.4 · 4 before any answer.
    assert cascade == pytest.approx(0.6 + 0.4 * (0.8 * 0.5 + 0.2), abs=0.02)
    assert route == pytest.approx(0.6 + 0.4 * (0.4 * 0.5 + 0.6), abs=0.02)
    assert abs(both - cascade) < 0.01  # a router that knows nothing is left out
    assert chance == pytest.approx(0.8, abs=0.02)
    cascade, route, *_ = areas(0.0)
    assert cascade == pytest.approx(route, abs=1e-3)


@pytest.mark.parametrize(
    ("wrong", "words"),
    [
        (lambda: routing.Router("words"), "features of a router"),
        (lambda: routing.Router(margin=-1), "margin"),
        (lambda: routing.Router().fit("one text", [1], [1]), "Prompts come as a list"),
        (lambda: routing.Router().fit(["a b"] * 5, [1] * 5, [1] * 5), "at least 10"),
        (lambda: routing.Router().fit([f"a{i}" for i in range(20)], [1] * 20, [1] * 20), "words that several"),
        (lambda: routing.Router().fit(["a b"] * 20, [np.nan] * 20, [1] * 20), "finite"),
        (lambda: routing.Router("states").fit(np.ones(20), [1] * 20, [1] * 20), r"\(n, d\)"),
        (lambda: routing.soft_labels([1, 0], [1]), "same queries"),
    ],
)
def test_bad_input(wrong, words):
    with pytest.raises(CatKerasError, match=words):
        wrong()


def test_a_file_of_something_else_is_refused(tmp_path):
    path = tmp_path / "router.json"
    ck.store.write_json(path, {"format": "cat-keras policy", "version": 1})
    with pytest.raises(CatKerasError, match="cat-keras router"):
        routing.FittedRouter.read(path)
    prompts, quality = queries(40)
    config = routing.Router().fit(prompts, *quality).config()
    ck.store.write_json(path, config | {"weights": [1.0]})
    with pytest.raises(CatKerasError, match="weights"):
        routing.FittedRouter.read(path)


def test_a_far_longer_prompt_is_like_a_long_one():
    space = features.TextSpace.fit(["a b c", "a b c d", "a b"])
    assert abs(space(["a " * 10_000]).toarray()[0, -1]) <= features.LENGTH * features.FAR
