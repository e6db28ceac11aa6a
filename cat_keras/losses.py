"""Training objectives for the small model of a cascade.

`S` is the small model being trained, `L` the frozen large one, `y` the target tokens. Every function is pure
`keras.ops`, takes whole batches and counts **target tokens only**: positions with weight 0 (prompt, padding) never
change a value or a gradient. Logarithms are natural, losses are in nats per target token.

Sources: Cascade-Aware Training, arXiv 2406.00060 (CAT); Gatekeeper, arXiv 2502.19335; sparse teachers after
arXiv 2503.16870. What is our own choice is said where it stands.
"""

import keras
from keras import ops

from cat_keras.errors import CatKerasError, unknown_name

MASKS = ("either", "small", "large", "both", "gap", "all", "random", "soft", "sequence")

# What each mask reads of the large model, by the name of the teacher column.
_MASK_COLUMNS = {
    "small": (),
    "all": (),
    "soft": ("teacher_logprob",),
    "random": ("teacher_right", "uniform"),
}


def log1mexp(log_p):
    """log(1 − exp(log_p)) for log_p ≤ 0, with a finite gradient where exp(log_p) reaches 1."""
    return ops.log(ops.maximum(-ops.expm1(log_p), 1e-6))


def target_mean(values, weights, normalizer=None):
    """Σ values·weights / normalizer.

    Args:
        values: (batch, length) float.
        weights: (batch, length) numbers, 1 on target tokens and 0 elsewhere.
        normalizer: scalar; None means the number of target tokens in this batch. Pass the count of the *global*
            batch when the batch is a slice of it: the sum over slices then equals the loss of the whole.
    """
    weights = ops.cast(weights, values.dtype)
    count = ops.sum(weights) if normalizer is None else ops.cast(normalizer, values.dtype)
    # where, not a product: 0 · inf on a padding position would be NaN.
    return ops.sum(ops.where(weights > 0, values * weights, 0.0)) / ops.maximum(count, 1.0)


def only_target(values, weights):
    """`values` as float32, zero off the target tokens; (batch, length) or (batch, length, K).

    The weight 0 alone does not keep an infinite or NaN logit of a prompt or padding position out of the gradient: there
    the chain rule multiplies 0 by it.
    """
    values = ops.cast(values, "float32")
    live = ops.convert_to_tensor(weights) > 0
    return ops.where(live if values.ndim == 2 else live[..., None], values, ops.zeros_like(values))


def label_logprob(logits, labels):
    """log p(label): (batch, length) float from logits (batch, length, vocabulary) and labels (batch, length) int."""
    picked = ops.squeeze(ops.take_along_axis(logits, labels[..., None], axis=-1), -1)
    return picked - ops.logsumexp(logits, axis=-1)


def is_right(logits, labels):
    """Whether the arg-max token is the label (ties go to the lowest id, our choice): (batch, length) bool."""
    return ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), ops.cast(labels, "int32"))


def kl_to_uniform(logits):
    """KL(p ‖ uniform) = log V − H(p) in nats: (batch, length) float."""
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.log(ops.cast(ops.shape(logits)[-1], logits.dtype)) + ops.sum(ops.exp(log_p) * log_p, axis=-1)


def distillation_cross_entropy(logits, teacher_probs, teacher_ids=None):
    """−Σ_v p_L(v) log p_S(v), from the whole distribution of `L` or from a sparse one.

    A sparse teacher stores K entries per token. Mass it does not name (top-k) is compared as one tail bucket,
    −(1 − Σ p_L)·log(1 − Σ p_S), so that `S` is not pushed to be over-confident; unbiased samples
    (arXiv 2503.16870) sum to 1 and have no tail.

    Args:
        logits: (batch, length, vocabulary) of the small model.
        teacher_probs: (batch, length, vocabulary), or (batch, length, K) with `teacher_ids`.
        teacher_ids: (batch, length, K) int, distinct where the probability is positive.

    Returns:
        (batch, length) float, nats.
    """
    log_p = logits - ops.logsumexp(logits, axis=-1, keepdims=True)
    if teacher_ids is None:
        return -ops.sum(teacher_probs * log_p, axis=-1)
    named = ops.take_along_axis(log_p, teacher_ids, axis=-1)
    # Unused slots (probability 0) may repeat an id: they must not count towards the named mass.
    used = teacher_probs > 0
    named_mass = ops.sum(ops.where(used, ops.exp(named), 0.0), axis=-1)
    tail = ops.maximum(1.0 - ops.sum(teacher_probs, axis=-1), 0.0)
    log_tail = log1mexp(ops.log(ops.clip(named_mass, 1e-30, 1.0)))
    return -ops.sum(ops.where(used, teacher_probs * named, 0.0), axis=-1) - tail * log_tail


def token_mask(
    kind, weights, small_right=None, teacher_right=None, small_logprob=None, teacher_logprob=None, uniform=None
):
    """The factor `a` of every target token; constant to the gradient.

    With s = "S predicts the label" and l = "L predicts the label" under teacher forcing:
    `either` s∨l, the mask of CAT (arXiv 2406.00060); `small` s; `large` l; `both` s∧l; `gap` l∧¬s; `all` 1;
    `random` a random subset with the keep-rate that `either` has in this batch (the control for "fewer tokens");
    `soft` max(p_S(y), p_L(y)); `sequence` 1 on all tokens of an example iff S or L has *all* of them right.
    All but `either` are ablations of ours.

    Args:
        kind: one of `MASKS`.
        weights: (batch, length), 1 on target tokens.
        small_right, teacher_right: (batch, length) bool or 0/1.
        small_logprob, teacher_logprob: (batch, length) float, log p(label); `soft` only.
        uniform: (batch, length) float in [0, 1); `random` only.

    Returns:
        (batch, length) float32 in [0, 1]; what it holds where `weights` is 0 is never used.
    """
    weights = ops.cast(weights, "float32")
    if kind == "all":
        return ops.ones_like(weights)
    if kind == "soft":
        return ops.stop_gradient(ops.exp(ops.maximum(ops.cast(small_logprob, "float32"), teacher_logprob)))
    s = ops.cast(small_right, "float32")
    if kind == "small":
        return ops.stop_gradient(s)
    large = ops.cast(teacher_right, "float32")
    if kind == "sequence":
        return ops.stop_gradient(
            ops.maximum(_all_right(s, weights), _all_right(large, weights)) * ops.ones_like(weights)
        )
    either = ops.maximum(s, large)
    if kind == "random":
        keep_rate = ops.sum(either * weights) / ops.maximum(ops.sum(weights), 1.0)
        return ops.stop_gradient(ops.cast(uniform < keep_rate, "float32"))
    return ops.stop_gradient({"either": either, "large": large, "both": s * large, "gap": large * (1.0 - s)}[kind])


def _all_right(right, weights):
    return ops.min(ops.where(weights > 0, right, 1.0), axis=-1, keepdims=True)


class CascadeLoss:
    """Base of the objectives: arguments and the teacher columns they read; the mathematics is in `per_token`.

    Not a `keras.losses.Loss`: that sees labels and predictions only, and averages before weights are known.

    Subclasses return per-token losses and the mask from `per_token`; this class takes the global mean.

    Args:
        normalize: "tokens" divides by the number of target tokens (our default), "live" by the tokens the mask keeps.
    """

    def __init__(self, normalize="tokens"):
        if normalize not in ("tokens", "live"):
            raise unknown_name("normalization", normalize, ("tokens", "live"))
        self.normalize = normalize

    # Teacher columns that `Batches` must deliver, besides labels and weights.
    columns: tuple[str, ...] = ()
    # Whether a token's loss and mask ignore which other tokens stand in its row: then target tokens may be regrouped.
    tokenwise = False

    def per_token(self, labels, logits, weights, columns):
        """Returns (losses, mask), both (batch, length) float32."""
        raise NotImplementedError

    def __call__(self, labels, logits, weights, columns=None, normalizer=None):
        """The loss of a batch.

        Args:
            labels: (batch, length) int, the next token at each position.
            logits: (batch, length, vocabulary) of the small model, any float dtype; computed in float32.
            weights: (batch, length), 1 on target tokens, 0 on prompt and padding.
            columns: dict of the teacher columns named by `self.columns`, each (batch, length) or (batch, length, K).
            normalizer: see `target_mean`.

        Returns:
            (loss, live): scalar float32, nats per target token; and the mean of the mask over target tokens.
        """
        loss, live = self.share(labels, logits, weights, columns, normalizer)
        return (loss / ops.maximum(live, 1e-9) if self.normalize == "live" else loss), live

    def share(self, labels, logits, weights, columns=None, normalizer=None):
        """What a slice of a batch adds to (Σ a·ℓ / N, Σ a / N), whatever `normalize` is; arguments as in `__call__`."""
        missing = [c for c in self.columns if c not in (columns or {})]
        if missing:
            raise CatKerasError(
                f"{type(self).__name__} needs the columns {list(self.columns)} of the large model; missing {missing}. "
                "Give Batches a teacher=TeacherCache that holds them, or CascadeAware a live teacher"
            )
        columns = {**(columns or {}), **{c: only_target(columns[c], weights) for c in self.columns}}
        losses, mask = self.per_token(labels, only_target(logits, weights), weights, columns)
        return target_mean(mask * losses, weights, normalizer), target_mean(mask, weights, normalizer)

    def get_config(self):
        return {"normalize": self.normalize}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("cat_keras")
class CascadeAwareLoss(CascadeLoss):
    """Σ a_i · −[w log p_S(y_i) + (1−w) Σ_v p_L(v) log p_S(v)] / N, arXiv 2406.00060.

    One class serves four objectives: `xent` (mask="all", w=1), `dist` (mask="all"), `cat-xent` (w=1) and `cat-dist`.
    The defaults w = 0.5, temperature 1 and N = number of target tokens are ours.

    Args:
        mask: one of `MASKS`, see `token_mask`.
        w: weight of the label against the distribution of the large model, in [0, 1].
        temperature: both distributions of the second term are taken at this temperature; a cached teacher must have
            been built at the same one.
        normalize: see `CascadeLoss`.
    """

    def __init__(self, mask="either", w=1.0, temperature=1.0, normalize="tokens"):
        super().__init__(normalize=normalize)
        if mask not in MASKS:
            raise unknown_name("mask", mask, MASKS)
        if not 0.0 <= w <= 1.0:
            raise CatKerasError(f"w weighs the label against the large model and lies in [0, 1]. Received: w={w}")
        if not temperature > 0:
            raise CatKerasError(f"temperature is positive. Received: temperature={temperature}")
        self.mask, self.w, self.temperature = mask, float(w), float(temperature)

    @property
    def columns(self):
        needed = _MASK_COLUMNS.get(self.mask, ("teacher_right",))
        return needed + (("teacher_probs",) if self.w < 1 else ())

    @property
    def tokenwise(self):
        return self.mask != "sequence"

    def per_token(self, labels, logits, weights, columns):
        logprob = label_logprob(logits, labels)
        losses = -self.w * logprob
        if self.w < 1:
            scaled = logits if self.temperature == 1 else logits / self.temperature
            probs = ops.cast(columns["teacher_probs"], "float32")
            losses = losses + (1 - self.w) * distillation_cross_entropy(scaled, probs, columns.get("teacher_ids"))
        needs_small = self.mask not in ("all", "soft", "large")
        mask = token_mask(
            self.mask,
            weights,
            small_right=is_right(logits, labels) if needs_small else ops.zeros_like(logprob),
            teacher_right=columns.get("teacher_right"),
            small_logprob=logprob,
            teacher_logprob=columns.get("teacher_logprob"),
            uniform=columns.get("uniform"),
        )
        return losses, mask

    def get_config(self):
        return super().get_config() | {"mask": self.mask, "w": self.w, "temperature": self.temperature}


@keras.saving.register_keras_serializable("cat_keras")
class Gatekeeper(CascadeLoss):
    """(1/N) Σ_i [ α·1{S right}·−log p_S(y_i) + (1−α)·1{S wrong}·KL(p_S ‖ uniform) ], arXiv 2502.19335.

    Confident where `S` is right, uniform where it is wrong; never looks at the large model.

    Args:
        alpha: weight of the right tokens, in [0, 1]; the paper sweeps .1 … .9.
    """

    tokenwise = True

    def __init__(self, alpha=0.5, normalize="tokens"):
        super().__init__(normalize=normalize)
        if not 0.0 <= alpha <= 1.0:
            raise CatKerasError(f"alpha weighs right against wrong tokens and lies in [0, 1]. Received: alpha={alpha}")
        self.alpha = float(alpha)

    def per_token(self, labels, logits, weights, columns):
        right = ops.stop_gradient(ops.cast(is_right(logits, labels), "float32"))
        losses = -self.alpha * right * label_logprob(logits, labels)
        losses = losses + (1 - self.alpha) * (1 - right) * kl_to_uniform(logits)
        return losses, ops.ones_like(losses)

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha}


OBJECTIVES: dict[str, tuple[type, dict]] = {
    "xent": (CascadeAwareLoss, {"mask": "all", "w": 1.0}),
    "dist": (CascadeAwareLoss, {"mask": "all", "w": 0.5}),
    "cat-xent": (CascadeAwareLoss, {"mask": "either", "w": 1.0}),
    "cat-dist": (CascadeAwareLoss, {"mask": "either", "w": 0.5}),
    "gatekeeper": (Gatekeeper, {}),
}


def get(objective, **arguments):
    """An objective by name, e.g. `get("cat-dist", w=0.25)` or `get("cat-xent", mask="gap")`.

    Args:
        objective: one of `OBJECTIVES`, or a `CascadeLoss`, which is returned as it is.
        arguments: override the named objective's own.
    """
    if isinstance(objective, CascadeLoss):
        return objective
    if objective not in OBJECTIVES:
        raise unknown_name("objective", objective, OBJECTIVES)
    cls, defaults = OBJECTIVES[objective]
    try:
        return cls(**defaults | arguments)
    except TypeError as error:
        raise CatKerasError(f"{objective} does not take these arguments. Received: {arguments} ({error})") from error
