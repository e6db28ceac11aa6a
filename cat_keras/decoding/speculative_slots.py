"""Speculative decoding in slots: each answer at a position of its own, several rounds in one compiled call."""

from time import perf_counter

import numpy as np
from keras import ops

from cat_keras.decoding import continuous, speculative
from cat_keras.decoding.continuous import ContinuousBatching
from cat_keras.decoding.slots import SlotModel

ROUNDS = 4  # in a call; an answer that ends at a stop string loses those after it


class Pair:
    """The small and the large model with their caches, one after the other; handled as a `SlotModel` is."""

    def __init__(self, small, large):
        self.small, self.large = SlotModel(small), SlotModel(large)
        self.model, self.variables = self, [*small.variables, *large.variables]  # what is compiled depends on these

    @property
    def spec(self) -> list:
        return [*self.small.spec, *self.large.spec]

    def empty(self, slots: int, width: int) -> list:
        return [*self.small.empty(slots, width), *self.large.empty(slots, width)]

    def widen(self, cache: list, width: int) -> list:
        small, large = self.divided(cache)
        return [*self.small.widen(small, width), *self.large.widen(large, width)]

    def divided(self, cache: list) -> tuple[list, list]:
        """The cache of each."""
        n = len(self.small.spec)
        return list(cache[:n]), list(cache[n:])


class Program(continuous.Program):
    """As `continuous.Program`, but a step is a round: γ drafts of the small model, judged by one pass of the large one.

    Args:
        cascade: the `SpeculativeCascade`. pair: its models. rule: of `speculative.RULES`. rows: number of slots.
    """

    steps = ROUNDS

    def __init__(self, cascade, pair: Pair, rule: str, rows: int):
        super().__init__(pair, cascade.endings.ids, cascade.sampler, (), rows)
        self.gamma, self.rule, self.size = cascade.gamma, rule, cascade.vocabulary

    @property
    def specs(self) -> list:
        queue, *others = super().specs
        return [[*queue, ((), "float32")], *others]  # with α

    def empty_outputs(self) -> list:
        """Of each round and slot: the number of the prompt, drafts and the token after them, how many drafts stand."""
        shape = (self.steps, self.rows)
        return [ops.full(shape, -1, "int32"), ops.zeros((*shape, self.gamma + 1), "int32"), ops.zeros(shape, "int32")]

    def read_prompt(self, tokens, positions, cache, into):
        small, large = self.model.divided(cache)
        small = self.model.small.read(tokens, positions, small, into)[1]
        return [*small, *self.model.large.read(tokens, positions, large, into)[1]]

    def extended(self, queue, state, cache):
        uniforms, number, position, count, limit, token = state
        small, large = self.model.divided(cache)
        to_draft, to_judge = self._of_round(uniforms, count)
        drafts, small_logits, small = self._drafted(token, position, to_draft, small)
        places = ops.arange(self.gamma + 1)
        read = ops.concatenate([token[:, None], drafts], axis=1)
        hidden, large = self.model.large.read(read, position[:, None] + places, large)
        large_logits = ops.cast(self.model.large.logits(hidden)[..., : self.size], "float32")
        accepted, token = speculative.judge(
            self.rule, self.sampler, drafts, (small_logits, large_logits), to_judge, queue[-1]
        )
        padded = ops.concatenate([drafts, token[:, None]], axis=1)
        made = ops.where(places < accepted[:, None], padded, token[:, None])  # what is behind them means nothing
        is_end = ops.any(ops.equal(made[..., None], self.ends), axis=-1)
        ended = ops.any(ops.logical_and(is_end, places <= accepted[:, None]), axis=1)
        count = count + accepted + 1
        still = ops.where(ops.logical_or(ended, count >= limit), -1, number)
        position = ops.where(still >= 0, position + accepted + 1, 0)
        return [uniforms, still, position, count, limit, token], [number, made, accepted], [*small, *large]

    def _of_round(self, uniforms, count):
        """The numbers that drafts are drawn with, (rows, γ), and those that they are judged with, (rows, γ + 1)."""
        n = 2 * self.gamma + 1
        first = ops.minimum(count, ops.shape(uniforms)[1] // n - 1) * n
        numbers = ops.take_along_axis(uniforms, first[:, None] + ops.arange(n), axis=1)
        return numbers[:, : self.gamma], numbers[:, self.gamma :]

    def _drafted(self, tokens, position, uniforms, cache):
        """γ drafts after the last tokens, the logits at each draft and after the last one, and the cache."""
        drafts, logits = [], []
        for step in range(self.gamma + 1):
            hidden, cache = self.model.small.read(tokens[:, None], (position + step)[:, None], cache)
            logits.append(ops.cast(self.model.small.logits(hidden)[:, 0, : self.size], "float32"))
            if step < self.gamma:
                tokens = self.sampler.choose(logits[-1], uniforms[:, step])
                drafts.append(tokens)
        return ops.stack(drafts, axis=1), ops.stack(logits, axis=1), cache


class SpeculativeBatching(ContinuousBatching):
    """Answers prompts in slots by speculation; keeps its compiled functions.

    Args:
        cascade: the `SpeculativeCascade`. pair: its models. rule: of `speculative.RULES`.
    """

    def __init__(self, cascade, pair: Pair, rule: str):
        super().__init__(pair, cascade.endings.ids, cascade.sampler, cascade.limit, ())
        self.cascade, self.rule = cascade, rule

    def __call__(self, prompts, answers):
        self.rows = self.most_rows(self.cascade.limit)
        super().__call__(prompts, answers)

    def program(self, rows: int) -> Program:
        return Program(self.cascade, self.model, self.rule, rows)

    def reach(self, left: int) -> int:
        """The last round reads γ drafts, whether or not they have room in the answer."""
        gamma = self.cascade.gamma
        return np.minimum(ROUNDS * (gamma + 1), left + gamma)

    def queue(self, *arguments) -> list[np.ndarray]:
        return [*super().queue(*arguments), np.float32(self.cascade.alpha)]

    def uniforms(self, rows: int, width: int, numbers, answers) -> np.ndarray:
        n = 2 * self.cascade.gamma + 1
        if self.cascade.sampler.greedy:
            return np.zeros((rows, n), np.float32)
        uniforms = np.zeros((rows, max(map(len, answers.uniforms), default=n)), np.float32)
        for row, i in enumerate(numbers):
            if i >= 0:
                uniforms[row, : len(answers.uniforms[i])] = answers.uniforms[i]
        return uniforms


class SpeculatedAnswers:
    """The answers of one call while their tokens are made, as `generated.Answers` is.

    Args:
        cascade: the `SpeculativeCascade`. answers: one `Speculated` per prompt, empty. limit: tokens of each, at most.
        progress: gets the number of answers newly at their ends.
    """

    def __init__(self, cascade, answers, limit: int, progress):
        self.cascade, self.all, self.progress = cascade, answers, progress
        self.limits = np.full(len(answers), limit)
        n = limit * (2 * cascade.gamma + 1)
        self.uniforms = [cascade.sampler.uniforms(i, n) for i in range(len(answers))]
        self._since = perf_counter()
        for answer in answers:  # a prompt is read but for its last token
            answer.flops = sum(float(count.forward(answer.n_prompt - 1, 0)) for count in cascade.flops_of)

    def extend(self, numbers: np.ndarray, made: np.ndarray, measured) -> list[int]:
        """Appends what rounds have given, and closes the answers that are at their ends.

        Args:
            numbers: (rounds, slots) int, the answer that each round extends, −1 for none. made: (rounds, slots, γ + 1)
                the drafts that stand and the token after them. measured: how many stand, alone in a list.

        Returns:
            numbers of the answers that are closed.
        """
        (accepted,), closed, rounds = measured, set(), []
        for step, slot in zip(*np.nonzero(numbers >= 0), strict=True):
            number = int(numbers[step, slot])
            if number not in closed:
                stand = int(accepted[step, slot])
                *drafts, token = made[step, slot, : stand + 1].tolist()
                rounds.append(self.all[number])
                if not self.cascade.extend(self.all[number], drafts, token, int(self.limits[number])):
                    closed.add(number)
        now = perf_counter()
        for answer in rounds:
            answer.seconds += (now - self._since) / len(rounds)
        self._since = now
        if self.progress and closed:
            self.progress(len(closed))
        return list(closed)
