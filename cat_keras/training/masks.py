"""Which target tokens the small model learns from: the mask of Cascade-Aware Training (arXiv 2406.00060) and others.

`S` is the small model, `L` the large one. `token_mask` says what each mask means.
"""

from keras import ops

# Columns that each mask reads beside the labels: of the large model, of the starting checkpoint, or random numbers.
_COLUMNS = {
    "either": ("teacher_right",),
    "small": (),
    "large": ("teacher_right",),
    "both": ("teacher_right",),
    "gap": ("teacher_right",),
    "all": (),
    "random": ("teacher_right", "uniform"),
    "soft": ("teacher_logprob",),
    "sequence": ("teacher_right",),
    "excess": ("teacher_right", "teacher_logprob"),
    "start": ("teacher_right", "start_right"),
}
MASKS = tuple(_COLUMNS)


def columns(kind: str) -> tuple[str, ...]:
    """The columns that `Batches` must deliver for a mask."""
    return _COLUMNS[kind]


def reads_small(kind: str) -> bool:
    """Whether a mask reads `small_right`, whether the small model is right."""
    return kind not in ("all", "soft", "large", "start")


def token_mask(
    kind,
    weights,
    small_right=None,
    teacher_right=None,
    small_logprob=None,
    teacher_logprob=None,
    uniform=None,
    start_right=None,
):
    """The factor `a` of every target token; constant to the gradient.

    With s = "S predicts the label" and l = "L predicts the label" under teacher forcing, the masks are:

    * `either`: s∨l, the mask of CAT (arXiv 2406.00060). All others are ablations of ours.
    * `small`: s. `large`: l. `both`: s∧l. `gap`: l∧¬s. `all`: 1.
    * `random`: a random subset with the keep-rate that `either` has in this batch (the control for "fewer tokens").
    * `soft`: max(p_S(y), p_L(y)).
    * `sequence`: 1 on all tokens of an example iff S or L has *all* of them right.
    * `excess`: the tokens with the largest log p_L(y) − log p_S(y), as many as `either` keeps (the selection of Rho-1,
      arXiv 2404.07965; the number is ours).
    * `start`: s∨l, with s as it was before training.

    Args:
        kind: one of `MASKS`.
        weights: (batch, length), 1 on target tokens.
        small_right, teacher_right, start_right: (batch, length) bool or 0/1.
        small_logprob, teacher_logprob: (batch, length) float, log p(label); `soft` and `excess`.
        uniform: (batch, length) float in [0, 1); `random` only.

    Returns:
        (batch, length) float32 in [0, 1]; its values where `weights` is 0 mean nothing and are never used.
    """
    weights = ops.cast(weights, "float32")
    if kind == "all":
        return ops.ones_like(weights)
    if kind == "soft":
        return ops.stop_gradient(ops.exp(ops.maximum(ops.cast(small_logprob, "float32"), teacher_logprob)))
    small, large, start = (
        None if x is None else ops.cast(x, "float32") for x in (small_right, teacher_right, start_right)
    )
    if kind == "sequence":
        example_right = ops.maximum(_all_right(small, weights), _all_right(large, weights))
        return ops.stop_gradient(example_right * ops.ones_like(weights))
    if kind in ("random", "excess"):
        n_either = ops.sum(ops.maximum(small, large) * weights)  # the target tokens that `either` keeps
        if kind == "random":
            mask = uniform < n_either / ops.maximum(ops.sum(weights), 1.0)
        else:
            mask = _largest(teacher_logprob - ops.cast(small_logprob, "float32"), weights, n_either)
        return ops.stop_gradient(ops.cast(mask, "float32"))
    return ops.stop_gradient(
        {
            "either": lambda: ops.maximum(small, large),
            "start": lambda: ops.maximum(start, large),
            "small": lambda: small,
            "large": lambda: large,
            "both": lambda: small * large,
            "gap": lambda: large * (1.0 - small),
        }[kind]()
    )


def _all_right(right, weights):
    """(batch, 1): 1.0 for the examples whose target tokens are all right."""
    return ops.min(ops.where(weights > 0, right, 1.0), axis=-1, keepdims=True)


def _largest(values, weights, count):
    """Whether a target token has one of the `count` largest values of its batch; ties with the smallest of them too."""
    ascending = ops.sort(ops.reshape(ops.where(weights > 0, values, float("-inf")), (-1,)))
    index = ops.shape(ascending)[0] - ops.cast(ops.maximum(count, 1.0), "int32")
    return ops.logical_and(values >= ops.take(ascending, index), count > 0)
