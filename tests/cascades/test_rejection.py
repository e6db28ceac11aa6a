"""Rejecting: the density ratio against known ones, the rules beside each other, and a cascade that rejects."""

import json
import time

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.cascades import rejection
from cat_keras.cascades.cascade import Cascade
from cat_keras.cascades.rejection.density import DensityRatio, Mahalanobis
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.confidence import auroc
from cat_keras.evaluation.rejection import joint_curve
from tests.conftest import ANIMALS, NUMBERS

SETTINGS = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16}


def states(n, inside=1.0, seed=0, width=8, shift=1.5):
    """Hidden states: own ones around 0, those from elsewhere moved along the first axis; and which are which."""
    rng = np.random.default_rng(seed)
    outside = rng.random(n) >= inside
    return rng.normal(size=(n, width)) + shift * np.eye(width)[0] * outside[:, None], outside


def answers(x, seed=1, id="q", skill=0.7):
    """Columns of answers to options, as a predictor gives them, and whether they are right."""
    rng = np.random.default_rng(seed)
    right = rng.random(len(x)) < skill
    sure = np.where(right, 2.0, 0.5) + rng.exponential(size=len(x)) * 0.3
    options = np.stack([-0.1 * np.ones(len(x)), -0.1 - sure], axis=1)
    columns = {"id": [f"{id}{i}" for i in range(len(x))], "task": ["t"] * len(x), "embedding": x}
    return columns | {"token_logprobs": options[:, :1], "option_logprobs": options}, right


def test_the_density_ratio_is_the_known_one():
    own, _ = states(4000)
    traffic, outside = states(4000, inside=0.6, seed=1, shift=3.0)
    ratio, of_traffic = DensityRatio.fit(own, traffic)
    assert ratio.inside == pytest.approx(0.6, abs=0.2)  # the median is above it as long as the two sides overlap
    known, _ = DensityRatio.fit(own, traffic, inside=0.6)
    x = np.zeros((3, 8))
    x[:, 0] = 0.0, 1.5, 3.0  # where the true ratio is exp(−4.5), 1 and exp(4.5)
    assert known(x)[0] < 0.5 < known(x)[1] < 6 < known(x)[2]  # the log-odds of a mixture are not quite linear
    assert auroc(of_traffic, outside) > 0.97


def test_a_moved_and_stretched_space_gives_the_same_ratio_and_distance():
    own, _ = states(300)
    traffic, _ = states(300, inside=0.5, seed=1)
    stretch, moved = np.linspace(0.1, 9, 8), np.arange(8.0)
    one, _ = DensityRatio.fit(own, traffic)
    other, _ = DensityRatio.fit(own * stretch + moved, traffic * stretch + moved)
    np.testing.assert_allclose(one(traffic), other(traffic * stretch + moved), rtol=1e-6, atol=1e-9)
    turn = np.linalg.qr(np.random.default_rng(0).normal(size=(8, 8)))[0]
    tasks = ["a", "b"] * 150
    plain, turned = Mahalanobis.fit(own, tasks), Mahalanobis.fit(own @ turn + moved, tasks)
    np.testing.assert_allclose(plain(traffic), turned(traffic @ turn + moved), rtol=1e-6)


def test_the_distance_by_hand():
    found = Mahalanobis(np.array([[0.0, 0.0], [10.0, 0.0]]), np.diag([1.0, 0.5]))
    np.testing.assert_allclose(found(np.array([[1.0, 4.0], [10.0, 0.0]])), [1 + 4, 0])


def test_wide_states_are_classified_by_their_components():
    own, _ = states(200, width=300)
    traffic, outside = states(200, inside=0.5, seed=1, width=300, shift=0.0)
    traffic[outside] += 0.7  # in all directions
    ratio, of_traffic = DensityRatio.fit(own, traffic)
    assert ratio.weights.shape == (300,) and auroc(of_traffic, outside) > 0.9


def test_states_that_are_far_in_any_direction_are_told_by_the_distance():
    own, quality = answers(states(800)[0])
    rng = np.random.default_rng(9)

    def spread(n, seed):
        x, outside = states(n, 0.6, seed, shift=0.0)
        x[outside] *= 3.0
        order = rng.permutation(n)
        return x[order], outside[order]

    x, outside = spread(2000, 2)
    traffic, (later, right) = answers(spread(800, 3)[0], 4)[0], answers(x, 5)
    fitted = [rejection.PluginOOD(distance=d).fit(own | {"quality_small": quality}, traffic) for d in (True, False)]
    far, linear = (joint_curve(rule(later), ~right, outside).area for rule in fitted)
    assert far < linear - 0.05


def test_energy_and_confidence_by_hand():
    table = {
        "id": ["a", "b", "c"], "task": [""] * 3, "token_logprobs": [np.log([0.5, 0.125]), np.log([0.2]), []],
        "option_logprobs": [[], np.log([0.2, 0.1, 0.1]), []],
    }  # fmt: skip
    np.testing.assert_allclose(rejection.confidence(table), [0.25, 0.5, 0])
    np.testing.assert_allclose(rejection.energy(table)[:2], np.log([0.0625, 0.4]))


def test_the_plug_in_rule_is_never_worse_than_maximum_probability():
    """On held-out mixtures, whether those from elsewhere are told by their states, a little, or not at all."""
    for shift in (0.0, 1.0, 4.0):
        own, quality = answers(states(1500)[0])
        traffic, _ = answers(states(1500, 0.7, 2, shift=shift)[0], 3)
        x, outside = states(6000, 0.7, 4, shift=shift)
        later, right = answers(x, 5)
        area = {
            name: joint_curve(rule.fit(own | {"quality_small": quality}, traffic)(later), ~right, outside).area
            for name, rule in rejection.RULES.items()
        }
        assert area["plugin-ood"] <= area["max-probability"] + 0.01, shift
        if shift == 4.0:
            assert area["plugin-ood"] < min(area["energy"], area["max-probability"]) - 0.1
            assert area["plugin-ood"] <= min(area["sirc"], area["mahalanobis"]) + 0.01


def test_a_fitted_rule_comes_back_and_is_quick():
    own, quality = answers(states(200, width=64)[0])
    traffic, _ = answers(states(200, 0.5, 2, width=64)[0], 3)
    for distance in (False, True):
        rule = rejection.PluginOOD(c_fn=0.6, inside=0.5, distance=distance)
        fitted = rule.fit(own | {"quality_small": quality}, traffic)
        again = rejection.from_config(json.loads(json.dumps(fitted.config())))
        np.testing.assert_array_equal(fitted(traffic), again(traffic))
        assert again.config() == fitted.config() and again.name == rule.name
    many, _ = answers(states(100_000, width=64)[0])
    for rule in (fitted, rejection.get("sirc").fit(own), rejection.get("energy").fit(own)):
        started = time.process_time()
        assert rule(many).shape == (100_000,)
        assert time.process_time() - started < 2  # 1 s on an idle machine, see docs/cascades.md


def test_what_cannot_be_fitted_or_scored():
    own, _ = answers(states(40)[0])
    traffic, _ = answers(states(40, 0.5, 2)[0])
    rule = rejection.get("plugin-ood")
    with pytest.raises(CatKerasError, match="calibration inputs alone"):
        rule.fit(own, own)
    with pytest.raises(CatKerasError, match=r"at least 10 calibration inputs.*Received: 40 and 4"):
        rule.fit(own, answers(states(4, 0.5, 2)[0])[0])
    other, _ = answers(states(40, 0.5, 2, width=9)[0])
    with pytest.raises(CatKerasError, match="widths 8 and 9"):
        rule.fit(own, other)
    with pytest.raises(CatKerasError, match=r"of width 8\. Received: width 9, of another model"):
        rule.fit(own, traffic)(other)
    with pytest.raises(CatKerasError, match=r"Received: sizes \[0\]. Predict with measures"):
        rule.fit(own | {"embedding": [[]] * 40}, traffic)
    with pytest.raises(CatKerasError, match="scores after it was fitted"):
        rule(own)
    with pytest.raises(CatKerasError, match=r"inside is a number in \(0, 1\)"):
        rejection.PluginOOD(inside=1.0)
    with pytest.raises(CatKerasError, match="Unknown rule that rejects 'plugin-odd'; did you mean plugin-ood"):
        rejection.get("plugin-odd")


# -- columns of models that ran elsewhere --------------------------------------------------------------------------


def test_tune_rejects_within_the_budget():
    rng = np.random.default_rng(0)
    outside = rng.random(2000) < 0.2
    right = (rng.random((2, 2000)) < [[0.6], [0.9]]) & ~outside
    score, doubt = right[0] + rng.normal(size=2000), outside + 0.2 * rng.normal(size=2000)
    found = ck.tune(score, right, max_deferral=0.3, reject=0.2, rejection=-doubt)
    without = ck.tune(score, right, max_deferral=0.3)
    assert found.rejected == pytest.approx(0.2, abs=0.03) and -1 < found.reject_threshold < 0
    assert found.verdict.quality.estimate > without.verdict.quality.estimate + 0.1
    assert found.calibration.examples < without.calibration.examples and without.rejected is None
    by_hand = ck.tune([1, 2, 3, 4], [[0, 0, 1, 1], [1, 1, 1, 0]], min_quality=1.0, held_out=0.0, reject=0.3,
                      rejection=[9, 9, 9, 1])  # fmt: skip
    assert (by_hand.reject_threshold, by_hand.rejected, by_hand.calibration.examples) == (5.0, 0.25, 3)


@pytest.mark.parametrize(
    "given, message",
    [
        ({"reject": 1.0, "rejection": [1, 2, 3, 4]}, r"reject is a number in \(0, 1\)"),
        ({"reject": 0.5}, "reject= alone"),
        ({"rejection": [1, 2, 3, 4]}, "rejection= alone"),
        ({"reject": 0.5, "rejection": [1, 2, 3]}, "rejection has 3"),
    ],
)
def test_what_tune_cannot_reject(given, message):
    with pytest.raises(CatKerasError, match=message):
        ck.tune([1, 2, 3, 4], [[0, 0, 1, 1], [1, 1, 1, 0]], max_deferral=0.5, held_out=0.0, **given)


# -- a cascade ------------------------------------------------------------------------------------------------------


def own_queries(start, end):
    return [
        Example(f"{start}-{i}", f"The {ANIMALS[i % 10]} has {NUMBERS[i // 10 % 10]} legs.\nEven?\n", "yes", "parity",
                ("yes", "surely not"))
        for i in range(start, end)
    ]  # fmt: skip


def elsewhere(start, end):
    return [f"Say {i} again again {i} in words: words {i}\n" for i in range(start, end)]


@pytest.fixture(scope="module")
def rejecting(trained, large):
    cascade = Cascade([trained, large], "max-probability", **SETTINGS)
    traffic = [e.prompt for e in own_queries(40, 60)] + elsewhere(0, 20)
    cascade.calibrate(own_queries(0, 40), max_deferral=0.5, reject=0.5, traffic=traffic)
    return cascade


def test_a_cascade_rejects_what_comes_from_elsewhere(rejecting):
    own = rejecting.classify([e.prompt for e in own_queries(60, 100)], ["yes", "surely not"])
    far = rejecting.classify(elsewhere(20, 60), ["yes", "surely not"])
    assert np.mean([a.rejected for a in far]) > 0.8 > 0.2 > np.mean([a.rejected for a in own])
    for answer in own + far:
        assert (answer.text is None) == answer.rejected
        assert answer.stage == 0 or not answer.rejected
    assert 0.3 < rejecting.calibration.rejected <= 0.5 and rejecting.rejection.budget == 0.5


def test_it_is_saved_and_loaded_with_the_cascade(rejecting, tmp_path):
    rejecting.save(tmp_path / "cascade")
    loaded = Cascade.load(tmp_path / "cascade")
    assert loaded.rejection.config() == rejecting.rejection.config() and loaded.calibration == rejecting.calibration
    assert json.loads((tmp_path / "cascade" / "cascade.json").read_text())["format"] == 4
    queries = [e.prompt for e in own_queries(60, 70)] + elsewhere(20, 30)
    one, other = (c.classify(queries, ["yes", "surely not"]) for c in (rejecting, loaded))
    assert [(a.text, a.stage, a.rejected) for a in one] == [(a.text, a.stage, a.rejected) for a in other]


def test_generated_answers_are_rejected_too_and_another_calibration_forgets_it(trained, large):
    cascade = Cascade([trained, large], **SETTINGS)
    own = [Example(f"g{i}", f"Say {i} in words:\n", NUMBERS[i % 10]) for i in range(20)]
    cascade.calibrate(own, max_deferral=0.5, reject=0.2, traffic=[f"The {a} has legs.\n" for a in ANIMALS])
    assert cascade.rejection is not None and len(cascade.generate(["Say 77 in words:\n"])) == 1
    cascade.calibrate(own, max_deferral=0.5)
    assert cascade.rejection is None and not any(a.rejected for a in cascade.generate(elsewhere(0, 3)))


@pytest.mark.parametrize(
    "given, message",
    [
        ({"reject": 0.1}, "Received: no traffic"),
        ({"reject": 0.1, "traffic": []}, "Received: no traffic"),
        ({"traffic": ["a"]}, "traffic= without reject="),
        ({"reject": 0, "traffic": ["a"]}, r"reject is a number in \(0, 1\)"),
        ({"reject": 1.5, "traffic": ["a"]}, r"reject is a number in \(0, 1\)"),
        ({"reject": 0.1, "traffic": [e.prompt for e in own_queries(0, 20)]}, "calibration examples alone"),
        ({"reject": 0.1, "traffic": ["a"], "guarantee": (0.1, 0.1)}, "reject= with guarantee="),
        ({"reject": 0.1, "traffic": ["a"], "rejector": "sirc"}, "by plugin-ood or a PluginOOD. Received: 'sirc'"),
        ({"reject": 0.1, "traffic": [3]}, "int at place 0"),
        ({"reject": 0.1, "traffic": "a prompt"}, "come as a list"),
    ],
)
def test_what_a_cascade_cannot_reject(rejecting, given, message):
    before = rejecting.rejection, rejecting.thresholds
    with pytest.raises(CatKerasError, match=message):
        rejecting.calibrate(own_queries(0, 20), max_deferral=0.5, **given)
    assert (rejecting.rejection, rejecting.thresholds) == before


def test_an_endpoint_gives_no_hidden_states(large):
    first = ck.Endpoint("http://127.0.0.1:1/v1", "small")
    cascade = Cascade([first, large], **SETTINGS)
    with pytest.raises(CatKerasError, match=r"Received: an endpoint|price of every model"):
        cascade.calibrate(own_queries(0, 20), max_deferral=0.5, reject=0.1, traffic=["a"] * 10)
