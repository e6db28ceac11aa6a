"""Recomputation: a layer keeps its input alone, and the backward pass computes again what else its gradient needs.

It takes one more forward pass of the layers, and leaves of their activations one input per layer (arXiv 1604.06174).
TensorFlow's `recompute_grad`, which `keras.RematScope` uses too, takes no keyword arguments in a compiled step, forgets
that the layers are training, and would draw other dropout masks the second time: these three are mended here.
"""

import contextlib

import keras
import tensorflow as tf

from cat_keras.errors import CatKerasError


@contextlib.contextmanager
def of(model):
    """Within the context, the decoder layers of a `CausalLM` train, and are recomputed; the gradient stays the same.

    Random numbers are drawn once per call and are the same in both passes.

    Args:
        model: with a backbone that names its `transformer_layers`.

    Raises:
        CatKerasError: a backbone without them.
    """
    changed = layers(model)
    for layer in changed:
        layer.call = _recomputed(layer)
    try:
        yield
    finally:
        for layer in changed:
            del layer.call  # of the object; that of its class stays


def layers(model) -> list:
    """The decoder layers of a `CausalLM`, in order."""
    found = getattr(model.backbone, "transformer_layers", None)
    if not found:
        raise CatKerasError(
            "Recomputation is of the layers that a backbone names transformer_layers. Received: "
            f"{type(model.backbone).__name__}, which has none. Leave recompute out; accumulate also saves memory"
        )
    return found


def _recomputed(layer):
    """The `call` of a layer, with a gradient that calls it again.

    Its first argument has a gradient. Others (masks, positions) are kept and have none.
    """
    call, generators = layer.call, [v for v in layer.variables if v.path.endswith("seed_generator_state")]

    def recomputed(hidden, *others, **settings):
        drawn_from, states_after = [tf.identity(v.value) for v in generators], []
        body_layer = _Body(lambda h: call(h, *others, **settings), layer.dtype_policy)

        def body(hidden):
            with keras.StatelessScope(list(zip(generators, drawn_from, strict=True))) as scope:
                # As a layer, since in the backward pass there is no caller to say that the model is training.
                output = body_layer(hidden, training=True)
            states_after[:] = states_after or [scope.get_current_value(v) for v in generators]
            return output

        output = tf.recompute_grad(body)(hidden)
        for variable, value in zip(generators, states_after, strict=True):
            variable.assign(value)
        return output

    return recomputed


class _Body(keras.layers.Layer):
    """A function of one tensor as a layer, so that the layers within know whether they are training."""

    def __init__(self, function, dtype_policy):
        super().__init__(dtype=dtype_policy, name="recomputed")
        self.function, self.built = function, True

    def call(self, hidden, training=None):
        return self.function(hidden)
