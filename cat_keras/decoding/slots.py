"""A model whose cache has slots: rows in static shapes, each at a position of its own.

KerasHub's layers can hand their attention to a serving engine, with a position for each token; its package `vllm` does
so on TPUs. Here the same opening serves every device and backend: the tokens of all slots go through the backbone as
one flat batch, and the attention of this module stands in for the engine's. Projections, norms, soft caps, windows and
adapters are therefore those of KerasHub's own layers.
"""

import keras
from keras import ops

from cat_keras.modeling import heads, models

# Families of KerasHub whose layers have that opening, and whose answers are compared with their own `generate` by test.
FAMILIES = frozenset(
    f"{name}Backbone" for name in ("Gemma", "Gemma3", "Llama", "Llama3", "Mistral", "Qwen", "Qwen3", "GPT2", "OPT")
)
STEP = 64  # caches are as wide as a multiple of this, so that few widths are compiled; a multiple of a prompt's chunks


def supported(model) -> bool:
    """Whether `SlotModel` reads a model: one of the `FAMILIES`, of text alone, that attends to what came before.

    With torch none is: nothing is compiled there, so that a cache would be copied whole for every token.
    """
    backbone = getattr(model, "backbone", None)
    return (
        keras.config.backend() != "torch"
        and type(backbone).__name__ in FAMILIES
        and type(backbone).__module__.startswith("keras_hub.")
        and getattr(backbone, "vision_encoder", None) is None
        and not getattr(backbone, "use_bidirectional_attention", False)
        and heads.output_layer(model) is not None
    )


class SlotModel:
    """Reads tokens, each at a position of a slot, and keeps their keys and values.

    A cache is a flat list of tensors (slots, key-value heads, width, head size): keys and values of each layer in turn.
    With the heads before the width, a head's keys lie together, which makes attention on CPUs four times as fast.

    Args:
        model: a `CausalLM` that is `supported`.

    Attributes:
        context: number of positions that the model has.
    """

    def __init__(self, model):
        self.model, self.logits = model, heads.output_layer(model)
        self.context = models.positions(model) or 1 << 30  # rotary positions have no end
        self._leaves = _leaves(model)

    @property
    def spec(self) -> list[tuple[tuple, str]]:
        """(shape, dtype) of each tensor of a cache, None for its slots and its width."""
        return [((None, heads, None, size), dtype) for heads, size, dtype in self._leaves]

    def empty(self, slots: int, width: int) -> list:
        """A cache of zeros."""
        return [ops.zeros((slots, heads, width, size), dtype) for heads, size, dtype in self._leaves]

    def widen(self, cache: list, width: int) -> list:
        """The same cache with room for `width` tokens."""
        more = width - int(cache[0].shape[2])
        return [ops.pad(leaf, [(0, 0), (0, 0), (0, more), (0, 0)]) for leaf in cache] if more > 0 else cache

    def read(self, tokens, positions, cache: list, slots=None):
        """One forward pass; call it only within a compiled function.

        Args:
            tokens, positions: (rows, n) int32, both of static shape. A position is below the width of the cache.
            slots: (rows,) int32, the slot that each row belongs to; None where row i belongs to slot i of all.

        Returns:
            hidden states (rows, n, width), and the cache with these tokens.
        """
        rows, n = tokens.shape
        into = ops.arange(rows) if slots is None else slots

        def attention(leaves, query, key, value, scale, size, heads, kv_heads, sliding_window=None, soft_cap=None):
            places = into[:, None, None], positions[..., None], ops.arange(kv_heads)
            slot, position, head = (ops.reshape(ops.broadcast_to(p, (rows, n, kv_heads)), (-1,)) for p in places)
            index = ops.stack([slot, head, position], axis=-1)
            keys, values = (
                ops.scatter_update(leaf, index, ops.reshape(new, (-1, size)))
                for leaf, new in zip(leaves, (key, value), strict=True)
            )
            of_rows = (keys, values) if slots is None else [ops.take(leaf, slots, axis=0) for leaf in (keys, values)]
            place, own = ops.arange(ops.shape(keys)[2]), positions[..., None]
            visible = place <= own
            if sliding_window is not None:
                visible = ops.logical_and(visible, place > own - sliding_window)
            query = ops.reshape(query, (rows, n, heads, size))
            attended = _attend(query, *of_rows, visible, scale, soft_cap)
            return (keys, values), ops.reshape(attended, (rows * n, heads * size))

        # Only padding has a position that the model does not have. Nothing attends to padding.
        known = ops.minimum(positions, self.context - 1)
        layers = list(zip(cache[::2], cache[1::2], strict=True))
        hidden, layers = self._through_backbone(tokens, known, attention, layers)
        return hidden, [leaf for layer in layers for leaf in layer]

    def states(self, tokens, positions, visible):
        """Hidden states (size, width) of whole rows without a cache; call it only within a compiled function.

        Args:
            tokens, positions: (size,) int32, of static shape: row after row, and then padding. A row may hold several
                texts that continue the same one.
            visible: (rows, n, n) bool, the places of its row that each token attends to.
        """
        flat, (rows, n) = tokens.shape[0], ops.shape(visible)[:2]
        used = rows * n

        def attention(layer, query, key, value, scale, size, heads, kv_heads, sliding_window=None, soft_cap=None):
            flat_query = ops.reshape(query, (flat, heads * size))
            query, keys, values = (
                ops.reshape(ops.reshape(new, (flat, count, size))[:used], (rows, n, count, size))
                for new, count in ((query, heads), (key, kv_heads), (value, kv_heads))
            )
            keys, values = ops.transpose(keys, (0, 2, 1, 3)), ops.transpose(values, (0, 2, 1, 3))
            seen = visible
            if sliding_window is not None:
                own = ops.reshape(positions[:used], (rows, n))
                seen = ops.logical_and(visible, own[:, None, :] > own[:, :, None] - sliding_window)
            attended = ops.reshape(_attend(query, keys, values, seen, scale, soft_cap), (-1, heads * size))
            # What stands for the padding means nothing; with it the shape is static again.
            return layer, ops.reshape(ops.concatenate([attended, flat_query[used:]]), (flat, heads * size))

        return self._through_backbone(tokens, positions, attention, [()] * (len(self._leaves) // 2))[0]

    def _through_backbone(self, tokens, positions, attention, layers):
        """Hidden states of tokens (…, width), and what `attention` returns for each layer, given what it has of it."""
        from keras_hub.src.vllm.context import get_vllm_context, vllm_context_scope

        flat = ops.reshape(tokens, (-1, 1))
        with vllm_context_scope(attention, ops.reshape(positions, (-1,)), layers):
            hidden = self.model.backbone({"token_ids": flat, "padding_mask": ops.ones_like(flat)})
            layers = get_vllm_context().updated_kv_caches
        return ops.reshape(hidden, (*ops.shape(tokens), hidden.shape[-1])), layers


def _attend(query, keys, values, visible, scale, soft_cap):
    """Softmax attention.

    Args:
        query: (rows, n, heads, head size). keys, values: (rows, key-value heads, width, head size).
        visible: (rows, n, width) bool, the places that each query attends to, at least one.
        scale: factor of query times key. soft_cap: of the scores, None for none.

    Returns:
        (rows, n, heads, head size).
    """
    rows, n, heads, size = ops.shape(query)
    kv_heads, width = keys.shape[1], ops.shape(keys)[2]
    groups = heads // kv_heads
    query = ops.reshape(query * ops.cast(scale, query.dtype), (rows, n, kv_heads, groups, size))
    query = ops.reshape(ops.transpose(query, (0, 2, 3, 1, 4)), (rows, kv_heads, groups * n, size))
    scores = ops.einsum("rkqh,rkwh->rkqw", query, keys)
    if soft_cap is not None:
        scores = ops.tanh(scores / soft_cap) * soft_cap
    scores = ops.reshape(ops.cast(scores, "float32"), (rows, kv_heads, groups, n, width))
    weights = ops.softmax(ops.where(visible[:, None, None], scores, -1e30), axis=-1)
    weights = ops.reshape(ops.cast(weights, query.dtype), (rows, kv_heads, groups * n, width))
    attended = ops.reshape(ops.einsum("rkqw,rkwh->rkqh", weights, values), (rows, kv_heads, groups, n, size))
    return ops.reshape(ops.transpose(attended, (0, 3, 1, 2, 4)), (rows, n, heads, size))


def _leaves(model) -> list[tuple[int, int, str]]:
    """(key-value heads, head size, dtype) of the keys and of the values of each layer, seen in a pass of one token."""
    from keras_hub.src.vllm.context import vllm_context_scope

    leaves = []

    def attention(_, query, key, value, scale, size, heads, kv_heads, **settings):
        leaves.extend((kv_heads, size, keras.backend.standardize_dtype(new.dtype)) for new in (key, value))
        return None, query

    with vllm_context_scope(attention, ops.zeros((1,), "int32")):
        token = ops.zeros((1, 1), "int32")
        model.backbone({"token_ids": token, "padding_mask": ops.ones_like(token)})
    return leaves
