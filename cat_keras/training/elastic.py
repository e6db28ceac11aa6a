"""Training all sizes of an elastic model in one step. As `ck.elastic` it also has the model itself and its sizes.

For every size there is a forward pass and a loss; the loss of a step is their mean, and one optimizer step follows (no
size is sampled). The loss of a smaller size distils from the whole model in the same step. After ElasticLM
(arXiv 2311.07204), of which the abstract alone could be read: the details are ours, see `Loss` and `Trainer`.
"""

import functools

import keras
import numpy as np
from keras import ops

from cat_keras.errors import COUNT, SHARE, CatKerasError, check_number
from cat_keras.modeling import heads
from cat_keras.modeling.elastic import Elastic, Size, reorder
from cat_keras.modeling.elastic.reordering import kernels
from cat_keras.training import losses
from cat_keras.training.trainer import CascadeAware

__all__ = ["Elastic", "Loss", "Size", "Trainer", "importance", "reorder"]


class Loss(losses.CascadeLoss):
    """The loss of one size: (1 − λ) · objective + λ · a_i · −Σ_v p_whole(v) log p_size(v), summed over target tokens.

    The objective is that of a cascade: with `cat-xent` the mask a_i keeps the tokens that this size or the large model
    of the cascade gets right, so every size has a mask of its own. The distribution of the whole elastic model in the
    same step, constant to the gradient, teaches the smaller sizes; the whole has λ = 0. Both are our choice.

    Args:
        objective: an objective or its name, see `losses.OBJECTIVES`.
        distil: λ, in [0, 1].
        sizes: of the elastic model, as they count for the identity of a training.
    """

    def __init__(self, objective="xent", distil=0.5, sizes=()):
        self.objective = losses.get(objective)
        super().__init__(normalize=self.objective.normalize)
        self.distil = check_number("distil, the weight of the whole model against the objective,", distil, SHARE)
        self.sizes = [list(size) for size in sizes]

    @property
    def columns(self):
        return self.objective.columns

    @property
    def tokenwise(self):
        return self.objective.tokenwise

    @property
    def temperature(self):
        return getattr(self.objective, "temperature", 1.0)

    @property
    def k(self):
        return getattr(self.objective, "k", 1)

    def per_token(self, labels, logits, weights, columns):
        values, mask = self.objective.per_token(labels, logits, weights, columns)
        if "whole" in columns and self.distil:
            probs = ops.softmax(losses.only_target(ops.stop_gradient(columns["whole"]), weights), axis=-1)
            distilled = mask * losses.distillation_cross_entropy(logits, probs)
            values = (1 - self.distil) * values + self.distil * distilled
        return values, mask

    def get_config(self):
        objective = keras.saving.serialize_keras_object(self.objective)
        return {"objective": objective, "distil": self.distil, "sizes": self.sizes}

    @classmethod
    def from_config(cls, config):
        return cls(**config | {"objective": keras.saving.deserialize_keras_object(config["objective"])})


class Trainer(CascadeAware):
    """An elastic model with the mean of a cascade objective over its sizes as its loss; for `train`, and for `fit`.

    Sizes that differ in their layers alone are computed in one pass, each from the states after its last layer. The
    others are computed one after the other, so that the activations of one pass are in memory at a time. The result is
    that of one forward pass for every size.

    Args:
        elastic: trained in place, all sizes at once.
        loss: an objective or its name, see `losses.OBJECTIVES`.
        distil: weight of the whole model's distribution in the loss of the smaller sizes, see `Loss`.
        teacher, chunk, recompute: see `CascadeAware`.

    Raises:
        CatKerasError: the objective is one of the large model.
    """

    def __init__(self, elastic, loss="xent", distil=0.5, teacher=None, chunk=None, recompute=False, **kwargs):
        if not isinstance(elastic, Elastic):
            raise CatKerasError(
                f"This trains an Elastic. Received: {type(elastic).__name__}. Give ck.elastic.Elastic(model, sizes), "
                "or a model to ck.CascadeAware"
            )
        loss = Loss(loss, distil, [size.numbers for size in elastic.sizes])
        if "distilled" in loss.columns:
            raise CatKerasError(
                f"The sizes of an elastic model are small models. Received: {type(loss.objective).__name__}, an "
                f"objective of the large one. Take one of {', '.join(losses.OBJECTIVES)}"
            )
        super().__init__(elastic.model, loss, teacher=teacher, chunk=chunk, recompute=recompute, **kwargs)
        self._parts = _Parts(elastic)

    @property
    def elastic(self) -> Elastic:
        return self._parts.elastic

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """As of `CascadeAware`; y_pred, the logits of the whole, is computed anew with those of the other sizes."""
        loss, live = self.share(x, y, sample_weight, ops.sum(ops.cast(sample_weight, "float32")))
        self.live_tracker.update_state(live)
        loss = loss / ops.maximum(live, 1e-9) if self.objective.normalize == "live" else loss
        replicas = getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1)
        return loss / replicas if replicas > 1 else loss

    def share(self, x, y, weights, count, positions=None):
        loss, live = zip(*(share() for share in self.shares(x, y, weights, count, positions)), strict=True)
        return sum(loss), sum(live)

    def shares(self, x, y, weights, count, positions=None):
        """A function for each pass, that of the whole first; see `CascadeAware.shares`."""
        columns = {name: x[name] for name in x if name not in ("token_ids", "padding_mask")}
        columns |= self._live_columns(x, y)
        targets = y, weights, columns
        if positions is not None:
            targets = keras.tree.map_structure(lambda v: heads.gather(v, positions), targets)
        whole = []  # what is kept of the whole for the other sizes: its logits, or its states where these are too large
        n = len(self.elastic.sizes)

        def pass_through(exits, trunk, output_layer):
            states = trunk(self._token_inputs(x), training=True)
            loss = live = 0.0
            for hidden in states if len(exits) > 1 else [states]:
                hidden = hidden if positions is None else heads.gather(hidden, positions)
                if self.chunk and positions is not None and hidden.shape[1] > self.chunk:
                    shares = self._share_in_blocks(hidden, targets, count, output_layer, whole)
                else:
                    shares = self._share_at_once(hidden, targets, count, output_layer, whole)
                loss, live = loss + shares[0], live + shares[1]
            return loss / n, live / n

        return [functools.partial(pass_through, *part) for part in self._parts.passes]

    def _share_at_once(self, hidden, targets, count, output_layer, whole):
        """(loss, live) of a size from its hidden states; `whole` gets the logits of the first, which is the whole."""
        y, weights, columns = targets
        logits = output_layer(hidden)
        columns = columns | ({"whole": whole[0]} if whole else {})
        if not whole:
            whole.append(ops.stop_gradient(logits))
        return self.objective.share(y, logits, weights, columns, count)

    def _share_in_blocks(self, hidden, targets, count, output_layer, whole):
        """As `_share_at_once`, block by block: `whole` gets hidden states, of which each block makes logits again."""
        from cat_keras.training import chunks  # only here, since it imports TensorFlow

        first, whole_output = not whole, self._parts.passes[0][-1]
        if first:
            whole.append(ops.stop_gradient(hidden))

        def block_share(hidden, arrays):
            (y, weights, columns), whole_hidden = arrays
            columns = columns if first else columns | {"whole": whole_output(whole_hidden)}
            return self.objective.share(y, output_layer(hidden), weights, columns, count)

        read = {id(v): v for layer in (output_layer, whole_output) for v in heads.variables(layer)}
        return chunks.summed(block_share, hidden, (targets, whole[0]), self.chunk, list(read.values()))


class _Parts:
    """The elastic model of a trainer and its passes, out of sight of Keras, which would track each size as a layer."""

    def __init__(self, elastic):
        self.elastic = elastic
        self.passes = [(*elastic.trunk(size), heads.output_layer(elastic.at(size))) for size in elastic.trunks]


def importance(model, batches, steps: int = 8) -> list[dict[str, np.ndarray]]:
    """How much the heads and units of each layer matter: Σ |∂loss/∂mask| over batches, normalised per layer.

    The mask of a head or unit multiplies what it adds to the residual stream and is 1. Its derivative is the product of
    the weights through which it adds and of their gradient, so one backward pass per batch gives all of them. The loss
    is the cross-entropy of target tokens; that a batch is what the absolute value is taken of is our choice.

    Args:
        model: a `CausalLM` of a family that can be elastic.
        batches: `Batches`. steps: how many of them, from the first one.

    Returns:
        for each layer {"heads": (heads,), "units": (units,)}, float64, each summing to 1, for `reorder`.

    Raises:
        CatKerasError: Keras runs on another backend than TensorFlow.
    """
    check_number("steps, how many batches importance is computed on,", steps, COUNT, whole=True)
    if keras.config.backend() != "tensorflow":
        raise CatKerasError(
            f"Importance is computed on the TensorFlow backend. Received: {keras.config.backend()}. Set "
            "KERAS_BACKEND=tensorflow for it"
        )
    import tensorflow as tf

    trainer, layers = CascadeAware(model, "xent"), kernels(model)
    variables = [kernel.value for pair in layers for kernel in pair]

    @tf.function
    def derivatives(x, y, weights, count):
        with tf.GradientTape() as tape:
            loss, _ = trainer.share(x, y, weights, count)
        gradients = tape.gradient(loss, variables)
        return [tf.reduce_sum(w * g, axis=range(1, len(w.shape))) for w, g in zip(variables, gradients, strict=True)]

    sums = [0.0] * len(variables)
    for step in range(steps):
        x, y, weights = batches.batch(step)
        values = derivatives({k: tf.constant(v) for k, v in x.items()}, y, weights, np.float32(max(weights.sum(), 1)))
        sums = [s + np.abs(np.asarray(v, np.float64)) for s, v in zip(sums, values, strict=True)]
    shares = [v / v.sum() if v.sum() else np.full(len(v), 1 / len(v)) for v in sums]
    return [{"heads": h, "units": u} for h, u in zip(shares[::2], shares[1::2], strict=True)]
