"""One optimizer step over a global batch on any `tf.distribute` strategy: the same numbers however it is split.

Keras' own training loop cannot give them: under several replicas it averages means over unequal numbers of target
tokens, clips each replica's gradient before the sum, and fails under `MultiWorkerMirroredStrategy`.
"""

import contextlib

import numpy as np
import tensorflow as tf

from cat_keras.modeling.heads import target_positions


class Step:
    """Gradient of Σ a·ℓ / N over a global batch, N its target tokens, and one update of the weights.

    The rows of a batch are cut into `accumulate` slices for each replica, one after the other; a slice that ends up
    without a row or without a live token adds nothing. Each shape is compiled once.

    Args:
        trainer: a compiled `CascadeAware`, made in the scope of its strategy.
        accumulate: slices per replica; memory falls with it, the result stays the same up to rounding.
    """

    def __init__(self, trainer, accumulate: int = 1):
        self.trainer, self.optimizer, self.accumulate = trainer, trainer.optimizer, accumulate
        self.strategy = trainer.distribute_strategy
        self.replicas = self.strategy.num_replicas_in_sync
        self._variables = [v.value for v in trainer.model.trainable_variables]
        self._jit = trainer.jit_compile and _may_jit(self.strategy)
        self._slice_gradient = tf.function(self._gradient, jit_compile=self._jit)
        self._slice = tf.function(self._one_slice)
        self._finish = tf.function(self._all_update)
        self._whole = tf.function(self._fused, jit_compile=self._jit)

    def __call__(self, x: dict, y, weights, capacity=None) -> tuple[float, float]:
        """Steps on a batch of `Batches`, the whole global one, on every worker alike.

        Args:
            x, y, weights: arrays of (rows, length).
            capacity: (length, rows) → how many target tokens such a slice holds, see `Batches.capacity`; None makes
                the logits of all positions.

        Returns:
            loss in nats per target token (per live token with normalize="live"), and the mean of the mask.
        """
        count = np.float32(max(weights.sum(), 1))
        slices = split((x, y, weights), self.replicas * self.accumulate)
        slices = self._with_positions(slices, capacity)
        if len(slices) == 1:
            return tuple(map(float, self._whole(slices[0], count)))
        total = None
        for i in range(self.accumulate):
            part = self._placed(slices[i * self.replicas : (i + 1) * self.replicas])
            total = self._slice(part, count) if total is None else self._slice(part, count, total)
        loss, live = self._finish(total)
        return self._read(loss), self._read(live)

    def _with_positions(self, slices, capacity):
        """Each slice with the positions of its target tokens, as many as fit all slices of the batch."""
        rows, length = slices[0][1].shape
        room = capacity(length, rows) if capacity and self.trainer.output_layer else rows * length
        if room >= rows * length or max(int(weights.sum()) for *_, weights in slices) > room:
            return [(*each, None) for each in slices]
        return [(*each, target_positions(each[2], room)) for each in slices]

    def _fused(self, batch, count):
        return self._update(self._gradient(batch, count))

    def _gradient(self, batch, count, total=None):
        """(gradients…, share of the loss, share of the mask) of one slice, added to those before it."""
        x, y, weights, positions = batch
        with tf.GradientTape() as tape:
            loss, live = self.trainer.share(x, y, weights, count, positions)
            scaled = self.optimizer.scale_loss(loss)
        gradient = tape.gradient(scaled, self._variables, unconnected_gradients=tf.UnconnectedGradients.ZERO)
        # The gradient of an embedding table is sparse until it is summed.
        parts = [tf.convert_to_tensor(g) for g in gradient] + [loss, live]
        return parts if total is None else [a + b for a, b in zip(total, parts, strict=True)]

    def _one_slice(self, batch, count, total=None):
        arguments = (batch, count) if total is None else (batch, count, total)
        return self.strategy.run(self._slice_gradient, args=arguments)

    def _all_update(self, total):
        with _summed_once(self.optimizer):  # while this is traced
            return self.strategy.run(self._update, args=(total,))

    def _update(self, total):
        """Sums over replicas, then clips and applies; in the context of a replica."""
        if self.replicas > 1:
            context = tf.distribute.get_replica_context()
            # The sum is sent to where its terms are, which an argument of a graph does not know of itself.
            total = context.all_reduce(tf.distribute.ReduceOp.SUM, [tf.identity(value) for value in total])
        *gradient, loss, live = total
        if self.trainer.objective.normalize == "live":
            # The live tokens of the batch are known only here; to the gradient their number is a constant.
            kept = tf.maximum(live, 1e-9)
            gradient, loss = [g / kept for g in gradient], loss / kept
        self.optimizer.apply(gradient, self.trainer.model.trainable_variables)
        return loss, live

    def _placed(self, parts):
        """The slices of one round on their replicas; a worker places its own."""
        if self.replicas == 1:
            return parts[0]
        return self.strategy.experimental_distribute_values_from_function(
            lambda context: tf.nest.map_structure(_tensor, parts[context.replica_id_in_sync_group])
        )

    def _read(self, value) -> float:
        return float(self.strategy.experimental_local_results(value)[0])


def split(batch, parts: int) -> list:
    """Cuts (x, y, weights) into `parts` of equal shape, rows in order; what is short gets rows of weight 0.

    Args:
        batch: arrays, (rows, …) each.

    Returns:
        a list of (x, y, weights).
    """
    if parts == 1:
        return [batch]
    rows = len(batch[1])
    size = -(-rows // parts)
    x, y, weights = tf.nest.map_structure(lambda array: _lengthened(np.asarray(array), size * parts), batch)
    # A row of padding alone would attend to nothing: softmax over an empty set is NaN in some backends.
    x["padding_mask"][rows:, 0] = 1
    return [
        tf.nest.map_structure(lambda array: array[i * size : (i + 1) * size], (x, y, weights))  # noqa: B023
        for i in range(parts)
    ]


def _tensor(value):
    return value if value is None else tf.constant(value)


def _lengthened(array, rows):
    return np.concatenate([array, np.zeros((rows - len(array), *array.shape[1:]), array.dtype)])


def _may_jit(strategy) -> bool:
    """Whether to ask for XLA: a TPU compiles by itself, and XLA cannot tell several processors of one host apart."""
    if strategy.num_replicas_in_sync == 1 or isinstance(strategy, tf.distribute.TPUStrategy):
        return not isinstance(strategy, tf.distribute.TPUStrategy)
    devices = strategy.extended.worker_devices
    return len(devices) == 1 or "CPU" not in devices[0]


@contextlib.contextmanager
def _summed_once(optimizer):
    """Gradients that are summed over replicas already: Keras would sum them again, after clipping."""
    inner = getattr(optimizer, "inner_optimizer", optimizer)  # of a LossScaleOptimizer
    inner._all_reduce_sum_gradients = list
    try:
        yield
    finally:
        del inner._all_reduce_sum_gradients
