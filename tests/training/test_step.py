"""The distributed step: one gradient, however the batch is split over replicas and slices."""

import contextlib

import keras
import numpy as np
import pytest
import tensorflow as tf

from cat_keras.errors import Stopped
from cat_keras.modeling import lora
from cat_keras.training import distribution, losses
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.step import Step, split
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware

# Four devices out of one processor. Collected before any test runs, so TensorFlow is not yet initialised.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)


@pytest.fixture(scope="module")
def cache(trained, encoded):
    return TeacherCache.build(trained, encoded, k=16)


@pytest.fixture(scope="module")
def batch(encoded, cache):
    return Batches(encoded, 10, seed=1, loss="cat-dist", teacher=cache, buckets=2).batch(0)


@pytest.fixture
def stepped(new_model, batch):
    """A function: (loss, live, weights) after one large step of SGD, which is the gradient up to its sign."""

    def run(
        replicas=1,
        accumulate=1,
        objective="cat-dist",
        *,
        data=batch,
        optimizer=None,
        jit=False,
        capacity=None,
        chunk=None,
        rank=0,
        **arguments,
    ):
        devices = [f"CPU:{i}" for i in range(replicas)]
        place = distribution.choose("mirrored", devices) if replicas > 1 else distribution.choose("none")
        with place.scope():
            model = new_model("small", seed=7)
            if rank:
                lora.enable(model, rank)
                for layer in lora.adapted(model):
                    lora.factors(layer)[1].assign(np.full(lora.factors(layer)[1].shape, 0.1))
            trainer = CascadeAware(model, losses.get(objective, **arguments), chunk=chunk)
            trainer.compile(optimizer() if optimizer else keras.optimizers.SGD(1.0), jit_compile=jit)
            trainer.optimizer.build(trainer.model.trainable_variables)
        loss, live = map(float, Step(trainer, accumulate, jit)(*data, capacity))
        return loss, live, [keras.ops.convert_to_numpy(w) for w in trainer.model.weights]

    return run


@pytest.fixture(scope="module")
def whole():
    """Filled by the first test that asks: the plain step on the whole batch, which the others are compared with."""
    return []


@pytest.fixture
def plain(stepped, whole):
    if not whole:
        whole.append(stepped())
    return whole[0]


def assert_close(ours, theirs, tolerance=2e-6):
    assert ours[0] == pytest.approx(theirs[0], rel=1e-5)
    assert ours[1] == pytest.approx(theirs[1], rel=1e-5)
    for a, b in zip(ours[2], theirs[2], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


SPLITS = [(1, 4), pytest.param(4, 1, marks=pytest.mark.slow), pytest.param(2, 2, marks=pytest.mark.slow)]


@pytest.mark.parametrize(("replicas", "accumulate"), SPLITS)
def test_splitting_a_batch_changes_no_gradient(stepped, plain, replicas, accumulate):
    # Ten rows over four: slices of three rows, the last one filled up.
    assert_close(stepped(replicas, accumulate), plain)


@pytest.mark.slow
def test_clipping_sees_the_gradient_of_the_whole_batch(stepped):
    def clipped():
        return keras.optimizers.SGD(1.0, global_clipnorm=0.1)

    assert_close(stepped(2, 2, optimizer=clipped), stepped(optimizer=clipped))


@pytest.mark.parametrize(("objective", "normalize"), [("cat-xent", "live"), ("gatekeeper", "tokens")])
def test_objectives_and_their_normalizations_split_alike(stepped, objective, normalize):
    assert_close(stepped(2, 1, objective, normalize=normalize), stepped(1, 1, objective, normalize=normalize))


def test_a_replica_without_a_live_token_changes_nothing(stepped, plain, batch):
    x, y, weights = batch
    weights = weights * (np.arange(len(weights)) < 4)[:, None]  # the target tokens are all on the first replica
    assert weights[5:].sum() == 0 < weights[:5].sum()
    assert_close(stepped(2, data=(x, y, weights)), stepped(data=(x, y, weights)))


@pytest.mark.slow
@pytest.mark.parametrize(("accumulate", "jit"), [(2, True), (1, "elementwise"), (2, "elementwise")])
def test_compiled_and_plain_steps_agree(stepped, plain, accumulate, jit):
    assert_close(stepped(1, accumulate, jit=jit), plain)


@pytest.mark.slow
def test_replicas_on_one_host_are_not_compiled_in_parts(stepped, plain):
    assert_close(stepped(2, jit="elementwise"), plain)


@pytest.mark.slow
def test_padding_to_another_length_changes_nothing(stepped, plain, batch):
    def longer(array):
        return np.pad(array, [(0, 0), (0, 8)] + [(0, 0)] * (array.ndim - 2))

    assert_close(stepped(2, 2, data=tf.nest.map_structure(longer, batch)), plain)


@pytest.mark.slow
def test_several_steps_of_adamw_end_at_the_same_weights(new_model, encoded, cache):
    def weights(replicas, accumulate):
        devices = [f"CPU:{i}" for i in range(replicas)]
        place = distribution.choose("mirrored", devices) if replicas > 1 else distribution.choose("none")
        with place.scope():
            trainer = CascadeAware(new_model("small", seed=7), "cat-xent")
            trainer.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0), jit_compile=False)
            trainer.optimizer.build(trainer.model.trainable_variables)
        step = Step(trainer, accumulate)
        data = Batches(encoded, 8, seed=1, loss="cat-xent", teacher=cache, buckets=2)
        for i in range(5):
            step(*data.batch(i))
        return [keras.ops.convert_to_numpy(w) for w in trainer.model.weights]

    alone = weights(1, 1)
    for a, b in zip(weights(2, 2), alone, strict=True):
        np.testing.assert_allclose(a, b, atol=2e-5)  # Adam divides by gradients that may be tiny


def test_split_keeps_every_row_and_fills_with_weightless_ones(batch):
    parts = split(batch, 4)
    assert [len(y) for _, y, _ in parts] == [3, 3, 3, 3]
    np.testing.assert_array_equal(np.concatenate([y for _, y, _ in parts])[:10], batch[1])
    assert sum(w.sum() for *_, w in parts) == batch[2].sum()
    assert all(x["padding_mask"].any(axis=1).all() for x, *_ in parts)


@pytest.fixture
def capacity(encoded):
    return Batches(encoded, 10, seed=1, buckets=2).capacity


def test_logits_of_target_tokens_alone_give_the_same_gradient(stepped, plain, batch, capacity):
    rows, length = batch[1].shape
    assert batch[2].sum() <= capacity(length, rows) < rows * length
    assert_close(stepped(capacity=capacity, jit=True), plain)
    assert_close(stepped(2, capacity=capacity), plain)


@pytest.mark.slow
def test_chunks_of_logits_give_the_same_gradient(stepped, plain, batch, capacity):
    # Chunks of fifty do not divide the positions: the last one is shorter.
    assert capacity(batch[1].shape[1], 10) % 50
    assert_close(stepped(capacity=capacity, chunk=50, jit=True), plain)


@pytest.mark.slow
def test_lora_takes_the_same_step_on_two_replicas_and_in_chunks(stepped, capacity):
    alone = stepped(rank=2)
    assert_close(stepped(2, 2, rank=2), alone)
    assert_close(stepped(capacity=capacity, chunk=50, jit=True, rank=2), alone)


@pytest.mark.slow
def test_a_training_with_lora_on_two_replicas_continues_from_its_checkpoint(new_model, encoded, tmp_path):
    distribution.make_deterministic(0)

    def trained(replicas, steps, checkpoint=None):
        place = distribution.choose("mirrored", ["CPU:0", "CPU:1"]) if replicas > 1 else distribution.choose("none")
        with place.scope():
            model = new_model("small", seed=7)
            lora.enable(model, 2)
            trainer = CascadeAware(model, "xent")
            trainer.compile(keras.optimizers.SGD(0.1), jit_compile=False)
        report = lambda p: stop.append(p.step)  # noqa: E731
        stop, batches = [], Batches(encoded, 8, seed=1, buckets=1)
        with contextlib.suppress(Stopped):
            train(trainer, batches, Schedule(0.1, 4), checkpoint, progress=report, stop=lambda: len(stop) == steps)
        return [keras.ops.convert_to_numpy(w) for w in model.weights], stop

    alone, _ = trained(1, 9)
    trained(2, 2, tmp_path / "state.npz")
    two, steps = trained(2, 9, tmp_path / "state.npz")
    assert steps == [3, 4]
    for a, b in zip(alone, two, strict=True):
        np.testing.assert_allclose(a, b, atol=1e-5)


def test_more_target_tokens_than_expected_are_no_error(stepped, plain):
    assert_close(stepped(capacity=lambda length, rows: 3), plain)


def test_a_mask_over_whole_examples_keeps_its_rows(stepped, capacity):
    assert_close(stepped(objective="cat-xent", mask="sequence", capacity=capacity),
                 stepped(objective="cat-xent", mask="sequence"))  # fmt: skip


@pytest.mark.parametrize("policy", ["mixed_bfloat16", "mixed_float16"])
def test_mixed_precision_computes_the_loss_up_to_its_rounding_and_learns(new_model, batch, policy):
    def losses_of(name):
        keras.config.set_dtype_policy(name)
        try:
            trainer = CascadeAware(new_model("small", seed=7), "cat-dist")
            trainer.compile(keras.optimizers.AdamW(1e-2, global_clipnorm=1.0), jit_compile=False)
            trainer.optimizer.build(trainer.model.trainable_variables)
            step = Step(trainer)
            return [float(step(*batch)[0]) for _ in range(4)]
        finally:
            keras.config.set_dtype_policy("float32")

    mixed, whole = losses_of(policy), losses_of("float32")
    assert mixed[0] == pytest.approx(whole[0], rel=2e-2)
    assert mixed[-1] < mixed[0]


def test_batches_of_one_shape_with_other_columns_get_a_step_of_their_own(new_model, trained, encoded, cache):
    few = TeacherCache.build(trained, encoded, k=4)
    trainer = CascadeAware(new_model("small", seed=7), "cat-dist")
    trainer.compile(optimizer=keras.optimizers.SGD(0.0))
    batches = [Batches(encoded, 10, seed=1, loss="cat-dist", teacher=t, buckets=2).batch(0) for t in (cache, few)]
    shared = Step(trainer)
    many, of_few, again = (float(shared(*batch)[0]) for batch in (*batches, batches[0]))
    assert many == again != of_few
    assert of_few == float(Step(trainer)(*batches[1])[0])
    assert shared.compiled_step.experimental_get_tracing_count() == 2
