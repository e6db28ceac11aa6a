"""Training with LoRA: the factors alone move, are checkpointed and resume to the bit, whatever the objective."""

import keras
import numpy as np
import pytest
from keras import ops

from cat_keras import training
from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora
from cat_keras.training import distribution, losses
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware

STEPS = 5


@pytest.fixture(autouse=True)
def deterministic():
    distribution.make_deterministic(0)


def _trainer(model, loss="xent", rank=2, jit=False, chunk=None, **arguments):
    lora.enable(model, rank, **arguments)
    trainer = CascadeAware(model, loss, chunk=chunk)
    trainer.compile(keras.optimizers.AdamW(1e-2, weight_decay=0.1, global_clipnorm=1.0), jit_compile=jit)
    return trainer


@pytest.fixture
def new_trainer(new_model):
    """A function: a compiled trainer of a fresh small model with LoRA, always the same one."""
    return lambda loss="xent", base=7, **arguments: _trainer(new_model("small", seed=base), loss, **arguments)


@pytest.fixture
def batches(encoded):
    return Batches(encoded, 8, seed=1, buckets=1)


def values(trainer):
    return [ops.convert_to_numpy(v).copy() for v in trainer.model.weights]


def stopped(trainer, batches, checkpoint, step):
    class Killed(BaseException):
        pass

    def progress(p):
        if p.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(trainer, batches, Schedule(1e-2, STEPS, 1), checkpoint, every_seconds=0, progress=progress)


@pytest.fixture(scope="module")
def compiled(new_model):
    """A trainer and the weights of its base: compiled once, since that takes longest."""
    distribution.make_deterministic(0)
    return _trainer(new_model("small", seed=7)), new_model("small", seed=7).get_weights()


@pytest.fixture
def restarted(compiled):
    """A function: the trainer as `new_trainer` makes it, with the A of a seed."""

    def restart(seed=0):
        trainer, base = compiled
        training.restart(trainer, lora.initial(trainer.model, base, seed))
        return trainer

    return restart


def test_a_resumed_training_equals_an_uninterrupted_one_and_keeps_factors_alone(
    restarted, new_trainer, batches, tmp_path
):
    trainer, path = restarted(), tmp_path / "state.npz"
    start = values(trainer)
    for ours, theirs in zip(start, values(new_trainer()), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    history = train(trainer, batches, Schedule(1e-2, STEPS, 1))
    whole = values(trainer)
    stopped(restarted(), batches, path, 4)
    # What the checkpoint holds replaces every factor.
    assert train(restarted(seed=9), batches, Schedule(1e-2, STEPS, 1), path) == history
    for ours, theirs in zip(values(trainer), whole, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    moved = {v.name for v, a, b in zip(trainer.model.weights, start, whole, strict=True) if (a != b).any()}
    assert moved == {"lora_kernel_a", "lora_kernel_b"}
    factors = [tuple(f.shape) for layer in lora.adapted(trainer.model) for f in lora.factors(layer)]
    assert sorted(tuple(v.shape) for v in trainer.model.trainable_variables) == sorted(factors)
    assert sorted(s for v in trainer.optimizer.variables if (s := tuple(v.shape))) == sorted(2 * factors)  # moments
    with np.load(path) as arrays:
        assert sorted(s for n in arrays.files if n.startswith("v") and (s := arrays[n].shape)) == sorted(3 * factors)


@pytest.mark.parametrize("change", [{"base": 8}, pytest.param({"alpha": 3.0}, marks=pytest.mark.slow)], ids=str)
def test_a_checkpoint_beside_another_base_or_alpha_is_refused(restarted, new_trainer, batches, tmp_path, change):
    stopped(restarted(), batches, tmp_path / "state.npz", 3)
    with pytest.raises(CatKerasError, match="continued by the training that wrote it"):
        train(new_trainer(**change), batches, Schedule(1e-2, STEPS, 1), tmp_path / "state.npz")


@pytest.mark.long
@pytest.mark.parametrize("name", [n for n in losses.OBJECTIVES if n != "defer-token"])
def test_every_objective_starts_alike_and_trains(new_trainer, encoded, trained, name):
    cache = TeacherCache.build(trained, encoded, k=16)
    trainer = new_trainer(name, jit=True, chunk=16)
    start = values(trainer)
    history = train(trainer, Batches(encoded, 20, loss=name, teacher=cache, start=cache, buckets=1), Schedule(1e-2, 8))
    assert np.isfinite(history["loss"]).all()
    moved = {v.name for v, a, b in zip(trainer.model.weights, start, values(trainer), strict=True) if (a != b).any()}
    assert moved == {"lora_kernel_a", "lora_kernel_b"}
    for ours, theirs in zip(start, values(new_trainer("xent")), strict=True):
        np.testing.assert_array_equal(ours, theirs)
