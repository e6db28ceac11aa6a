"""The loss under a large vocabulary, block by block, so that the logits of only one block are in memory at a time.

The logits of all target tokens of a batch may be larger than the model. The gradient needs them too, so it is computed
together with the loss of each block, before the logits of the next block are made.
"""

import keras
import tensorflow as tf


def summed(block, hidden, others, size: int, variables):
    """Sums a function over blocks of tokens, differentiable in `hidden` and `variables`.

    The gradient is computed beside the value, while the logits of the block exist, so that it costs no second pass. A
    loop that XLA cannot unroll keeps the blocks one after the other.

    Args:
        block: (hidden (1, size, width), others cut alike) → (loss, live): scalars that add up over blocks and to which
            tokens of weight 0 add nothing. Only the loss has a gradient.
        hidden: (1, n, width).
        others: nested structure of (1, n, …).
        size: tokens per block.
        variables: Keras variables that `block` reads. Frozen ones get no gradient.

    Returns:
        (loss, live), float32 scalars.
    """
    hidden, others = _cut(hidden, size), tf.nest.map_structure(lambda v: _cut(v, size), others)
    n_blocks = hidden.shape[0]
    # Read before `total`, which TensorFlow lets read no variable but its arguments.
    frozen = [(v, tf.convert_to_tensor(v.value)) for v in variables if not v.trainable]
    variables = [v for v in variables if v.trainable]

    @tf.custom_gradient
    def total(hidden, *values):
        def add_block(i, loss, live, d_hidden_blocks, d_values):
            block_hidden = hidden[i]
            with tf.GradientTape() as tape, keras.StatelessScope([*zip(variables, values, strict=True), *frozen]):
                tape.watch((block_hidden, *values))
                block_loss, block_live = block(block_hidden, tf.nest.map_structure(lambda v: v[i], others))
            d_block_hidden, *d_block_values = tape.gradient(
                block_loss, (block_hidden, *values), unconnected_gradients="zero"
            )
            d_values = tuple(s + tf.cast(d, s.dtype) for s, d in zip(d_values, d_block_values, strict=True))
            return i + 1, loss + block_loss, live + block_live, d_hidden_blocks.write(i, d_block_hidden), d_values

        start = (0, 0.0, 0.0, tf.TensorArray(hidden.dtype, n_blocks), tuple(map(tf.zeros_like, values)))
        _, loss, live, d_hidden_blocks, d_values = tf.while_loop(
            lambda i, *_: i < n_blocks, add_block, start, maximum_iterations=n_blocks
        )
        d_hidden = d_hidden_blocks.stack()

        def gradient(d_loss, _):
            return [tf.cast(d_loss, d.dtype) * d for d in (d_hidden, *d_values)]

        return (loss, live), gradient

    return total(hidden, *[tf.convert_to_tensor(v.value) for v in variables])


def _cut(values, size):
    """(1, n, …) as (blocks, 1, size, …), filled up with zeros at the end, which are tokens of weight 0."""
    n = values.shape[1]
    blocks = -(-n // size)
    values = tf.pad(values, [[0, 0], [0, blocks * size - n], *[[0, 0]] * (len(values.shape) - 2)])
    return tf.reshape(values, (blocks, 1, size, *values.shape[2:]))
