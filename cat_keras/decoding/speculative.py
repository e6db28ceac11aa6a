"""Token-level cascades executed by speculation: target distributions, acceptance, and what to expect of them.

Two models give distributions of the next token: q the small one, p the large one. A rule names the set T of tokens that
the small model is trusted with, and every answer token is drawn from the target

    π(v) = q(v) 1[v ∈ T] + p(v) (1 − Σ_{u ∈ T} q(u)).

Some rules decide per position alone: they trust either the whole vocabulary, so that π = q, or nothing, so that π = p.
Lossless speculative decoding (arXiv 2211.17192) trusts nothing; the other rules are those of speculative cascades
(arXiv 2405.19261). Drawing from π costs one pass of the large model for several tokens: the small model drafts from q,
a draft v is accepted ("stands") with probability `min(1, π(v) / q(v))`, and the first draft that is not accepted is
replaced by a draw from `norm(max(0, π − q))`.

Everything here is `keras.ops` on arrays with the vocabulary last, and runs inside a compiled function.

    >>> q, p = np.array([0.7, 0.2, 0.1]), np.array([0.5, 0.1, 0.4])
    >>> np.round(target("token-v2", q, p, 0.2), 2).tolist()
    [0.8, 0.02, 0.18]
"""

from collections.abc import Callable

import numpy as np
from keras import ops

from cat_keras.decoding.sampling import draw
from cat_keras.errors import SHARE, check_number, check_numbers, unknown_name

TINY = 1e-30
DRAFTS = "[1, 256]"  # of a round: each is a pass of the small model that is compiled


def _largest(probs):
    return ops.max(probs, axis=-1, keepdims=True)


def entropy(probs):
    """(..., 1) nats, of distributions (..., vocabulary)."""
    return -ops.sum(probs * ops.log(ops.maximum(probs, TINY)), axis=-1, keepdims=True)


def total_variation(q, p):
    """`Σ max(0, q − p)`, (..., 1), of distributions (..., vocabulary)."""
    return ops.sum(ops.maximum(q - p, 0.0), axis=-1, keepdims=True)


# Rule → the tokens it trusts the small model with: (…, vocabulary) bool, or (…, 1) where it takes all or none.
TRUSTED: dict[str, Callable] = {
    "lossless": lambda q, p, alpha: _largest(q) < 0,
    "chow": lambda q, p, alpha: _largest(q) >= 1 - alpha,
    "chow-log": lambda q, p, alpha: entropy(q) <= alpha,
    "diff": lambda q, p, alpha: _largest(q) >= _largest(p) - alpha,
    "opt": lambda q, p, alpha: _largest(q) >= _largest(p) - alpha * total_variation(q, p),
    "token-v1": lambda q, p, alpha: q >= _largest(p) - alpha,
    "token-v2": lambda q, p, alpha: p >= _largest(p) - alpha,
    "token-v3": lambda q, p, alpha: p >= (1 - alpha) * _largest(p),
}
RULES = ("lossy", *TRUSTED)


def check(rule: str, alpha: float):
    """Raises CatKerasError for a rule that does not exist or an α outside its range.

    A larger α means more trust in the small model. "lossless" ignores it. "lossy" and "chow" take α in [0, 1]: at 0
    both are the large model (unless the small one is certain), at 1 the small one. "chow-log", Chow's rule under the
    log loss, takes nats ≥ 0: it keeps a token iff the entropy of q is at most α, which at log(vocabulary) is always
    (our reading of its name; the paper could not be read in full). The others take α in [−1, 1]: at 1 they are the
    small model, and at −1 all but "opt" are the large one.
    """
    if rule not in RULES:
        raise unknown_name("rule of a token-level cascade", rule, RULES)
    check_number(
        f"alpha of {rule}", alpha, {"lossy": SHARE, "chow": SHARE, "chow-log": "[0, inf]"}.get(rule, "[-1, 1]")
    )


def target(rule: str, q, p, alpha=0.0, drawn=None):
    """The distribution π of every answer token.

    Args:
        rule: of `RULES`. q, p: (..., vocabulary) float32, the models' own distributions, which the rule looks at.
        alpha: scalar, see `check`.
        drawn: the pair of distributions that tokens are drawn from, where a sampler changes them (by a temperature,
            top-k or top-p); default (q, p). The rule does not look at these, because greedy decoding would make the
            small model look certain of everything.

    Returns:
        (..., vocabulary), sums to 1.
    """
    q_drawn, p_drawn = drawn or (q, p)
    if rule == "lossy":
        return lossy(q_drawn, p_drawn, alpha)
    share = ops.where(TRUSTED[rule](q, p, alpha), q_drawn, 0.0)
    # Rounding may make 1 − Σ negative.
    return share + p_drawn * ops.maximum(1 - ops.sum(share, axis=-1, keepdims=True), 0.0)


def lossy(q, p, alpha):
    """The target, in closed form, when a draft v stands with probability `min(1, p(v) / ((1 − α) q(v)))`.

    An accepted draft is v with probability `m(v) = min(q(v), p(v) / (1 − α))`. The remaining mass is drawn as in
    lossless decoding (our choice), so `π = m + (1 − Σ m) norm(max(0, p − q))`. `verify` derives acceptance and residual
    from this π as from any other: where p < q, π is m, and elsewhere π ≥ q with `π − q ∝ p − q`.
    """
    accepted = ops.minimum(q, p / ops.maximum(1.0 - alpha, TINY))
    residual = ops.maximum(p - q, 0.0)
    missing = ops.maximum(1 - ops.sum(accepted, axis=-1, keepdims=True), 0.0)
    return accepted + missing * residual / ops.maximum(ops.sum(residual, axis=-1, keepdims=True), TINY)


def verify(drafts, q, pi, uniforms):
    """Which drafts stand, and the token that comes after them.

    Args:
        drafts: (rows, γ) int32, drawn from q.
        q, pi: (rows, γ + 1, vocabulary), at the place of each draft and after the last one.
        uniforms: (rows, γ + 1) in [0, 1): one per draft and one for the token after them.

    Returns:
        accepted: (rows,) int32 in 0 … γ, the number of drafts before the first that does not stand.
        token: (rows,) int32: the replacement of the first draft that does not stand, from `norm(max(0, π − q))`; where
        all stand, one more token, from π.
    """
    gamma = drafts.shape[1]
    q_drafts, pi_drafts = (ops.take_along_axis(x[:, :gamma], drafts[..., None], axis=-1)[..., 0] for x in (q, pi))
    stands = ops.cast(uniforms[:, :gamma] * q_drafts < pi_drafts, "int32")
    accepted = ops.sum(ops.cumprod(stands, axis=1), axis=1)
    after_accepted = ops.one_hot(accepted, gamma + 1)[..., None]
    q_next, pi_next = (ops.sum(x * after_accepted, axis=1) for x in (q, pi))
    residual = ops.maximum(pi_next - q_next, 0.0)
    # After the last draft nothing was rejected, and a rejection by mere rounding leaves no residual: both draw from π.
    rejected = ops.logical_and(accepted[:, None] < gamma, ops.sum(residual, axis=-1, keepdims=True) > 0)
    return accepted, draw(ops.where(rejected, residual, pi_next), uniforms[:, gamma])


def judge(rule: str, sampler, drafts, logits, uniforms, alpha):
    """`verify` under a rule, from the logits of both models.

    Args:
        rule: of `RULES`. sampler: how tokens are drawn, see `sampling.Sampler`.
        drafts: (rows, γ) int32. logits: of the small and of the large model, (rows, γ + 1, vocabulary) float32 each.
        uniforms: see `verify`. alpha: scalar.
    """
    q, p = (ops.softmax(x, axis=-1) for x in logits)
    drawn = tuple(map(sampler.probabilities, logits))
    # Greedy distributions have one token each: on them "lossy" accepts the large model's choice alone, for any α.
    rule = "token-v3" if rule == "lossy" and sampler.greedy else rule
    return verify(drafts, drawn[0], target(rule, q, p, alpha, drawn), uniforms)


def acceptance(q, pi):
    """Probability that a draft from q stands, `Σ min(q, π)`: (...,)."""
    return ops.sum(ops.minimum(q, pi), axis=-1)


def expected_tokens(acceptance, gamma: int):
    """Tokens per pass of the large model, `(1 − a^(γ+1)) / (1 − a)`, if every draft stands with the same probability a.

    Fast inference from transformers via speculative decoding, arXiv 2211.17192, equation 1.

    Args:
        acceptance: a in [0, 1], scalar or array. gamma: drafts per pass.
    """
    check_number("gamma", gamma, DRAFTS, whole=True)
    return np.power.outer(check_numbers("acceptance", acceptance, SHARE), np.arange(gamma + 1)).sum(-1)


def expected_speedup(acceptance, gamma: int, small_cost: float):
    """How many times as fast speculation is as the large model alone, which makes one token per pass.

    A round of `SpeculativeCascade` is γ + 1 steps of the small model, the last of which gives q after the last draft,
    and one pass of the large one: `expected_tokens / ((γ + 1) c + 1)`. (Theorem 3.8 of arXiv 2211.17192 has γ steps.)

    Args:
        acceptance: see `expected_tokens`. gamma: drafts per pass.
        small_cost: c, time of a step of the small model over that of a pass of the large one.
    """
    check_number("small_cost", small_cost, "[0, inf)")
    return expected_tokens(acceptance, gamma) / ((gamma + 1) * small_cost + 1)
