"""Continuations in the making: their tokens, what is measured of each, and where they end."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import numpy as np

from cat_keras.decoding.endings import Endings


@dataclass(slots=True)
class Generated:
    """One continuation. All measures are of the model's own distribution (temperature 1), however tokens were drawn.

    Attributes:
        tokens: ids, the end token included when one was emitted; up to a stop string, see `endings.Endings.cut`.
        logprobs: log-probability of each token (nats).
        entropy: of the distribution that each token came from (nats). margin: difference of its two largest
            probabilities. defer: log-probability of the token that asks for help (nats); all else is then of the
            distribution without it. Each is empty unless asked for.
        text: of the tokens, up to a stop string; only where the generator has stop strings.
        computed: tokens that were computed: more than `tokens` where a stop string was cut off.
        hidden: (width,) float32, mean over the tokens of the last hidden state that predicted each; None unless asked.
    """

    tokens: list[int] = field(default_factory=list)
    logprobs: list[float] = field(default_factory=list)
    entropy: list[float] = field(default_factory=list)
    margin: list[float] = field(default_factory=list)
    defer: list[float] = field(default_factory=list)
    hidden: np.ndarray | None = None
    text: str = ""
    computed: int = 0

    def cut(self, tokens: int, text: str):
        """Drops what comes after so many tokens, whose text is given."""
        for name in ("tokens", "logprobs", "entropy", "margin", "defer"):
            del getattr(self, name)[tokens:]
        self.text = text


class Answers:
    """The answers of one call of a generator, while their tokens are made.

    Args:
        limits: at most so many tokens of each. uniforms: of each (limit,) float32, see `sampling.Sampler.uniforms`.
        endings: what ends an answer. measures: further facts of each token, of `generation.MEASURES`.
        progress: gets the number of answers newly at their ends.

    Attributes:
        all: the answers, `Generated` each.
    """

    def __init__(self, limits: Sequence[int], uniforms: Sequence[np.ndarray], endings: Endings,
                 measures: Sequence[str] = (), progress: Callable[[int], None] | None = None):  # fmt: skip
        self.limits, self.uniforms, self.endings, self.progress = limits, uniforms, endings, progress
        self.fields = [{"logprob": "logprobs"}.get(name, name) for name in ("logprob", *measures)]
        self.all = [Generated() for _ in limits]
        self._states = {}  # number → the hidden state of each token, until it is known which tokens are kept

    def extend(self, numbers: np.ndarray, tokens: np.ndarray, measured: Sequence[np.ndarray]) -> list[int]:
        """Appends tokens, and closes the answers that are at their ends.

        Args:
            numbers: (steps, rows) int, the answer that each token extends, −1 for none. tokens: alike.
            measured: of each token its log-probability and the further measures, shaped alike.

        Returns:
            numbers of the answers that are closed.
        """
        used = numbers >= 0
        before = {}  # number → how many tokens it had
        values = [array[used] for array in measured]
        values = [array.tolist() if array.ndim == 1 else array for array in values]
        for number, token, *facts in zip(numbers[used].tolist(), tokens[used].tolist(), *values, strict=True):
            answer = self.all[number]
            before.setdefault(number, len(answer.tokens))
            answer.tokens.append(token)
            for name, fact in zip(self.fields, facts, strict=True):
                values_of = self._states.setdefault(number, []) if name == "hidden" else getattr(answer, name)
                values_of.append(fact)
        closed = [number for number, n in before.items() if self._close(number, n)]
        if self.progress and closed:
            self.progress(len(closed))
        return closed

    def _close(self, number: int, before: int) -> bool:
        """Closes an answer if it is at its end; it was not with its first `before` tokens."""
        answer = self.all[number]
        end = self.endings.reached(answer.tokens, before)
        if end is None and len(answer.tokens) < self.limits[number]:
            return False
        answer.computed = len(answer.tokens) if end is None else end
        answer.cut(answer.computed, "")
        if self.endings.strings:
            answer.cut(*self.endings.cut(answer.tokens))
        if number in self._states:
            answer.hidden = np.mean(self._states.pop(number)[: len(answer.tokens)], axis=0)
        return True
