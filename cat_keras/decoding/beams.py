"""Beam search within the limit of the answer: the most probable of the continuations that its beams reach."""

from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import Generated
from cat_keras.errors import ROWS, check_number
from cat_keras.modeling import models

# Prompts of one batch differ by at most so many tokens: those of the longer ones are read one by one.
SPREAD = 8
BEAMS = "[1, 4096]"  # whole


class BeamSearch:
    """As `generation.Generator`, by beam search: the best of `beams` continuations by the sum of log-probabilities.

    In every step each beam that goes on is extended by every token, and the `beams` best of all are kept; a beam that
    is at its end stays as it is. The search ends when the best beam is at its end, since a longer one is never more
    probable, or at the limit of tokens. Beam search may lose the greedy answer on the way, and then end below it; so
    the greedy answer is among those that are compared.

    Args:
        model: a `CausalLM` or a `CachedModel`. A model whose cache cannot be written reads the whole sequence anew for
            every token.
        endings: what ends an answer.
        greedy: gives the greedy answers, called as this object is.
        beams: how many.
        rows: at most so many beams at a time; bounds memory.
    """

    def __init__(self, model, endings: Endings, greedy: Callable, beams: int, rows: int = 256):
        check_number("beams", beams, BEAMS, whole=True)
        check_number("rows", rows, ROWS, whole=True)
        self.endings, self.greedy, self.beams, self.limit = endings, greedy, beams, rows
        self.reader = (_Cached if isinstance(model, CachedModel) else _Whole)(model, beams)

    def __call__(self, prompts: Sequence[Sequence[int]], max_new_tokens: int, progress=None) -> list[Generated]:
        """Continuations in the order of the prompts; see `generation.Generator`."""
        answers = self.greedy(prompts, max_new_tokens)
        order = sorted(range(len(prompts)), key=lambda i: len(prompts[i])) if max_new_tokens > 0 else []
        while order:
            longest = len(prompts[order[0]]) + SPREAD
            batch = [i for i in order[: max(self.limit // self.beams, 1)] if len(prompts[i]) <= longest]
            order = order[len(batch) :]
            for i, best in zip(batch, self._search([list(prompts[i]) for i in batch], max_new_tokens), strict=True):
                answer = Generated(best.tokens, best.logprobs, computed=len(best.tokens))
                if self.endings.strings:
                    answer.cut(*self.endings.cut(answer.tokens))
                if sum(answer.logprobs) > sum(answers[i].logprobs):
                    answers[i] = answer
            if progress:
                progress(len(batch))
        return answers

    def _search(self, prompts, max_new_tokens) -> list["_Beam"]:
        """The best beam of each prompt; the prompts come in the order of their lengths."""
        position, best = len(prompts[0]) - 1, [None] * len(prompts)
        beams = {i: [_Beam()] for i in range(len(prompts))}  # prompt whose search goes on → its beams, the best first
        rows = [(i, own[0]) for i, own in beams.items()]  # the beams that go on
        state = self.reader.begin([prompt[:position] for prompt in prompts])
        while rows:
            sequences = [(prompts[i] + beam.tokens)[: position + 1] for i, beam in rows]
            logprobs, tokens, state = self.reader.step(state, sequences)
            for row, (_, beam) in enumerate(rows):
                beam.row = row
            position += 1
            for i in [i for i in beams if position >= len(prompts[i])]:
                beams[i] = self._extended(beams[i], logprobs, tokens)
                # A longer continuation is never more probable, so a best beam that ended stays the best.
                if beams[i][0].ended or max(len(beam.tokens) for beam in beams[i]) == max_new_tokens:
                    best[i] = beams.pop(i)[0]
            rows = [(i, beam) for i, own in beams.items() for beam in own if not beam.ended]
            if rows:
                state = self.reader.take(state, [beam.row for _, beam in rows], position + 1)
        return best

    def _extended(self, beams, logprobs, tokens) -> list["_Beam"]:
        """The best beams of one prompt after one more token, the best first."""
        candidates = [beam for beam in beams if beam.ended]
        for beam in beams:
            if not beam.ended:
                pairs = zip(tokens[beam.row].tolist(), logprobs[beam.row].tolist(), strict=True)
                candidates += [_Beam([*beam.tokens, t], [*beam.logprobs, lp], beam.row) for t, lp in pairs]
        kept = sorted(candidates, key=lambda beam: -beam.total)[: self.beams]
        grown = [beam for beam in kept if not beam.ended]
        for beam, ended in zip(grown, self.endings.finished([b.tokens for b in grown]) if grown else (), strict=True):
            beam.ended = ended
        return kept


class _Beam:
    """A continuation, the row that it or its beginning was computed in, and whether it is at its end."""

    __slots__ = ("ended", "logprobs", "row", "tokens", "total")

    def __init__(self, tokens=(), logprobs=(), row=0):
        self.tokens, self.logprobs, self.row, self.ended = list(tokens), list(logprobs), row, False
        self.total = sum(self.logprobs)


class _Cached:
    """The most probable next tokens, by a model with its cache. A state is a cache of the rows."""

    def __init__(self, cached: CachedModel, count: int):
        self.cached, self.count = cached, min(count, cached.model.backbone.vocabulary_size)
        self._step = cached.function(self._next, ((None,), "int32"), ((), "int32"))

    def _next(self, tokens, position, cache):
        logits, _, cache = self.cached.read(tokens[:, None], cache, position)
        return *_most_probable(logits[:, 0], self.count), cache

    def begin(self, prefixes):
        """The state after prefixes of one length."""
        return self.cached.prefix(prefixes, self.cached.room(len(prefixes[0]) + 1))

    def step(self, state, sequences):
        """(log-probabilities, tokens) after each sequence, (rows, count) each, and the state; all of one length."""
        position = len(sequences[0]) - 1
        tokens = np.zeros(self.cached.rows(len(sequences)), np.int32)
        tokens[: len(sequences)] = [sequence[-1] for sequence in sequences]
        *answers, state = self._step(*map(ops.convert_to_tensor, (tokens, np.int32(position))), state)
        return *map(ops.convert_to_numpy, answers), state

    def take(self, state, rows, tokens):
        """The state of the rows named, in that order, with room for so many tokens."""
        state = self.cached.take(state, rows + [0] * (self.cached.rows(len(rows)) - len(rows)))
        return self.cached.widen(state, self.cached.room(tokens))


class _Whole:
    """As `_Cached`, by passes over the whole sequences, without a state."""

    def __init__(self, model, count: int):
        self.limit = models.positions(model) or 1 << 30
        self.model = NextTokens(model, min(count, model.backbone.vocabulary_size))
        self.model.compile(jit_compile=False)

    def begin(self, prefixes):
        return None

    def step(self, state, sequences):
        n = len(sequences[0])
        token_ids, mask = np.zeros((2, len(sequences), min(-(-n // 8) * 8, self.limit)), np.int32)
        token_ids[:, :n], mask[:, :n] = sequences, 1
        last = np.full(len(sequences), n - 1, np.int32)
        return *self.model.predict_on_batch({"token_ids": token_ids, "padding_mask": mask, "last": last}), state

    def take(self, state, rows, tokens):
        return state


class NextTokens(keras.Model):
    """The most probable tokens after the last one of each row."""

    def __init__(self, model, count):
        super().__init__()
        self.model, self.count = model, count

    def call(self, inputs):
        logits = self.model({"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]})
        return _most_probable(ops.take_along_axis(logits, inputs["last"][:, None, None], axis=1)[:, 0], self.count)


def _most_probable(logits, count):
    """(log-probabilities, tokens) of the most probable tokens, (rows, count) each, from logits (rows, vocabulary)."""
    logprobs, tokens = ops.top_k(ops.log_softmax(ops.cast(logits, "float32"), axis=-1), count)
    return logprobs, ops.cast(tokens, "int32")
