"""The second peer of the training benchmark: the same kind of model, with a step written by hand in TensorFlow.

What a library could cost is left out: matrix products have two dimensions, nothing knows of padding or of columns, and
AdamW updates one flat vector of all weights. Attention, norms and gates are those of Gemma.
"""

import math

import numpy as np
import tensorflow as tf


class PlainStep:
    """Takes AdamW steps on batches of one shape.

    Args:
        batch: (ids, labels, weights) of (rows, length) each; how many tokens are targets is the same in every batch.
        layers, width, heads, feedforward, vocabulary: of the model.
        bfloat16: whether products are computed in it; weights and the loss are float32.
        jit: whether XLA compiles the step.
    """

    def __init__(self, batch, layers, width, heads, feedforward, vocabulary=4096, bfloat16=False, jit=False):
        self.rows, self.length = batch[0].shape
        self.targets = int(batch[2].sum())
        self.layers, self.width, self.heads = layers, width, heads
        self.dtype = tf.bfloat16 if bfloat16 else tf.float32
        layer = [(width,), (width, 3 * width), (width, width), (width,), (width, 2 * feedforward), (feedforward, width)]
        self._shapes = [(vocabulary, width), *layer * layers, (width,)]
        self._sizes = [math.prod(shape) for shape in self._shapes]
        rng = np.random.default_rng(0)
        drawn = [
            rng.normal(0, shape[-1] ** -0.5, shape) if len(shape) > 1 else np.ones(shape) for shape in self._shapes
        ]
        self.weights = tf.Variable(np.concatenate([array.ravel() for array in drawn]), dtype=tf.float32)
        self.first, self.second = (tf.Variable(tf.zeros_like(self.weights)) for _ in range(2))
        self.count = tf.Variable(0.0)
        self._step = tf.function(self._updated, jit_compile=jit)

    def __call__(self, ids, labels, weights) -> float:
        """The loss of a batch, before its step."""
        places = np.flatnonzero(weights).astype(np.int32)
        return float(self._step(*map(tf.constant, (ids, labels.ravel()[places], places))))

    def _updated(self, ids, labels, places, rate=1e-3, decay=0.004):
        parts = [tf.reshape(part, shape)
                 for part, shape in zip(tf.split(self.weights, self._sizes), self._shapes, strict=True)]  # fmt: skip
        with tf.GradientTape() as tape:
            tape.watch(parts)
            loss = self._loss(parts, ids, labels, places)
        gradients = map(tf.convert_to_tensor, tape.gradient(loss, parts))
        gradient = tf.concat([tf.reshape(g, [-1]) for g in gradients], 0)
        gradient *= tf.minimum(1.0, tf.math.rsqrt(tf.reduce_sum(gradient * gradient) + 1e-12))
        n = self.count.assign_add(1.0)
        first = self.first.assign(0.9 * self.first + 0.1 * gradient)
        second = self.second.assign(0.999 * self.second + 0.001 * gradient * gradient)
        rate *= tf.sqrt(1 - tf.pow(0.999, n)) / (1 - tf.pow(0.9, n))
        self.weights.assign(self.weights * (1 - 1e-3 * decay) - rate * first / (tf.sqrt(second) + 1e-7))
        return loss

    def _loss(self, parts, ids, labels, places):
        table, *of_layers, last = parts
        x = tf.cast(tf.gather(table, tf.reshape(ids, [-1])) * self.width**0.5, self.dtype)
        for i in range(self.layers):
            norm, qkv, out, second_norm, up, down = of_layers[6 * i : 6 * i + 6]
            x += self._product(self._attention(self._product(_normed(x, norm), qkv)), out)
            gate, value = tf.split(self._product(_normed(x, second_norm), up), 2, axis=1)
            x += self._product(tf.nn.gelu(gate, approximate=True) * value, down)
        x = tf.gather(_normed(x, last), places)
        logits = tf.cast(tf.matmul(x, tf.cast(table, self.dtype), transpose_b=True), tf.float32)
        losses = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
        return tf.reduce_sum(losses) / self.targets

    def _product(self, x, kernel):
        return tf.matmul(x, tf.cast(kernel, self.dtype))

    def _attention(self, qkv):
        """(rows · length, width), causal, from queries, keys and values beside each other."""
        qkv = tf.reshape(qkv, [self.rows, self.length, 3, self.heads, self.width // self.heads])
        query, key, value = tf.unstack(tf.transpose(qkv, [2, 0, 3, 1, 4]))
        size = self.width // self.heads
        angles = np.arange(self.length)[:, None] * 10_000.0 ** (-np.arange(size // 2) / (size // 2))
        cos, sin = (tf.constant(f(angles), self.dtype) for f in (np.cos, np.sin))
        query, key = (_rotated(x, cos, sin) for x in (query, key))
        scores = tf.matmul(query, key, transpose_b=True) * size**-0.5
        hidden = np.triu(np.full((self.length, self.length), -1e30, np.float32), 1)
        shares = tf.cast(tf.nn.softmax(tf.cast(scores, tf.float32) + hidden), self.dtype)
        return tf.reshape(tf.transpose(tf.matmul(shares, value), [0, 2, 1, 3]), [-1, self.width])


def _normed(x, scale):
    wide = tf.cast(x, tf.float32)
    return tf.cast(wide * tf.math.rsqrt(tf.reduce_mean(wide * wide, -1, keepdims=True) + 1e-6) * scale, x.dtype)


def _rotated(x, cos, sin):
    a, b = tf.split(x, 2, axis=-1)
    return tf.concat([a * cos - b * sin, b * cos + a * sin], -1)
