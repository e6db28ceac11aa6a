"""Batches: which documents count, what the teacher says of them, and that a step has one batch."""

import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.retrieval import Collection, EncoderTeaching, Objective, Pairs, RankerTeaching

EVERY = Objective(scores=1.0, queries=1.0, documents=1.0)


@pytest.fixture
def teaching():
    rng = np.random.default_rng(0)
    return EncoderTeaching(*rng.normal(size=(2, 8, 4)).astype(np.float32), temperature=0.5)


@pytest.fixture
def ranker_teaching():
    rng = np.random.default_rng(1)
    return RankerTeaching(*(rng.normal(size=shape).astype(np.float32) for shape in ((8, 4), (8, 3), (8, 3, 4))))


def test_a_step_has_one_batch_and_an_epoch_every_query(queries, documents, negatives):
    pairs = Pairs(queries, documents, np.arange(8), 3, negatives=negatives, seed=5)
    steps = [pairs.batch(step) for step in range(8)]
    again = Pairs(queries, documents, np.arange(8), 3, negatives=negatives, seed=5)
    for step in (7, 2):
        for name, values in again.batch(step)[0].items():
            np.testing.assert_array_equal(values, steps[step][0][name])
    rows = np.concatenate([pairs._candidates(step).queries for step in range(8)])
    assert (np.bincount(rows) == 3).all()  # 8 steps of 3 queries are three epochs of 8
    assert steps[0][1].shape == (3, 6)
    assert pairs.identity == again.identity != Pairs(queries, documents, np.arange(8), 3, seed=5).identity


def test_duplicates_of_the_positive_do_not_count(queries, documents):
    positives = np.array([0, 0, 1, 2, 3, 4, 5, 6])  # two queries ask for document 0
    relevant = [np.array([row]) for row in positives]
    relevant[2] = np.array([1, 0])  # and document 0 would answer this one as well
    pairs = Pairs(queries, documents, positives, 8, relevant=relevant, seed=1)
    batch, (_, labels, _) = pairs._candidates(0), pairs.batch(0)
    for query, row in zip(batch.queries, labels, strict=True):
        own = np.flatnonzero(row == 1)
        assert batch.documents[own] == [positives[query]]
        assert set(batch.documents[row == -1]) <= set(relevant[query])
        assert not set(batch.documents[row == 0]) & set(relevant[query])
    assert (labels == -1).sum() == 2 + 2  # each of the two has the other's column, the third query has both


def test_columns_of_a_bi_encoder(queries, documents, negatives, teaching):
    pairs = Pairs(queries, documents, np.arange(8), 4, negatives=negatives, hard=2, objective=EVERY, teaching=teaching)
    batch, (x, labels, _) = pairs._candidates(3), pairs.batch(3)
    for i, query in enumerate(batch.queries):
        for j, document in enumerate(batch.documents):
            expected = teaching.query[query] @ teaching.document[document] / 0.5
            assert x["teacher_scores"][i, j] == pytest.approx(expected, rel=1e-4, abs=1e-5)
    np.testing.assert_array_equal(x["teacher_query"], teaching.query[batch.queries])
    np.testing.assert_array_equal(x["teacher_document"], teaching.document[batch.documents])
    assert (labels == 1).sum() == 4


def test_columns_of_a_ranker_are_of_its_own_pairs(queries, documents, negatives, ranker_teaching):
    pairs = Pairs(queries, documents, np.arange(8), 4, negatives=negatives, hard=1, objective=EVERY,
                  teaching=ranker_teaching)  # fmt: skip
    batch, (x, _, _) = pairs._candidates(2), pairs.batch(2)
    assert np.isfinite(x["teacher_scores"]).sum() == 4 * 2
    for i, query in enumerate(batch.queries):
        candidates = [query, *negatives[query]]
        for own, column in zip(batch.own[i], batch.columns[i], strict=True):
            assert batch.documents[column] == candidates[own]
            assert x["teacher_scores"][i, column] == ranker_teaching.pair_scores[query, own]
            np.testing.assert_array_equal(x["teacher_document"][column], ranker_teaching.pair_vectors[query, own])


def test_joint_batches_read_the_query_and_then_the_document(queries, documents, negatives, teaching):
    pairs = Pairs(queries, documents, np.arange(8), 2, negatives=negatives, hard=2, joint=True, objective=EVERY,
                  teaching=teaching)  # fmt: skip
    batch, (x, labels, _) = pairs._candidates(0), pairs.batch(0)
    assert labels.tolist() == [[1, 0, 0]] * 2 and x["teacher_scores"].shape == (2, 3)
    query, document = queries[batch.queries[1]], documents[batch.documents[4]]
    row = x["pair_token_ids"][4]
    np.testing.assert_array_equal(row[: len(query) + len(document)], np.concatenate([query, document]))
    assert x["pair_query_mask"][4].sum() == len(query)
    assert x["teacher_query"].shape == (6, 4)


def test_bad_batches(queries, documents, negatives, teaching):
    with pytest.raises(CatKerasError, match="from 0 to 7"):
        Pairs(queries, documents, np.arange(1, 9), 4)
    with pytest.raises(CatKerasError, match="has a teacher"):
        Pairs(queries, documents, np.arange(8), 4, objective=EVERY)
    with pytest.raises(CatKerasError, match="all queries and documents"):
        short = EncoderTeaching(teaching.query[:5], teaching.document)
        Pairs(queries, documents, np.arange(8), 4, objective=EVERY, teaching=short)
    with pytest.raises(CatKerasError, match=r"hard is a whole number in \[0, 2\]"):
        Pairs(queries, documents, np.arange(8), 4, negatives=negatives, hard=3)


def test_bad_collections():
    with pytest.raises(CatKerasError, match=r"at least one document\. Received: none"):
        Collection({}, {"q": "who?"}, {"q": ("d",)})
    with pytest.raises(CatKerasError, match=r"Each document has text\. Received: ' ' in document 'd'"):
        Collection({"d": " "}, {"q": "who?"}, {"q": ("d",)})
    with pytest.raises(CatKerasError, match="'e', which is not in the corpus, for query 'q'"):
        Collection({"d": "He."}, {"q": "who?"}, {"q": ("e",)})
    with pytest.raises(CatKerasError, match="no document for query 'q'"):
        Collection({"d": "He."}, {"q": "who?"}, {})
