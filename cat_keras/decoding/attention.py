"""Attention of Gemma models over a cache whose keys and values are tensors of their own.

KerasHub stacks keys and values of all layers into one tensor, and takes that apart and together again for every token:
most of the time of decoding with a small model. Here each is written at one place. Everything else of the model, and
every other family, runs KerasHub's own code.
"""

import contextlib

from keras import ops


def layers(model) -> list:
    """The attention layers of a model that `read` serves; empty for every other model."""
    from keras_hub.src.models.gemma.gemma_attention import CachedGemmaAttention

    blocks = getattr(getattr(model, "backbone", None), "transformer_layers", [])
    found = [getattr(block, "attention", None) for block in blocks]
    fits = all(type(layer) is CachedGemmaAttention and not layer.use_sliding_window_attention for layer in found)
    return found if fits else []


def leaves(model, tight: bool) -> list[tuple]:
    """(shape, dtype, axis of rows, axis of tokens) of keys and values, layer after layer; tight ones in two parts."""
    return [
        ((1, layer.num_key_value_heads, 2, layer.head_dim), layer.compute_dtype, 0, 2)
        for layer in layers(model)
        for _ in range(4 if tight else 2)
    ]


def read(model, attentions, tokens, cache, index, tight):
    """What `CachedModel.read` returns.

    Keys and values are (rows, key-value heads, width, head size), written at the index. With `tight` each is in two
    parts, settled and recent, and new ones are appended to the recent: that is all that is copied.
    """
    rows, width = ops.shape(tokens)[0], index + ops.shape(tokens)[1] if tight else ops.shape(cache[0])[2]
    # KerasHub's own handling of the cache is given one without numbers in it.
    hollow = ops.zeros([rows, len(attentions), 2, width, 0, 0], attentions[0].compute_dtype)
    size, written = len(cache) // len(attentions), []
    with contextlib.ExitStack() as stack:
        for i, layer in enumerate(attentions):
            mine = cache[i * size : (i + 1) * size]
            stack.enter_context(_replaced(layer, _call(layer, mine, tight, written)))
        logits, hidden, _ = model.call_with_cache(tokens, hollow, index)
    return logits, hidden, written


def settle(cache) -> list:
    """A tight cache with nothing recent."""
    out = []
    for old, recent in zip(cache[::2], cache[1::2], strict=True):
        out += [ops.concatenate([old, recent], axis=2), recent[:, :, :0]]
    return out


@contextlib.contextmanager
def _replaced(layer, call):
    layer.call = call
    try:
        yield
    finally:
        del layer.call  # the method of the class shows again


def _call(layer, mine, tight, written):
    """A replacement of the layer's `call` that appends its part of the cache, these tokens included, to `written`."""

    def call(x, attention_mask=None, cache=None, cache_update_index=0, training=False):
        query, key = (layer._apply_rope(dense(x), cache_update_index) for dense in (layer.query_dense, layer.key_dense))
        new = (ops.transpose(found, (0, 2, 1, 3)) for found in (key, layer.value_dense(x)))
        if tight:
            both = [[old, ops.concatenate([recent, more], axis=2)]
                    for old, recent, more in zip(mine[::2], mine[1::2], new, strict=True)]  # fmt: skip
        else:
            start = [0, 0, cache_update_index, 0]
            both = [[ops.slice_update(old, start, more)] for old, more in zip(mine, new, strict=True)]
        written.extend(part for parts in both for part in parts)
        return layer.output_dense(attend(layer, query, *both, attention_mask)), cache

    return call


def attend(layer, query, keys, values, mask):
    """Softmax attention.

    Args:
        query: (rows, n, heads, head size). keys, values: lists of parts (rows, key-value heads, width, head size), of
            which the widths add up.
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
    found, start = 0, 0
    for part in values:
        end = start + ops.shape(part)[2]
        found, start = found + ops.matmul(weights[..., start:end], part[:, :, None]), end
    return ops.reshape(ops.transpose(found, (0, 3, 1, 2, 4)), (rows, n, heads, size))
