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


def leaves(model) -> list[tuple]:
    """(shape, dtype, axis of rows, axis of tokens) of keys and values, layer after layer."""
    return [
        ((1, layer.num_key_value_heads, 2, layer.head_dim), layer.compute_dtype, 0, 2)
        for layer in layers(model)
        for _ in range(2)
    ]


def read(model, attentions, tokens, cache, index, tight):
    """What `CachedModel.read` returns; keys and values are (rows, key-value heads, width, head size).

    With `tight` the width becomes that of the tokens read: appending copies less than writing does.
    """
    rows, width = ops.shape(tokens)[0], index + ops.shape(tokens)[1] if tight else ops.shape(cache[0])[2]
    write = _append if tight else _overwrite
    # KerasHub's own handling of the cache is given one without numbers in it.
    hollow = ops.zeros([rows, len(attentions), 2, width, 0, 0], attentions[0].compute_dtype)
    written = []
    with contextlib.ExitStack() as stack:
        for layer, keys, values in zip(attentions, cache[::2], cache[1::2], strict=True):
            stack.enter_context(_replaced(layer, _call(layer, keys, values, write, written)))
        logits, hidden, _ = model.call_with_cache(tokens, hollow, index)
    return logits, hidden, written


@contextlib.contextmanager
def _replaced(layer, call):
    layer.call = call
    try:
        yield
    finally:
        del layer.call  # the method of the class shows again


def _call(layer, keys, values, write, written):
    """A replacement of the layer's `call` that appends its keys and values, these tokens included, to `written`."""

    def call(x, attention_mask=None, cache=None, cache_update_index=0, training=False):
        query, key = (layer._apply_rope(dense(x), cache_update_index) for dense in (layer.query_dense, layer.key_dense))
        all_keys = write(keys, ops.transpose(key, (0, 2, 1, 3)), cache_update_index)
        all_values = write(values, ops.transpose(layer.value_dense(x), (0, 2, 1, 3)), cache_update_index)
        written.extend((all_keys, all_values))
        return layer.output_dense(attend(layer, query, all_keys, all_values, attention_mask)), cache

    return call


def _overwrite(old, new, index):
    return ops.slice_update(old, [0, 0, index, 0], new)


def _append(old, new, index):
    return ops.concatenate([old[:, :, :index], new], axis=2)


def attend(layer, query, keys, values, mask):
    """Softmax attention.

    Args:
        query: (rows, n, heads, head size). keys, values: (rows, key-value heads, width, head size).
        mask: (rows, n, width), true where a token may be attended to.

    Returns:
        (rows, n, heads, head size).
    """
    shape = ops.shape(query)
    rows, n, heads, size = shape[0], shape[1], layer.num_query_heads, layer.head_dim
    scale = size if layer.query_head_dim_normalize else layer.hidden_dim // heads
    groups = ops.reshape(query * ops.cast(scale**-0.5, query.dtype), (rows, n, layer.num_key_value_heads, -1, size))
    groups = ops.transpose(groups, (0, 2, 3, 1, 4))  # (rows, key-value heads, queries of each, n, head size)
    logits = ops.matmul(groups, ops.swapaxes(keys, -1, -2)[:, :, None])
    if layer.logit_soft_cap is not None:
        logits = ops.tanh(logits / layer.logit_soft_cap) * layer.logit_soft_cap
    weights = ops.cast(layer.softmax(logits, mask=mask[:, None, None]), query.dtype)
    found = ops.transpose(ops.matmul(weights, values[:, :, None]), (0, 3, 1, 2, 4))
    return ops.reshape(found, (rows, n, heads, size))
