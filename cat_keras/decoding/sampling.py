"""Choice of the next token, greedy or drawn at a temperature, and how sure the model was of it."""

from dataclasses import dataclass

import numpy as np
from keras import ops

from cat_keras.errors import SEED, TEMPERATURE, check_number


@dataclass(frozen=True)
class Sampler:
    """How the next token is chosen from a distribution over the vocabulary.

    Args:
        temperature: 0 for greedy decoding; else logits are divided by it, 1e-6 at least.
        top_k: draw from so many of the most probable tokens; 0 for all.
        top_p: draw from the most probable tokens that together reach this probability, the one that reaches it included
            (nucleus sampling, arXiv 1904.09751); 1 for all.
        seed: of the draws. The draws of the i-th prompt depend on (seed, i) alone, not on the other prompts.

    Raises:
        CatKerasError: a setting outside its range.
    """

    temperature: float = 0.0
    top_k: int = 0
    top_p: float = 1.0
    seed: int = 0

    def __post_init__(self):
        if check_number("temperature", self.temperature, "[0, 1e+06]"):
            check_number("A temperature that is not 0 (greedy)", self.temperature, TEMPERATURE)
        check_number("top_k", self.top_k, "[0, 2147483647]", whole=True)
        check_number("top_p", self.top_p, "(0, 1]")
        check_number("seed", self.seed, SEED, whole=True)

    @property
    def greedy(self) -> bool:
        return self.temperature == 0

    def uniforms(self, prompt: int, count: int) -> np.ndarray:
        """(count,) float32 in [0, 1): the random numbers that the tokens of one prompt are drawn with."""
        return np.random.default_rng([self.seed, prompt]).random(count, dtype=np.float32)

    def choose(self, logits, uniforms):
        """Token ids (rows,) int32 from logits (rows, vocabulary) float32 and uniforms (rows,)."""
        if self.greedy:
            return most_probable(logits)
        return draw(self.probabilities(logits), uniforms)

    def probabilities(self, logits):
        """The distribution that tokens are drawn from: (..., vocabulary) float32, zero outside top_k and top_p."""
        if self.greedy:
            return ops.one_hot(most_probable(logits), logits.shape[-1])
        probs = ops.softmax(logits / self.temperature, axis=-1)
        if not self.top_k and self.top_p == 1:
            return probs
        order = ops.argsort(-probs, axis=-1)
        ranked = ops.take_along_axis(probs, order, axis=-1)
        mass_before = ops.cumsum(ranked, axis=-1) - ranked
        allowed = mass_before < self.top_p
        if self.top_k:
            allowed = ops.logical_and(allowed, ops.arange(logits.shape[-1]) < self.top_k)
        # The argsort of the order is the rank of each id, which brings probabilities from ranks back to ids.
        probs = ops.take_along_axis(ops.where(allowed, ranked, 0.0), ops.argsort(order, axis=-1), axis=-1)
        return probs / ops.sum(probs, axis=-1, keepdims=True)


GREEDY = Sampler()


def most_probable(logits):
    """The first id with the largest logit, (...) int32 from (..., vocabulary): an argmax that is quicker on CPUs."""
    count = logits.shape[-1]
    largest = logits >= ops.max(logits, axis=-1, keepdims=True)
    return ops.min(ops.where(largest, ops.arange(count, dtype="int32"), count - 1), axis=-1)


def draw(probs, uniforms):
    """Ids (rows,) int32 drawn from probabilities (rows, vocabulary), by inverting their sums at `uniforms` (rows,)."""
    cumulative = ops.cumsum(probs, axis=-1)
    # The last sum may differ from 1 by rounding, so a uniform is taken as a share of it.
    below = ops.cast(cumulative <= uniforms[:, None] * cumulative[:, -1:], "int32")
    return ops.minimum(ops.sum(below, axis=-1), probs.shape[-1] - 1)


def without_token(logits, token: int):
    """Logits that make a token impossible, so that the others' probabilities sum to 1, and what its own was.

    Args:
        logits: (..., vocabulary) float32. token: its id.

    Returns:
        logits, and (...) float32, the log-probability of the token (nats).
    """
    logprob = logits[..., token] - ops.logsumexp(logits, axis=-1)
    return ops.where(ops.arange(logits.shape[-1]) == token, -np.inf, logits), logprob


def next_tokens(sampler: Sampler, logits, uniforms, defer: int | None = None):
    """Chooses a token for each row, and says how sure the model was.

    Args:
        logits: (rows, vocabulary) float32. uniforms: (rows,). defer: id of a token that asks for help and that is not
            chosen; None for a model without one.

    Returns:
        tokens (rows,) int32; what `confidence` gives of them, and "defer" (rows,), the log-probability of that token.
    """
    asks = {}
    if defer is not None:
        logits, asks["defer"] = without_token(logits, defer)
    tokens = sampler.choose(logits, uniforms)
    return tokens, confidence(logits, tokens) | asks


def confidence(logits, tokens) -> dict:
    """How sure the model was, under its own distribution (temperature 1), per row.

    Args:
        logits: (rows, vocabulary) float32. tokens: (rows,) int32, the chosen ones.

    Returns:
        logprob: (rows,) of the token, nats. entropy: (rows,) nats. margin: (rows,) difference of the two largest
        probabilities.
    """
    total = ops.logsumexp(logits, axis=-1)
    probs = ops.exp(logits - total[:, None])
    first = ops.max(logits, axis=-1)
    # The second largest is the maximum with the largest masked out, as top_k is slow under XLA on CPU.
    rest = ops.where(ops.one_hot(most_probable(logits), logits.shape[-1], dtype="bool"), -np.inf, logits)
    chosen = ops.take_along_axis(logits, tokens[:, None], axis=-1)[:, 0]
    # An impossible token adds nothing to the entropy, but 0 · −∞ would be NaN.
    parts = ops.where(probs > 0, probs * logits, 0.0)
    return {
        "logprob": chosen - total,
        "entropy": total - ops.sum(parts, axis=-1),
        "margin": ops.exp(first - total) - ops.exp(ops.max(rest, axis=-1) - total),
    }
