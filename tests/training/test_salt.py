"""SALT: values by hand, exact step counts, the chosen sequences, and a training that resumes to the bit."""

import keras
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.errors import CatKerasError
from cat_keras.training import distribution, losses, selection
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware
from tests.data.invented import invented
from tests.training.test_losses import random_batch, value_and_gradient

STEPS, FIRST = 6, 3
TRAINED = [0.5, 0.3, 0.2]
HELPER = [0.2, 0.5, 0.3]
LABEL_LOSS = np.log(2)
WHOLE = -(0.2 * np.log(0.5) + 0.5 * np.log(0.3) + 0.3 * np.log(0.2))
TAIL = -(0.5 * np.log(0.3) + 0.5 * np.log(0.7))  # the most probable token alone is stored, the others are one bucket


# -- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("distilled", "omega", "columns", "expected"),
    [
        (1, 2 / 3, {"teacher_probs": [HELPER]}, LABEL_LOSS / 3 + WHOLE * 2 / 3),
        (1, 1.0, {"teacher_probs": [HELPER]}, WHOLE),
        (1, 0.0, {"teacher_probs": [HELPER]}, LABEL_LOSS),
        (1, 0.5, {"teacher_probs": [[0.5]], "teacher_ids": [[1]]}, (LABEL_LOSS + TAIL) / 2),
        (0, 2 / 3, {"teacher_probs": [HELPER]}, LABEL_LOSS),
        (0, 1.0, {"teacher_probs": [[0.5]], "teacher_ids": [[1]]}, LABEL_LOSS),
    ],
)
def test_one_token_by_hand(distilled, omega, columns, expected):
    arrays = {name: np.array([values]) for name, values in columns.items()}
    columns = {k: v.astype(np.int32 if k == "teacher_ids" else np.float32) for k, v in arrays.items()}
    columns["distilled"] = np.array([[distilled]], np.int32)
    loss = losses.get("salt", steps=5, omega=omega)
    value, live = loss(np.array([[0]]), np.log(np.float32([[TRAINED]])), np.array([[1]]), columns)
    assert float(value) == pytest.approx(expected, rel=1e-5)
    assert float(live) == 1


@pytest.mark.parametrize("temperature", [1.0, 2.0])
@pytest.mark.parametrize("seed", range(3))
def test_each_part_is_the_objective_that_it_is_made_of(seed, temperature):
    labels, logits, weights, columns = random_batch(seed)
    salt = losses.get("salt", steps=1, omega=0.75, temperature=temperature)
    parts = {1: losses.get("dist", w=0.25, temperature=temperature), 0: losses.get("xent")}
    for distilled, part in parts.items():
        columns["distilled"] = np.where(weights > 0, distilled, 1 - distilled)  # off the target it says nothing
        value, gradient = value_and_gradient(lambda x: salt(labels, x, weights, columns)[0], logits)
        same, same_gradient = value_and_gradient(lambda x, o=part: o(labels, x, weights, columns)[0], logits)
        assert value == same
        np.testing.assert_array_equal(gradient, same_gradient)


def test_the_objective_comes_back_from_its_configuration():
    loss = losses.get("salt", steps=7, omega=0.25, temperature=2.0, normalize="live")
    again = losses.Salt.from_config(loss.get_config())
    assert again.get_config() == loss.get_config() and again.w == 0.75


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"steps": -1}, "how many of the first steps"),
        ({"steps": 1.5}, "how many of the first steps"),
        ({"steps": 1, "omega": 1.1}, "omega"),
        ({"steps": 1, "temperature": 0}, "temperature"),
        ({}, "steps"),
    ],
)
def test_bad_arguments_are_an_error(arguments, message):
    with pytest.raises(CatKerasError, match=message):
        losses.get("salt", **arguments)


# -- the steps -------------------------------------------------------------------------------------------------------


def known_cache(data, logprobs, ids):
    """A cache that says of the target tokens of `data` what is given."""
    header = {"format": 3, "data": data.fingerprint, "tokenizer": data.tokenizer, "distribution": "topk",
              "temperature": 1.0, "k": np.shape(ids)[1]}  # fmt: skip
    probs = np.full(np.shape(ids), 0.25, np.float16)
    return TeacherCache(header, np.zeros(len(ids), bool), np.float16(logprobs), np.asarray(ids), probs)


def any_cache(data):
    count = data.n_target.sum()
    return known_cache(data, -np.ones(count), np.tile([1, 2], (count, 1)))


@settings(deadline=None, max_examples=30)
@given(
    st.lists(st.integers(2, 30), min_size=2, max_size=15),
    st.integers(1, 5),
    st.integers(1, 3),
    st.integers(0, 12),
    st.data(),
)
def test_the_first_steps_alone_distil_and_read_the_chosen(lengths, size, buckets, steps, draw):
    data = invented(lengths)
    chosen = draw.draw(st.lists(st.integers(0, len(data) - 1), min_size=1, unique=True))
    loss, cache = losses.get("salt", steps=steps), any_cache(data)
    plain = Batches(data, size, buckets=buckets)
    whole = Batches(data, size, buckets=buckets, loss=loss, teacher=cache)
    some = Batches(data, size, buckets=buckets, loss=loss, teacher=cache, first_rows=chosen)
    for step in range(15):
        for batches in (whole, some):
            x, _, _ = batches.batch(step)
            assert (x["distilled"] == (step < steps)).all()
        rows, length = plain._rows(step)
        if step >= steps:
            assert some._rows(step)[0].tolist() == rows.tolist() and some._rows(step)[1] == length
        assert whole._rows(step)[0].tolist() == rows.tolist()
    first_steps = [some._rows(step)[0] for step in range(steps)]
    assert set(np.concatenate([[], *first_steps])) <= set(chosen)
    epoch = some._first_steps_per_epoch
    if epoch <= steps:
        assert sorted(np.concatenate(first_steps[:epoch])) == sorted(chosen)


@pytest.mark.parametrize("rows", [[], [0, 9], [-1], [0.5], [[0]]])
def test_first_rows_are_numbers_of_examples(rows):
    data = invented([4] * 5)
    with pytest.raises(CatKerasError, match="from 0 to 4"):
        Batches(data, 2, loss=losses.get("salt", steps=1), teacher=any_cache(data), first_rows=rows)


def test_first_rows_without_a_first_part_are_an_error():
    with pytest.raises(CatKerasError, match="two parts"):
        Batches(invented([4] * 5), 2, first_rows=[0])


# -- the chosen sequences --------------------------------------------------------------------------------------------


def labelled(*targets):
    """`Encoded` sequences of one prompt token and these target tokens."""
    data = invented([1 + len(target) for target in targets], n_prompt=[1] * len(targets))
    data.tokens[np.concatenate([data.offsets[i] + 1 + np.arange(len(t)) for i, t in enumerate(targets)])] = (
        np.concatenate(targets)
    )
    return data


def test_medians_by_hand():
    data = labelled([1, 1, 9, 1], [1, 1], [9, 9], [2])
    #   learnable    x  x     x    x  x              x (only among two)
    losses_of = [0.5, 4, 9, 1, 2, 3, 7, 7, 6]
    cache = known_cache(data, -np.array(losses_of), np.tile([1, 2, 3], (9, 1)))
    np.testing.assert_array_equal(selection.learnable_medians(cache, data, top=1), [1, 2.5, np.nan, np.nan])
    np.testing.assert_array_equal(selection.learnable_medians(cache, data, top=2), [1, 2.5, np.nan, 6])
    assert selection.challenging(cache, data, kept=0.5, top=2).tolist() == [1, 3]
    assert selection.challenging(cache, data, kept=0.75, top=2).tolist() == [0, 1, 3]
    assert selection.challenging(cache, data, kept=1, top=2).tolist() == [0, 1, 2, 3]
    assert selection.challenging(cache, data, kept=0.01, top=2).tolist() == [3]


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.integers(1, 5), min_size=1, max_size=7), min_size=1, max_size=8), st.integers(1, 4))
def test_medians_are_those_of_numpy(targets, top):
    data, rng = labelled(*targets), np.random.default_rng(0)
    count = sum(map(len, targets))
    cache = known_cache(data, -rng.random(count), rng.permuted(np.tile(np.arange(1, 6), (count, 1)), axis=1)[:, :4])
    labels, ends = np.concatenate(targets), np.cumsum([len(t) for t in targets])
    learnable = (cache.ids[:, :top] == labels[:, None]).any(-1)
    pieces = zip(np.split(-cache.logprob.astype(float), ends[:-1]), np.split(learnable, ends[:-1]), strict=True)
    expected = [np.median(values[chosen]) if chosen.any() else np.nan for values, chosen in pieces]
    np.testing.assert_allclose(selection.learnable_medians(cache, data, top), expected)


def test_a_cache_with_too_few_tokens_is_an_error():
    data = invented([4] * 5)
    with pytest.raises(CatKerasError, match="k=10 or more"):
        selection.challenging(any_cache(data), data)


# -- training --------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module", autouse=True)
def deterministic():
    distribution.make_deterministic(0)


@pytest.fixture(scope="module")
def helped(new_model, trained, encoded):
    """A function: a compiled trainer of a fresh large model, and its batches, with `trained` as the small model."""
    cache = TeacherCache.build(trained, encoded, k=16)

    def make(loss, first_rows=None):
        trainer = CascadeAware(new_model("large", seed=5), loss)
        trainer.compile(keras.optimizers.Adam(), jit_compile=False)
        return trainer, Batches(encoded, 8, seed=1, buckets=1, loss=loss, teacher=cache, first_rows=first_rows)

    return make


def trained_to_the_end(trainer, batches, checkpoint=None):
    history = train(trainer, batches, Schedule(1e-2, STEPS, 2), checkpoint)
    return [keras.ops.convert_to_numpy(w) for w in trainer.model.weights], history


@pytest.mark.slow
def test_a_training_distils_and_then_does_not(helped):
    _, salt = trained_to_the_end(*helped(losses.get("salt", steps=FIRST)))
    _, dist = trained_to_the_end(*helped(losses.get("dist", w=1 / 3)))
    _, xent = trained_to_the_end(*helped(losses.get("xent")))
    np.testing.assert_allclose(salt["loss"][:FIRST], dist["loss"][:FIRST], rtol=1e-5)
    assert all(abs(a - b) > 1e-3 for a, b in zip(salt["loss"][FIRST:], dist["loss"][FIRST:], strict=True))
    assert all(abs(a - b) > 1e-3 for a, b in zip(salt["loss"], xent["loss"], strict=True))
    _, none = trained_to_the_end(*helped(losses.get("salt", steps=0)))
    np.testing.assert_allclose(none["loss"], xent["loss"], rtol=1e-5)


class Killed(BaseException):
    """Like a KeyboardInterrupt: no `except Exception` may swallow it."""


@pytest.mark.parametrize("step", [FIRST, *(pytest.param(n, marks=pytest.mark.long) for n in (FIRST - 1, FIRST + 1))])
def test_a_training_killed_near_the_change_ends_with_the_same_bits(helped, tmp_path, step):
    loss, rows = losses.get("salt", steps=FIRST), np.arange(0, 40, 2)
    weights, history = trained_to_the_end(*helped(loss, rows))

    def progress(report):
        if report.step == step + 1:  # the step before it is saved once its loss is known to be finite
            raise Killed

    trainer, batches = helped(loss, rows)
    with pytest.raises(Killed):
        train(trainer, batches, Schedule(1e-2, STEPS, 2), tmp_path / "state.npz", every_seconds=0, progress=progress)
    again, history_again = trained_to_the_end(*helped(loss, rows), tmp_path / "state.npz")
    assert history_again == history
    for a, b in zip(again, weights, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.slow
def test_a_checkpoint_of_other_steps_or_sequences_is_refused(helped, tmp_path):
    loss, checkpoint = losses.get("salt", steps=FIRST), tmp_path / "state.npz"
    train(*helped(loss, [0, 1, 2]), Schedule(1e-2, 2), checkpoint, every_seconds=0)
    for other in (helped(losses.get("salt", steps=FIRST + 1), [0, 1, 2]), helped(loss, [0, 1, 3]), helped(loss)):
        with pytest.raises(CatKerasError, match="continued by the training that wrote it"):
            train(*other, Schedule(1e-2, 2), checkpoint)


@pytest.mark.long
def test_fit_takes_it_too(helped):
    trainer, batches = helped(losses.get("salt", steps=FIRST), [0, 1, 2, 20])
    history = trainer.fit(batches, epochs=3, verbose=0).history
    assert history["loss"][-1] < history["loss"][0]


@pytest.mark.long
def test_a_live_small_model_helps_as_a_cached_one(new_model, trained, encoded):
    loss = losses.get("salt", steps=FIRST)
    whole = TeacherCache.build(trained, encoded, k=320)
    results = []
    for teacher, cache in ((None, whole), (trained, None)):
        trainer = CascadeAware(new_model("large", seed=5), loss, teacher=teacher)
        trainer.compile(keras.optimizers.Adam(), jit_compile=False)
        batches = Batches(encoded, 8, seed=1, buckets=1, loss=loss, teacher=cache)
        results.append(trained_to_the_end(trainer, batches)[1]["loss"])
    np.testing.assert_allclose(*results, rtol=1e-3)
