"""A batch is a function of its step alone, and an epoch shows every example once."""

from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.errors import CatKerasError
from cat_keras.training import losses
from cat_keras.training.batches import Batches
from tests.data.invented import invented, sequences


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


any_batches = st.builds(
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
@given(any_batches)
def test_an_epoch_shows_every_example_and_weighs_every_target_once(b):
    for epoch in range(2):
        examples = [example for i in range(len(b)) for example in read(b.batch(epoch * len(b) + i))]
        assert Counter(sequence for sequence, _ in examples) == Counter(sequences(b.data))
        n_prompt = dict(zip(sequences(b.data), b.data.n_prompt, strict=True))
        for sequence, weighed_tokens in examples:
            assert weighed_tokens == list(sequence[n_prompt[sequence] if b.scope == "target" else 1 :])


@settings(deadline=None, max_examples=40)
@given(any_batches)
def test_shapes_are_static_and_types_are_int32(b):
    for step in range(len(b)):
        x, labels, weights = b.batch(step)
        shape = labels.shape
        assert shape[0] == b.batch_size and shape[1] in b.edges
        for array in (*x.values(), labels, weights):
            assert array.shape == shape and array.dtype == np.int32
        assert x["padding_mask"].any(-1).all()  # no row attends to nothing


@settings(deadline=None, max_examples=40)
@given(any_batches, st.data())
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
    uniform = one.batch(3)[0]["uniform"]
    assert uniform.shape == one.batch(3)[1].shape
    assert uniform.min() >= 0 and uniform.max() < 1
    np.testing.assert_array_equal(uniform, one.batch(3)[0]["uniform"])
    assert not np.array_equal(uniform.ravel()[:8], one.batch(4)[0]["uniform"].ravel()[:8])
    assert not np.array_equal(uniform.ravel()[:8], other.batch(3)[0]["uniform"].ravel()[:8])


def test_padding_share_by_hand():
    # Inputs 7 and 15 long, padded to 8 and 16, in batches of 2: 48 positions, 22 of them used.
    data = invented([8, 16])
    assert Batches(data, 2, buckets=2).padding_share == pytest.approx(1 - 22 / 48)


@settings(deadline=None, max_examples=40)
@given(any_batches)
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
    with pytest.raises(
        CatKerasError, match=r"either batch_size examples or batch_tokens tokens|batch_\w+ is a whole number in"
    ):
        Batches(encoded, **sizes)
