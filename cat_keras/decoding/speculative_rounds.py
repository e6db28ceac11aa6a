"""The rounds of a speculative cascade at one position, for families that have no slots.

Answers advance unequally, so they are batched by position.
"""

from collections import deque
from dataclasses import dataclass, field
from time import perf_counter

import numpy as np
from keras import ops


@dataclass(slots=True)
class Speculated:
    """One answer and what it took.

    Attributes:
        tokens: ids, the end token included when one was emitted; up to a stop string. text: of them, without the end
            token and from a stop string on.
        n_prompt: prompt tokens read.
        large_calls: passes of the large model, one after the other; the pass over the prompt is not counted.
        drafted: tokens that the small model proposed. accepted: those of them that are in the answer.
        rejected: calls in which a draft did not stand; the drafts after it were not judged.
        flops: forward FLOPs of both models, prompt and rejected drafts included; NaN if one is unknown. seconds: its
            share of the batches.
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
    """The answers in progress, grouped by position: a batch shares one, and accepted drafts advance its rows unequally.

    The group that is furthest behind goes first, so that rows meet again at later positions. Going back after a
    rejection costs nothing: a cache is written at a position, and what lies beyond it is overwritten before anything
    attends to it.
    """

    def __init__(self, cascade, prompts, max_new_tokens, answers, progress):
        self.cascade, self.models, self.prompts = cascade, cascade.models, prompts
        self.max_new_tokens, self.answers, self.progress = max_new_tokens, answers, progress
        self.waiting = deque(sorted(range(len(prompts)), key=lambda i: len(prompts[i])))
        self.groups: dict[int, Group] = {}
        # A round takes γ numbers to draft and γ + 1 to judge; there are at most as many rounds as tokens.
        shape = max_new_tokens, 2 * cascade.gamma + 1
        self.uniforms = [cascade.sampler.uniforms(i, shape[0] * shape[1]).reshape(shape) for i in range(len(prompts))]

    @property
    def open(self) -> bool:
        return bool(self.waiting or self.groups)

    def advance(self):
        """Admits prompts, then takes the rows that are furthest behind one round further."""
        self._admit()
        position = min(self.groups)
        self._round(position, self.groups.pop(position))

    def _admit(self):
        """Begins the shortest waiting prompts, as far as rows are free and no group is behind them."""
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
        """Reads prompts of `position` + 1 tokens, all but the last token of each."""
        started = perf_counter()
        prefixes = [self.prompts[row][:-1] for row in rows]
        caches = tuple(model.prefix(prefixes, self._room(position)) for model in self.models)
        flops = sum(count.forward(position, 0) for count in self.cascade.flops_of)
        last = np.array([self.prompts[row][-1] for row in rows], np.int32)
        self._join(position, rows, last, caches, self.models[0].rows(len(rows)), list(range(len(rows))))
        self._charge(rows, started, flops)

    def _join(self, position, rows, last, caches, cache_rows, slots):
        """Adds rows to the group at a position; their caches are at `slots` of caches with `cache_rows` rows."""
        if slots != list(range(cache_rows)):
            caches = self._both("take", caches, slots)
        caches = self._both("widen", caches, self._room(position))
        if position in self.groups:
            group = self.groups[position]
            rows, last = group.rows + rows, np.concatenate([group.last, last])
            caches = self._both("concatenate", zip(group.caches, caches, strict=True))
        self.groups[position] = Group(rows, last, caches)

    def _round(self, position, group):
        """Extends the answers of a group, and puts those that go on into the groups of their new positions."""
        started, cascade = perf_counter(), self.cascade
        drafts, accepted, token, caches = self._speculate(position, group)
        continuing: dict[int, list[int]] = {}  # number of accepted drafts → slots
        for slot, row in enumerate(group.rows):
            stand = drafts[slot, : accepted[slot]].tolist()
            if cascade.extend(self.answers[row], stand, int(token[slot]), self.max_new_tokens):
                continuing.setdefault(int(accepted[slot]), []).append(slot)
        for count, slots in continuing.items():
            rows = [group.rows[slot] for slot in slots]
            self._join(position + count + 1, rows, token[slots], caches, len(token), slots)
        self._charge(group.rows, started)
        if self.progress and (finished := len(group.rows) - sum(map(len, continuing.values()))):
            self.progress(finished)

    def _speculate(self, position, group):
        """Drafts, how many of them stand, the token after those, and the caches; a static shape repeats some rows."""
        cascade, gamma, n = self.cascade, self.cascade.gamma, len(group.rows)
        slots = np.arange(self.models[0].rows(n)) % n
        small, large = group.caches if len(slots) == n else self._both("take", group.caches, slots)
        uniforms = np.stack([self.uniforms[row][self.answers[row].large_calls] for row in group.rows])[slots]
        arrays = group.last[slots], uniforms[:, :gamma], uniforms[:, gamma:], np.int32(position)
        last, to_draft, to_judge, index = map(ops.convert_to_tensor, arrays)
        drafts, logits, small = cascade.draft(last, to_draft, index, small)
        alpha = ops.convert_to_tensor(np.float32(cascade.alpha))
        accepted, token, large = cascade.judge(last, drafts, logits, to_judge, index, alpha, large)
        return *map(ops.convert_to_numpy, (drafts, accepted, token)), (small, large)

    def _room(self, position):
        """Width of the caches at a position, from which a round reads γ + 1 tokens."""
        return self.models[0].room(position + self.cascade.gamma + 1)

    def _both(self, operation, caches, *arguments):
        """The small and the large model's cache after an operation of `CachedModel`."""
        return tuple(
            getattr(model, operation)(cache, *arguments) for model, cache in zip(self.models, caches, strict=True)
        )

    def _charge(self, rows, started, flops=0.0):
        """Adds an equal share of the time since `started` to each of the rows, and FLOPs to each."""
        share = (perf_counter() - started) / len(rows)
        for row in rows:
            self.answers[row].flops += flops
            self.answers[row].seconds += share
