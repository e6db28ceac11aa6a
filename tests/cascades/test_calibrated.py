"""Scores that say how sure an answer is: given with it, or made a probability of being right."""

import json

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.cascades.deferral.calibrated import Calibrated, probability
from cat_keras.errors import CatKerasError


def table(n=400, seed=0):
    """A confidence that knows something of whether the small model is right, on two tasks."""
    rng = np.random.default_rng(seed)
    right = rng.random(n) < 0.6
    sure = 1 / (1 + np.exp(-1.0 * right - rng.normal(size=n)))
    return {"id": [f"q{seed}-{i}" for i in range(n)], "task": ["a", "b"] * (n // 2), "confidence": sure,
            "quality_small": right * 1.0}  # fmt: skip


@pytest.mark.parametrize("method", ["isotonic", "platt"])
def test_a_calibrated_score_is_a_probability(method):
    rule = ck.deferral.get(f"{method}-confidence")
    fitted = rule.fit(table())
    fresh = table(4000, seed=1)
    probabilities = fitted(fresh)
    assert probabilities.min() >= 0 and probabilities.max() <= 1
    assert ck.confidence.ece(probabilities, fresh["quality_small"]) < 0.06
    for task in ("a", "b"):  # within a task it orders as the score does
        own = np.array(fresh["task"]) == task
        order = np.argsort(fresh["confidence"][own])
        assert (np.diff(probabilities[own][order]) >= -1e-12).all()
    again = ck.deferral.from_config(json.loads(json.dumps(fitted.config())))
    assert np.array_equal(again(fresh), probabilities)


def test_a_calibrated_rule_refuses_what_it_was_fitted_on_and_what_it_cannot_use():
    rule = ck.deferral.get("isotonic-confidence")
    with pytest.raises(CatKerasError, match="it was not fitted on"):
        rule.fit(table())(table())
    with pytest.raises(CatKerasError, match="Call fit first"):
        rule(table())
    with pytest.raises(CatKerasError, match="at least 10 answers"):
        rule.fit({name: column[:5] for name, column in table().items()})
    with pytest.raises(CatKerasError, match="Unknown deferral rule"):
        ck.deferral.get("isotonic-nothing")


def test_one_threshold_serves_an_easy_and_a_hard_task():
    """The same scores mean 0.9 on one task and 0.3 on the other: calibrated, the hard task is deferred."""
    n, rng = 2000, np.random.default_rng(0)
    tasks = np.array(["easy", "hard"] * (n // 2))
    confidence, right = rng.random(n), rng.random(n) < np.where(tasks == "easy", 0.9, 0.3)
    rule = Calibrated(ck.deferral.get("confidence"), "platt")
    whole = {"id": np.arange(n), "task": tasks, "confidence": confidence, "quality_small": right * 1.0}
    half = {name: column[: n // 2] for name, column in whole.items()}
    scores = rule.fit(half)({name: column[n // 2 :] for name, column in whole.items()})
    assert scores[tasks[n // 2 :] == "easy"].min() > scores[tasks[n // 2 :] == "hard"].max()


def test_curves_by_hand():
    assert probability({"x": [0.0, 1.0], "y": [0.2, 0.6]}, np.array([-1, 0.5, 2])).tolist() == [0.2, 0.4, 0.6]
    assert probability({"slope": 2.0, "intercept": -1.0}, np.array([0.5])).tolist() == [0.5]


def test_given_confidences_are_scores():
    rule = ck.deferral.get("stated-confidence")
    assert rule({"id": ["a", "b"], "stated_confidence": [0.9, 0.1]}).tolist() == [0.9, 0.1]
    with pytest.raises(CatKerasError, match=r"lies in \[0, 1\]; example 'b' has 90.0"):
        rule({"id": ["a", "b"], "stated_confidence": [0.9, 90.0]})
    assert not set(ck.deferral.GIVEN) & set(ck.deferral.RULES)


def test_agreement_is_of_the_most_frequent_answer():
    answers, shares = ck.deferral.agreement([["4", "5", "4"], ["B", "A"]])
    assert answers == ["4", "B"] and shares.tolist() == [2 / 3, 0.5]
    with pytest.raises(CatKerasError, match="row 1 has none"):
        ck.deferral.agreement([["a"], []])
