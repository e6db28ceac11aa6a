"""Recomputation: the same loss, gradient and random numbers, with less in memory."""

import subprocess
import sys

import keras
import keras_hub
import numpy as np
import pytest
import tensorflow as tf

from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora
from cat_keras.training import recomputation
from cat_keras.training.batches import Batches
from cat_keras.training.elastic import Elastic
from cat_keras.training.elastic import Trainer as ElasticTrainer
from cat_keras.training.step import Step
from cat_keras.training.trainer import CascadeAware


@pytest.fixture
def batch(encoded):
    return Batches(encoded, 10, seed=1, buckets=2).batch(0)


@pytest.fixture
def make(new_model):
    """A function: a small model with dropout, always of the same weights."""
    return lambda: new_model(layers=3, dropout=0.3, seed=5)


def stepped(model, batch, recompute, steps=3, trainer=CascadeAware, **how):
    """Losses of some steps of SGD, and the weights after them."""
    made = trainer(model, "xent", recompute=recompute, chunk=how.get("chunk"))
    made.compile(keras.optimizers.SGD(0.5), jit_compile=False)
    made.optimizer.build(made.model.trainable_variables)
    step = Step(made, how.get("accumulate", 1), how.get("jit", False))
    room = {"capacity": lambda length, rows: rows * length // 2} if how.get("chunk") else {}
    losses = [float(step(*batch, **room)[0]) for _ in range(steps)]
    return losses, [keras.ops.convert_to_numpy(w) for w in made.model.weights]


def assert_close(a, b):
    """Up to rounding: gradients of one input that come from several places are added in another order."""
    np.testing.assert_allclose(a[0], b[0], rtol=2e-6)
    for ours, theirs in zip(a[1], b[1], strict=True):
        np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.parametrize(
    "how",
    [
        {},
        {"accumulate": 2, "chunk": 8},
        pytest.param({"jit": True}, marks=pytest.mark.slow),
        pytest.param({"jit": "elementwise"}, marks=pytest.mark.long),
    ],
)
def test_steps_are_those_without_it(make, batch, how):
    kept, again = (stepped(make(), batch, recompute, **how) for recompute in (False, True))
    assert len(set(kept[0])) == 3
    assert_close(kept, again)


def test_dropout_draws_once_a_step(make, batch):
    """A mask that was drawn again for the backward pass would move the generators twice."""

    def states(recompute):
        model = make()
        stepped(model, batch, recompute, steps=2)
        return [np.asarray(v.value) for v in model.backbone.non_trainable_variables]

    plain, recomputed = states(False), states(True)
    assert plain and all(np.array_equal(a, b) for a, b in zip(plain, recomputed, strict=True))


def test_frozen_weights_beside_factors_stay_frozen(make, batch):

    def adapted(recompute):
        model = make()
        lora.enable(model, rank=2, layers="all", seed=1)
        for layer in lora.adapted(model):
            lora.factors(layer)[1].assign(np.full(lora.factors(layer)[1].shape, 0.1))
        return stepped(model, batch, recompute)

    assert_close(adapted(False), adapted(True))


def test_all_sizes_of_an_elastic_model(make, batch):
    sizes = [{"layers": 1}, {"layers": 2, "feedforward": 16}]
    kept, again = (
        stepped(Elastic(make(), sizes), batch, recompute, steps=2, trainer=ElasticTrainer)
        for recompute in (False, True)
    )
    assert_close(kept, again)


@pytest.mark.slow
@pytest.mark.parametrize("family", ["gemma3", "llama", "gpt2"])
def test_families(family):
    shape = {"vocabulary_size": 60, "num_layers": 2, "intermediate_dim": 32}
    keys = {"num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": 16}
    backbone = {
        "gemma3": lambda: keras_hub.models.Gemma3Backbone(
            **shape, **keys, head_dim=8, image_size=None, vision_encoder=None, sliding_window_size=4, dropout=0.2
        ),
        "llama": lambda: keras_hub.models.LlamaBackbone(**shape, **keys),
        "gpt2": lambda: keras_hub.models.GPT2Backbone(
            **shape, num_heads=2, hidden_dim=16, max_sequence_length=16, dropout=0.2
        ),
    }[family]
    x = {"token_ids": np.arange(1, 33).reshape(4, 8), "padding_mask": np.ones((4, 8), "int32")}

    def gradients(recompute):
        keras.utils.set_random_seed(3)
        model = backbone()
        holder = type("Model", (), {"backbone": model})
        variables = [v.value for v in model.trainable_variables]

        @tf.function
        def gradient():
            with tf.GradientTape() as tape:
                with recomputation.of(holder) if recompute else tf.name_scope(""):
                    hidden = model(x, training=True)
                loss = tf.reduce_sum(hidden[:, ::3] ** 2 * tf.range(16.0))
            return [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables, unconnected_gradients="zero")]

        return gradient()

    for kept, again in zip(gradients(False), gradients(True), strict=True):
        np.testing.assert_allclose(kept, again, rtol=1e-4, atol=1e-5 * np.abs(kept).max())


def test_a_layer_is_itself_again_afterwards(make):
    model = make()
    with recomputation.of(model):
        assert all("call" in vars(layer) for layer in recomputation.layers(model))
    assert not any("call" in vars(layer) for layer in recomputation.layers(model))


def test_a_backbone_without_such_layers_is_refused():
    backbone = keras_hub.models.BloomBackbone(
        vocabulary_size=20, num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8, max_sequence_length=8
    )
    del backbone.transformer_layers
    with pytest.raises(CatKerasError, match=r"names transformer_layers\. Received: BloomBackbone"):
        recomputation.layers(type("Model", (), {"backbone": backbone}))


MEMORY = """
import resource, sys
import keras_hub, numpy as np, tensorflow as tf
from cat_keras.training import recomputation

backbone = keras_hub.models.GPT2Backbone(
    vocabulary_size=64, num_layers=8, num_heads=4, hidden_dim=128, intermediate_dim=512, max_sequence_length=128
)
x = {"token_ids": np.ones((32, 128), "int32"), "padding_mask": np.ones((32, 128), "int32")}
variables = [v.value for v in backbone.trainable_variables]

@tf.function
def gradient():
    with tf.GradientTape() as tape:
        with recomputation.of(type("Model", (), {"backbone": backbone})) if int(sys.argv[1]) else tf.name_scope(""):
            loss = tf.reduce_sum(backbone(x, training=True))
    return [tf.convert_to_tensor(g) for g in tape.gradient(loss, variables)]

before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gradient()
print(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before)
"""


@pytest.mark.long
def test_it_takes_less_than_half_of_the_memory():
    def peak(recompute):
        run = subprocess.run([sys.executable, "-c", MEMORY, str(recompute)], capture_output=True, text=True, check=True)
        return int(run.stdout)

    assert peak(1) < 0.5 * peak(0)
