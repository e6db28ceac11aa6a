"""Padded lengths are the best there are, and every example is padded, weighed and seen once."""

from itertools import combinations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.data import padding
from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import bucket_lengths, bucket_of, pad, windows
from tests.data.invented import invented


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


def test_lengths_that_are_counted_in_pieces_have_the_buckets_of_all(monkeypatch):
    lengths = np.random.default_rng(0).integers(1, 200, 50, dtype=np.int32)
    whole = bucket_lengths(lengths, 4)
    monkeypatch.setattr(padding, "PIECE", 7)
    edges = bucket_lengths(lengths, 4)
    assert edges == whole
    np.testing.assert_array_equal(bucket_of(lengths, edges), np.searchsorted(edges, lengths))
    assert bucket_of(lengths, edges).dtype == np.uint8 and bucket_of(np.array([201]), edges).tolist() == [4]


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
