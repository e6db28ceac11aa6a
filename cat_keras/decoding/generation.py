"""Continuations of many prompts at once: no row waits for another one to finish, and none is computed after its end."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from keras import ops

from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.sampling import GREEDY, Sampler, confidence
from cat_keras.errors import CatKerasError

MEASURES = ("entropy", "margin", "hidden")

# Prompts of so many tokens more join together with the shortest: the rest of each is then fed token by token. Every
# joining copies the cache of the others, which costs more than these few rows.
SPREAD = 8


@dataclass(slots=True)
class Generated:
    """One continuation, under the model's own distribution (temperature 1) however it was drawn.

    Attributes:
        tokens: ids, the stop token included when one was emitted.
        logprobs: log-probability of each (nats).
        entropy: of each next-token distribution (nats). margin: difference of its two largest probabilities. Both
            empty unless asked for.
        hidden: (width,) float32, mean over the tokens of the last hidden state that predicted each; None unless asked.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    hidden: np.ndarray | None = None


class Generator:
    """Continues prompts with one model; keeps its compiled functions, so reuse it.

    All rows that are at one position make a batch: a prompt joins when the batch gets to its last tokens, and leaves at
    its stop token. Nearly every computed row is then a wanted token, whatever the lengths of prompts and answers.

    Args:
        model: a `CausalLM` or a `CachedModel`.
        stop: ids that end an answer.
        sampler: see `sampling.Sampler`.
        rows: at most so many answers at a time; bounds the memory of the cache.
        measures: what else to return of `MEASURES`.

    Attributes:
        steps, computed: forward passes of one token so far, and the rows in them, filled-up ones included.
    """

    def __init__(self, model, stop: Iterable[int], sampler: Sampler = GREEDY, rows: int = 256,
                 measures: Sequence[str] = ()):  # fmt: skip
        if rows < 1 or not set(measures) <= set(MEASURES):
            raise CatKerasError(
                f"rows is at least 1 and measures are of {', '.join(MEASURES)}. Received: rows={rows}, "
                f"measures={list(measures)}"
            )
        self.cached = model if isinstance(model, CachedModel) else CachedModel(model, tight=True)
        self.stop, self.sampler, self.limit, self.measures = frozenset(stop), sampler, rows, tuple(measures)
        self.steps = self.computed = 0
        specs = ((None,), "int32"), ((None,), "float32"), ((), "int32")
        self._step = self.cached.function(self._next, *specs)

    def _next(self, tokens, uniforms, position, cache):
        logits, hidden, cache = self.cached.read(tokens[:, None], cache, position)
        logits = ops.cast(logits[:, 0], "float32")
        chosen = self.sampler.choose(logits, uniforms)
        said = confidence(logits, chosen)
        if "hidden" in self.measures:
            said["hidden"] = ops.cast(hidden[:, 0], "float32")
        wanted = ("logprob", *self.measures)
        return chosen, {name: said[name] for name in wanted}, cache

    def __call__(self, prompts: Sequence[Sequence[int]], max_new_tokens: int | Sequence[int],
                 progress: Callable[[int], None] | None = None) -> list[Generated]:  # fmt: skip
        """Continuations in the order of the prompts.

        Args:
            prompts: token ids, at least one each. max_new_tokens: at most so many each, stop token included; one number
                or one per prompt. progress: gets the number of prompts newly finished.

        Raises:
            CatKerasError: an empty prompt.
        """
        empty = [i for i, p in enumerate(prompts) if not len(p)]
        if empty:
            raise CatKerasError(f"A prompt has at least one token. Received: none in prompt {empty[0]}")
        most = np.broadcast_to(np.asarray(max_new_tokens), len(prompts))
        answers = [Generated() for _ in prompts]
        uniforms = [self.sampler.uniforms(i, n) if not self.sampler.greedy else np.zeros(n, np.float32)
                    for i, n in enumerate(most)]  # fmt: skip
        waiting = _by_length(prompts, most)
        while waiting:
            self._sweep(prompts, most, uniforms, waiting, answers, progress)
        return answers

    def _sweep(self, prompts, most, uniforms, waiting, answers, progress):
        """From the shortest waiting prompt to where no row is left; prompts met on the way join while there is room."""
        position = min(waiting) - 1
        batch = _Batch(self.cached)
        while batch.active or position + 1 in waiting:
            if joining := _take(waiting, position + 1, self.limit - len(batch.active)):
                batch.admit([(i, prompts[i]) for i in joining], position)
            tokens, said = self._advance(batch, uniforms, answers, position)
            position += 1
            ended = []
            for slot, row in batch.active:
                if position < len(prompts[row]):
                    tokens[slot] = prompts[row][position]
                elif self._extend(answers[row], int(tokens[slot]), said, slot, most[row]):
                    ended.append(slot)
            batch.tokens = tokens
            batch.release(ended)
            if progress and ended:
                progress(len(ended))

    def _extend(self, answer, token, said, slot, most) -> bool:
        """Appends a token and what is said of it; whether that was the last one."""
        answer.tokens.append(token)
        _note(answer, said, slot)
        last = token in self.stop or len(answer.tokens) == most
        if last and answer.hidden is not None:
            answer.hidden /= len(answer.tokens)
        return last

    def _advance(self, batch, uniforms, answers, position):
        batch.make_room(position + 1)
        drawn = np.zeros(len(batch.rows), np.float32)
        for slot, row in batch.active:
            drawn[slot] = uniforms[row][len(answers[row].tokens)]
        tensors = map(ops.convert_to_tensor, (batch.tokens, drawn, np.int32(position)))
        tokens, said, batch.cache = self._step(*tensors, batch.cache)
        self.steps, self.computed = self.steps + 1, self.computed + len(batch.rows)
        return np.array(tokens), {k: ops.convert_to_numpy(v) for k, v in said.items()}


class _Batch:
    """The rows that are at one position: their numbers (−1 for a row that nobody wants), last tokens and cache."""

    def __init__(self, cached):
        self.cached = cached
        self.rows, self.tokens, self.cache = [], np.zeros(0, np.int32), None

    @property
    def active(self) -> list[tuple[int, int]]:
        return [(slot, row) for slot, row in enumerate(self.rows) if row >= 0]

    def admit(self, joining, position):
        """Reads prompts up to their token at `position`, and appends their rows."""
        width = self.cached.width(self.cache) if self.cache else self.cached.room(position + 1)
        cache = self.cached.prefix([prompt[:position] for _, prompt in joining], width)
        last = np.array([prompt[position] for _, prompt in joining], np.int32)
        caches = [cache] if self.cache is None else [self.cache, cache]
        self._arrange(caches, [row for row, _ in joining], last)

    def _arrange(self, caches, joining, last):
        """Puts rows together that stay and rows that join, each where its cache is; rows that nobody wants go."""
        before = len(self.rows)
        kept = [slot for slot, row in enumerate(self.rows) if row >= 0]
        slots = kept + list(range(before, before + len(joining)))
        fill = self.cached.rows(len(slots)) - len(slots)
        cache = self.cached.concatenate(caches)
        if fill or slots != list(range(before + len(joining))):
            cache = self.cached.take(cache, slots + [0] * fill)
        self.cache, self.rows = cache, [self.rows[slot] for slot in kept] + joining + [-1] * fill
        self.tokens = np.concatenate([self.tokens[kept], last, np.zeros(fill, np.int32)])

    def release(self, ended):
        """Forgets finished rows; their memory goes when it is worth a copy of the others."""
        for slot in ended:
            self.rows[slot] = -1
        left = len(self.active)
        if left and self.cached.rows(left) <= 0.9 * len(self.rows):
            self._arrange([self.cache], [], np.zeros(0, np.int32))
        elif not left:
            self.rows, self.tokens, self.cache = [], np.zeros(0, np.int32), None

    def make_room(self, tokens):
        self.cache = self.cached.widen(self.cache, self.cached.room(tokens))


def _by_length(prompts, most) -> dict[int, deque]:
    """Prompts that want tokens, by their number of tokens."""
    waiting = {}
    for i, prompt in enumerate(prompts):
        if most[i] > 0:
            waiting.setdefault(len(prompt), deque()).append(i)
    return waiting


def _take(waiting, shortest, room) -> list[int]:
    """At most `room` of the prompts of a length, if there are any, and with them of those little longer."""
    chosen = []
    for length in range(shortest, shortest + SPREAD + 1) if shortest in waiting else ():
        queue = waiting.get(length, ())
        chosen += [queue.popleft() for _ in range(min(room - len(chosen), len(queue)))]
        if not queue:
            waiting.pop(length, None)
    return chosen


def _note(answer, said, slot):
    answer.logprobs.append(float(said["logprob"][slot]))
    for name in ("entropy", "margin"):
        if name in said:
            getattr(answer, name).append(float(said[name][slot]))
    if "hidden" in said:
        answer.hidden = said["hidden"][slot] + (0 if answer.hidden is None else answer.hidden)
