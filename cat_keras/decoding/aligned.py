"""Batches of rows at one position, for families whose cache is written at one index for all rows.

A prompt joins when the batch reaches its last tokens, and leaves at the end of its answer. So nearly every computed row
gives a token of an answer, whatever the lengths of prompts and answers.
"""

from collections import deque

import numpy as np
from keras import ops

from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.sampling import Sampler, next_tokens
from cat_keras.modeling import models, tokenizers

# Prompts that are up to so many tokens longer join a batch together with the shortest one; their last tokens are then
# fed one by one. That costs a few rows, but less than joining later, as every joining copies the cache of the batch.
SPREAD = 8


class AlignedBatching:
    """Continues prompts in rows at one position; keeps its compiled functions.

    Args:
        cached: the model. sampler: how tokens are chosen. rows: at most so many at a time. measures: what is returned
            of each token besides its log-probability.

    Attributes:
        steps, computed: as of `continuous.ContinuousBatching`.
    """

    def __init__(self, cached: CachedModel, sampler: Sampler, rows: int, measures):
        self.cached, self.sampler, self.limit, self.measures = cached, sampler, rows, tuple(measures)
        self._defer = tokenizers.defer_id(models.tokenizer_of(cached.model)) if "defer" in measures else None
        self.steps = self.computed = 0
        specs = ((None,), "int32"), ((None,), "float32"), ((), "int32")
        self._step = self.cached.function(self._next, *specs)

    @property
    def compilations(self) -> int:
        """Functions traced so far."""
        return self.cached.compilations

    def _next(self, tokens, uniforms, position, cache):
        """The next token of each row, what is measured of it, and the cache; this is what is compiled."""
        logits, hidden, cache = self.cached.read(tokens[:, None], cache, position)
        logits = ops.cast(logits[:, 0], "float32")
        chosen, measured = next_tokens(self.sampler, logits, uniforms, self._defer)
        if "hidden" in self.measures:
            measured["hidden"] = ops.cast(hidden[:, 0], "float32")
        return chosen, [measured[name] for name in ("logprob", *self.measures)], cache

    def __call__(self, prompts, answers):
        """Extends `answers`, a `generated.Answers`, to their ends."""
        waiting: dict[int, deque] = {}  # number of tokens → the prompts that have so many
        for i, prompt in enumerate(prompts):
            if answers.limits[i] > 0:
                waiting.setdefault(len(prompt), deque()).append(i)
        while waiting:
            self._sweep(prompts, waiting, answers)

    def _sweep(self, prompts, waiting, answers):
        """Runs a batch from the shortest waiting prompt until no row is left; further prompts join on the way."""
        position = min(waiting) - 1
        batch = _Batch(self.cached)
        while batch.active or position + 1 in waiting:
            if joining := _take(waiting, position + 1, self.limit - len(batch.active)):
                batch.admit([(i, prompts[i]) for i in joining], position)
            tokens, measured = self._advance(batch, answers, position)
            position += 1
            extended = np.full(len(tokens), -1)
            for slot, i in batch.active:
                if position < len(prompts[i]):  # the prompt itself goes on
                    tokens[slot] = prompts[i][position]
                else:
                    extended[slot] = i
            batch.tokens = tokens
            closed = answers.extend(extended[None], tokens[None], [values[None] for values in measured])
            batch.release([slot for slot, i in batch.active if i in closed])

    def _advance(self, batch, answers, position):
        """One forward pass: the next token of each row of the batch, and a list of their measures."""
        batch.make_room(position + 1)
        uniforms = np.zeros(len(batch.rows), np.float32)
        for slot, i in batch.active:
            uniforms[slot] = answers.uniforms[i][len(answers.all[i].tokens)]
        tensors = map(ops.convert_to_tensor, (batch.tokens, uniforms, np.int32(position)))
        tokens, measured, batch.cache = self._step(*tensors, batch.cache)
        self.steps, self.computed = self.steps + 1, self.computed + len(batch.rows)
        return np.array(tokens), [ops.convert_to_numpy(values) for values in measured]


class _Batch:
    """Rows at one position, with their last tokens and their cache.

    `rows` has the number of each row's prompt, or −1 for a row that is finished or only fills a static shape up. A slot
    is a place in `rows`, in `tokens` and along the cache.
    """

    def __init__(self, cached):
        self.cached = cached
        self.rows, self.tokens, self.cache = [], np.zeros(0, np.int32), None

    @property
    def active(self) -> list[tuple[int, int]]:
        """Slot and prompt of each row that is not finished."""
        return [(slot, i) for slot, i in enumerate(self.rows) if i >= 0]

    def admit(self, joining, position):
        """Reads prompts, given as (number, tokens), up to their token at `position`, and appends their rows."""
        width = self.cached.width(self.cache) if self.cache else self.cached.room(position + 1)
        cache = self.cached.prefix([prompt[:position] for _, prompt in joining], width)
        last = np.array([prompt[position] for _, prompt in joining], np.int32)
        caches = [cache] if self.cache is None else [self.cache, cache]
        self._arrange(caches, [i for i, _ in joining], last)

    def _arrange(self, caches, joining, last):
        """Makes one batch of the active rows and those that join, whose cache comes last; drops finished rows."""
        before = len(self.rows)
        staying = [slot for slot, _ in self.active]
        slots = staying + list(range(before, before + len(joining)))
        fill = self.cached.rows(len(slots)) - len(slots)
        cache = self.cached.concatenate(caches)
        if fill or slots != list(range(before + len(joining))):
            cache = self.cached.take(cache, slots + [0] * fill)
        self.cache, self.rows = cache, [self.rows[slot] for slot in staying] + joining + [-1] * fill
        self.tokens = np.concatenate([self.tokens[staying], last, np.zeros(fill, np.int32)])

    def release(self, finished):
        """Marks slots as finished. Their memory is freed once that is worth a copy of the other rows."""
        for slot in finished:
            self.rows[slot] = -1
        active = len(self.active)
        if active and self.cached.rows(active) <= 0.9 * len(self.rows):
            self._arrange([self.cache], [], np.zeros(0, np.int32))
        elif not active:
            self.rows, self.tokens, self.cache = [], np.zeros(0, np.int32), None

    def make_room(self, tokens):
        self.cache = self.cached.widen(self.cache, self.cached.room(tokens))


def _take(waiting, shortest, room) -> list[int]:
    """Takes at most `room` prompts: of the shortest length, if any wait, and then of those up to `SPREAD` longer."""
    chosen = []
    for length in range(shortest, shortest + SPREAD + 1) if shortest in waiting else ():
        queue = waiting.get(length, ())
        chosen += [queue.popleft() for _ in range(min(room - len(chosen), len(queue)))]
        if not queue:
            waiting.pop(length, None)
    return chosen
