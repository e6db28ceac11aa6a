"""Attention of Gemma models over a cache that holds keys and values of every layer as separate tensors.

KerasHub stacks keys and values of all layers into one tensor, and splits and restacks it for every token, which takes
most of the time of decoding with a small model. Here each tensor is written in place. The rest of the model, and every
other family, runs KerasHub's own code.
"""

import contextlib

from keras import ops

from cat_keras.modeling import models


def layers(model) -> list:
    """The attention layers of a model that `read` serves; empty for every other model."""
    from keras_hub.src.models.gemma.gemma_attention import CachedGemmaAttention

    blocks = getattr(getattr(model, "backbone", None), "transformer_layers", [])
    attentions = [getattr(block, "attention", None) for block in blocks]
    fits = all(type(layer) is CachedGemmaAttention and not layer.use_sliding_window_attention for layer in attentions)
    return attentions if fits else []


def leaves(model, tight: bool) -> list[tuple]:
    """(shape, dtype, axis of rows, axis of tokens) of each tensor of a cache, layer after layer.

    A layer has keys and values; in a tight cache each of these is in two parts, see `read`.
    """
    return [
        ((1, layer.num_key_value_heads, 2, layer.head_dim), layer.compute_dtype, 0, 2)
        for layer in layers(model)
        for _ in range(4 if tight else 2)
    ]


def read(model, attentions, tokens, cache, index, tight):
    """The forward pass of `CachedModel.read`, with its arguments and results.

    Keys and values are (rows, key-value heads, width, head size) and are written at the index. In a tight cache each is
    in two parts, settled and recent. New ones are appended to the recent part, so that only this part is copied.
    """
    rows, width = ops.shape(tokens)[0], index + ops.shape(tokens)[1] if tight else ops.shape(cache[0])[2]
    # KerasHub's own code still handles a cache, so it gets one that holds no numbers.
    hollow = ops.zeros([rows, len(attentions), 2, width, 0, 0], attentions[0].compute_dtype)
    size, written = len(cache) // len(attentions), []
    with contextlib.ExitStack() as stack:
        for i, layer in enumerate(attentions):
            of_layer = cache[i * size : (i + 1) * size]
            stack.enter_context(models.replaced(layer, "call", _cached_call(layer, of_layer, tight, written)))
        logits, hidden, _ = model.call_with_cache(tokens, hollow, index)
    return logits, hidden, written


def settle(cache) -> list:
    """The same tight cache with everything in its settled parts and nothing in the recent ones."""
    parts = []
    for settled, recent in zip(cache[::2], cache[1::2], strict=True):
        parts += [ops.concatenate([settled, recent], axis=2), recent[:, :, :0]]
    return parts


def _cached_call(layer, of_layer, tight, written):
    """A replacement of the layer's `call` that reads and writes a cache of ours.

    Args:
        of_layer: the tensors of the cache that belong to the layer.
        written: a list to which each call appends these tensors with the new tokens in them.
    """

    def call(x, attention_mask=None, cache=None, cache_update_index=0, training=False):
        query = layer._apply_rope(layer.query_dense(x), cache_update_index)
        key = layer._apply_rope(layer.key_dense(x), cache_update_index)
        new = [ops.transpose(tensor, (0, 2, 1, 3)) for tensor in (key, layer.value_dense(x))]
        if tight:
            parts = zip(of_layer[::2], of_layer[1::2], new, strict=True)
            keys, values = ([settled, ops.concatenate([recent, more], axis=2)] for settled, recent, more in parts)
        else:
            start = [0, 0, cache_update_index, 0]
            keys, values = ([ops.slice_update(old, start, more)] for old, more in zip(of_layer, new, strict=True))
        written.extend([*keys, *values])
        return layer.output_dense(attend(layer, query, keys, values, attention_mask)), cache

    return call


def attend(layer, query, keys, values, mask):
    """Softmax attention of a layer.

    Args:
        query: (rows, n, heads, head size). keys, values: lists of parts (rows, key-value heads, width, head size),
            whose widths add up to the width of the mask.
        mask: (rows, n, width), true where a token may be attended to.

    Returns:
        (rows, n, heads, head size).
    """
    shape = ops.shape(query)
    rows, n, heads, size = shape[0], shape[1], layer.num_query_heads, layer.head_dim
    scale = size if layer.query_head_dim_normalize else layer.hidden_dim // heads
    groups = ops.reshape(query * ops.cast(scale**-0.5, query.dtype), (rows, n, layer.num_key_value_heads, -1, size))
    groups = ops.transpose(groups, (0, 2, 3, 1, 4))  # (rows, key-value heads, queries of each, n, head size)
    logits = [ops.matmul(groups, ops.swapaxes(part, -1, -2)[:, :, None]) for part in keys]
    logits = ops.concatenate(logits, axis=-1) if len(keys) > 1 else logits[0]
    if layer.logit_soft_cap is not None:
        logits = ops.tanh(logits / layer.logit_soft_cap) * layer.logit_soft_cap
    weights = ops.cast(layer.softmax(logits, mask=mask[:, None, None]), query.dtype)
    output, start = 0, 0
    for part in values:
        end = start + ops.shape(part)[2]
        output, start = output + ops.matmul(weights[..., start:end], part[:, :, None]), end
    return ops.reshape(ops.transpose(output, (0, 3, 1, 2, 4)), (rows, n, heads, size))
