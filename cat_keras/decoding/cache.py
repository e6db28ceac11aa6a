"""A `CausalLM` with its key–value cache, for any family of KerasHub: what decoding, scoring and drafting stand on.

Rows of a batch share one position (KerasHub's caches are written at one index for all rows), so whoever calls this
brings together rows that are equally far.
"""

import functools
import inspect
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from cat_keras.decoding import attention
from cat_keras.errors import CatKerasError

RECENT = 16  # tokens of a tight cache that are kept apart from the others


class CachedModel:
    """Reads tokens at a position and keeps their keys and values.

    A cache is a flat list of tensors; `empty`, `widen`, `cut`, `take` and `concatenate` are all that happens to it
    elsewhere.

    Args:
        model: a KerasHub `CausalLM`.
        static: round rows and widths up to few sizes and compile each with XLA, as accelerators need; by default on a
            GPU, a TPU and with JAX. Otherwise one traced function serves every number of rows and every width.
        tight: a cache is as wide as the tokens that were read, where that is possible (Gemma, shapes not static), which
            saves half the time: reading appends to it. Before reading at an earlier position, `cut` it.

    Attributes:
        compilations: functions traced so far.

    Raises:
        CatKerasError: a model without a cache that can be written at a position (see `supported`).
    """

    def __init__(self, model, static: bool | None = None, tight: bool = False):
        self._attentions = attention.layers(model)
        template, leaves = (None, []) if self._attentions else _probe(model)
        if not (self._attentions or _writable(leaves)):
            raise CatKerasError(
                "Cached decoding needs a key–value cache that is written at a position. Received: "
                f"{type(model).__name__}, which has none. Its own generate works: ck.Predictor uses it"
            )
        self.model = model
        self.static = _needs_static_shapes() if static is None else static
        self.tight = tight and bool(self._attentions) and not self.static
        self._template, self._leaves = template, attention.leaves(model, self.tight) if self._attentions else leaves
        # Positions beyond it have no embedding; rotary ones have no end.
        self.context = getattr(model.backbone, "max_sequence_length", None) or 1 << 30
        self.compilations = 0

    # -- caches --------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> list[tuple[tuple, str]]:
        """(shape, dtype) of each tensor of a cache, None for its rows and its width."""
        return [
            (tuple(None if a in (rows, width) else n for a, n in enumerate(shape)), dtype)
            for shape, dtype, rows, width in self._leaves
        ]

    def empty(self, rows: int, width: int) -> list:
        """A cache of zeros with room for `width` tokens in each of `rows`."""
        sizes = [{r: rows, w: 0 if self.tight else width} for _, _, r, w in self._leaves]
        return [
            ops.zeros([size.get(a, n) for a, n in enumerate(shape)], dtype)
            for (shape, dtype, _, _), size in zip(self._leaves, sizes, strict=True)
        ]

    def width(self, cache: list) -> int:
        """Tokens that a cache has room for, or that a tight one holds."""
        return sum(int(leaf.shape[self._leaves[0][3]]) for leaf in cache[: 2 if self.tight else 1])

    def widen(self, cache: list, width: int) -> list:
        """The same cache with room for at least `width` tokens."""
        if self.tight:  # what is recent is copied with every token, so it shall be little
            return attention.settle(cache) if int(cache[1].shape[2]) >= RECENT else cache
        more = max(width - self.width(cache), 0)
        if not more:
            return cache
        return [
            ops.pad(leaf, [(0, more if a == w else 0) for a in range(len(shape))])
            for leaf, (shape, _, _, w) in zip(cache, self._leaves, strict=True)
        ]

    def cut(self, cache: list, width: int) -> list:
        """The first `width` tokens of a tight cache, so that rows can come together; any other as it is."""
        if not self.tight:
            return cache
        rest = max(width - int(cache[0].shape[2]), 0)
        return [leaf[:, :, : rest if i % 2 else width] for i, leaf in enumerate(cache)]

    def take(self, cache: list, rows) -> list:
        """Some rows of a cache, in the order given."""
        rows = ops.convert_to_tensor(np.asarray(rows, np.int32))
        return [ops.take(leaf, rows, axis=r) for leaf, (_, _, r, _) in zip(cache, self._leaves, strict=True)]

    def concatenate(self, caches: list[list]) -> list:
        """The rows of several caches of one width, one after the other."""
        if self.tight and len(caches) > 1:
            caches = [attention.settle(cache) for cache in caches]
        return [
            ops.concatenate(leaves, axis=r) if len(leaves) > 1 else leaves[0]
            for (_, _, r, _), leaves in zip(self._leaves, zip(*caches, strict=True), strict=True)
        ]

    def rows(self, n: int) -> int:
        """Rows to compute for `n` wanted ones: with static shapes a power of two."""
        return 1 << (n - 1).bit_length() if self.static else n

    def room(self, n: int) -> int:
        """Width of a cache for `n` tokens: a multiple of 16, or of 64 with static shapes."""
        step = 64 if self.static else 16
        return -(-n // step) * step

    # -- computation ---------------------------------------------------------------------------------------------

    def read(self, tokens, cache: list, index):
        """One forward pass, to be called within a function from `function`.

        Args:
            tokens: (rows, n) int32. cache: of these rows. index: scalar int32, position of the first of the tokens.

        Returns:
            logits (rows, n, vocabulary), hidden states (rows, n, width), and the cache with these tokens.
        """
        if self._attentions:
            return attention.read(self.model, self._attentions, tokens, cache, index, self.tight)
        nested = keras.tree.pack_sequence_as(self._template, cache)
        logits, hidden, nested = self.model.call_with_cache(tokens, nested, index)
        return logits, hidden, keras.tree.flatten(nested)

    def function(self, body, *specs):
        """Compiles `body(*arguments, cache)`.

        Args:
            body: a function of tensors; its last argument is a cache.
            specs: (shape, dtype) of each argument before the cache, None where a size varies.
        """

        def counted(*arguments):
            self.compilations += 1
            return body(*arguments)

        return _compile(counted, [*specs, self.spec], self.model, self.static)

    def prefix(self, prompts: Sequence[Sequence[int]], width: int) -> list:
        """The cache after prompts of one length, one row each and then what `rows` adds.

        Args:
            prompts: token ids; may be empty ones. width: tokens that the cache shall have room for.
        """
        rows, n = self.rows(len(prompts)), len(prompts[0])
        cache = self.empty(rows, width)
        if not n:
            return cache
        # A prefix may end in padding: what that leaves in the cache is overwritten before anything attends to it.
        padded = min(self.room(n), width, self.context) if self.static else n
        tokens = np.zeros((rows, padded), np.int32)
        tokens[: len(prompts), :n] = prompts
        return self._prefill(ops.convert_to_tensor(tokens), cache)

    @functools.cached_property
    def _prefill(self):
        return self.function(lambda tokens, cache: self.read(tokens, cache, 0)[2], ((None, None), "int32"))


def supported(model) -> bool:
    """Whether a model keeps, for every token, keys and values that can be written at its position."""
    return bool(attention.layers(model)) or _writable(_probe(model)[1])


def _writable(leaves) -> bool:
    return bool(leaves) and all(rows is not None and width is not None for _, _, rows, width in leaves)


def _probe(model):
    """The nesting of a cache, and of each tensor in it (shape, dtype, axis of rows, axis of tokens).

    The axes are those that differ between two caches of different sizes; a recurrent state has no axis of tokens. A
    model without a cache has no tensors.
    """
    if not hasattr(model, "call_with_cache") or not hasattr(model, "_build_cache"):
        return None, []
    one, two = (_built(model, np.zeros(shape, np.int32)) for shape in ((1, 2), (2, 4)))
    leaves = []
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        change = list(zip(a.shape, b.shape, strict=True))
        axes = [change.index(c) if change.count(c) == 1 else None for c in ((1, 2), (2, 4))]
        leaves.append((tuple(a.shape), keras.backend.standardize_dtype(a.dtype), *axes))
    return keras.tree.map_structure(lambda leaf: 0, one), leaves


def _built(model, tokens):
    """The cache that a model makes of some tokens; families that also read images get none."""
    names = list(inspect.signature(model._build_cache).parameters)
    return model._build_cache(ops.convert_to_tensor(tokens), *[None] * (len(names) - 1))[1]


def _needs_static_shapes() -> bool:
    if keras.config.backend() == "jax":
        return True
    if keras.config.backend() == "torch":
        return False
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def _compile(body, specs, model, static):
    """The compiled form of a function on the current backend."""
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if static:
            return tf.function(body, jit_compile=True)
        return tf.function(body, input_signature=_signature(specs))
    if backend == "jax":
        return _stateless(body, model)
    import torch

    return torch.no_grad()(body)


def _signature(specs):
    import tensorflow as tf

    return [
        [tf.TensorSpec(*leaf) for leaf in spec] if isinstance(spec, list) else tf.TensorSpec(*spec) for spec in specs
    ]


def _stateless(body, model):
    """A jitted function that reads the weights anew at every call, or JAX would keep those of the first."""
    import jax

    def pure(weights, *arguments):
        with keras.StatelessScope(state_mapping=zip(model.variables, weights, strict=True)):
            return body(*arguments)

    jitted = jax.jit(pure)
    return lambda *arguments: jitted([v.value for v in model.variables], *arguments)
