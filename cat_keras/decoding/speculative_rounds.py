"""The answers of a speculative cascade under way: rows that drafts move on unequally, batched by position."""

from collections import deque
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from keras import ops

from cat_keras.modeling import costs


@dataclass(slots=True)
class Speculated:
    """One answer and what it took.

    Attributes:
        tokens: ids, the end token included when one was emitted. text: of them, specials left out.
        n_prompt: prompt tokens read.
        large_calls: passes of the large model, one after the other; that over the prompt is not counted.
        drafted: tokens that the small model proposed. accepted: those that stand in the answer.
        rejected: calls in which a draft did not stand; what was drafted after it was not judged.
        flops: forward FLOPs of both models, prompt and rejected drafts included. seconds: its share of the batches.
    """

    tokens: list[int] = field(default_factory=list)
    text: str = ""
    n_prompt: int = 0
    large_calls: int = 0
    drafted: int = 0
    accepted: int = 0
    rejected: int = 0
    flops: float = 0.0
    seconds: float = 0.0


@dataclass(slots=True)
class Group:
    """Rows whose last token is at one position: their numbers, those tokens, and both models' caches before it."""

    rows: list[int]
    last: np.ndarray
    caches: tuple[list, list]


class Rounds:
    """The answers under way, by position: a batch shares one, and drafts that stand move its rows on unequally.

    Those behind go first, so that rows meet again. Going back after a rejection takes nothing: a cache is written at
    a position, and what lies beyond it is overwritten before anything attends to it.
    """

    def __init__(self, cascade, prompts, most, answers, progress):
        self.cascade, self.models, self.prompts = cascade, cascade.models, prompts
        self.most, self.answers, self.progress = most, answers, progress
        self.waiting = deque(sorted(range(len(prompts)), key=lambda i: len(prompts[i])))
        self.groups: dict[int, Group] = {}
        width = 2 * cascade.gamma + 1
        self.uniforms = [cascade.sampler.uniforms(i, most * width).reshape(most, width) for i in range(len(prompts))]

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.groups)

    def advance(self):
        """Lets prompts in, then takes the rows that are furthest behind one round further."""
        self._admit()
        position = min(self.groups)
        self._round(position, self.groups.pop(position))

    def _admit(self):
        free = self.cascade.limit - sum(len(group.rows) for group in self.groups.values())
        while self.waiting and free:
            length = len(self.prompts[self.waiting[0]])
            if self.groups and length - 1 > min(self.groups):
                return
            joining = []
            while self.waiting and len(joining) < free and len(self.prompts[self.waiting[0]]) == length:
                joining.append(self.waiting.popleft())
            self._begin(joining, length - 1)
            free -= len(joining)

    def _begin(self, rows, position):
        """Reads prompts of `position` + 1 tokens up to their last one."""
        started = perf_counter()
        prefixes = [self.prompts[row][:-1] for row in rows]
        caches = tuple(model.prefix(prefixes, self._room(position)) for model in self.models)
        flops = sum(count.forward(position, 0) for count in self.cascade.flops_of)
        last = np.array([self.prompts[row][-1] for row in rows], np.int32)
        self._arrive(position, rows, last, caches, self.models[0].rows(len(rows)))
        self._charge(rows, flops, started)

    def _arrive(self, position, rows, last, caches, filled, slots=None):
        """Puts rows, at some places (default: the first) of caches with `filled` rows, to those at a position."""
        slots = list(range(len(rows))) if slots is None else slots
        if slots != list(range(filled)):
            caches = self._each("take", caches, slots)
        caches = self._each("cut", self._each("widen", caches, self._room(position)), position)
        if position in self.groups:
            there = self.groups[position]
            rows, last = there.rows + rows, np.concatenate([there.last, last])
            caches = self._each("concatenate", zip(there.caches, caches, strict=True))
        self.groups[position] = Group(rows, last, caches)

    def _round(self, position, group):
        started = perf_counter()
        drafts, accepted, token, caches = self._speculate(position, group)
        moved = {}
        for slot, row in enumerate(group.rows):
            if self._extend(self.answers[row], drafts[slot, : accepted[slot]].tolist(), int(token[slot])):
                moved.setdefault(int(accepted[slot]), []).append(slot)
        for count, slots in moved.items():
            rows = [group.rows[slot] for slot in slots]
            self._arrive(position + count + 1, rows, token[slots], caches, len(token), slots)
        read = self.cascade.gamma + 1
        self._charge(group.rows, sum(_reading(count, position, read) for count in self.cascade.flops_of), started)
        if self.progress and (ended := len(group.rows) - sum(map(len, moved.values()))):
            self.progress(ended)

    def _speculate(self, position, group):
        """Drafts, how many of them stand, the token after those, and the caches; some rows twice in a static shape."""
        cascade, gamma, n = self.cascade, self.cascade.gamma, len(group.rows)
        slots = np.arange(self.models[0].rows(n)) % n
        small, large = group.caches if len(slots) == n else self._each("take", group.caches, slots)
        uniforms = np.stack([self.uniforms[row][self.answers[row].large_calls] for row in group.rows])[slots]
        last, ahead, after = map(ops.convert_to_tensor, (group.last[slots], uniforms[:, :gamma], uniforms[:, gamma:]))
        at, alpha = map(ops.convert_to_tensor, (np.int32(position), np.float32(cascade.alpha)))
        drafts, logits, small = cascade.draft(last, ahead, at, small)
        accepted, token, large = cascade.judge(last, drafts, logits, after, at, alpha, large)
        return *map(ops.convert_to_numpy, (drafts, accepted, token)), (small, large)

    def _extend(self, answer, drafts, token) -> bool:
        """Appends what stands up to the end token or the limit; whether the answer goes on."""
        left = self.most - len(answer.tokens)
        new = [*drafts, token][:left]
        if self.cascade.end in new:
            new = new[: new.index(self.cascade.end) + 1]
        judged = len(new) > len(drafts)  # else the answer ended among the drafts, and nobody asks for the others
        answer.large_calls += 1
        answer.drafted += self.cascade.gamma
        answer.accepted += min(len(new), len(drafts))
        answer.rejected += judged and len(drafts) < self.cascade.gamma
        answer.tokens += new
        return new[-1] != self.cascade.end and len(answer.tokens) < self.most

    def _room(self, position):
        """Width of the caches at a position: a round reads γ + 1 tokens from there on."""
        return self.models[0].room(position + self.cascade.gamma + 1)

    def _each(self, operation, caches, *arguments):
        return tuple(
            getattr(model, operation)(cache, *arguments) for model, cache in zip(self.models, caches, strict=True)
        )

    def _charge(self, rows, flops, started):
        share = (perf_counter() - started) / len(rows)
        for row in rows:
            self.answers[row].flops += flops
            self.answers[row].seconds += share


def _reading(count: costs.FlopCount, start: int, n: int) -> float:
    """FLOPs to read `n` tokens after `start` earlier ones, with the next-token distribution at each."""
    return float(count.forward(start + n, 0, n_logits=n) - count.forward(start, 0))
