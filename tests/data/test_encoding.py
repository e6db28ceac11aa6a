"""From texts to token ids: nothing of a target is ever lost, and what is cut or dropped is counted."""

from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.data.encoding import Encoded, encode, join, tokenize
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.training.batches import Batches
from tests.data.invented import invented, sequences

START, END = 2, 1
GEMMA = SimpleNamespace(start_token_id=START, end_token_id=END)
NO_START = SimpleNamespace(end_token_id=END)  # Qwen3 has none

ids = st.lists(st.integers(10, 99), max_size=12)


# -- one sequence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [GEMMA, NO_START], ids=["start", "no start"])
@given(prompt=ids, target=ids.filter(len), room=st.integers(2, 30))
def test_truncation_cuts_the_beginning_of_the_prompt_only(tokenizer, prompt, target, room):
    sequence = join(prompt, target, tokenizer, room)
    head = [START] if tokenizer is GEMMA else []
    if sequence is None:
        assert len(head) + len(target) + 1 > room - (not head) or not (head or prompt)
        return
    tokens, n_prompt, was_cut = sequence
    prompt_tail = tokens[len(head) : n_prompt]
    assert len(tokens) <= room
    assert tokens[n_prompt:] == [*target, END]
    assert tokens[: len(head)] == head
    assert prompt_tail == prompt[len(prompt) - len(prompt_tail) :]
    assert was_cut == (len(prompt_tail) < len(prompt))
    assert not was_cut or len(tokens) == room  # no more is cut than must be


def test_a_prompt_to_generate_from_has_no_end_token():
    assert join([10, 11, 12], [], GEMMA, 3, end=False) == ([START, 11, 12], 3, True)


# -- a data set ------------------------------------------------------------------------------------------------------


def test_encode_counts_what_it_cut_and_dropped(tokenizer):
    def length(text):
        return len(tokenize(tokenizer, [text])[0])

    prompt, target = "Say 3 again in words:\n", "three"
    room = length(prompt) + length(target) + 2  # start and end
    data = encode(
        [
            Example("fits", prompt, target, task="t"),
            Example("cut", "Please, please! " + prompt, target, task="t"),
            Example("long", prompt, target * 40, task="t"),
        ],
        tokenizer,
        room,
        long_targets="drop",
    )
    assert data.ids == ("t/fits", "t/cut") and data.dropped == ("t/long",) and data.truncated == 1
    fits, cut = sequences(data)
    assert len(fits) == len(cut) == room
    assert cut[0] == tokenizer.start_token_id and cut[-1] == tokenizer.end_token_id
    assert tokenizer.detokenize(list(fits[1:-1])) == prompt + target
    assert data.n_target.tolist() == [length(target) + 1] * 2
    assert (data.lengths == np.diff(data.offsets) - 1).all()
    assert data.lengths.dtype == data.n_target.dtype == np.int32
    assert (data.tokens.dtype, data.offsets.dtype, data.n_prompt.dtype) == (np.int32, np.int64, np.int32)
    assert data.tokenizer == models.tokenizer_fingerprint(tokenizer)


def test_all_examples_dropped_leaves_nothing_to_train_on(tokenizer):
    data = encode([Example("a", "Say:\n", "three " * 40)], tokenizer, 10, long_targets="drop")
    assert len(data) == 0 and data.dropped == ("/a",)
    with pytest.raises(CatKerasError, match="at least one example"):
        Batches(data, 4)


@pytest.mark.parametrize(
    ("rows", "message"),
    [
        ([], "at least one example"),
        ([Example("a", "Say:\n", "", task="t")], "Received: '' in example t/a"),
        ([Example("a", "Say:\n", "three " * 40, task="t")], r"tokens in example t/a, context 16.*long_targets"),
    ],
)
def test_data_that_cannot_be_encoded(tokenizer, rows, message):
    with pytest.raises(CatKerasError, match=message):
        encode(rows, tokenizer, 16)


def test_without_a_start_token_an_empty_prompt_is_an_error(tokenizer):
    class NoStart:
        end_token_id, pad_token_id = tokenizer.end_token_id, tokenizer.pad_token_id
        get_vocabulary = tokenizer.get_vocabulary

        def __call__(self, texts):
            return tokenizer(texts)

    assert len(encode([Example("a", "S", "three", task="t")], NoStart(), 16)) == 1
    with pytest.raises(CatKerasError, match=r"empty prompt in example t/a"):
        encode([Example("a", "", "three", task="t")], NoStart(), 16)
    with_start = encode([Example("a", "", "three", task="t")], tokenizer, 16)
    assert with_start.n_prompt.tolist() == [1]


@pytest.mark.parametrize(
    "text",
    [
        "two  spaces   three",
        " leading and trailing ",
        "line\nfeed\n\n",
        "tab\tand\r\n",
        "äöü ß ñ ﬁ ½ İı 日本語 🦦",
        "e\u0301 is not \u00e9",
        "\u00a0\u200b",
        "<eos> <bos> <pad> <0x41>",
    ],
)
def test_tokenizer_loses_nothing(tokenizer, text):
    assert tokenizer.detokenize(tokenize(tokenizer, [text])[0]) == text


# U+2581 is what SentencePiece writes for a space, and comes back as one; surrogates are no text.
@settings(max_examples=60, deadline=None)
@given(text=st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\u2581"), min_size=1, max_size=20))
def test_tokenizer_loses_nothing_of_any_text(tokenizer, text):
    (tokens,) = tokenize(tokenizer, [text])
    assert tokenizer.detokenize(tokens) == text
    assert not {tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id} & set(tokens)


def test_tokens_of_prompt_and_target_are_independent(tokenizer):
    assert tokenize(tokenizer, []) == []
    both = tokenize(tokenizer, ["Say 3 in words:\n", "three"])
    assert [tokenize(tokenizer, [t])[0] for t in ("Say 3 in words:\n", "three")] == both


def test_encoded_survives_a_file(tmp_path, encoded):
    encoded.save(tmp_path / "encoded.npz")
    again = Encoded.load(tmp_path / "encoded.npz")
    assert again.fingerprint == encoded.fingerprint
    assert (again.ids, again.dropped, again.truncated) == (encoded.ids, encoded.dropped, encoded.truncated)
    for name in ("tokens", "offsets", "n_prompt"):
        ours, theirs = getattr(again, name), getattr(encoded, name)
        assert ours.dtype == theirs.dtype
        np.testing.assert_array_equal(ours, theirs)


def test_fingerprint_changes_with_everything_in_it():
    data = invented([5, 6, 7], n_prompt=[2, 2, 2])
    changed = [
        Encoded(data.tokens + 1, data.offsets, data.n_prompt, data.ids, 0, (), "none"),
        Encoded(data.tokens, data.offsets + [0, 1, 0, 0], data.n_prompt, data.ids, 0, (), "none"),
        Encoded(data.tokens, data.offsets, data.n_prompt + 1, data.ids, 0, (), "none"),
        Encoded(data.tokens, data.offsets, data.n_prompt, data.ids, 0, (), "other"),
    ]
    assert len({d.fingerprint for d in [data, *changed]}) == 5
