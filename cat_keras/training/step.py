"""One optimizer step over a global batch on any `tf.distribute` strategy, with the same result however it is split.

The training loop of Keras cannot do this: with several replicas it averages means over unequal numbers of target
tokens, clips the gradient of each replica before the sum, and fails under `MultiWorkerMirroredStrategy`.
"""

import contextlib

import numpy as np
import tensorflow as tf

from cat_keras.modeling.heads import target_positions
from cat_keras.training import device


class Step:
    """Gradient of Σ a·ℓ / N over a global batch, N its number of target tokens, and one update of the weights.

    The rows of a batch are cut into `replicas` · `accumulate` slices. In each of `accumulate` rounds every replica adds
    the gradient of one slice to its sum; then the sums of all replicas are added, and the optimizer applies the total.
    A slice without a row or without a live token adds nothing. Each shape is compiled once.

    Args:
        trainer: a compiled `CascadeAware`, made in the scope of its strategy.
        accumulate: slices per replica; more slices take less memory and give the same result up to rounding.
        jit: what XLA compiles: True for all, False for nothing, or `device.ELEMENTWISE`.
    """

    def __init__(self, trainer, accumulate: int = 1, jit: bool | str = False):
        self.trainer, self.optimizer, self.accumulate = trainer, trainer.optimizer, accumulate
        self.strategy = trainer.distribute_strategy
        self.replicas = self.strategy.num_replicas_in_sync
        self._variables = [v.value for v in trainer.model.trainable_variables]
        may_jit = _may_jit(self.strategy)
        elementwise = may_jit and jit == device.ELEMENTWISE
        self._compiled_parts = device.elementwise_compiled if elementwise else contextlib.nullcontext
        may_jit = may_jit and jit is True
        # With one slice, gradient and update are one function; with several, one function per round and one update.
        self.compiled_step = tf.function(self._gradient_and_update, jit_compile=may_jit)
        self._of_shapes = {}  # `_shapes` of a batch → the compiled step for such batches
        self._compiled_gradient = tf.function(self._gradient, jit_compile=may_jit)
        self._compiled_round = tf.function(self._round)
        self._compiled_finish = tf.function(self._finish)

    def __call__(self, x: dict, y, weights, capacity=None) -> tuple[tf.Tensor, tf.Tensor]:
        """Steps on a batch of `Batches`; every worker is given the whole global batch.

        Args:
            x, y, weights: arrays of (rows, length).
            capacity: (length, rows) → how many target tokens to make room for in such a slice, see `Batches.capacity`.
                Only their logits are computed. None, or a slice with more target tokens, computes all logits.

        Returns:
            loss in nats per target token (per live token with normalize="live"), and the mean of the mask: scalars,
            for whose values one waits when one reads them.
        """
        return self.take(*self.placed(x, y, weights, capacity))

    def placed(self, x, y, weights, capacity=None) -> tuple[list, tf.Tensor]:
        """The slices of a batch and its number of target tokens, as `take` takes them; arguments as for a call.

        With one replica they are on the device then, which another thread can do while it is busy with the step before.
        """
        count = np.float32(max(weights.sum(), 1))
        slices = split((x, y, weights), self.replicas * self.accumulate)
        placed = self.with_positions(slices, capacity), count
        return tf.nest.map_structure(_tensor, placed) if self.replicas == 1 else placed

    def take(self, slices, count) -> tuple[tf.Tensor, tf.Tensor]:
        """Steps on what `placed` gave."""
        if len(slices) == 1:
            return self._step_for(slices[0], count)(slices[0], count)
        sums = None
        for i in range(self.accumulate):
            round_slices = self._on_replicas(slices[i * self.replicas : (i + 1) * self.replicas])
            if sums is None:
                sums = self._compiled_round(round_slices, count)
            else:
                sums = self._compiled_round(round_slices, count, sums)
        loss, live = self._compiled_finish(sums)
        return self._read(loss), self._read(live)

    def _step_for(self, batch, count):
        """The compiled step for batches of this shape. TensorFlow would look for it longer than a tiny model steps."""
        shapes = _shapes(batch)
        if shapes not in self._of_shapes:
            self._of_shapes[shapes] = self.compiled_step.get_concrete_function(batch, count)
        return self._of_shapes[shapes]

    def with_positions(self, slices, capacity):
        """(x, y, weights, positions) of each slice: those of its target tokens, or None where all logits are computed.

        All slices get the same number of positions, so that they have one shape.
        """
        rows, length = slices[0][1].shape
        room = capacity(length, rows) if capacity and self.trainer.output_layer else rows * length
        if room >= rows * length or max(int(weights.sum()) for *_, weights in slices) > room:
            return [(*arrays, None) for arrays in slices]
        return [(x, y, weights, target_positions(weights, room)) for x, y, weights in slices]

    def _on_replicas(self, slices):
        """The slices of one round as a distributed value; each worker places those of its own replicas."""
        if self.replicas == 1:
            return slices[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.nest.map_structure(_tensor, slices[context.replica_id_in_sync_group])
        )

    def _read(self, value) -> tf.Tensor:
        return self.strategy.experimental_local_results(value)[0]

    # The methods below are traced by `tf.function`.

    def _gradient_and_update(self, batch, count):
        return self._update(self._gradient(batch, count))

    def _gradient(self, batch, count, sums=None):
        """[gradients…, share of the loss, share of the mask] of one slice, added to `sums` of the slices before it."""
        with self._compiled_parts():
            return self._added_gradient(batch, count, sums)

    def _added_gradient(self, batch, count, sums):
        x, y, weights, positions = batch
        parts = []
        for share in self.trainer.shares(x, y, weights, count, positions):
            # The forward pass of a part begins when the gradient of the part before it is there, whose activations
            # need not be in memory any more.
            with tf.control_dependencies(parts), tf.GradientTape() as tape:
                with self.trainer.recomputation():
                    loss, live = share()
                scaled = self.optimizer.scale_loss(loss)
            gradients = tape.gradient(scaled, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
            # The gradient of an embedding table is sparse until it is added to another.
            parts = [tf.convert_to_tensor(g) for g in gradients] + [loss, live]
            sums = parts if sums is None else [a + b for a, b in zip(sums, parts, strict=True)]
        return sums

    def _round(self, slices, count, sums=None):
        """Each replica adds the gradient of its slice."""
        arguments = (slices, count) if sums is None else (slices, count, sums)
        return self.strategy.run(self._compiled_gradient, args=arguments)

    def _finish(self, sums):
        with _summed_once(self.optimizer):  # while this is traced
            return self.strategy.run(self._update, args=(sums,))

    def _update(self, sums):
        """Adds the sums of all replicas, then clips and applies the gradient; runs in the context of a replica."""
        if self.replicas > 1:
            context = tf.distribute.get_replica_context()
            # The total is sent to the device of its terms. An argument of a graph has none; its `tf.identity` has.
            sums = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(value) for value in sums])
        *gradients, loss, live = sums
        with self._compiled_parts():
            if self.trainer.objective.normalize == "live":
                # The number of live tokens is known only after the sum, and is a constant to the gradient.
                live_share = tf.maximum(live, 1e-9)
                gradients, loss = [g / live_share for g in gradients], loss / live_share
            self.optimizer.apply(gradients, self.trainer.model.trainable_variables)
        return loss, live


def split(batch, parts: int) -> list:
    """Cuts (x, y, weights) into `parts` of equal shape, rows in order; the missing rows at the end have weight 0.

    Args:
        batch: (x, y, weights), where y, weights and the values of the dict x are arrays of (rows, …).
        parts: how many.

    Returns:
        a list of (x, y, weights).
    """
    if parts == 1:
        return [batch]
    rows = len(batch[1])
    size = -(-rows // parts)

    def fill_up(array):
        array = np.asarray(array)
        return np.concatenate([array, np.zeros((size * parts - len(array), *array.shape[1:]), array.dtype)])

    x, y, weights = tf.nest.map_structure(fill_up, batch)
    # A row of padding alone would attend to nothing, and a softmax over an empty set is NaN in some backends.
    x["padding_mask"][rows:, 0] = 1
    return [
        tf.nest.map_structure(lambda array: array[i * size : (i + 1) * size], (x, y, weights))  # noqa: B023
        for i in range(parts)
    ]


def _tensor(value):
    return value if value is None else tf.constant(value)


def _shapes(batch) -> tuple:
    """What tells batches apart that need steps of their own."""
    x, y, weights, positions = batch
    rest = (("y", y), ("weights", weights), ("positions", positions))
    return tuple((name, a.shape, a.dtype) for name, a in (*x.items(), *rest) if a is not None)


def _may_jit(strategy) -> bool:
    """Whether to ask for XLA: a TPU compiles by itself, and XLA cannot tell several processors of one host apart."""
    if strategy.num_replicas_in_sync == 1 or isinstance(strategy, tf.distribute.TPUStrategy):
        return not isinstance(strategy, tf.distribute.TPUStrategy)
    devices = strategy.extended.worker_devices
    return len(devices) == 1 or "CPU" not in devices[0]


@contextlib.contextmanager
def _summed_once(optimizer):
    """Keeps Keras from summing the gradients over replicas once more, after clipping: they are summed already."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    inner._all_reduce_sum_gradients = list
    try:
        yield
    finally:
        del inner._all_reduce_sum_gradients
