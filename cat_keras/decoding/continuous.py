"""Continuous batching: a finished answer's slot is taken by the next prompt, within one compiled call."""

from collections.abc import Sequence
from functools import partial

import numpy as np
from keras import ops

from cat_keras.decoding import compiling, slots
from cat_keras.decoding.sampling import Sampler, next_tokens
from cat_keras.modeling import models, tokenizers

SLOTS = 64  # more do not pay on a CPU, where they only read a larger cache
FEWER = {8: 8, 128: 32}  # at most so many prompts → slots that they get, so that few are free when no prompt waits
STEPS = 16  # tokens of each slot in a call; more lose more of those that a stop string cuts off
JOINING = 16  # one prompt for so many slots is read at a time; it waits until as many slots are free
CHUNK = 32  # tokens of each of them in one pass
# A call that may make so many tokens is worth compiling with XLA on a CPU: the compilation of each width takes seconds,
# which a shorter call does not win back. The number is of the call alone, so that the same call computes the same in
# every process.
WORTH_XLA = 1 << 16


class Program:
    """What is compiled: prompts join free slots, and each slot gets its next tokens.

    Args:
        model: the model. ends: ids of tokens that end an answer. sampler: how tokens are chosen. measures: what is
            returned of each token besides its log-probability. rows: number of slots.
    """

    steps = STEPS

    def __init__(self, model: slots.SlotModel, ends: Sequence[int], sampler: Sampler, measures, rows: int):
        self.model, self.sampler, self.measures, self.rows = model, sampler, ("logprob", *measures), rows
        self.ends = np.array(sorted(ends), np.int32)
        self.joining = max(rows // JOINING, 1)
        self.defer = tokenizers.defer_id(models.tokenizer_of(model.model)) if "defer" in measures else None

    @property
    def specs(self) -> list:
        """(shape, dtype) of the arguments of calling it, None where a size varies with the width."""
        rows, waiting = self.rows, 2 * self.rows
        queue = [
            ((waiting, None), "int32"),
            ((waiting, None), "float32"),
            *[((waiting,), "int32")] * 3,
            *[((), "int32")] * 2,
        ]
        state = [((rows, None), "float32"), *[((rows,), "int32")] * 5]
        return [queue, state, [((rows, *shape[1:]), dtype) for shape, dtype in self.model.spec]]

    def __call__(self, queue: list, state: list, cache: list):
        """Up to `steps` steps of each slot.

        Args:
            queue: prompts that wait, in the order in which they join: tokens (waiting, width) int32, uniforms
                (waiting, at least 1) float32 to draw each new token with, and of each prompt its length, the limit of
                its answer and its number, (waiting,) int32; then how many of these rows hold a prompt, and how many
                more prompts wait for the next call, () int32 each.
            state: of each slot its uniforms (slots, at least 1) float32, and (slots,) int32 each: the number of its
                prompt, −1 for a free slot; its position; how many tokens its answer has; their limit; and the token
                to be read next.
            cache: of the slots.

        Returns:
            the steps that were taken, the prompts that joined, the number of the prompt that each step extended in each
            slot (`steps`, slots), −1 for none, the tokens and a list of their measures, shaped alike, the state and
            the cache.
        """
        zero = ops.convert_to_tensor(np.int32(0))
        step, joined, state, (numbers, tokens, *measured), cache = ops.while_loop(
            partial(self._goes_on, queue),
            partial(self._advance, queue),
            (zero, zero, list(state), self.empty_outputs(), list(cache)),
        )
        return step, joined, numbers, tokens, measured, state, cache

    def empty_outputs(self) -> list:
        """Room for what each step gives: the number of the prompt in each slot, the token, and its measures."""
        shape = (self.steps, self.rows)
        outputs = [ops.full(shape, -1, "int32"), ops.zeros(shape, "int32")]
        for name in self.measures:
            width = (self.model.model.backbone.hidden_dim,) if name == "hidden" else ()
            outputs.append(ops.zeros(shape + width, "float32"))
        return outputs

    def _goes_on(self, queue, step, joined, state, outputs, cache):
        """Whether there is a step to take, and no slot is free that a prompt of the next call could take."""
        waiting, later = queue[5:7]
        free = ops.sum(ops.cast(state[1] < 0, "int32"))
        all_joined = joined >= waiting
        nothing_left = ops.logical_and(all_joined, free == self.rows)
        for_later = ops.logical_and(all_joined, ops.logical_and(later > 0, free >= self.joining))
        return ops.logical_and(step < self.steps, ops.logical_not(ops.logical_or(nothing_left, for_later)))

    def _advance(self, queue, step, joined, state, outputs, cache):
        """Lets prompts join, then takes a step in every slot; that of a free slot means nothing."""
        joined, state, cache = ops.while_loop(
            partial(self._can_join, queue), partial(self._join, queue), (joined, state, cache)
        )
        state, values, cache = self.extended(queue, state, cache)
        outputs = [
            ops.slice_update(all_steps, (step,) + (0,) * len(value.shape), value[None])
            for all_steps, value in zip(outputs, values, strict=True)
        ]
        return step + 1, joined, state, outputs, cache

    def extended(self, queue, state, cache):
        """The state after the next token of each slot, what `empty_outputs` has room for, and the cache."""
        uniforms, number, position, count, limit, token = state
        hidden, cache = self.model.read(token[:, None], position[:, None], cache)
        logits = ops.cast(self.model.logits(hidden)[:, 0], "float32")
        last = ops.minimum(count, ops.shape(uniforms)[1] - 1)
        share = ops.take_along_axis(uniforms, last[:, None], axis=1)[:, 0]
        token, measured = next_tokens(self.sampler, logits, share, self.defer)
        measured["hidden"] = ops.cast(hidden[:, 0], "float32")
        values = [number, token, *(measured[name] for name in self.measures)]
        count = count + 1
        ended = ops.logical_or(ops.any(ops.equal(token[:, None], self.ends), axis=1), count >= limit)
        number = ops.where(ended, -1, number)
        # A free slot stays at position 0, which the prompt that joins there overwrites.
        position = ops.where(number >= 0, position + 1, 0)
        return [uniforms, number, position, count, limit, token], values, cache

    def read_prompt(self, tokens, positions, cache, into):
        """The cache with tokens of prompts, (rows, chunk) in the slots `into`."""
        return self.model.read(tokens, positions, cache, into)[1]

    def _can_join(self, queue, joined, state, cache):
        """Whether as many slots are free as prompts are read together."""
        waiting = queue[5] - joined
        free = ops.sum(ops.cast(state[1] < 0, "int32"))
        return ops.logical_and(waiting > 0, free >= ops.minimum(waiting, self.joining))

    def _join(self, queue, joined, state, cache):
        """Reads the next prompts up to their last token but one, chunk by chunk, into free slots."""
        prompts, uniforms, length, limit, number, waiting = queue[:6]
        n, places = self.joining, ops.arange(self.rows)
        free_slots = ops.argsort(ops.where(state[1] < 0, places, places + self.rows))[:n]
        # Where fewer prompts wait, the first of them is read again into the same slot, which changes nothing.
        order = ops.where(joined + ops.arange(n) < waiting, ops.arange(n), 0)
        into, rows = ops.take(ops.cast(free_slots, "int32"), order), joined + order
        tokens, lengths = ops.take(prompts, rows, axis=0), ops.take(length, rows)
        steps = ops.arange(CHUNK)[None]

        def read(start, cache):
            chunk = ops.slice(tokens, (0, start), (n, CHUNK))
            return start + CHUNK, self.read_prompt(chunk, ops.broadcast_to(start + steps, (n, CHUNK)), cache, into)

        longest = ops.max(lengths) - 1
        zero = ops.convert_to_tensor(np.int32(0))
        _, cache = ops.while_loop(lambda start, cache: start < longest, read, (zero, cache))
        last = ops.take_along_axis(tokens, lengths[:, None] - 1, axis=1)[:, 0]
        values = [ops.take(uniforms, rows, axis=0), ops.take(number, rows), lengths - 1, ops.zeros_like(lengths),
                  ops.take(limit, rows), last]  # fmt: skip
        state = [ops.scatter_update(old, into[:, None], new) for old, new in zip(state, values, strict=True)]
        return ops.minimum(joined + n, waiting), state, cache


class ContinuousBatching:
    """Continues prompts of any lengths in slots; keeps its compiled functions.

    The shortest prompts come first. The cache is as wide as the tokens of the next call need, and is widened when they
    need more. So it is narrow for long, and slots are full until no prompt waits.

    Args:
        model, ends, sampler, measures: see `Program`.
        rows: at most so many slots.
        jit: whether to compile with XLA; None for where it is worth it.

    Attributes:
        compilations: functions traced so far, with XLA at most one for each number of slots and width.
        steps, computed: forward passes of one token so far, and the rows in them, free slots included.
    """

    def __init__(self, model, ends, sampler, rows: int, measures, jit: bool | None = None):
        self.model, self.jit = model, jit
        self.rows = self.most_rows(rows)
        self._settings = ends, sampler, measures
        self._functions = {}
        self.compilations = self.steps = self.computed = 0

    def __call__(self, prompts, answers):
        """Extends `answers`, an `Answers`, to their ends."""
        limits = answers.limits
        waiting = sorted((i for i in range(len(prompts)) if limits[i] > 0), key=lambda i: len(prompts[i]))
        rows = min(self.rows, next((n for few, n in FEWER.items() if len(waiting) <= few), self.rows))
        advance = self._function(rows, sum(int(limits[i]) for i in waiting))
        # How many positions a prompt needs from the call on in which it joins.
        needed = {i: len(prompts[i]) + int(self.reach(limits[i])) - 1 for i in waiting}
        state, cache, width = _free(rows), None, 0
        while waiting or (state[1] >= 0).any():
            _, number, position, count, limit, _ = state
            active = number >= 0
            of_active = (position + self.reach(limit - count))[active]
            at_once = [needed[i] for i in waiting[: max(rows - active.sum(), 1)]]
            width = max(width, cache_width(int(max(*of_active, *at_once, 1))))
            cache = self.model.widen(cache, width) if cache else self.model.empty(rows, width)
            joining = [i for i in waiting[: 2 * rows] if needed[i] <= width]
            queue = self.queue((2 * rows, width), joining, len(waiting) - len(joining), prompts, answers)
            state[0] = self.uniforms(rows, width, number, answers)
            tensors = [[ops.convert_to_tensor(array) for array in arrays] for arrays in (queue, state)]
            *arrays, measured, state, cache = advance(*tensors, cache)
            steps, joined, numbers, tokens = map(ops.convert_to_numpy, arrays)
            self.steps, self.computed = self.steps + int(steps), self.computed + int(steps) * rows
            waiting = waiting[int(joined) :]
            state = [np.array(ops.convert_to_numpy(array)) for array in state]
            closed = answers.extend(numbers, tokens, [ops.convert_to_numpy(array) for array in measured])
            state[1][np.isin(state[1], closed)] = -1  # a stop string ends an answer that the program would go on with

    @staticmethod
    def most_rows(rows: int) -> int:
        """How many slots are used at most where so many are allowed."""
        return rows if compiling.needs_static_shapes() else min(rows, SLOTS)

    def program(self, rows: int) -> Program:
        """What is compiled for so many slots."""
        return Program(self.model, *self._settings, rows)

    def reach(self, left):
        """How many positions an answer that lacks so many tokens may take in one call, number or array."""
        return np.minimum(STEPS, left)

    def _function(self, rows: int, asked: int):
        """The compiled program for so many slots, for a call that asks for so many tokens."""
        jit = compiling.needs_static_shapes() or asked >= WORTH_XLA if self.jit is None else self.jit
        if (rows, jit) not in self._functions:
            program = self.program(rows)

            def counted(*arguments):
                self.compilations += 1
                return program(*arguments)

            self._functions[rows, jit] = compiling.compiled(counted, program.specs, self.model.model, jit)
        return self._functions[rows, jit]

    def queue(self, shape: tuple[int, int], numbers: Sequence[int], later: int, prompts, answers) -> list[np.ndarray]:
        """The argument `queue` of `Program` with the prompts whose numbers are given; `later` are left for later."""
        tokens, facts = np.zeros(shape, np.int32), np.ones((3, shape[0]), np.int32)
        for row, i in enumerate(numbers):
            tokens[row, : len(prompts[i])] = prompts[i]
            facts[:, row] = len(prompts[i]), answers.limits[i], i
        return [tokens, self.uniforms(*shape, numbers, answers), *facts, np.int32(len(numbers)), np.int32(later)]

    def uniforms(self, rows: int, width: int, numbers: Sequence[int], answers) -> np.ndarray:
        """What the tokens of answers are drawn with, (rows, width) float32; (rows, 1) where none are drawn."""
        uniforms = np.zeros((rows, 1 if self._settings[1].greedy else width), np.float32)
        for row, i in enumerate(numbers) if not self._settings[1].greedy else ():
            if i >= 0:
                of_answer = answers.uniforms[i][:width]  # an answer has fewer tokens than the cache
                uniforms[row, : len(of_answer)] = of_answer
        return uniforms


def cache_width(tokens: int) -> int:
    """The width of a cache for so many tokens, one of few: a multiple of `slots.STEP`, and of a quarter of 2^n."""
    grain = max(compiling.power_of_two(tokens) // 4, slots.STEP)
    return -(-tokens // grain) * grain


def _free(rows: int) -> list[np.ndarray]:
    """The argument `state` of `Program` with all slots free."""
    number, *others = np.zeros((5, rows), np.int32)
    return [np.zeros((rows, 1), np.float32), number - 1, *others]
