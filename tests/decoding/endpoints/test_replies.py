"""What is read from a server's JSON, in the forms that servers write it in."""

import json
import math

import pytest

from cat_keras.decoding.endpoints.replies import Malformed, NoLogprobs, Reply, Token, after, read, within

USAGE = {"prompt_tokens": 3, "completion_tokens": 2}


def echo(*tokens: str) -> Reply:
    values = [math.nan, *(-float(i) for i in range(1, len(tokens)))]
    text = "Is it so?\nsurely not!"
    return Reply(text, tuple(Token(t, v, math.nan) for t, v in zip(tokens, values, strict=True)), 5, 1, 0.1)


@pytest.mark.parametrize(
    ("tokens", "expected"),
    [
        (("Is", " it", " so?\n", "surely", " not", "!"), [-3, -4]),
        (("<s>", "Is", " it", " so?\n", "surely", " not", "!"), [-4, -5]),  # a start token that is shown
        (("<s>", "Is", "it", "so?", "\n", "surely", "not", "!"), [-5, -6]),  # blanks that are not shown
        (("Is it so?", "\nsurely", " not", "!"), [-1, -2]),  # a token over the border
    ],
)
def test_the_tokens_of_an_option_are_found_in_an_echo(tokens, expected):
    assert [t.logprob for t in after(echo(*tokens), "Is it so?\n", "surely not")] == expected


@pytest.mark.parametrize(
    ("tokens", "prompt", "error"),
    [
        (("Is", " it", " so?\n", "surely", " not", "!"), "Was it?\n", NoLogprobs),  # a server that does not echo
        (("Is", " it", "�", "surely", " not", "!"), "Is it so?\n", Malformed),
        (("Is it so?\nsurely not", "!"), "Is it so?\n", NoLogprobs),  # the first token of all has none
    ],
)
def test_an_echo_without_the_option_is_refused(tokens, prompt, error):
    with pytest.raises(error):
        after(echo(*tokens), prompt, "surely not")


def test_an_answer_of_bytes_that_are_no_character_has_no_tokens():
    """llama.cpp gives no log-probabilities of them."""
    choice = {"text": "\ufffd", "logprobs": None}
    assert read({"choices": [choice], "usage": USAGE}, True, 0.0).tokens == ()
    with pytest.raises(NoLogprobs):
        read({"choices": [choice | {"text": "a\ufffd"}], "usage": USAGE}, True, 0.0)


def test_a_text_that_a_filter_took_is_empty():
    reply = read({"choices": [{"message": {"content": None}, "logprobs": None}], "usage": USAGE}, True, 0.0)
    assert (reply.text, reply.tokens, reply.read, reply.written) == ("", (), 3, 2)


@pytest.mark.parametrize(
    "logprobs", ["yes", {"content": [{"token": "a"}]}, {"tokens": ["a"], "token_logprobs": []},
                 {"content": [{"token": 7, "logprob": -1.0}]}]
)  # fmt: skip
def test_log_probabilities_in_an_unknown_form_are_refused(logprobs):
    with pytest.raises(Malformed, match="unknown form"):
        read({"choices": [{"text": "a", "logprobs": logprobs}], "usage": USAGE}, True, 0.0)


def test_a_reply_comes_back_from_json():
    reply = Reply("é\n", (Token("é", -0.5, math.nan), Token("\n", math.nan, 0.25)), 3, 2, 0.5)
    again = Reply.from_config(json.loads(json.dumps(reply.config())))
    assert repr(again) == repr(reply)
    for broken in ([], ["text"], ["text", [["a"]], 1, 2, 3.0], None):
        with pytest.raises((TypeError, ValueError)):
            Reply.from_config(broken)


def test_tokens_end_with_the_text():
    tokens = tuple(Token(t, -1.0, math.nan) for t in ("one", " two", " STOP", " three"))
    assert within(Reply("one two STOP three", tokens, 1, 4, 0.0), ("STOP",)) == ("one two ", tokens[:3])
    assert within(Reply("one two", tokens, 1, 4, 0.0)) == ("one two", tokens[:2])
    assert within(Reply("one two STOP three", tokens, 1, 4, 0.0)) == ("one two STOP three", tokens)
