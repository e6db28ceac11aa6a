"""Text to arrays to batches: nothing of a target is ever lost, and a batch is a function of its step alone."""

from collections import Counter
from itertools import combinations
from types import SimpleNamespace

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.data.encoding import Encoded, encode, join, tokenize
from cat_keras.data.padding import bucket_lengths, pad, windows
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.training import losses
from cat_keras.training.batches import Batches

START, END = 2, 1
GEMMA = SimpleNamespace(start_token_id=START, end_token_id=END)
NO_START = SimpleNamespace(end_token_id=END)  # Qwen3 has none

ids = st.lists(st.integers(10, 99), max_size=12)


def invented(lengths, n_prompt=None, seed=0):
    """An `Encoded` of sequences of so many tokens, every one distinct."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    n_prompt = rng.integers(1, lengths) if n_prompt is None else np.asarray(n_prompt)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(3, 1000, offsets[-1]).astype(np.int32)
    names = tuple(f"t/{i}" for i in range(len(lengths)))
    return Encoded(tokens, offsets.astype(np.int64), n_prompt.astype(np.int32), names, 0, (), "none")


def sequences(data):
    return [tuple(data.tokens[a:b].tolist()) for a, b in zip(data.offsets, data.offsets[1:], strict=False)]


def read(batch):
    """The sequences of a batch, rebuilt from inputs and labels, with the tokens that carry a weight."""
    x, labels, weights = batch
    out = []
    for i in range(len(labels)):
        n = int(x["padding_mask"][i].sum())
        if weights[i].any():
            sequence = (*x["token_ids"][i, :n].tolist(), int(labels[i, n - 1]))
            out.append((sequence, labels[i, weights[i] == 1].tolist()))
    return out


# -- one sequence ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("tokenizer", [GEMMA, NO_START], ids=["start", "no start"])
@given(prompt=ids, target=ids.filter(len), room=st.integers(2, 30))
def test_truncation_cuts_the_beginning_of_the_prompt_only(tokenizer, prompt, target, room):
    joined = join(prompt, target, tokenizer, room)
    head = [START] if tokenizer is GEMMA else []
    if joined is None:
        assert len(head) + len(target) + 1 > room - (not head) or not (head or prompt)
        return
    tokens, n_prompt, was_cut = joined
    kept = tokens[len(head) : n_prompt]
    assert len(tokens) <= room
    assert tokens[n_prompt:] == [*target, END]
    assert tokens[: len(head)] == head
    assert kept == prompt[len(prompt) - len(kept) :]
    assert was_cut == (len(kept) < len(prompt))
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
    (found,) = tokenize(tokenizer, [text])
    assert tokenizer.detokenize(found) == text
    assert not {tokenizer.start_token_id, tokenizer.end_token_id, tokenizer.pad_token_id} & set(found)


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


# -- padded lengths --------------------------------------------------------------------------------------------------


@given(st.lists(st.integers(1, 40), min_size=1, max_size=12), st.integers(1, 4), st.sampled_from([1, 4, 8]))
@settings(deadline=None)
def test_bucket_lengths_are_the_best_of_all(lengths, count, multiple):
    def padded(edges):
        return sum(min(e for e in edges if e >= n) for n in lengths)

    edges = bucket_lengths(np.array(lengths), count, multiple)
    possible = sorted({-(-n // multiple) * multiple for n in lengths})
    below = [c for k in range(min(count, len(possible))) for c in combinations(possible[:-1], k)]
    assert list(edges) == sorted(set(edges)) and len(edges) <= count
    assert edges[-1] >= max(lengths) and all(e % multiple == 0 for e in edges)
    assert padded(edges) == min(padded((*c, possible[-1])) for c in below)


@given(st.lists(st.integers(2, 30), min_size=1, max_size=15), st.integers(1, 6))
@settings(deadline=None, max_examples=30)
def test_windows_show_every_example_once(lengths, batch_size):
    data = invented(lengths)
    edges = np.asarray(bucket_lengths(data.lengths, 3))
    seen, shapes = [], set()
    for rows, arrays in windows(data, batch_size, edges):
        seen += list(rows)
        shapes.add(arrays["token_ids"].shape)
        assert not arrays["weights"][len(rows) :].any()
        np.testing.assert_array_equal(arrays["weights"][: len(rows)].sum(-1), data.n_target[rows])
    assert sorted(seen) == list(range(len(data)))
    assert shapes <= {(batch_size, e) for e in edges}


def test_pad_by_hand():
    # start=2 prompt 7 | target 8 9 end=1; the last prompt position predicts the first target token.
    data = Encoded(np.int32([2, 7, 8, 9, 1]), np.int64([0, 5]), np.int32([2]), ("t/0",), 0, (), "none")
    arrays = pad(data, np.array([0]), 6, 2)
    assert arrays["token_ids"].tolist() == [[2, 7, 8, 9, 0, 0], [0] * 6]
    assert arrays["labels"].tolist() == [[7, 8, 9, 1, 0, 0], [0] * 6]
    assert arrays["weights"].tolist() == [[0, 1, 1, 1, 0, 0], [0] * 6]
    assert arrays["padding_mask"].tolist() == [[1, 1, 1, 1, 0, 0], [1, 0, 0, 0, 0, 0]]
    assert pad(data, np.array([0]), 6, 2, scope="all")["weights"].tolist() == [[1, 1, 1, 1, 0, 0], [0] * 6]


# -- batches ---------------------------------------------------------------------------------------------------------

batches = st.builds(
    lambda lengths, batch_size, buckets, seed, scope: Batches(
        invented(lengths), batch_size, seed=seed, buckets=buckets, scope=scope
    ),
    st.lists(st.integers(2, 40), min_size=1, max_size=20),
    st.integers(1, 6),
    st.integers(1, 4),
    st.integers(0, 3),
    st.sampled_from(["target", "all"]),
)


@settings(deadline=None, max_examples=40)
@given(batches)
def test_an_epoch_shows_every_example_and_weighs_every_target_once(b):
    for epoch in range(2):
        found = [row for i in range(len(b)) for row in read(b.batch(epoch * len(b) + i))]
        assert Counter(s for s, _ in found) == Counter(sequences(b.data))
        first = dict(zip(sequences(b.data), b.data.n_prompt, strict=True))
        for sequence, weighed in found:
            assert weighed == list(sequence[first[sequence] if b.scope == "target" else 1 :])


@settings(deadline=None, max_examples=40)
@given(batches)
def test_shapes_are_static_and_types_are_int32(b):
    for step in range(len(b)):
        x, labels, weights = b.batch(step)
        shape = labels.shape
        assert shape[0] == b.batch_size and shape[1] in b.edges
        for array in (*x.values(), labels, weights):
            assert array.shape == shape and array.dtype == np.int32
        assert x["padding_mask"].any(-1).all()  # no row attends to nothing


@settings(deadline=None, max_examples=40)
@given(batches, st.data())
def test_a_batch_depends_on_its_step_alone(b, data):
    steps = data.draw(st.lists(st.integers(0, 3 * len(b)), min_size=1, max_size=5))
    again = Batches(b.data, b.batch_size, seed=b.seed, buckets=len(b.edges), scope=b.scope)
    for step in steps:  # in any order, with repeats
        fresh = Batches(b.data, b.batch_size, seed=b.seed, buckets=len(b.edges), scope=b.scope)
        for ours, theirs in zip(read(again.batch(step)), read(fresh.batch(step)), strict=True):
            assert ours == theirs


def test_seeds_and_epochs_differ():
    data = invented(np.full(64, 9))
    first = read(Batches(data, 8, seed=0).batch(0))
    assert first != read(Batches(data, 8, seed=1).batch(0))
    assert first != read(Batches(data, 8, seed=0).batch(8))


def test_uniform_is_drawn_per_step(encoded):
    assert "uniform" not in Batches(encoded, 8, loss="xent").batch(0)[0]
    loss = losses.get("cat-xent", mask="random")
    one, other = (Batches(encoded, 8, seed=s, loss=loss) for s in (0, 1))
    drawn = one.batch(3)[0]["uniform"]
    assert drawn.shape == one.batch(3)[1].shape
    assert drawn.min() >= 0 and drawn.max() < 1
    np.testing.assert_array_equal(drawn, one.batch(3)[0]["uniform"])
    assert not np.array_equal(drawn.ravel()[:8], one.batch(4)[0]["uniform"].ravel()[:8])
    assert not np.array_equal(drawn.ravel()[:8], other.batch(3)[0]["uniform"].ravel()[:8])


def test_padding_share_by_hand():
    # Inputs 7 and 15 long, padded to 8 and 16, in batches of 2: 48 positions, 22 of them used.
    data = invented([8, 16])
    assert Batches(data, 2, buckets=2).padding_share == pytest.approx(1 - 22 / 48)


@settings(deadline=None, max_examples=40)
@given(batches)
def test_fit_reads_the_same_epochs(b):
    """What `fit` reads by index is, per epoch, what `train` reads by step; in whatever order within the epoch."""
    for epoch in range(2):
        b.on_epoch_begin()
        by_index = [read(b[i]) for i in range(len(b))]
        by_step = [read(b.batch(epoch * len(b) + i)) for i in range(len(b))]
        assert sorted(by_index) == sorted(by_step)


def test_a_batch_in_tokens_holds_as_many_rows_as_its_length_allows(encoded):
    batches = Batches(encoded, batch_tokens=256, seed=3, buckets=3)
    shapes = {batches.batch(i)[1].shape for i in range(len(batches))}
    assert shapes == {(256 // length, length) for length in batches.edges}
    rows = [row for i in range(len(batches)) for row in batches._rows(i)[0]]
    assert sorted(rows) == list(range(len(encoded)))


@pytest.mark.parametrize("sizes", [{}, {"batch_size": 4, "batch_tokens": 64}, {"batch_size": 0}, {"batch_tokens": -1}])
def test_a_batch_has_one_size(encoded, sizes):
    with pytest.raises(CatKerasError, match="either batch_size examples or batch_tokens tokens"):
        Batches(encoded, **sizes)
