"""Training objectives for the small model of a cascade.

`S` is the small model that is trained, `L` the frozen large one, `y` the target tokens. Every function is pure
`keras.ops`, takes whole batches and counts **target tokens only**: positions with weight 0 (prompt, padding) never
change a value or a gradient. Logarithms are natural, losses are in nats per target token.

First come the functions that the objectives are made of, then the objectives as classes, then their names.

Sources: Cascade-Aware Training, arXiv 2406.00060 (CAT); Gatekeeper, arXiv 2502.19335; learning to defer,
arXiv 2006.01862; sparse teachers after arXiv 2503.16870. Where something is our own choice, the docstring says so.
"""

import keras
from keras import ops

from cat_keras.errors import COUNT, SHARE, TEMPERATURE, CatKerasError, check_number, unknown_name
from cat_keras.training import masks


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
    # `where` and not only a product, since 0 · inf on a padding position would be NaN.
    return ops.sum(ops.where(weights > 0, values * weights, 0.0)) / ops.maximum(count, 1.0)


def only_target(values, weights):
    """`values` as float32, zero off the target tokens; (batch, length) or (batch, length, K).

    A weight of 0 alone does not keep an infinite or NaN logit of a prompt or padding position out of the gradient,
    since the chain rule multiplies the 0 by it.
    """
    values = ops.cast(values, "float32")
    is_target = ops.convert_to_tensor(weights) > 0
    return ops.where(is_target if values.ndim == 2 else is_target[..., None], values, ops.zeros_like(values))


def label_logprob(logits, labels):
    """log p(label): (batch, length) float from logits (batch, length, vocabulary) and labels (batch, length) int."""
    label_logits = ops.squeeze(ops.take_along_axis(logits, labels[..., None], axis=-1), -1)
    return label_logits - ops.logsumexp(logits, axis=-1)


def label_loss(logits, labels):
    """−log p(label), (batch, length) float in nats, for training: value and gradient are one operation of the backend.

    That of `label_logprob`, taken apart, would add rows by index, which a CPU does slowly.
    """
    return ops.sparse_categorical_crossentropy(labels, logits, from_logits=True)


def is_right(logits, labels, k=1):
    """Whether the label is among the k tokens of largest logit (ties go to the lowest id, our choice).

    Args:
        logits: (batch, length, vocabulary).
        labels: (batch, length) int.
        k: 1 is the arg-max.

    Returns:
        (batch, length) bool.
    """
    check_number("k", k, COUNT, whole=True)
    labels = ops.cast(labels, "int32")
    if k == 1:
        return ops.equal(ops.cast(ops.argmax(logits, axis=-1), "int32"), labels)
    label_logits = ops.take_along_axis(logits, labels[..., None], axis=-1)
    lower_id = ops.arange(ops.shape(logits)[-1], dtype="int32") < labels[..., None]
    before = ops.logical_or(logits > label_logits, ops.logical_and(ops.equal(logits, label_logits), lower_id))
    return ops.sum(ops.cast(before, "int32"), axis=-1) < k


def kl_to_uniform(logits):
    """KL(p ‖ uniform) = log V − H(p) in nats: (batch, length) float."""
    log_p = ops.log_softmax(logits, axis=-1)
    return ops.log(ops.cast(ops.shape(logits)[-1], logits.dtype)) + ops.sum(ops.exp(log_p) * log_p, axis=-1)


def distillation_cross_entropy(logits, teacher_probs, teacher_ids=None):
    """−Σ_v p_L(v) log p_S(v), from the whole distribution of `L` or from a sparse one.

    A sparse teacher stores K entries per token. The mass of all other tokens (top-k) is compared as one tail bucket,
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
    stored_log_p = ops.take_along_axis(log_p, teacher_ids, axis=-1)
    # Unused slots (probability 0) may repeat an id, and must not count towards the mass of the stored ids.
    used = teacher_probs > 0
    stored_mass = ops.sum(ops.where(used, ops.exp(stored_log_p), 0.0), axis=-1)
    teacher_tail = ops.maximum(1.0 - ops.sum(teacher_probs, axis=-1), 0.0)
    log_tail = log1mexp(ops.log(ops.clip(stored_mass, 1e-30, 1.0)))
    return -ops.sum(ops.where(used, teacher_probs * stored_log_p, 0.0), axis=-1) - teacher_tail * log_tail


class CascadeLoss:
    """Base of the objectives.

    A subclass says which teacher columns it reads, and computes in `per_token` the masked loss of every token and the
    mask. This class checks the columns, keeps prompt and padding out, and takes the means over the global batch. It is
    not a `keras.losses.Loss`, which sees labels and predictions only and averages before the weights are known.

    Args:
        normalize: "tokens" divides by the number of target tokens (our default), "live" by the tokens the mask keeps.
    """

    def __init__(self, normalize="tokens"):
        if normalize not in ("tokens", "live"):
            raise unknown_name("normalization", normalize, ("tokens", "live"))
        self.normalize = normalize

    # Teacher columns that `Batches` must deliver, besides labels and weights.
    columns: tuple[str, ...] = ()
    # Whether a token's loss and mask do not depend on the other tokens of its row, so that tokens may be regrouped.
    tokenwise = False

    def per_token(self, labels, logits, weights, columns):
        """Returns (losses with the mask applied, mask), both (batch, length) float32."""
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
                "Give Batches a teacher=TeacherCache that holds them (start=TeacherCache of the starting checkpoint "
                "for start_right), or CascadeAware a live teacher"
            )
        columns = {**(columns or {}), **{c: only_target(columns[c], weights) for c in self.columns}}
        losses, mask = self.per_token(labels, only_target(logits, weights), weights, columns)
        return target_mean(losses, weights, normalizer), target_mean(mask, weights, normalizer)

    def get_config(self):
        return {"normalize": self.normalize}

    @classmethod
    def from_config(cls, config):
        return cls(**config)


@keras.saving.register_keras_serializable("cat_keras")
class CascadeAwareLoss(CascadeLoss):
    """Σ a_i · −[w log p_S(y_i) + (1−w) Σ_v p_L(v) log p_S(v)] / N, arXiv 2406.00060.

    One class serves four objectives: `xent` (mask="all", w=1), `dist` (mask="all"), `cat-xent` (w=1) and `cat-dist`.
    A fifth is `rho-1`, whose sum is over the tokens with the largest excess loss over `L` (arXiv 2404.07965), as many
    as CAT keeps. The values w = 0.5, temperature 1 and N = number of target tokens are our choice. So are `k`, `floor`
    and `beta`, three ways to keep the small model from confirming its own wrong guesses.

    Args:
        mask: one of `masks.MASKS`, see `masks.token_mask`.
        w: weight of the label against the distribution of the large model, in [0, 1].
        temperature: both distributions of the second term are taken at this temperature; a cached teacher must have
            been built at the same one.
        k: a model counts as right where the label is among its k most probable tokens; a cached teacher must hold
            that many (distribution="topk").
        floor: a_i of the tokens that the mask drops, in [0, 1): a ∈ {floor, 1}.
        beta: adds β · (1 − a_i) · KL(p_S ‖ uniform), ≥ 0: unsure where neither model can know.
        normalize: see `CascadeLoss`.
    """

    def __init__(self, mask="either", w=1.0, temperature=1.0, k=1, floor=0.0, beta=0.0, normalize="tokens"):
        super().__init__(normalize=normalize)
        if mask not in masks.MASKS:
            raise unknown_name("mask", mask, masks.MASKS)
        check_number("w, the weight of the label against the large model,", w, SHARE)
        check_number("temperature", temperature, TEMPERATURE)
        k = int(k) if isinstance(k, float) and k.is_integer() else k
        check_number("k, how many tokens count as right,", k, COUNT, whole=True)
        check_number("floor, what a dropped token still counts,", floor, "[0, 1)")
        check_number("beta, the weight of the pull to uniform,", beta, "[0, 1e+30]")
        self.mask, self.w, self.temperature = mask, float(w), float(temperature)
        self.k, self.floor, self.beta = int(k), float(floor), float(beta)

    @property
    def columns(self):
        columns = masks.columns(self.mask)
        if self.k > 1:
            columns = tuple("teacher_rank" if c == "teacher_right" else c for c in columns)
        return columns + (("teacher_probs",) if self.w < 1 else ())

    @property
    def tokenwise(self):
        return self.mask != "sequence"

    def per_token(self, labels, logits, weights, columns):
        of_label = label_loss(logits, labels)
        losses = self.w * of_label
        if self.w < 1:
            scaled = logits if self.temperature == 1 else logits / self.temperature
            probs = ops.cast(columns["teacher_probs"], "float32")
            losses = losses + (1 - self.w) * distillation_cross_entropy(scaled, probs, columns.get("teacher_ids"))
        mask = self._mask(labels, logits, -of_label, weights, columns)
        losses = mask * losses
        if self.beta:
            losses = losses + self.beta * (1 - mask) * kl_to_uniform(logits)
        return losses, mask

    def _mask(self, labels, logits, logprob, weights, columns):
        """The factor a_i of every token: the mask, raised to `floor` where it is 0."""
        if "teacher_rank" in self.columns:
            teacher_right = columns["teacher_rank"] < self.k
        else:
            teacher_right = columns.get("teacher_right")
        mask = masks.token_mask(
            self.mask,
            weights,
            small_right=is_right(logits, labels, self.k) if masks.reads_small(self.mask) else None,
            teacher_right=teacher_right,
            small_logprob=logprob,
            teacher_logprob=columns.get("teacher_logprob"),
            uniform=columns.get("uniform"),
            start_right=columns.get("start_right"),
        )
        return self.floor + (1 - self.floor) * mask if self.floor else mask

    def get_config(self):
        names = ("mask", "w", "temperature", "k", "floor", "beta")
        return super().get_config() | {name: getattr(self, name) for name in names}


@keras.saving.register_keras_serializable("cat_keras")
class Gatekeeper(CascadeLoss):
    """(1/N) Σ_i [ α·1{S right}·−log p_S(y_i) + (1−α)·1{S wrong}·KL(p_S ‖ uniform) ], arXiv 2502.19335.

    It makes `S` confident where it is right, and uniform where it is wrong. It reads nothing of the large model.

    Args:
        alpha: weight of the right tokens, in [0, 1]; the paper sweeps .1 … .9.
    """

    tokenwise = True

    def __init__(self, alpha=0.5, normalize="tokens"):
        super().__init__(normalize=normalize)
        check_number("alpha, the weight of right against wrong tokens,", alpha, SHARE)
        self.alpha = float(alpha)

    def per_token(self, labels, logits, weights, columns):
        right = ops.stop_gradient(ops.cast(is_right(logits, labels), "float32"))
        losses = self.alpha * right * label_loss(logits, labels)
        losses = losses + (1 - self.alpha) * (1 - right) * kl_to_uniform(logits)
        return losses, ops.ones_like(losses)

    def get_config(self):
        return super().get_config() | {"alpha": self.alpha}


@keras.saving.register_keras_serializable("cat_keras")
class Salt(CascadeAwareLoss):
    """SALT (arXiv 2410.18779), an objective of the *large* model, which begins with the small one as its teacher.

    At step t < n_KD the loss of a token is `(1 − ω)·−log p_L(y) + ω·−Σ_v p_S(v) log p_L(v)`, and afterwards
    `−log p_L(y)` alone, whose step then computes nothing of the teacher. Here `L` is trained and `S` is frozen, so the
    columns are those of a `TeacherCache` that was built with the small model.

    How well each part is known: the two parts and their order are reported by reviews of the paper, and so is n_KD of
    36,000 in 208,000 steps; ω = 2/3 is from memory. That both distributions are taken at `temperature`, as in `dist`,
    and that it is used for fine-tuning on target tokens, is our choice.

    Args:
        steps: n_KD, how many of the first steps distil; 0 is plain cross-entropy. `Batches(loss=…)` counts them.
        omega: weight of the small model's distribution against the label, in [0, 1].
        temperature: of both distributions; the cache must have been built at the same one.
        normalize: see `CascadeLoss`.
    """

    def __init__(self, steps, omega=2 / 3, temperature=1.0, normalize="tokens"):
        check_number("steps, how many of the first steps distil,", steps, "[0, 2147483647]", whole=True)
        check_number("omega, the weight of the small model against the label,", omega, SHARE)
        super().__init__(mask="all", w=1 - omega, temperature=temperature, normalize=normalize)
        self.steps, self.omega = int(steps), float(omega)

    columns = ("distilled", "teacher_probs")

    def per_token(self, labels, logits, weights, columns):
        def distil():
            return super(Salt, self).per_token(labels, logits, weights, columns)[0]

        # All target tokens of a batch are distilled or none is, so that one branch is computed for all of them.
        losses = ops.cond(ops.max(columns["distilled"]) > 0, distil, lambda: label_loss(logits, labels))
        return losses, ops.ones_like(losses)

    def get_config(self):
        return CascadeLoss.get_config(self) | {name: getattr(self, name) for name in ("steps", "omega", "temperature")}


@keras.saving.register_keras_serializable("cat_keras")
class DeferToken(CascadeLoss):
    """(1/N) Σ_i −log p_S(y_i) + (w/N) Σ_e h_e · −log p_S(⊥ | prompt of e): `S` learns a token ⊥ that asks for help.

    ⊥ is one more outcome of the first token of an answer, and h_e says of an example whether asking helps there. It is
    the cross-entropy surrogate of learning to defer, L_CE of arXiv 2006.01862, whose classes are the
    tokens and whose expert is the large model. At its optimum the odds p(⊥) / (1 − p(⊥)) are the probability of h. A
    token of the vocabulary that is learned from the model's own mistakes is attested too (Self-REF, arXiv 2410.13284).

    Our choice: `helps="gain"`, with which p(⊥) itself is the score of the rule `defer-token` (with the surrogate of the
    paper, h = "the expert is right", p(⊥) says nothing of the model's own answer; that is `helps="right"`, and its rule
    is `defer-margin`). That both models are right where every target token is their arg-max, that the small one is
    judged as it was before this training, that ⊥ is the padding token, which no answer holds, and N = number of target
    tokens. Where ⊥ is learned, `Predictor(measures=["defer"])` keeps it out of answers and reports its probability.

    Args:
        token: id of ⊥, see `tokenizers.defer_id`; the default is that of tokenizers that `train_tokenizer` makes.
        helps: h_e is 1 where the large model is right on all target tokens and the small model was not at the start
            ("gain"), or where the large model is right ("right"). `Batches` makes the column `defer` of it.
        weight: w, at least 0; 1 is the paper's.
        normalize: see `CascadeLoss`.
    """

    columns = ("defer",)
    tokenwise = True

    def __init__(self, token=0, helps="gain", weight=1.0, normalize="tokens"):
        super().__init__(normalize=normalize)
        check_number("token, the id of the defer token,", token, "[0, 2147483647]", whole=True)
        if helps not in ("gain", "right"):
            raise unknown_name("notion of where asking helps", helps, ("gain", "right"))
        check_number("weight of the defer token", weight, "[0, 1e+30]")
        self.token, self.helps, self.weight = int(token), helps, float(weight)

    def per_token(self, labels, logits, weights, columns):
        # The column is 1 at the first target token of an example where asking helps, and 0 everywhere else.
        helps = self.weight * ops.cast(columns["defer"], "float32")
        losses = label_loss(logits, labels) + helps * label_loss(logits, ops.full_like(labels, self.token))
        return losses, ops.ones_like(losses)

    def get_config(self):
        return super().get_config() | {"token": self.token, "helps": self.helps, "weight": self.weight}


# Name → class and its arguments: objectives of the small model, and then of the large one.
OBJECTIVES: dict[str, tuple[type, dict]] = {
    "xent": (CascadeAwareLoss, {"mask": "all", "w": 1.0}),
    "dist": (CascadeAwareLoss, {"mask": "all", "w": 0.5}),
    "cat-xent": (CascadeAwareLoss, {"mask": "either", "w": 1.0}),
    "cat-dist": (CascadeAwareLoss, {"mask": "either", "w": 0.5}),
    "gatekeeper": (Gatekeeper, {}),
    "rho-1": (CascadeAwareLoss, {"mask": "excess", "w": 1.0}),
    "defer-token": (DeferToken, {}),
}
LARGE_OBJECTIVES: dict[str, tuple[type, dict]] = {"salt": (Salt, {})}


def get(objective, **arguments):
    """An objective by name, e.g. `get("cat-dist", w=0.25)` or `get("cat-xent", mask="gap")`.

    Args:
        objective: one of `OBJECTIVES` or `LARGE_OBJECTIVES`, or a `CascadeLoss`, which is returned as it is.
        arguments: override those of the named objective.

    Raises:
        CatKerasError: there is no objective of that name, or it does not take these arguments.
    """
    if isinstance(objective, CascadeLoss):
        return objective
    known = OBJECTIVES | LARGE_OBJECTIVES
    if objective not in known:
        raise unknown_name("objective", objective, known)
    cls, defaults = known[objective]
    try:
        return cls(**defaults | arguments)
    except TypeError as error:
        raise CatKerasError(f"{objective} does not take these arguments. Received: {arguments} ({error})") from error
