"""The loss under a large vocabulary, block by block: the logits of one block exist at a time, also to the gradient."""

import keras
import tensorflow as tf


def summed(block, hidden, others, size: int, variables):
    """Sums a function over blocks of tokens, differentiable in `hidden` and `variables`.

    The gradient is taken beside the value, while the logits of the block exist, so that it costs no second pass; a loop
    that XLA cannot unroll keeps the blocks one after the other.

    Args:
        block: (hidden (1, size, width), others cut alike) → (loss, live): scalars that add up over blocks and to which
            tokens of weight 0 add nothing. Only the loss has a gradient.
        hidden: (1, n, width). others: nested structure of (1, n, …). size: tokens per block.
        variables: Keras variables that `block` reads.

    Returns:
        (loss, live), float32 scalars.
    """
    hidden, others = _cut(hidden, size), tf.nest.map_structure(lambda v: _cut(v, size), others)
    blocks = hidden.shape[0]

    @tf.custom_gradient
    def total(hidden, *values):
        def one(i, loss, live, rows, sums):
            piece = hidden[i]
            with tf.GradientTape() as tape, keras.StatelessScope(zip(variables, values, strict=True)):
                tape.watch((piece, *values))
                added, kept = block(piece, tf.nest.map_structure(lambda v: v[i], others))
            d_piece, *d_values = tape.gradient(added, (piece, *values), unconnected_gradients="zero")
            sums = tuple(s + tf.cast(d, s.dtype) for s, d in zip(sums, d_values, strict=True))
            return i + 1, loss + added, live + kept, rows.write(i, d_piece), sums

        start = (0, 0.0, 0.0, tf.TensorArray(hidden.dtype, blocks), tuple(map(tf.zeros_like, values)))
        _, loss, live, rows, sums = tf.while_loop(lambda i, *_: i < blocks, one, start, maximum_iterations=blocks)
        d_hidden = rows.stack()

        def gradient(d_loss, _):
            return [tf.cast(d_loss, d.dtype) * d for d in (d_hidden, *sums)]

        return (loss, live), gradient

    return total(hidden, *[tf.convert_to_tensor(v.value) for v in variables])


def _cut(values, size):
    """(1, n, …) as (blocks, 1, size, …), zeros at the end: tokens of weight 0."""
    n = values.shape[1]
    blocks = -(-n // size)
    values = tf.pad(values, [[0, 0], [0, blocks * size - n], *[[0, 0]] * (len(values.shape) - 2)])
    return tf.reshape(values, (blocks, 1, size, *values.shape[2:]))
