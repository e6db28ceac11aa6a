"""Continuations of many prompts at once: no row waits for another to finish, and none is computed after its end."""

from collections import deque
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

import numpy as np
from keras import ops

from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.sampling import GREEDY, Sampler, confidence, without_token
from cat_keras.errors import ROWS, CatKerasError, check_list, check_number, check_numbers
from cat_keras.modeling import models, tokenizers

MEASURES = ("entropy", "margin", "hidden", "defer")

# Prompts that are up to so many tokens longer join a batch together with the shortest one; their last tokens are then
# fed one by one. That costs a few rows, but less than joining later, as every joining copies the cache of the batch.
SPREAD = 8


@dataclass(slots=True)
class Generated:
    """One continuation. All measures are of the model's own distribution (temperature 1), however tokens were drawn.

    Attributes:
        tokens: ids, the end token included when one was emitted; up to a stop string, see `endings.Endings.cut`.
        logprobs: log-probability of each token (nats).
        entropy: of the distribution that each token came from (nats). margin: difference of its two largest
            probabilities. Both are empty unless asked for.
        text: of the tokens, up to a stop string; only where the generator has stop strings.
        computed: tokens that were computed: more than `tokens` where a stop string was cut off.
        hidden: (width,) float32, mean over the tokens of the last hidden state that predicted each; None unless asked.
        defer: log-probability (nats) of the defer token at the first token; None unless asked. All other measures are
            then of the distribution without it.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    hidden: np.ndarray | None = None
    defer: float | None = None
    text: str = ""
    computed: int = 0

    def cut(self, tokens: int, text: str):
        """Drops what comes after so many tokens, whose text is given."""
        for name in ("tokens", "logprobs", "entropy", "margin"):
            del getattr(self, name)[tokens:]
        self.text = text


class Generator:
    """Continues prompts with one model; keeps its compiled functions, so reuse it.

    All rows at one position make a batch. A prompt joins when the batch reaches its last tokens, and leaves at the end
    of its answer. So nearly every computed row gives a token of an answer, whatever the lengths of prompts and answers.

    Args:
        model: a `CausalLM` or a `CachedModel`.
        stop: what ends an answer: ids and texts, or `Endings`; None for the ids at which the model's own `generate`
            stops. Texts need the model's tokenizer.
        sampler: see `sampling.Sampler`.
        rows: at most so many answers at a time; bounds the memory of the cache.
        measures: further facts to return of each token, of `MEASURES`. With "defer", answers are without the token of
            `tokenizers.defer_id`, and its probability is one of the facts.

    Attributes:
        steps, computed: forward passes of one token so far, and the rows in them, filled-up ones included.
    """

    def __init__(self, model, stop: Iterable[int | str] | Endings | None = None, sampler: Sampler = GREEDY,
                 rows: int = 256, measures: Sequence[str] = ()):  # fmt: skip
        check_number("rows", rows, ROWS, whole=True)
        if not set(check_list("measures", measures)) <= set(MEASURES):
            raise CatKerasError(f"measures are of {', '.join(MEASURES)}. Received: measures={list(measures)}")
        self.cached = model if isinstance(model, CachedModel) else CachedModel(model, tight=True)
        self.endings = _endings(self.cached.model, stop)
        self.sampler, self.limit, self.measures = sampler, rows, tuple(measures)
        self._defer_id = tokenizers.defer_id(models.tokenizer_of(self.cached.model)) if "defer" in measures else None
        self.steps = self.computed = 0
        specs = ((None,), "int32"), ((None,), "float32"), ((), "int32")
        self._step = self.cached.function(self._next, *specs)

    def _next(self, tokens, uniforms, position, cache):
        """The next token of each row, what is measured of it, and the cache; this is what is compiled."""
        logits, hidden, cache = self.cached.read(tokens[:, None], cache, position)
        logits = ops.cast(logits[:, 0], "float32")
        asks = None
        if self._defer_id is not None:
            logits, asks = without_token(logits, self._defer_id)
        chosen = self.sampler.choose(logits, uniforms)
        measured = confidence(logits, chosen) | {"defer": asks}
        if "hidden" in self.measures:
            measured["hidden"] = ops.cast(hidden[:, 0], "float32")
        return chosen, {name: measured[name] for name in ("logprob", *self.measures)}, cache

    def __call__(self, prompts: Sequence[Sequence[int]], max_new_tokens: int | Sequence[int],
                 progress: Callable[[int], None] | None = None) -> list[Generated]:  # fmt: skip
        """Continuations in the order of the prompts.

        Args:
            prompts: token ids, at least one each. max_new_tokens: at most so many each, end token included; one number
                or one per prompt. progress: gets the number of prompts newly finished.

        Raises:
            CatKerasError: an empty prompt, or one that leaves no room for its answer in the positions of the model.
        """
        prompts = check_prompts(prompts)
        limits = check_numbers("max_new_tokens", max_new_tokens, "[0, 16777216]", whole=True)
        limits = np.broadcast_to(limits, len(prompts))
        for i, prompt in enumerate(prompts):  # the last token of an answer is not read
            models.check_positions(
                self.cached.model, len(prompt) + int(limits[i]) - 1,
                f"prompt {i} of {len(prompt)} tokens and max_new_tokens={limits[i]}", "Give at most {} in all",
            )  # fmt: skip
        answers = [Generated() for _ in prompts]
        uniforms = [self.sampler.uniforms(i, n) if not self.sampler.greedy else np.zeros(n, np.float32)
                    for i, n in enumerate(limits)]  # fmt: skip
        waiting: dict[int, deque] = {}  # number of tokens → the prompts that have so many
        for i, prompt in enumerate(prompts):
            if limits[i] > 0:
                waiting.setdefault(len(prompt), deque()).append(i)
        while waiting:
            self._sweep(prompts, limits, uniforms, waiting, answers, progress)
        return answers

    def _sweep(self, prompts, limits, uniforms, waiting, answers, progress):
        """Runs a batch from the shortest waiting prompt until no row is left; further prompts join on the way."""
        position = min(waiting) - 1
        batch = _Batch(self.cached)
        while batch.active or position + 1 in waiting:
            if joining := _take(waiting, position + 1, self.limit - len(batch.active)):
                batch.admit([(i, prompts[i]) for i in joining], position)
            tokens, measured = self._advance(batch, uniforms, answers, position)
            position += 1
            extended = []
            for slot, i in batch.active:
                if position < len(prompts[i]):  # the prompt itself goes on
                    tokens[slot] = prompts[i][position]
                else:
                    self._extend(answers[i], int(tokens[slot]), measured, slot)
                    extended.append((slot, i))
            batch.tokens = tokens
            finished = self._finish(extended, answers, limits)
            batch.release(finished)
            if progress and finished:
                progress(len(finished))

    def _advance(self, batch, uniforms, answers, position):
        """One forward pass: the next token of each row of the batch, and its measures by name."""
        batch.make_room(position + 1)
        row_uniforms = np.zeros(len(batch.rows), np.float32)
        for slot, i in batch.active:
            row_uniforms[slot] = uniforms[i][len(answers[i].tokens)]
        tensors = map(ops.convert_to_tensor, (batch.tokens, row_uniforms, np.int32(position)))
        tokens, measured, batch.cache = self._step(*tensors, batch.cache)
        self.steps, self.computed = self.steps + 1, self.computed + len(batch.rows)
        return np.array(tokens), {name: ops.convert_to_numpy(values) for name, values in measured.items()}

    def _extend(self, answer, token, measured, slot):
        """Appends a token and its measures to an answer."""
        answer.tokens.append(token)
        answer.logprobs.append(float(measured["logprob"][slot]))
        for name in ("entropy", "margin"):
            if name in measured:
                getattr(answer, name).append(float(measured[name][slot]))
        answer.computed += 1
        if "defer" in measured and answer.defer is None:
            answer.defer = float(measured["defer"][slot])
        if "hidden" in measured:
            answer.hidden = answer.hidden or []  # of each token, until it is known which are kept
            answer.hidden.append(np.array(measured["hidden"][slot]))

    def _finish(self, extended, answers, limits) -> list[int]:
        """Closes those of the answers that are at their end, given as (slot, number); returns their slots."""
        ended = self.endings.finished([answers[i].tokens for _, i in extended]) if extended else ()
        finished = []
        for (slot, i), is_ended in zip(extended, ended, strict=True):
            answer = answers[i]
            if not is_ended and len(answer.tokens) < limits[i]:
                continue
            if self.endings.strings:
                answer.cut(*self.endings.cut(answer.tokens))
            if answer.hidden is not None:
                answer.hidden = np.mean(answer.hidden[: len(answer.tokens)], axis=0)
            finished.append(slot)
        return finished


def _endings(model, stop) -> Endings:
    """What ends the answers of a generator, from its argument `stop`."""
    if isinstance(stop, Endings):
        return stop
    if stop is None:
        return Endings.of(model)
    stop = list(check_list("ids and texts to stop at", stop))
    strings = [s for s in stop if isinstance(s, str)]
    tokenizer = models.tokenizer_of(model) if strings else None
    return Endings([s for s in stop if not isinstance(s, str)], strings, tokenizer)


def check_prompts(prompts) -> list[list[int]]:
    """Returns prompts as lists of token ids.

    Raises:
        CatKerasError: they are no list, or one of them is no list of ids, or empty.
    """
    prompts = [list(check_list("token ids of a prompt", p)) for p in check_list("prompts", prompts)]
    empty = [i for i, p in enumerate(prompts) if not p]
    if empty:
        raise CatKerasError(f"A prompt has at least one token. Received: none in prompt {empty[0]}")
    return prompts


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
