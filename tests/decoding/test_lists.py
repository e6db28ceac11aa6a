"""A text is one thing: nowhere is it taken for a list of its characters."""

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.data import encoding
from cat_keras.errors import CatKerasError, check_list
from cat_keras.modeling import models


@pytest.fixture(scope="module")
def cascade(small, large):
    return ck.Cascade([small, large], thresholds=[-1.0], max_length=40, max_new_tokens=3)


@pytest.fixture(scope="module")
def token_cascade(small, large):
    return ck.SpeculativeCascade(small, large, max_length=40)


CALLS = {
    "prompts of a cascade": lambda r: r("cascade").generate("abc"),
    "a prompt in bytes": lambda r: r("cascade").generate(b"abc"),
    "prompts to classify": lambda r: r("cascade").classify("abc", ["yes", "no"]),
    "options to choose from": lambda r: r("cascade").classify(["abc"], "yes"),
    "an example to a cascade": lambda r: r("cascade")(r("examples")[0]),
    "texts in place of examples": lambda r: r("cascade")(["abc"]),
    "an example to calibrate on": lambda r: r("cascade").calibrate(r("examples")[0], max_deferral=0.5),
    "models of a cascade": lambda r: ck.Cascade("ab"),
    "thresholds of a cascade": lambda r: ck.Cascade([r("small"), r("large")], thresholds="1"),
    "measures of a cascade": lambda r: ck.Cascade([r("small"), r("large")], measures="entropy"),
    "prompts, token by token": lambda r: r("token_cascade").generate("abc"),
    "a text among token ids": lambda r: r("token_cascade").generate([[5, 6], "abc"]),
    "a number in place of ids": lambda r: r("token_cascade").generate([5, 6], 3),
    "an example to a predictor": lambda r: ck.Predictor(r("small"))(r("examples")[0]),
    "a text to a predictor": lambda r: ck.Predictor(r("small"))("abc"),
    "measures of a predictor": lambda r: ck.Predictor(r("small"), measures="entropy"),
    "prompts to continue": lambda r: ck.Generator(r("small"), [1])("abc", 2),
    "a text to continue": lambda r: ck.Generator(r("small"), [1])(["abc"], 2),
    "examples to encode": lambda r: ck.encode("abc", r("tokenizer"), 40),
    "an example to encode": lambda r: ck.encode(r("examples")[0], r("tokenizer"), 40),
    "texts to tokenize": lambda r: encoding.tokenize(r("tokenizer"), "abc"),
    "prompts to cut": lambda r: encoding.prompts_within("abc", r("tokenizer"), 9),
    "texts for a tokenizer": lambda r: models.train_tokenizer("abc", 320),
    "options of an example": lambda r: ck.Example("1", "a", "b", options="yes"),
    "references of an example": lambda r: ck.Example("1", "a", "b", references="yes"),
    "options in a mapping": lambda r: ck.Example("1", "a", "b", options={"yes": 1}),
    "predictions of a rule": lambda r: ck.deferral.get("chow-sum")("abc"),
}


@pytest.mark.parametrize("call", CALLS)
def test_a_text_or_one_thing_alone_is_no_list(request, call):
    with pytest.raises(CatKerasError, match=r"list|all texts or all token ids|is of type"):
        CALLS[call](request.getfixturevalue)


def test_whatever_holds_several_things_is_a_list(cascade, examples):
    prompts = [e.prompt for e in examples[-2:]]
    expected = [answer.text for answer in cascade.generate(prompts)]
    for several in (tuple(prompts), np.array(prompts), (p for p in prompts), dict.fromkeys(prompts).keys()):
        assert [answer.text for answer in cascade.generate(several)] == expected
    assert check_list("numbers", range(3)) == range(3)
