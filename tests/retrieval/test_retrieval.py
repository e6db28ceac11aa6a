"""The real path at a tiny size: train, continue after a kill, embed, search, rerank, save."""

import shutil

import keras
import numpy as np
import pytest

from cat_keras import retrieval, training
from cat_keras.errors import CatKerasError
from cat_keras.retrieval import BiEncoder, Pairs, Ranker, Retriever, Tower, embedding
from cat_keras.retrieval import index as indexes
from cat_keras.training import distribution


def trainer_of(model, objective=None):
    trainer = Retriever(model, objective)
    trainer.compile(keras.optimizers.Adam(), jit_compile=False)
    return trainer


@pytest.fixture(scope="module")
def teacher(new_model):
    return BiEncoder(Tower(new_model("large", seed=1)))


@pytest.fixture(scope="module")
def teaching(teacher, queries, documents):
    return retrieval.EncoderTeaching.of(teacher, queries, documents, 8)


def test_vectors_do_not_depend_on_padding_or_company(teacher, documents):
    alone = np.concatenate([np.asarray(teacher.query(embedding.pad(documents, [row], 24))) for row in range(3)])
    np.testing.assert_allclose(embedding.embed(teacher.query, documents, 3, buckets=1)[:3], alone, atol=1e-5)
    np.testing.assert_allclose(np.linalg.norm(alone, axis=1), 1, rtol=1e-5)


@pytest.mark.slow
def test_a_killed_training_continues_to_the_bit(new_model, teacher, teaching, queries, documents, negatives, tmp_path):
    """The asymmetric student of EmbedDistill: a small tower of queries beside the teacher's frozen vectors."""
    distribution.make_deterministic(0)
    objective = retrieval.Objective(labels=1.0, scores=1.0, queries=1.0)
    batches = Pairs(queries, documents, np.arange(8), 4, negatives=negatives, objective=objective, teaching=teaching,
                    frozen=teaching.document)  # fmt: skip
    schedule = training.Schedule(1e-2, 6)

    def student():
        return BiEncoder(Tower(new_model("small", seed=2, dropout=0.1), dim=32), teacher.document, frozen=True)

    path, killed = tmp_path / "checkpoint.npz", tmp_path / "killed.npz"

    def kill(progress):
        """Keeps the checkpoint of the third step, as a kill in the fourth would leave it."""
        if progress.step == 4:
            shutil.copy(path, killed)

    whole, before = student(), teacher.document.fingerprint
    history = training.train(trainer_of(whole, objective), batches, schedule, path, every_seconds=0, progress=kill)
    assert history["loss"][-1] < history["loss"][0]
    assert teacher.document.fingerprint == before
    resumed, steps = student(), []
    trainer = trainer_of(resumed, objective)
    assert training.train(trainer, batches, schedule, killed, progress=lambda p: steps.append(p.step)) == history
    assert steps == [4, 5, 6]
    for one, other in zip(whole.query.get_weights(), resumed.query.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)
    other = trainer_of(student())
    with pytest.raises(CatKerasError, match="continued by the training that wrote it"):
        training.train(other, batches, schedule, path)


def test_a_ranker_scores_pairs_and_is_saved(new_model, queries, documents, negatives, tmp_path):
    ranker = Ranker(new_model("small", seed=3))
    candidates = np.concatenate([negatives, np.arange(8)[:, None]], axis=1)
    said = retrieval.RankerTeaching.of(ranker, queries, documents, candidates, 24)
    # The query's vector is the same whatever stands behind it, so that it can be matched without a document.
    pairs = np.stack([np.arange(8), candidates[:, 1]], axis=1)
    second = embedding.score_pairs(ranker, queries, documents, pairs, 24)
    np.testing.assert_allclose(second["query"], said.query, atol=1e-5)
    np.testing.assert_allclose(second["scores"], said.pair_scores[:, 1], atol=1e-4)
    # Before any training the score is the product of both means, and the query's mean is that of a tower.
    products = np.sum(said.query[:, None] * said.pair_vectors, axis=-1) / 0.05
    np.testing.assert_allclose(said.pair_scores, products, atol=1e-4)
    np.testing.assert_allclose(said.query, embedding.embed(Tower(ranker.model), queries, 8), atol=1e-5)
    order = retrieval.rerank(said.pair_scores, candidates, 2)
    assert {*order[0, :2]} == {*candidates[0, :2]} and order[0, 2] == candidates[0, 2]
    np.testing.assert_array_equal(retrieval.rerank(said.pair_scores, candidates, 0), candidates)
    retrieval.save(ranker, tmp_path / "ranker")
    assert retrieval.load(tmp_path / "ranker").fingerprint == ranker.fingerprint


@pytest.mark.long
def test_a_ranker_learns(new_model, queries, documents, negatives):
    ranker = Ranker(new_model("small", seed=3))
    batches = Pairs(queries, documents, np.arange(8), 8, negatives=negatives, hard=2, joint=True, buckets=1)
    history = training.train(trainer_of(ranker), batches, training.Schedule(2e-2, 30))
    assert np.mean(history["loss"][-5:]) < 0.7 * np.mean(history["loss"][:5])
    candidates = np.concatenate([negatives, np.arange(8)[:, None]], axis=1)
    said = retrieval.RankerTeaching.of(ranker, queries, documents, candidates, 24)
    assert (retrieval.rerank(said.pair_scores, candidates, 3)[:, 0] == np.arange(8)).mean() > 0.5
    with pytest.raises(CatKerasError, match="A ranker reads pairs"):
        trainer_of(BiEncoder(Tower(new_model()))).check_batches(batches)


def test_rank_of_equals_is_by_row():
    np.testing.assert_array_equal(retrieval.rank(np.array([[1.0, 3.0, 3.0, 2.0]]), 3), [[1, 2, 3]])


def test_index_searches_and_refuses_others(new_model, teacher, collection, queries, documents, tmp_path):
    pytest.importorskip("faiss")
    made = retrieval.Index.build(teacher.document, documents, list(collection.documents), batch_size=8)
    made.save(tmp_path / "index")
    loaded = retrieval.Index.load(tmp_path / "index")
    _, products = loaded.search(teacher, queries, 8)
    vectors = embedding.embed(teacher.query, queries, 8)
    np.testing.assert_allclose(products, -np.sort(-(vectors @ made.vectors.T), axis=1), atol=1e-5)
    student = BiEncoder(Tower(new_model("small", seed=2), dim=32), teacher.document)
    assert loaded.search(student, queries, 2)[0].shape == (8, 2)  # it inherited the documents, so the index is its own
    other = BiEncoder(Tower(new_model("small", seed=2), dim=32))
    with pytest.raises(CatKerasError, match="searched with the model and the size that made it"):
        loaded.search(other, queries, 2)
    teacher.document.size = "half"
    try:
        with pytest.raises(CatKerasError, match="of size half"):
            loaded.search(teacher, queries, 2)
    finally:
        teacher.document.size = ""
    (tmp_path / "index" / "ids.json").write_text("[]")
    with pytest.raises(CatKerasError, match=r"ids\.json has another checksum"):
        retrieval.Index.load(tmp_path / "index")
    with pytest.raises(CatKerasError, match="at least one document"):
        retrieval.Index(np.zeros((0, 4)), [], "")


def test_cells_find_most_of_what_all_vectors_hold():
    pytest.importorskip("faiss")
    rng = np.random.default_rng(0)
    vectors, asked = rng.normal(size=(2000, 16)).astype(np.float32), rng.normal(size=(50, 16)).astype(np.float32)
    exact = retrieval.Index(vectors, range(2000), "")
    near = exact.nearest(asked, 10)[0]
    np.testing.assert_array_equal(near, retrieval.rank(asked @ vectors.T, 10))
    few, many = (indexes.recall(exact.approximate(20, probes).nearest(asked, 10)[0], near) for probes in (2, 20))
    assert 0.2 < few < many == 1


def test_measures_by_hand(collection):
    pytest.importorskip("ir_measures")
    rankings = np.tile(np.arange(8), (8, 1))  # query i has its document at place i + 1
    values = retrieval.per_query(collection, rankings, ("RR@10", "nDCG@10", "R@5", "RR@2"))
    np.testing.assert_allclose(values["RR@10"], 1 / np.arange(1, 9))
    np.testing.assert_allclose(values["nDCG@10"], 1 / np.log2(np.arange(2, 10)))
    np.testing.assert_allclose(values["R@5"], [1] * 5 + [0] * 3)
    np.testing.assert_allclose(values["RR@2"], [1, 0.5] + [0] * 6)
    with pytest.raises(CatKerasError, match="one of ir-measures"):
        retrieval.per_query(collection, rankings, ("Fame@10",))


def test_bi_encoders_are_saved_with_both_towers(new_model, teacher, tmp_path):
    student = BiEncoder(Tower(new_model("small", seed=2), dim=32), teacher.document, temperature=0.1)
    retrieval.save(student, tmp_path / "student")
    loaded = retrieval.load(tmp_path / "student")
    assert loaded.query.fingerprint == student.query.fingerprint
    assert loaded.document.fingerprint == teacher.document.fingerprint
    assert loaded.temperature == 0.1
    with pytest.raises(CatKerasError, match="vectors of one width"):
        BiEncoder(Tower(new_model("small")), teacher.document)


def test_a_matrix_matches_vectors_of_another_width(new_model, teaching, queries, documents):
    objective = retrieval.Objective(queries=1.0, documents=0.5)
    student = BiEncoder(Tower(new_model("small", seed=4)), matched=32)
    batches = Pairs(queries, documents, np.arange(8), 8, objective=objective, teaching=teaching, buckets=1)
    outputs = student(batches.batch(0)[0])
    assert outputs["query"].shape == outputs["document"].shape == (8, 32)
    assert outputs["scores"].shape == (8, 8)
    assert any(v is student.matching.kernel for v in student.trainable_variables)
