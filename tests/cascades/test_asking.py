"""Rules that read the token by which a small model asks for help, offline and in a cascade."""

import dataclasses
import time

import numpy as np
import pytest

from cat_keras.cascades import deferral
from cat_keras.cascades.cascade import Cascade
from cat_keras.cascades.policy import Policy
from cat_keras.data.records import Prediction
from cat_keras.errors import CatKerasError

ANSWERS = [
    Prediction("a", "t", "x", (-0.5, -0.25), defer_logprob=float(np.log(0.2))),
    Prediction("b", "t", "y", (-1.0,), defer_logprob=float(np.log(0.8))),
    Prediction("c", "t", "", (), defer_logprob=float(np.log(0.5))),
    Prediction("d", "t", "z", (0.0,), defer_logprob=0.0),
]
SETTINGS = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16}


def test_rules_by_hand():
    token, margin = (deferral.get(name)(ANSWERS) for name in ("defer-token", "defer-margin"))
    np.testing.assert_allclose(token, [np.log(5), np.log(1.25), np.log(2), 0])
    np.testing.assert_allclose(margin[:2], [-0.75 + np.log(4), -1 - np.log(4)])
    assert margin[2] == deferral.NO_ANSWER and np.isfinite(margin[3]) and margin[3] < -10


def test_the_margin_is_positive_where_the_answer_is_likelier_than_the_token():
    p = np.random.default_rng(0).dirichlet([1, 1, 1], size=200)  # of the token, an answer and another one
    best = p[:, 1:].max(1)
    rows = [Prediction(str(i), "t", "x", (float(np.log(b / (1 - q))),), defer_logprob=float(np.log(q)))
            for i, (q, b) in enumerate(zip(p[:, 0], best, strict=True))]  # fmt: skip
    np.testing.assert_array_equal(deferral.get("defer-margin")(rows) > 0, best > p[:, 0])


@pytest.mark.parametrize("name", sorted(deferral.ASKING))
def test_answers_of_other_models_are_refused(name):
    rule = deferral.get(name)
    with pytest.raises(CatKerasError, match=r"no such number for example 'b' \(1 such of 2\)"):
        rule([ANSWERS[0], dataclasses.replace(ANSWERS[1], defer_logprob=None)])
    assert deferral.from_config(rule.config()) == rule and name not in deferral.RULES


@pytest.mark.parametrize("name", sorted(deferral.ASKING))
def test_a_hundred_thousand_answers_take_less_than_a_second(name):
    n, rng = 100_000, np.random.default_rng(0)
    columns = {"id": list(map(str, range(n))), "defer_logprob": np.log(rng.random(n)),
               "token_logprobs": [(-1.0, -2.0)] * n}  # fmt: skip
    began = time.process_time()
    assert deferral.get(name)(columns).shape == (n,)
    assert time.process_time() - began < 1


@pytest.mark.slow
def test_a_cascade_reads_the_token_of_all_models_but_the_last(trained, large, examples):
    cascade = Cascade([trained, large], "defer-token", thresholds=[0.0], **SETTINGS)
    assert [p.measures for p in cascade.predictors] == [{"defer"}, frozenset()]
    examples = examples[20:]
    predictions = cascade.predictors[0](examples)
    scores = [-p.defer_logprob for p in predictions]
    cascade.thresholds = [float(np.median(scores))]
    answers = cascade(examples)
    assert [a.stage for a in answers] == [int(score < cascade.thresholds[0]) for score in scores]
    assert {a.stage for a in answers} == {0, 1}
    assert all(np.isnan(a.score) == (a.stage == 1) for a in answers)


def test_a_policy_says_what_it_reads(tmp_path):
    Policy(("s", "l"), (deferral.get("defer-token"),), (0.5,)).write(tmp_path / "policy.json")
    assert '"-defer_logprob"' in (tmp_path / "policy.json").read_text()
