"""A `CausalLM` with its key–value cache, for any family of KerasHub; decoding, scoring and drafting build on it.

The rows of a batch share one position, because KerasHub's caches are written at one index for all rows. So callers
batch rows that are at the same position.
"""

import functools
import inspect
from collections.abc import Sequence

import keras
import numpy as np
from keras import ops

from cat_keras.decoding import attention, compiling
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models

RECENT = 16  # tokens that the recent part of a tight cache holds before they are settled


class CachedModel:
    """Reads tokens at a position and keeps their keys and values.

    A cache is a flat list of tensors. Other modules handle it only by `empty`, `widen`, `take` and `concatenate`.

    Args:
        model: a KerasHub `CausalLM`.
        static: round rows and widths up to few sizes and compile each with XLA, as accelerators need; by default on a
            GPU, a TPU and with JAX. Otherwise one traced function serves every number of rows and every width.
        tight: keep a cache as wide as the tokens that were read, where that is possible (Gemma, shapes not static). It
            saves half the time. Reading appends to a tight cache, so that it is read at its end alone.

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
        self.static = compiling.needs_static_shapes() if static is None else static
        self.tight = tight and bool(self._attentions) and not self.static
        self._template, self._leaves = template, attention.leaves(model, self.tight) if self._attentions else leaves
        self.context = models.positions(model) or 1 << 30  # rotary positions have no end
        self.compilations = 0

    # -- caches --------------------------------------------------------------------------------------------------

    @property
    def spec(self) -> list[tuple[tuple, str]]:
        """(shape, dtype) of each tensor of a cache, None for its rows and its width."""
        return [
            (tuple(None if axis in (rows, width) else n for axis, n in enumerate(shape)), dtype)
            for shape, dtype, rows, width in self._leaves
        ]

    def empty(self, rows: int, width: int) -> list:
        """A cache of zeros with room for `width` tokens in each of `rows`."""
        sizes = [{r: rows, w: 0 if self.tight else width} for _, _, r, w in self._leaves]
        return [
            ops.zeros([size.get(axis, n) for axis, n in enumerate(shape)], dtype)
            for (shape, dtype, _, _), size in zip(self._leaves, sizes, strict=True)
        ]

    def width(self, cache: list) -> int:
        """Number of tokens that a cache has room for; of a tight one, that it holds."""
        return sum(int(leaf.shape[self._leaves[0][3]]) for leaf in cache[: 2 if self.tight else 1])

    def widen(self, cache: list, width: int) -> list:
        """The same cache with room for at least `width` tokens."""
        if self.tight:  # the recent part is copied with every token, so it is kept small
            return attention.settle(cache) if int(cache[1].shape[2]) >= RECENT else cache
        more = max(width - self.width(cache), 0)
        if not more:
            return cache
        return [
            ops.pad(leaf, [(0, more if axis == w else 0) for axis in range(len(shape))])
            for leaf, (shape, _, _, w) in zip(cache, self._leaves, strict=True)
        ]

    def take(self, cache: list, rows) -> list:
        """A cache of the rows named, in that order."""
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
        """How many rows are computed for `n` that are needed: with static shapes the next power of two."""
        return compiling.power_of_two(n) if self.static else n

    def room(self, n: int) -> int:
        """Width of a cache for `n` tokens: a multiple of 16, or of 64 with static shapes."""
        step = 64 if self.static else 16
        return -(-n // step) * step

    # -- computation ---------------------------------------------------------------------------------------------

    def read(self, tokens, cache: list, index):
        """One forward pass; call it only within a function that `function` compiles.

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

        return compiling.compiled(counted, [*specs, self.spec], self.model, self.static)

    def prefix(self, prompts: Sequence[Sequence[int]], width: int) -> list:
        """The cache after prompts of one length: a row for each, then the rows that `rows` adds.

        Args:
            prompts: token ids; may be empty ones. width: tokens that the cache is to have room for.
        """
        rows, n = self.rows(len(prompts)), len(prompts[0])
        cache = self.empty(rows, width)
        if not n:
            return cache
        # A prefix may end in padding. What padding leaves in the cache is overwritten before anything attends to it.
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
    # Families that also read images take further arguments, and get none.
    images = [None] * (len(inspect.signature(model._build_cache).parameters) - 1)
    one, two = (model._build_cache(ops.convert_to_tensor(np.zeros(shape, np.int32)), *images)[1]
                for shape in ((1, 2), (2, 4)))  # fmt: skip
    leaves = []
    for a, b in zip(keras.tree.flatten(one), keras.tree.flatten(two), strict=True):
        change = list(zip(a.shape, b.shape, strict=True))
        axes = [change.index(c) if change.count(c) == 1 else None for c in ((1, 2), (2, 4))]
        leaves.append((tuple(a.shape), keras.backend.standardize_dtype(a.dtype), *axes))
    return keras.tree.map_structure(lambda leaf: 0, one), leaves
