"""Columns of several models as one, by hand."""

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.errors import CatKerasError
from cat_keras.training import losses


@pytest.fixture
def data():
    """Two examples, with two target tokens and one."""
    places = {"offsets": np.array([0, 4, 7]), "n_prompt": np.array([2, 2]), "ids": ("a", "b")}
    return ck.Encoded(tokens=np.array([1, 5, 6, 7, 1, 5, 8]), truncated=0, dropped=(), tokenizer="t", **places)


def cache(data, right, logprob, ids, header):
    facts = {"format": 3, "data": data.fingerprint, "tokenizer": "t", "distribution": "topk", "k": 2}
    facts |= {"temperature": 1.0} | header
    probs = np.tile(np.array([0.5, 0.25], np.float16), (3, 1))
    return ck.TeacherCache(facts, np.array(right), np.array(logprob, np.float16), np.array(ids, np.uint8), probs)


@pytest.fixture
def caches(data):
    return (
        cache(data, [True, False, False], [-0.5, -3, -4], [[6, 9], [9, 7], [9, 4]], {"weights": "next"}),
        cache(data, [False, False, True], [-1, -2, -0.25], [[9, 6], [7, 9], [8, 4]], {"weights": "last"}),
    )


def test_any_of_two_models(data, caches):
    both = ck.AnyTeacher(caches)
    both.check(data, losses.get("cat-xent", k=2))
    weights, labels = np.array([[0, 1, 1], [0, 1, 0]]), np.array([[0, 6, 7], [0, 8, 0]])
    columns = ["teacher_right", "teacher_logprob", "teacher_rank", "teacher_probs"]
    batch = both.batch(np.array([0, 1]), weights, columns, labels)
    assert both.example_right().tolist() == [False, True]  # only the last model has all of the second example right
    assert batch["teacher_right"].tolist() == [[0, 1, 0], [0, 1, 0]]
    assert batch["teacher_logprob"].tolist() == [[0, -0.5, -2], [0, -0.25, 0]]
    assert batch["teacher_rank"].tolist() == [[0, 0, 0], [0, 0, 0]]
    next_alone = caches[0].batch(np.array([0, 1]), weights, columns, labels)
    assert next_alone["teacher_rank"].tolist() == [[0, 0, 1], [0, 2, 0]]
    for name in ("teacher_ids", "teacher_probs"):
        assert (batch[name] == next_alone[name]).all()


def test_batches_take_it_for_a_cache_and_are_named_after_all_models(data, caches):
    both = ck.AnyTeacher(caches)
    made = [ck.Batches(data, 2, loss="cat-xent", teacher=teacher, buckets=1) for teacher in (both, caches[0])]
    assert made[0].identity != made[1].identity
    assert "last" in str(made[0].identity) and "next" in str(made[0].identity)


def test_what_it_refuses(data, caches):
    with pytest.raises(CatKerasError, match="two or more"):
        ck.AnyTeacher(caches[:1])
    other = cache(data, [True] * 3, [0] * 3, [[1, 2]] * 3, {"data": "another data set"})
    with pytest.raises(CatKerasError, match="one data set"):
        ck.AnyTeacher([caches[0], other])
    with pytest.raises(CatKerasError, match="Build it with"):
        ck.AnyTeacher(caches).check(data, losses.get("cat-xent", k=3))
