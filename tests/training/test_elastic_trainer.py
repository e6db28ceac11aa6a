"""A step over all sizes is one forward pass and one loss for every size, and one optimizer step for their mean."""

import keras
import numpy as np
import pytest
import tensorflow as tf

from cat_keras.errors import CatKerasError
from cat_keras.modeling.elastic import reorder
from cat_keras.training import distribution, elastic, identity, losses, train
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware

# Two devices out of one processor, as in test_step.py. Collected before any test runs.
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 4
)

SIZES = [{"layers": 1}, {"layers": 1, "feedforward": 6, "heads": 1}]  # two passes: the second size needs one of its own


@pytest.fixture(scope="module")
def cache(trained, encoded):
    return TeacherCache.build(trained, encoded, k=16)


def batches_of(encoded, cache, objective="cat-dist"):
    return Batches(encoded, 10, seed=1, loss=objective, teacher=cache, buckets=2)


@pytest.fixture
def new_trainer(new_model):
    def build(objective="cat-dist", place=None, dropout=0.0, jit=False, optimizer=None, **arguments):
        with (place or distribution.choose("none")).scope():
            whole = new_model("small", seed=7, layers=2, dropout=dropout)
            trainer = elastic.Trainer(elastic.Elastic(whole, SIZES), objective, **arguments)
            trainer.compile(optimizer or keras.optimizers.SGD(1.0), jit_compile=jit)
            trainer.optimizer.build(trainer.model.trainable_variables)
        return trainer

    return build


def weights(trainer):
    return [keras.ops.convert_to_numpy(v) for v in trainer.model.trainable_variables]


def stepped(trainer, batches, accumulate=1, capacity=None, steps=1):
    """(loss, live, weights) after large steps of SGD, which are the gradient up to its sign."""
    for i in range(steps):
        loss, live = trainer.step(batches.batch(i), accumulate, capacity)
    return loss, live, weights(trainer)


def assert_close(ours, theirs, tolerance=2e-6):
    np.testing.assert_allclose(ours[:2], theirs[:2], rtol=1e-5)
    for a, b in zip(ours[2], theirs[2], strict=True):
        np.testing.assert_allclose(a, b, atol=tolerance)


# -- the mean over sizes ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("objective", [pytest.param("xent", marks=pytest.mark.long), "cat-xent"])
def test_a_step_is_the_mean_of_a_pass_for_every_size(new_trainer, encoded, cache, objective):
    batches, trainer = batches_of(encoded, cache, objective), new_trainer(objective, distil=0.3)
    x, y, w = batches.batch(0)
    before, sizes, plain = weights(trainer), trainer.elastic.sizes, losses.get(objective)
    tokens = {name: x[name] for name in ("token_ids", "padding_mask")}
    with tf.GradientTape() as tape:
        teacher = tf.stop_gradient(tf.nn.softmax(trainer.model(tokens)))
        total, live = 0.0, 0.0
        for size in sizes:
            logits = trainer.elastic.at(size)(tokens)
            values, mask = plain.per_token(y, logits, w, x)
            if size != trainer.elastic.whole:
                cross = -tf.reduce_sum(teacher * tf.nn.log_softmax(logits), -1)
                values = 0.7 * values + 0.3 * mask * cross
            total += tf.reduce_sum(values * w) / w.sum() / len(sizes)
            live += tf.reduce_sum(mask * w) / w.sum() / len(sizes)
    variables = [v.value for v in trainer.model.trainable_variables]
    gradients = [tf.convert_to_tensor(g) for g in tape.gradient(total, variables)]
    expected = [b - g.numpy() for b, g in zip(before, gradients, strict=True)]
    assert_close(stepped(trainer, batches), (float(total), float(live), expected))
    assert objective == "xent" or 0 < float(live) < 1


def test_a_mask_is_that_of_each_size_and_of_the_large_model():
    """One token: the size is wrong and the large model right, so it is kept, and learned from label and whole."""
    logits, whole = np.log([[[0.6, 0.3, 0.1]]]), np.log([[[0.2, 0.5, 0.3]]])
    columns = {"teacher_right": np.ones((1, 1)), "whole": whole}
    loss, live = elastic.Loss("cat-xent", 0.25)(np.array([[1]]), logits, np.ones((1, 1)), columns)
    cross = -(0.2 * np.log(0.6) + 0.5 * np.log(0.3) + 0.3 * np.log(0.1))
    assert float(loss) == pytest.approx(0.75 * -np.log(0.3) + 0.25 * cross, rel=1e-6) and float(live) == 1
    columns["teacher_right"] = np.zeros((1, 1))
    assert [float(v) for v in elastic.Loss("cat-xent", 0.25)(np.array([[1]]), logits, np.ones((1, 1)), columns)] == [
        0,
        0,
    ]


# -- every way to split a step ---------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def plain():
    """Filled by the first test that asks: the plain step, which the others are compared with."""
    return []


@pytest.mark.parametrize(
    "how",
    [
        pytest.param({"accumulate": 3}, marks=pytest.mark.long),
        pytest.param({"chunk": 50}, marks=pytest.mark.long),
        pytest.param({"place": 2}, marks=pytest.mark.long),
        pytest.param({"jit": True}, marks=pytest.mark.long),
        pytest.param({"place": 2, "accumulate": 2, "chunk": 50}, marks=pytest.mark.long),
    ],
    ids=str,
)
def test_devices_slices_chunks_and_compilation_change_no_gradient(new_trainer, encoded, cache, plain, how):
    batches = batches_of(encoded, cache)
    if not plain:
        plain.append(stepped(new_trainer(), batches))
    accumulate = how.get("accumulate", 1)
    place = distribution.choose("mirrored", ["CPU:0", "CPU:1"]) if "place" in how else None
    trainer = new_trainer(place=place, jit=how.get("jit", False), chunk=how.get("chunk"))
    assert_close(stepped(trainer, batches, accumulate, batches.capacity), plain[0])


@pytest.mark.long
def test_fit_takes_the_same_step(new_trainer, encoded, cache):
    batches = batches_of(encoded, cache)
    trainer = new_trainer()
    x, y, w = batches.batch(0)
    logs = trainer.train_on_batch(x, y, sample_weight=w, return_dict=True)
    assert_close((logs["loss"], logs["live"], weights(trainer)), stepped(new_trainer(), batches))


@pytest.mark.long
def test_a_mask_over_whole_examples_needs_all_logits(new_trainer, encoded, cache):
    batches, objective = batches_of(encoded, cache, "cat-xent"), losses.get("cat-xent", mask="sequence")
    assert_close(
        stepped(new_trainer(objective), batches, capacity=batches.capacity), stepped(new_trainer(objective), batches)
    )


# -- train -----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Like a KeyboardInterrupt: no `except Exception` may swallow it."""


@pytest.mark.long
def test_a_resumed_training_ends_with_the_same_bits_dropout_included(new_trainer, encoded, cache, tmp_path):
    batches, checkpoint, schedule = batches_of(encoded, cache), tmp_path / "state.npz", Schedule(1e-2, 5, 1)

    def trainer():
        distribution.make_deterministic(0)
        return new_trainer(dropout=0.3, optimizer=keras.optimizers.Adam())

    def kill(progress):
        if progress.step == 3:
            raise Killed

    uninterrupted = trainer()
    history = train(uninterrupted, batches, schedule)
    with pytest.raises(Killed):
        train(trainer(), batches, schedule, checkpoint, every_seconds=0, progress=kill)
    resumed, steps = trainer(), []
    assert train(resumed, batches, schedule, checkpoint, progress=lambda p: steps.append(p.step)) == history
    assert steps[0] > 1
    for a, b in zip(weights(resumed), weights(uninterrupted), strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.long
def test_sizes_and_distillation_are_part_of_a_training(new_trainer, new_model, encoded, cache):
    batches, schedule = batches_of(encoded, cache), Schedule(1e-2, 2)

    def key(trainer):
        return identity(trainer, batches, schedule)

    one = new_trainer()
    plain = CascadeAware(new_model("small", seed=7, layers=2), "cat-dist")
    plain.compile(keras.optimizers.SGD(1.0))
    other = elastic.Trainer(elastic.Elastic(new_model("small", seed=7, layers=2), SIZES[:1]), "cat-dist")
    other.compile(keras.optimizers.SGD(1.0))
    assert len({key(one), key(new_trainer(distil=0.2)), key(new_trainer("dist")), key(plain), key(other)}) == 5
    assert elastic.Loss.from_config(one.objective.get_config()).get_config() == one.objective.get_config()


@pytest.mark.long
def test_training_lowers_the_loss_of_every_size(new_trainer, encoded):
    batches = Batches(encoded, 20, seed=1, buckets=1)

    def loss_of_each(trainer):
        x, y, w = batches.batch(0)
        return [float(losses.get("xent")(y, trainer.elastic.at(s)(x), w)[0]) for s in trainer.elastic.sizes]

    trainer = new_trainer("xent", optimizer=keras.optimizers.Adam())
    before = loss_of_each(trainer)
    train(trainer, batches, Schedule(1e-2, 30))
    assert all(after < 0.5 * first for after, first in zip(loss_of_each(trainer), before, strict=True))


@pytest.mark.parametrize(
    ("build", "message"),
    [
        (lambda e, m: elastic.Trainer(m), "This trains an Elastic. Received: GemmaCausalLM"),
        (lambda e, m: elastic.Trainer(e, losses.get("salt", steps=1)), "objective of the large one"),
        (lambda e, m: elastic.Trainer(e, "xent", distil=2), "distil.* is a number in"),
        (lambda e, m: elastic.Trainer(e, "zent"), "Unknown objective"),
    ],
)
def test_what_cannot_be_trained_is_an_error(new_model, build, message):
    model = new_model("small", layers=2)
    with pytest.raises(CatKerasError, match=message):
        build(elastic.Elastic(model, SIZES), model)


# -- importance ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_importance_is_the_derivative_by_a_mask(new_model, encoded):
    """The mask of one unit, and of one head, multiplies the rows of the kernel through which it adds."""
    model, batches = new_model("small", seed=3), Batches(encoded, 40, buckets=1)
    (layer,) = elastic.importance(model, batches, steps=1)
    x, y, w = batches.batch(0)
    block = model.backbone.transformer_layers[0]
    for kernel, values in (
        (block.attention.output_dense._kernel, layer["heads"]),
        (block.ffw_linear._kernel, layer["units"]),
    ):
        plain, derivatives = np.array(kernel.value), []
        for i in range(len(values)):
            masked = []
            for mask in (1.01, 0.99):
                kernel.assign(
                    np.where(np.arange(len(plain)).reshape(-1, *[1] * (plain.ndim - 1)) == i, mask * plain, plain)
                )
                masked.append(float(losses.get("xent")(y, model(x), w)[0]))
            derivatives.append(abs(masked[0] - masked[1]) / 0.02)
        kernel.assign(plain)
        np.testing.assert_allclose(values, np.array(derivatives) / sum(derivatives), atol=0.02)
        assert values.sum() == pytest.approx(1)
    before = np.asarray(model(x))
    reorder(model, [layer])
    np.testing.assert_allclose(model(x), before, atol=1e-5)
