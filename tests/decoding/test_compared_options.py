"""Options compared per token, character or byte: the chosen one, its tokens, and what rules read, are of one piece."""

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.cascades.deferral import ensemble
from cat_keras.cascades.deferral.learned.features import features, reference_probability
from cat_keras.data.encoding import tokenize
from cat_keras.decoding import predictor
from cat_keras.decoding.options import COMPARISONS
from cat_keras.errors import CatKerasError

OPTIONS = ("no", "surely not", "ändöö", "日本語", "x y z")
SETTINGS = {"max_length": 60, "max_new_tokens": 4}


@pytest.fixture(scope="module")
def asked(examples):
    return [ck.Example(e.id, e.prompt, "", task=e.task, options=OPTIONS) for e in examples[:8]]


@pytest.fixture(scope="module")
def answers(small, asked):
    return {name: ck.Predictor(small, compare=name, **SETTINGS)(asked) for name in COMPARISONS}


def test_lengths_are_those_of_the_options(tokenizer, answers):
    tokens = [len(ids) + 1 for ids in tokenize(tokenizer, OPTIONS)]  # with the end token
    lengths = {"token": tokens, "character": [2, 10, 5, 3, 5], "byte": [2, 10, 8, 9, 5]}
    plain = answers["sum"]
    assert all(p.option_scores == () and p.text == OPTIONS[int(np.argmax(p.option_logprobs))] for p in plain)
    for name, of_options in lengths.items():
        for before, after in zip(plain, answers[name], strict=True):
            np.testing.assert_allclose(after.option_logprobs, before.option_logprobs, atol=1e-4)
            np.testing.assert_allclose(after.option_scores, np.divide(after.option_logprobs, of_options), rtol=1e-6)
            best = int(np.argmax(after.option_scores))
            assert after.text == OPTIONS[best] and len(after.token_logprobs) == tokens[best]
            assert sum(after.token_logprobs) == pytest.approx(after.option_logprobs[best], abs=1e-4)
    assert any(a.text != b.text for a, b in zip(plain, answers["byte"], strict=True))


@pytest.mark.parametrize("name", [name for name in COMPARISONS if name != "sum"])
def test_rules_read_what_the_choice_was_made_by(answers, name):
    predictions = answers[name]
    scores = np.array([p.option_scores for p in predictions])
    p = np.exp(scores) / np.exp(scores).sum(axis=1, keepdims=True)
    np.testing.assert_allclose(ck.deferral.get("max-probability")(predictions), p.max(axis=1))
    np.testing.assert_allclose(ck.deferral.get("margin")(predictions), np.diff(np.sort(p))[:, -1])
    np.testing.assert_allclose(ck.deferral.get("entropy")(predictions), (p * np.log(p)).sum(axis=1))
    columns = ck.deferral.columns(predictions)
    np.testing.assert_allclose(features(columns)[1][:, 14], p.max(axis=1))
    np.testing.assert_allclose(reference_probability(columns, [3] * len(p)), p[:, 3])
    np.testing.assert_allclose(ensemble.confidences([columns, columns])[:, 1], p.max(axis=1))


def test_answers_of_two_settings_are_not_mixed(answers):
    with pytest.raises(CatKerasError, match="Options are compared alike in all rows"):
        ck.deferral.get("margin")([answers["sum"][0], answers["byte"][1]])


@pytest.mark.parametrize("compare", COMPARISONS)
def test_the_batch_does_not_decide_between_equal_options(compare):
    asked = ck.Example("1", "a", "", options=("ab", "cd"))
    for second in (-3.0 - 1e-7, -3.0, -3.0 + 1e-7):  # as other batches would compute it
        logprobs = [np.array([-3.0, 0.0]), np.array([second, 0.0])]
        assert predictor._best_option(asked, 1, logprobs, 1.0, 1.0, compare).text == "ab"


def test_a_cascade_compares_as_its_models_do(small, large, answers, asked):
    settings = SETTINGS | {"compare": "byte"}
    cascade = ck.Cascade([small, large], rule="max-probability", thresholds=[0.0], **settings)
    assert [a.text for a in cascade(asked)] == [p.text for p in answers["byte"]]
    with pytest.raises(CatKerasError, match="did you mean byte"):
        ck.Predictor(small, compare="bytes")
