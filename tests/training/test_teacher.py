"""The large model as data: the columns say what a forward pass says, and never serve other data than their own."""

import functools

import keras
import numpy as np
import pytest

from cat_keras.data.encoding import encode
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import shards
from cat_keras.training import losses, masks, teacher
from cat_keras.training.batches import Batches
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware
from tests.forward import logprobs


@pytest.fixture(scope="module")
def topk(trained, encoded):
    return TeacherCache.build(trained, encoded, k=8, batch_size=16)


@pytest.fixture(scope="module")
def forward(trained, encoded):
    """(labels, log-probabilities) of every target token, in order, each example run alone and unpadded."""
    labels, log_p = [], []
    for i in range(len(encoded)):
        tokens = encoded.tokens[encoded.offsets[i] : encoded.offsets[i + 1]]
        target = slice(encoded.n_prompt[i] - 1, None)
        labels.append(tokens[1:][target])
        log_p.append(logprobs(trained, tokens[:-1])[target])
    return np.concatenate(labels), np.concatenate(log_p)


# -- what the columns say --------------------------------------------------------------------------------------------


def test_bits_and_logprobs_are_those_of_a_forward_pass(topk, forward, encoded):
    labels, log_p = forward
    assert topk.right.shape == topk.logprob.shape == (encoded.n_target.sum(),)
    assert (topk.right.dtype, topk.logprob.dtype) == (bool, np.float16)
    np.testing.assert_array_equal(topk.right, log_p.argmax(-1) == labels)
    assert 0 < topk.right.mean() < 1
    np.testing.assert_allclose(topk.logprob, log_p[np.arange(len(labels)), labels], rtol=2e-3, atol=1e-3)


@pytest.mark.parametrize("temperature", [1.0, 2.0])
def test_topk_is_the_head_of_the_distribution(trained, encoded, forward, temperature):
    cache = TeacherCache.build(trained, encoded, k=5, temperature=temperature)
    p = np.exp(forward[1] / temperature)
    p /= p.sum(-1, keepdims=True)
    assert cache.ids.shape == cache.probs.shape == (len(p), 5)
    np.testing.assert_allclose(cache.probs, -np.sort(-p, -1)[:, :5], rtol=2e-3, atol=1e-5)
    np.testing.assert_allclose(np.take_along_axis(p, cache.ids.astype(int), -1), cache.probs, rtol=2e-3, atol=1e-5)
    assert (np.diff(cache.probs, axis=-1) <= 0).all()
    assert all(len(set(row)) == 5 for row in cache.ids)


@pytest.mark.parametrize("draws", [7, 1000])  # 1000: more than the vocabulary holds
def test_samples_are_counts_that_sum_to_1(trained, encoded, forward, draws):
    p = np.exp(forward[1])
    cache = TeacherCache.build(trained, encoded, "sampled", k=draws, seed=3)
    assert cache.ids.shape == cache.probs.shape == (len(p), draws)
    cache.check(encoded, losses.get("dist"))
    weights = np.ones((len(encoded), encoded.n_target.max()), np.int32)
    weights[np.arange(weights.shape[1]) >= encoded.n_target[:, None]] = 0
    columns = cache.batch(np.arange(len(encoded)), weights, ["teacher_probs"])
    probs, ids = (columns[c][weights == 1] for c in ("teacher_probs", "teacher_ids"))
    np.testing.assert_allclose(probs.sum(-1), 1, rtol=1e-5)
    np.testing.assert_allclose(probs * draws, np.round(probs * draws), atol=1e-3)
    used = [set(i[q > 0]) for i, q in zip(ids, probs, strict=True)]
    assert [len(u) for u in used] == (probs > 0).sum(-1).tolist()  # distinct ids
    if draws == 1000:
        dense = np.zeros_like(p)
        np.add.at(dense, (np.arange(len(p))[:, None], ids), probs)
        assert np.abs(dense - p).max() < 6 * 0.5 / np.sqrt(draws)
    again, other = (TeacherCache.build(trained, encoded, "sampled", k=draws, seed=s) for s in (3, 4))
    np.testing.assert_array_equal(again.ids, cache.ids)
    assert not np.array_equal(other.ids, cache.ids)


def test_types_are_the_narrowest(topk, trained):
    size = models.tokenizer_of(trained).vocabulary_size()
    assert topk.ids.dtype == np.min_scalar_type(size - 1) == np.uint16
    assert topk.probs.dtype == np.float16
    assert topk.bytes_per_token == {"right": 1 / 8, "logprob": 2, "ids": 2 * 8, "probs": 2 * 8}


def test_without_a_distribution_only_bits_are_kept(trained, encoded, topk):
    cache = TeacherCache.build(trained, encoded, "none")
    assert cache.ids is None and cache.probs is None
    np.testing.assert_array_equal(cache.right, topk.right)
    assert cache.bytes_per_token == {"right": 1 / 8, "logprob": 2}


def test_k_is_at_most_the_vocabulary(trained, encoded):
    size = models.tokenizer_of(trained).vocabulary_size()
    cache = TeacherCache.build(trained, encoded, k=10_000)
    assert cache.ids.shape[1] == size
    np.testing.assert_allclose(cache.probs.astype(float).sum(-1), 1, atol=2e-3)


def test_columns_do_not_depend_on_the_batch_and_progress_adds_up(trained, encoded, topk):
    seen = []
    one = TeacherCache.build(trained, encoded, k=8, batch_size=3, progress=lambda *a: seen.append(a))
    np.testing.assert_array_equal(one.right, topk.right)
    np.testing.assert_allclose(one.probs, topk.probs, rtol=2e-3, atol=1e-5)
    assert [n for n, _ in seen] == sorted(n for n, _ in seen)
    assert seen[-1] == (len(encoded), len(encoded))


def test_columns_lie_on_their_target_tokens(topk, encoded, forward):
    """A batch shuffles, pads and shifts; each of its target tokens still carries the teacher's word on that token."""
    labels, log_p = forward
    right = (log_p.argmax(-1) == labels).astype(int)
    starts = np.concatenate([[0], np.cumsum(encoded.n_target)])
    loss = losses.CascadeAwareLoss("soft", w=0.5)
    batches = Batches(encoded, 7, seed=5, loss=losses.get("cat-dist"), teacher=topk, buckets=2)
    soft = Batches(encoded, 7, seed=5, loss=loss, teacher=topk, buckets=2)
    for step in range(len(batches)):
        rows, _ = batches._rows(step)
        x, y, weights = batches.batch(step)
        where = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in rows])
        np.testing.assert_array_equal(y[weights == 1], labels[where])
        np.testing.assert_array_equal(x["teacher_right"][weights == 1], right[where])
        np.testing.assert_array_equal(x["teacher_ids"][weights == 1], topk.ids[where])
        np.testing.assert_array_equal(x["teacher_probs"][weights == 1], topk.probs[where])
        np.testing.assert_array_equal(soft.batch(step)[0]["teacher_logprob"][weights == 1], topk.logprob[where])
        for name in ("teacher_right", "teacher_ids", "teacher_probs"):
            assert not x[name][weights == 0].any()
        assert x["teacher_right"].dtype == x["teacher_ids"].dtype == np.int32


def test_the_rank_of_a_label_is_its_place_among_the_kept_tokens(topk, encoded, forward):
    labels, log_p = forward
    order = np.argsort(-log_p, axis=-1, kind="stable")
    rank = np.minimum((order == labels[:, None]).argmax(-1), topk.ids.shape[1])
    loss = losses.get("cat-xent", k=3)
    batches = Batches(encoded, 7, seed=5, loss=loss, teacher=topk)
    starts = np.concatenate([[0], np.cumsum(encoded.n_target)])
    x, _, weights = batches.batch(0)
    where = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in batches._rows(0)[0]])
    np.testing.assert_array_equal(x["teacher_rank"][weights == 1], rank[where])
    assert len(set(rank)) > 2
    with pytest.raises(CatKerasError, match=r"9 most probable tokens.*k=8.*k=9 or more"):
        Batches(encoded, 7, loss=losses.get("cat-xent", k=9), teacher=topk)


def test_the_starting_checkpoint_gives_a_mask_that_does_not_move(novice, topk, encoded):
    loss = losses.get("cat-xent", mask="start")
    start = TeacherCache.build(novice, encoded, "none")
    batches = Batches(encoded, 7, seed=5, loss=loss, teacher=topk, start=start)
    starts = np.concatenate([[0], np.cumsum(encoded.n_target)])
    x, _, weights = batches.batch(0)
    where = np.concatenate([np.arange(starts[r], starts[r + 1]) for r in batches._rows(0)[0]])
    np.testing.assert_array_equal(x["start_right"][weights == 1], start.right[where])
    assert batches.identity != Batches(encoded, 7, seed=5, loss=loss, teacher=topk, start=topk).identity
    trainer = CascadeAware(novice, loss)
    assert 0 < loss_of(trainer, batches.batch(0)) < loss_of(CascadeAware(novice, "xent"), batches.batch(0))
    with pytest.raises(CatKerasError, match=r"missing \['start_right'\]"):
        loss_of(trainer, Batches(encoded, 7, loss=loss, teacher=topk).batch(0))


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("distribution", teacher.DISTRIBUTIONS)
def test_a_cache_survives_its_files(trained, encoded, tmp_path, distribution):
    cache = TeacherCache.build(trained, encoded, distribution, k=4)
    cache.save(tmp_path / "cache")
    again = TeacherCache.load(tmp_path / "cache")
    assert again.header == cache.header
    for name in ("right", "logprob", "ids", "probs"):
        ours, theirs = getattr(again, name), getattr(cache, name)
        assert (ours is None) == (theirs is None)
        if ours is not None:
            assert ours.dtype == theirs.dtype
            np.testing.assert_array_equal(ours, theirs)


@pytest.mark.parametrize("name", ["right.npy", "logprob.npy", "ids.npy", "probs.npy"])
@pytest.mark.parametrize("how", ["flipped", "emptied", "missing"])
def test_a_damaged_cache_is_never_used(topk, tmp_path, name, how):
    topk.save(tmp_path)
    path = tmp_path / "00000" / name
    content = bytearray(path.read_bytes())
    if how == "missing":
        path.unlink()
    else:
        content[-5] ^= 16
        path.write_bytes(content if how == "flipped" else b"")
    with pytest.raises(CatKerasError, match=rf"{name}.*Build it again"):
        TeacherCache.load(tmp_path)


def test_an_unfinished_cache_is_never_used(topk, tmp_path):
    topk.save(tmp_path)
    (tmp_path / "manifest.json").unlink()
    with pytest.raises(CatKerasError, match=r"manifest\.json is missing"):
        TeacherCache.load(tmp_path)


# -- shards ----------------------------------------------------------------------------------------------------------


def assert_equal_columns(ours, theirs):
    for name in ("right", "logprob", "ids", "probs"):
        np.testing.assert_array_equal(getattr(ours, name), getattr(theirs, name), err_msg=name)


@pytest.mark.parametrize("distribution", ["topk", "sampled"])
def test_shards_read_as_the_cache_in_memory(trained, encoded, tmp_path, distribution):
    arguments = {"distribution": distribution, "k": 4, "shard": 15}
    memory = TeacherCache.build(trained, encoded, **arguments)
    files = TeacherCache.build(trained, encoded, **arguments, directory=tmp_path)
    assert sorted(p.name for p in tmp_path.iterdir()) == ["00000", "00001", "00002", "manifest.json"]
    assert_equal_columns(files, memory)
    assert_equal_columns(TeacherCache.load(tmp_path), memory)
    loss = losses.get("cat-dist")
    for step in range(3):
        ours, theirs = (Batches(encoded, 7, loss=loss, teacher=c).batch(step)[0] for c in (files, memory))
        for name in theirs:
            np.testing.assert_array_equal(ours[name], theirs[name])


def test_a_stopped_build_keeps_its_shards_and_a_damaged_one_is_built_again(trained, encoded, tmp_path):
    class Stopped(BaseException):
        pass

    def stop(done, total):
        if done > 30:
            raise Stopped

    arguments = {"k": 4, "shard": 10, "batch_size": 5, "directory": tmp_path}
    with pytest.raises(Stopped):
        TeacherCache.build(trained, encoded, progress=stop, **arguments)
    before = {p.parent.name: p.stat().st_mtime_ns for p in tmp_path.glob("*/manifest.json")}
    assert sorted(before) == ["00000", "00001", "00002"]
    path = tmp_path / "00001" / "probs.npy"
    content = bytearray(path.read_bytes())
    content[-3] ^= 8
    path.write_bytes(content)
    reports = []
    cache = TeacherCache.build(trained, encoded, report=reports.append, **arguments)
    assert len(reports) == 1 and "00001: probs.npy has another checksum" in reports[0]
    assert_equal_columns(cache, TeacherCache.build(trained, encoded, k=4, shard=10))
    again = {p.parent.name: p.stat().st_mtime_ns for p in tmp_path.glob("*/manifest.json")}
    assert [name for name in before if again[name] == before[name]] == ["00000", "00002"]


@pytest.mark.parametrize("distribution", ["topk", "sampled"])
def test_parts_by_several_machines_are_the_cache_of_one(trained, encoded, tmp_path, distribution):
    arguments = {"distribution": distribution, "k": 4, "shard": 10}
    for index in (2, 0, 1):
        TeacherCache.build(trained, encoded, directory=tmp_path / "parts", part=(index, 3), **arguments)
    whole = {path: path.stat().st_mtime_ns for path in (tmp_path / "parts").rglob("manifest.json")}
    assert len(whole) == 4 and not (tmp_path / "parts" / "manifest.json").exists()
    TeacherCache.build(trained, encoded, directory=tmp_path / "parts", **arguments)
    TeacherCache.build(trained, encoded, directory=tmp_path / "one", **arguments)
    assert all(path.stat().st_mtime_ns == time for path, time in whole.items())  # none was computed again
    parts, one = (
        {path.relative_to(folder): path.read_bytes() for path in folder.rglob("*.*")}
        for folder in (tmp_path / "parts", tmp_path / "one")
    )
    assert parts == one
    with pytest.raises(CatKerasError, match=r"part is a whole number in \[0, 3\). Received: 3"):
        TeacherCache.build(trained, encoded, directory=tmp_path, part=(3, 3), **arguments)
    with pytest.raises(CatKerasError, match=r"written to a directory\. Received: part=\(0, 3\) without one"):
        TeacherCache.build(trained, encoded, part=(0, 3), **arguments)


def test_shards_of_another_cache_are_not_mixed_in(trained, large, encoded, tmp_path):
    TeacherCache.build(large, encoded, k=4, shard=20, directory=tmp_path)
    reports = []
    cache = TeacherCache.build(trained, encoded, k=4, shard=20, directory=tmp_path, report=reports.append)
    assert len(reports) == 2 and "belongs to another cache" in reports[0]
    assert_equal_columns(cache, TeacherCache.build(trained, encoded, k=4, shard=20))


def test_columns_of_shards_are_indexed_like_arrays():
    rng = np.random.default_rng(0)
    values, bits = rng.normal(size=(25, 3)), rng.random(25) < 0.5
    column = shards.Column([values[:7], values[7:8], values[8:]])
    packed = shards.Bits([np.packbits(bits[:11]), np.packbits(bits[11:])], [11, 14])
    where = rng.integers(0, 25, 100)
    np.testing.assert_array_equal(column[where], values[where])
    np.testing.assert_array_equal(packed[where], bits[where])
    np.testing.assert_array_equal(np.asarray(column), values)
    np.testing.assert_array_equal(np.asarray(packed), bits)
    assert column.shape == (25, 3) and len(packed) == 25 and packed.dtype == bool


# -- what does not belong together -----------------------------------------------------------------------------------


def test_other_data_is_an_error(topk, examples, tokenizer, encoded):
    other = encode(examples[:-1], tokenizer, 40)
    with pytest.raises(CatKerasError, match=f"Received: data {other.fingerprint[:12]}"):
        Batches(other, 4, loss="cat-xent", teacher=topk)


def test_another_tokenizer_is_an_error(trained, examples):
    foreign = models.build(
        models.train_tokenizer(["quite other words", "The heron"], 300), layers=1, width=8, heads=1, feedforward=8
    )
    data = encode(examples, models.tokenizer_of(foreign), 120)
    with pytest.raises(CatKerasError, match=f"Received: {trained.name}"):
        TeacherCache.build(trained, data)


@pytest.mark.parametrize("loss", ["dist", "cat-dist"])
def test_a_missing_distribution_is_an_error(trained, encoded, loss):
    cache = TeacherCache.build(trained, encoded, "none")
    Batches(encoded, 4, loss="cat-xent", teacher=cache)
    with pytest.raises(CatKerasError, match='distribution="none"'):
        Batches(encoded, 4, loss=loss, teacher=cache)


def test_another_temperature_is_an_error(topk, encoded):
    with pytest.raises(CatKerasError, match=r"loss 2\.0, cache 1\.0"):
        Batches(encoded, 4, loss=losses.get("dist", temperature=2.0), teacher=topk)
    Batches(encoded, 4, loss=losses.get("cat-xent", temperature=2.0), teacher=topk)  # reads no distribution


def test_an_unknown_distribution_is_an_error(trained, encoded):
    with pytest.raises(CatKerasError, match="did you mean topk"):
        TeacherCache.build(trained, encoded, "topkk")


def test_the_header_names_what_it_was_built_from(trained, topk, encoded, large):
    assert topk.header["weights"] == models.weights_fingerprint(trained)
    assert (topk.header["data"], topk.header["tokenizer"]) == (encoded.fingerprint, encoded.tokenizer)
    assert TeacherCache.build(large, encoded, k=8).header["weights"] != topk.header["weights"]


# -- cached and live -------------------------------------------------------------------------------------------------


def loss_of(trainer, batch):
    x, y, weight = batch
    x = {k: keras.ops.convert_to_tensor(v) for k, v in x.items()}
    return float(trainer.compute_loss(x, y, trainer(x), weight))


@pytest.fixture(scope="module")
def whole(trained, encoded):
    """A function: the cache of all probabilities at a temperature, built once."""
    return functools.cache(lambda temperature: TeacherCache.build(trained, encoded, k=10_000, temperature=temperature))


@pytest.fixture(scope="module")
def novice(train_small):
    """Right where the trained model is wrong, and the other way round, on some tokens."""
    return train_small(20, seed=4)


# A random mask differs from step to step, the first checkpoint is no live model, and of two tokens of almost the same
# excess 16 bits may keep the other.
LIVE = [m for m in masks.MASKS if m not in ("random", "start", "excess")]


@pytest.mark.parametrize(
    ("mask", "temperature", "k"), [*((m, 1.0, 1) for m in LIVE), ("either", 2.0, 1), ("either", 1.0, 3)]
)
def test_a_cache_of_the_whole_vocabulary_equals_the_live_model(whole, trained, novice, encoded, mask, temperature, k):
    loss = losses.CascadeAwareLoss(mask, w=0.3, temperature=temperature, k=k)
    cached = Batches(encoded, 40, buckets=1, loss=loss, teacher=whole(temperature)).batch(0)
    plain = Batches(encoded, 40, buckets=1, loss=loss).batch(0)
    ours, theirs = (
        loss_of(CascadeAware(novice, loss), cached),
        loss_of(CascadeAware(novice, loss, teacher=trained), plain),
    )
    # float16 probabilities: relative error 2^-11, and what it leaves of the sum goes to the tail
    np.testing.assert_allclose(ours, theirs, rtol=4e-3)
    assert ours > 0
