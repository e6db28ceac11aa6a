"""A tuned cascade as a file, and in the words of a gateway's configuration."""

import json

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.cascades import gateways
from cat_keras.cascades.policy import Policy
from cat_keras.errors import CatKerasError


def policy(rule="chow-average", threshold=-0.6, **facts):
    return Policy(("it's small", "large"), (ck.deferral.get(rule),), (threshold,), facts)


@pytest.mark.parametrize("threshold", [-0.6, -np.inf, np.inf])
def test_a_policy_is_read_as_it_was_written(tmp_path, threshold):
    policy(threshold=threshold, limit={"max_cost": 1}).write(tmp_path / "p.json")
    text = (tmp_path / "p.json").read_text()
    assert "Infinity" not in text and json.loads(text)["stages"][1] == {"model": "large"}
    found = Policy.read(tmp_path / "p.json")
    assert found.thresholds == (threshold,) and found.facts == {"limit": {"max_cost": 1}}
    columns = {"id": ["a", "b"], "token_logprobs": [[-0.1, -0.3], [-1.0]]}
    assert found.keeps(0, columns).tolist() == (np.array([-0.2, -1.0]) >= threshold).tolist()
    assert found.keeps(1, columns).all()


def test_a_policy_says_its_formula_and_keeps_no_digest(tmp_path):
    sure = np.linspace(0, 1, 100)
    table = {"id": np.arange(100), "task": ["t"] * 100, "confidence": sure, "quality_small": (sure > 0.4) * 1.0}
    fitted = ck.deferral.get("platt-confidence").fit(table)
    Policy(("s", "l"), (fitted,), (0.7,)).write(tmp_path / "p.json")
    stage = json.loads((tmp_path / "p.json").read_text())["stages"][0]
    assert "slope" in stage["rule"]["formula"] and "fitted_on" not in stage["rule"]["config"]
    assert Policy.read(tmp_path / "p.json").keeps(0, table).any()  # also the rows that it was fitted on


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"format": "other"}, 'says "format"'),
        ({"version": 2}, 'says "format"'),
        ({"stages": []}, "models, rules and thresholds"),
        ({"stages": [{"model": "a"}, {"model": "b"}]}, "models, rules and thresholds"),
    ],
)
def test_a_damaged_policy_is_said(tmp_path, change, message):
    policy().write(tmp_path / "p.json")
    facts = json.loads((tmp_path / "p.json").read_text()) | change
    (tmp_path / "p.json").write_text(json.dumps(facts))
    with pytest.raises(CatKerasError, match=message):
        Policy.read(tmp_path / "p.json")


def test_a_policy_is_of_its_models():
    policy().check_models(["large", "it's small", "third"])
    with pytest.raises(CatKerasError, match="the models it was made for, it's small, large"):
        policy().check_models(["large", "other"])


def test_the_semantic_router_keeps_what_the_policy_keeps():
    """Its confidence is (l + 3) / 3, cut to [0, 1], and at least the threshold keeps an answer."""
    text, why = gateways.semantic_router(policy())
    assert not why and "- model: 'it''s small'" in text and "confidence_method: avg_logprob" in text
    threshold = float(text.split("threshold: ")[1].split("\n")[0])
    assert threshold == pytest.approx((3 - 0.6) / 3)
    for mean in (-0.6, -0.6 - 1e-9, -0.6 + 1e-9, -5.0, 0.0):
        assert (min(1, max(0, (mean + 3) / 3)) >= threshold) == (mean >= -0.6)


@pytest.mark.parametrize(
    ("rule", "threshold", "why"),
    [("confidence", 0.5, "mean token"), ("chow-average", -4.0, "above -3"), ("chow-average", np.inf, "above -3")],
)
def test_what_the_semantic_router_cannot_say(rule, threshold, why):
    text, said = gateways.semantic_router(policy(rule, threshold))
    assert not text and why in said
