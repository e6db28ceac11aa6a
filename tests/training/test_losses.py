"""Objectives: values worked out by hand, and what must never change a value or a gradient."""

import itertools

import keras
import numpy as np
import pytest
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.training import losses, masks, teacher

LN2 = np.log(2)


def value_and_gradient(function, x):
    """function(x) and its gradient in x, as (float, array); x is a float array."""
    x = ops.convert_to_tensor(np.asarray(x, np.float32))
    if keras.backend.backend() != "tensorflow":
        pytest.skip(f"gradients are not written for {keras.backend.backend()}")
    import tensorflow as tf

    with tf.GradientTape() as tape:
        tape.watch(x)
        value = function(x)
    gradient = tape.gradient(value, x)
    return float(value), np.zeros(x.shape, np.float32) if gradient is None else ops.convert_to_numpy(gradient)


def log_softmax(logits):
    return logits - np.log(np.exp(logits).sum(-1, keepdims=True))


def random_batch(seed=0, batch=4, length=6, vocabulary=5, scale=1.5):
    """(labels, logits, weights, columns): a prompt, 2 to 4 target tokens and padding per row."""
    rng = np.random.default_rng(seed)
    logits, large = (rng.normal(0, scale, (batch, length, vocabulary)).astype(np.float32) for _ in "SL")
    labels = rng.integers(0, vocabulary, (batch, length))
    who = rng.integers(0, 4, (batch, length))  # who is right: S, L, both, or whoever is by chance
    large = np.where((who == 2)[..., None], logits + large / 4, large)
    best = {0: logits.argmax(-1), 1: large.argmax(-1), 2: logits.argmax(-1), 3: labels}
    labels = np.choose(who, [best[i] for i in range(4)]).astype(np.int32)
    labels[0] = logits[0].argmax(-1)  # one row that S has all right, so that `sequence` keeps something
    weights = np.zeros((batch, length), np.int32)
    for i in range(batch):
        weights[i, 1 : 3 + i % 3] = 1
    log_p = log_softmax(large)
    columns = {
        "teacher_right": (large.argmax(-1) == labels).astype(np.int32),
        "teacher_logprob": np.take_along_axis(log_p, labels[..., None], -1)[..., 0],
        "teacher_probs": np.exp(log_p),
        "uniform": rng.random((batch, length), dtype=np.float32),
        "teacher_rank": (large > np.take_along_axis(large, labels[..., None], -1)).sum(-1).astype(np.int32),
        "start_right": (rng.random((batch, length)) < 0.3).astype(np.int32),
        "defer": ((np.arange(length) == 1) & (np.arange(batch)[:, None] % 2 == 0)).astype(np.int32),
    }
    return labels, logits, weights, columns


def reference_mask(kind, labels, logits, weights, columns):
    """The masks once more, in plain numpy: (batch, length), 0 off the target."""
    s, large = logits.argmax(-1) == labels, columns["teacher_right"].astype(bool)
    off = weights == 0
    p_small = np.exp(np.take_along_axis(log_softmax(logits), labels[..., None], -1)[..., 0])
    rows = (s | off).all(-1, keepdims=True) | (large | off).all(-1, keepdims=True)
    excess = np.where(off, -np.inf, columns["teacher_logprob"] - np.log(p_small))
    largest = np.sort(excess.ravel())[::-1][: (s | large)[~off].sum()]
    mask = {
        "either": s | large,
        "excess": np.isin(excess, largest),
        "start": columns["start_right"].astype(bool) | large,
        "small": s,
        "large": large,
        "both": s & large,
        "gap": large & ~s,
        "all": np.ones_like(s),
        "random": columns["uniform"] < (s | large)[~off].mean(),
        "sequence": np.broadcast_to(rows, s.shape),
        "soft": np.maximum(p_small, np.exp(columns["teacher_logprob"])),
    }[kind]
    return mask * weights.astype(np.float32)


def objective(mask="either", w=1.0, **more):
    return losses.CascadeAwareLoss(mask=mask, w=w, **more)


def test_the_loss_of_a_label_is_that_of_its_log_probability_with_the_same_gradient():
    labels, logits, weights, _ = random_batch()
    logits[0, 0] = [-np.inf, 0, 90, -90, 1]  # even so
    labels[0, 0] = 2
    weighed = [
        value_and_gradient(lambda x, f=f: ops.sum(f(x, labels) * weights), logits)
        for f in (lambda x, y: -losses.label_logprob(x, y), losses.label_loss)
    ]
    np.testing.assert_allclose(weighed[1][0], weighed[0][0], rtol=1e-6)
    np.testing.assert_allclose(weighed[1][1][1:], weighed[0][1][1:], atol=1e-6)
    assert np.isfinite(weighed[1][1]).all()


# -- by hand ---------------------------------------------------------------------------------------------------------
# Four target tokens over a vocabulary of 4, every probability a power of 1/2, so that losses are multiples of ln 2:
#
#        label  p_S                 s  L right  −log2 p_S(y)  p_L                  −Σ p_L log2 p_S      KL(p_S ‖ U)/ln 2
#   A    0      1/2 1/4 1/8 1/8     1  1        1             1/2 1/2 0   0        (1+2)/2      = 1.5
#   B    1      1/4 1/2 1/8 1/8     1  0        1             1   0   0   0        2
#   C    2      1/2 1/8 1/4 1/8     0  1        2             0   0   1   0        2                     2 − 1.75 = .25
#   D    3      1/2 1/4 1/8 1/8     0  0        3             1/4 1/4 1/4 1/4      (1+2+3+3)/4  = 2.25  2 − 1.75 = .25
#
# A and B are one example, C and D another; each has a prompt position before and a padding position after.


def hand():
    def rows(a, b, c, d, off):
        return np.array([[off, a, b, off], [off, c, d, off]])

    p_s = np.array([[4, 2, 1, 1], [2, 4, 1, 1], [4, 1, 2, 1], [4, 2, 1, 1], [1, 1, 1, 5]]) / 8
    p_l = np.array([[2, 2, 0, 0], [4, 0, 0, 0], [0, 0, 4, 0], [1, 1, 1, 1], [0, 0, 0, 4]]) / 4
    columns = {
        "teacher_right": rows(1, 0, 1, 0, 1),
        "teacher_logprob": np.log(rows(1 / 2, 1 / 8, 1 / 2, 1 / 16, 1)),
        "teacher_probs": rows(*p_l),
        "uniform": rows(0.1, 0.8, 0.74, 0.76, 0.0),
        "teacher_rank": rows(0, 2, 0, 3, 0),
        "start_right": rows(0, 0, 0, 1, 1),
    }
    return rows(0, 1, 2, 3, 3), np.log(rows(*p_s)).astype(np.float32), rows(1, 1, 1, 1, 0), columns


@pytest.mark.parametrize(
    ("loss", "total", "live"),
    [
        (losses.get("xent"), 1 + 1 + 2 + 3, 1),
        (losses.get("dist"), (7 + 1.5 + 2 + 2 + 2.25) / 2, 1),
        (losses.get("cat-xent"), 1 + 1 + 2, 3 / 4),
        (losses.get("cat-dist"), (4 + 1.5 + 2 + 2) / 2, 3 / 4),
        (losses.get("cat-dist", w=0.25), 0.25 * 4 + 0.75 * 5.5, 3 / 4),
        (losses.get("gatekeeper"), 0.5 * (1 + 1) + 0.5 * (0.25 + 0.25), 1),
        (losses.get("gatekeeper", alpha=0.1), 0.1 * 2 + 0.9 * 0.5, 1),
        (objective("either"), 4, 3 / 4),
        (objective("small"), 1 + 1, 2 / 4),
        (objective("large"), 1 + 2, 2 / 4),
        (objective("both"), 1, 1 / 4),
        (objective("gap"), 2, 1 / 4),
        (objective("all"), 7, 1),
        # `either` keeps 3/4, so the control keeps what drew less than .75: A and C.
        (objective("random"), 1 + 2, 2 / 4),
        # max(p_S(y), p_L(y)) = 1/2, 1/2, 1/2, 1/8
        (objective("soft"), 0.5 * 1 + 0.5 * 1 + 0.5 * 2 + 0.125 * 3, (1.5 + 0.125) / 4),
        # log2 p_L − log2 p_S = 0, −2, 1, −1: of these `excess` keeps three, as `either` does.
        (objective("excess"), 1 + 2 + 3, 3 / 4),
        (objective("start"), 1 + 2 + 3, 3 / 4),
        # S has the labels of A, B and C among its two most probable tokens, L those of A and C.
        (objective("small", k=2), 1 + 1 + 2, 3 / 4),
        (objective("both", k=2), 1 + 2, 2 / 4),
        (objective("either", floor=0.1), 4 + 0.1 * 3, 3.1 / 4),
        (objective("either", beta=0.5), 4 + 0.5 * 0.25, 3 / 4),
        (objective("either", floor=0.1, beta=0.5), 4.3 + 0.9 * 0.5 * 0.25, 3.1 / 4),
        # S has all of A, B right; neither S nor L has all of C, D.
        (objective("sequence"), 1 + 1, 2 / 4),
        # The second term at temperature 1/2: p_S² / Σ p_S², p_L as given. Σ p_S² = (16+4+1+1)/64 = 22/64 in all rows,
        # so −log2 is 2·(−log2 p_S) + log2(22/64): twice 7.75 over the four tokens, and four times the constant.
        (objective("all", w=0.0, temperature=0.5), 2 * 7.75 + 4 * np.log2(22 / 64), 1),
    ],
    ids=lambda v: getattr(v, "mask", type(v).__name__) if isinstance(v, losses.CascadeLoss) else "",
)
def test_values_by_hand(loss, total, live):
    labels, logits, weights, columns = hand()
    value, live_share = loss(labels, logits, weights, columns)
    np.testing.assert_allclose(value, total * LN2 / 4, rtol=1e-6)
    np.testing.assert_allclose(live_share, live, rtol=1e-6)


def test_live_normalization_divides_by_what_the_mask_keeps():
    labels, logits, weights, columns = hand()
    value, _ = objective("either", normalize="live")(labels, logits, weights, columns)
    np.testing.assert_allclose(value, 4 * LN2 / 3, rtol=1e-6)


def test_every_mask_has_a_value_by_hand_and_a_reference():
    labels, logits, weights, columns = random_batch()
    for kind in masks.MASKS:
        mask = masks.token_mask(
            kind,
            weights,
            small_right=losses.is_right(logits, labels),
            teacher_right=columns["teacher_right"],
            small_logprob=losses.label_logprob(logits, labels),
            teacher_logprob=columns["teacher_logprob"],
            uniform=columns["uniform"],
            start_right=columns["start_right"],
        )
        expected = reference_mask(kind, labels, logits, weights, columns)
        np.testing.assert_allclose(np.asarray(mask) * weights, expected, rtol=1e-5, err_msg=kind)
        if kind not in ("soft", "all"):
            assert 0 < expected.sum() < weights.sum(), (
                f"{kind} keeps all or nothing here: the tests below would be empty"
            )


# -- masks -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("w", [1.0, 0.3])
@pytest.mark.parametrize("kind", masks.MASKS)
def test_a_mask_equals_the_subset_it_keeps(kind, w):
    """Value and gradient: were the gradient to flow through the mask (`soft`), the two would differ."""
    labels, logits, weights, columns = random_batch(seed=1)
    mask, count = reference_mask(kind, labels, logits, weights, columns), weights.sum()
    masked = value_and_gradient(lambda x: objective(kind, w)(labels, x, weights, columns)[0], logits)
    weighed = value_and_gradient(lambda x: objective("all", w)(labels, x, mask, columns, normalizer=count)[0], logits)
    for ours, theirs in zip(masked, weighed, strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-6)
    if kind != "soft":
        subset, _ = objective("all", w)(labels, logits, mask, columns)
        np.testing.assert_allclose(masked[0], float(subset) * mask.sum() / count, rtol=1e-5)


def test_soft_mask_is_constant_to_the_gradient():
    # One token, p_S(y) > p_L(y): a = p_S(y) is S's own, and d/dz [a·−log p(y)] must be a·(p − onehot), no more.
    p = np.array([0.5, 0.3, 0.2], np.float32)
    columns = {"teacher_logprob": np.log([[0.1]])}
    logits = np.log(p)[None, None]
    _, gradient = value_and_gradient(
        lambda x: objective("soft")(np.array([[0]]), x, np.array([[1]]), columns)[0], logits
    )
    np.testing.assert_allclose(gradient[0, 0], 0.5 * (p - [1, 0, 0]), rtol=1e-5)


@pytest.mark.parametrize(("logits", "winner"), [([1, 1, 0], 0), ([0, 2, 2], 1), ([3, 3, 3], 0)])
def test_ties_go_to_the_lowest_id(logits, winner):
    right = losses.is_right(np.tile(np.float32(logits), (1, 3, 1)), np.array([[0, 1, 2]]))
    assert np.asarray(right)[0].tolist() == [i == winner for i in range(3)]


def test_the_k_most_probable_tokens_are_found_with_ties():
    logits = np.tile(np.float32([2, 3, 2, 1]), (1, 4, 1))
    right = losses.is_right(logits, np.array([[0, 1, 2, 3]]), k=2)
    assert np.asarray(right)[0].tolist() == [True, True, False, False]


def test_random_mask_keeps_the_rate_of_either():
    labels, logits, weights, columns = random_batch(seed=2, batch=200, length=20)
    weights[:] = 1
    expected = reference_mask("either", labels, logits, weights, columns).mean()
    _, live = objective("random")(labels, logits, weights, columns)
    assert abs(float(live) - expected) < 5 * np.sqrt(expected * (1 - expected) / weights.size)


def test_w_1_needs_no_distribution_and_equals_cat_xent():
    labels, logits, weights, columns = random_batch(seed=3)
    ours, theirs = losses.get("cat-dist", w=1.0), losses.get("cat-xent")
    assert "teacher_probs" not in ours.columns
    (value, gradient), (same_value, same_gradient) = (
        value_and_gradient(lambda x, o=o: o(labels, x, weights, columns)[0], logits) for o in (ours, theirs)
    )
    np.testing.assert_array_equal(value, same_value)
    np.testing.assert_array_equal(gradient, same_gradient)


# -- what is no target token -----------------------------------------------------------------------------------------

EVERY_OBJECTIVE = [
    *(pytest.param(losses.get(name), id=name) for name in losses.OBJECTIVES),
    *(pytest.param(objective(kind, 0.5), id=f"mask-{kind}") for kind in masks.MASKS),
    pytest.param(objective("either", 0.5, normalize="live"), id="live"),
    pytest.param(objective("either", 0.5, k=2, floor=0.1, beta=0.5), id="hybrid"),
]


@pytest.mark.parametrize("garbage", [7.0, 1e30, np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("loss", EVERY_OBJECTIVE)
def test_prompt_and_padding_change_neither_loss_nor_gradient(loss, garbage):
    labels, logits, weights, columns = random_batch(seed=4)
    off = weights == 0
    value, gradient = value_and_gradient(lambda x: loss(labels, x, weights, columns)[0], logits)
    dirty_labels = np.where(off, (labels + 1) % 5, labels)
    dirty_logits = np.where(off[..., None], np.float32(garbage), logits)
    dirty = {
        k: np.where(off if v.ndim == 2 else off[..., None], v.dtype.type(1) if v.dtype.kind == "i" else garbage, v)
        for k, v in columns.items()
    }
    dirty_value, dirty_gradient = value_and_gradient(lambda x: loss(dirty_labels, x, weights, dirty)[0], dirty_logits)
    np.testing.assert_allclose(dirty_value, value, rtol=1e-6)
    np.testing.assert_allclose(dirty_gradient, gradient, rtol=1e-5, atol=1e-7)
    assert not dirty_gradient[off].any()


@pytest.mark.parametrize("normalize", ["tokens", "live"])
@pytest.mark.parametrize("w", [1.0, 0.5])
def test_no_live_token_gives_zero_loss_and_gradient(w, normalize):
    labels, logits, weights, columns = random_batch(seed=5)
    labels = np.where(logits.argmax(-1) == labels, (labels + 1) % 5, labels)  # S wrong everywhere, and L never right:
    columns["teacher_right"][:] = 0
    value, gradient = value_and_gradient(
        lambda x: objective("either", w, normalize=normalize)(labels, x, weights, columns)[0], logits
    )
    assert value == 0
    assert not gradient.any()


@pytest.mark.parametrize("loss", EVERY_OBJECTIVE)
def test_a_batch_of_padding_gives_zero_loss_and_gradient(loss):
    labels, logits, weights, columns = random_batch(seed=6)
    value, gradient = value_and_gradient(lambda x: loss(labels, x, 0 * weights, columns)[0], logits)
    assert value == 0
    assert not gradient.any()


# -- batches and slices ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    # These read counts of the whole batch.
    "loss", [p for p in EVERY_OBJECTIVE if p.id not in ("mask-random", "mask-excess", "rho-1", "live")]
)  # fmt: skip
def test_a_batch_equals_the_sum_of_its_slices(loss):
    labels, logits, weights, columns = random_batch(seed=7, batch=6)
    weights[2:4] = 0  # a replica without any target token
    count = weights.sum()
    whole, gradient = value_and_gradient(lambda x: loss(labels, x, weights, columns)[0], logits)
    parts = []
    for cut in (slice(0, 2), slice(2, 4), slice(4, 6)):
        slice_columns = {k: v[cut] for k, v in columns.items()}
        parts.append(
            value_and_gradient(
                lambda x, cut=cut, c=slice_columns: loss(labels[cut], x, weights[cut], c, normalizer=count)[0],
                logits[cut],
            )
        )
    np.testing.assert_allclose(sum(value for value, _ in parts), whole, rtol=1e-5)
    np.testing.assert_allclose(np.concatenate([g for _, g in parts]), gradient, rtol=1e-4, atol=1e-7)


def test_half_precision_logits_are_computed_in_float32():
    labels, logits, weights, columns = random_batch(seed=8)
    half = logits.astype(np.float16)
    value, _ = losses.get("cat-dist")(labels, half, weights, columns)
    same, _ = losses.get("cat-dist")(labels, half.astype(np.float32), weights, columns)
    assert keras.backend.standardize_dtype(value.dtype) == "float32"
    assert float(value) == float(same)


# -- sparse teachers -------------------------------------------------------------------------------------------------


def sparse_loss(probs, ids=None):
    weights = np.ones(probs.shape[:2])
    return lambda x: losses.target_mean(losses.distillation_cross_entropy(x, np.float32(probs), ids), weights)


def test_sampled_distillation_is_unbiased():
    rng = np.random.default_rng(0)
    p, logits = rng.dirichlet(np.ones(6)), rng.normal(0, 1.5, 6).astype(np.float32)
    n = 20_000
    ids, probs = teacher._draw(np.tile(p, (n, 1)), 4, rng)
    full, full_gradient = value_and_gradient(sparse_loss(p[None, None]), logits[None, None])
    tiled = np.tile(logits, (1, n, 1))
    per_draw = np.asarray(losses.distillation_cross_entropy(tiled, probs[None], ids[None].astype(np.int32)))
    assert abs(per_draw.mean() - full) < 5 * per_draw.std() / np.sqrt(n)
    _, gradient = value_and_gradient(sparse_loss(probs[None], ids[None].astype(np.int32)), tiled)
    # The sum over n draws of (gradient / n); each entry of p̂ has variance p(1−p)/4.
    np.testing.assert_allclose(gradient[0].sum(0), full_gradient[0, 0], atol=5 * 0.25 / np.sqrt(n) + 1e-5)


def test_topk_of_the_whole_vocabulary_equals_the_full_distribution():
    rng = np.random.default_rng(1)
    p, logits = rng.dirichlet(np.ones(7), (2, 3)), rng.normal(0, 2, (2, 3, 7)).astype(np.float32)
    ids = np.argsort(-p, axis=-1)
    probs = np.take_along_axis(p, ids, axis=-1)
    sparse = value_and_gradient(sparse_loss(probs, ids.astype(np.int32)), logits)
    for ours, theirs in zip(sparse, value_and_gradient(sparse_loss(p), logits), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-5, atol=2e-6)


def test_topk_with_tail_approaches_the_full_distribution_from_below():
    # Merging the tail into one bucket can only lose information (log-sum inequality): the cross-entropy grows with k.
    rng = np.random.default_rng(2)
    p, logits = rng.dirichlet(np.full(30, 0.3), (1, 8)), rng.normal(0, 1, (1, 8, 30)).astype(np.float32)
    full, direction = value_and_gradient(sparse_loss(p), logits)
    values, agreement = [], []
    for k in (1, 2, 4, 8, 16, 29, 30):
        ids = np.argsort(-p, axis=-1)[..., :k]
        probs = np.take_along_axis(p, ids, axis=-1)
        value, gradient = value_and_gradient(sparse_loss(probs, ids.astype(np.int32)), logits)
        values.append(value)
        agreement.append((gradient * direction).sum() / np.linalg.norm(gradient) / np.linalg.norm(direction))
    assert all(a <= b + 1e-5 for a, b in itertools.pairwise(values))
    np.testing.assert_allclose(values[-1], full, rtol=1e-5)
    assert agreement[0] > 0.5 and min(agreement[3:]) > 0.95


def test_unused_slots_of_a_sparse_teacher_count_for_nothing():
    logits = np.float32([[[0.3, -1.0, 2.0]]])
    padded = sparse_loss(np.array([[[0.75, 0.25, 0.0, 0.0]]]), np.array([[[2, 0, 0, 2]]], np.int32))
    plain = sparse_loss(np.array([[[0.75, 0.25]]]), np.array([[[2, 0]]], np.int32))
    for ours, theirs in zip(value_and_gradient(padded, logits), value_and_gradient(plain, logits), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6)


@pytest.mark.parametrize("log_p", [0.0, -1e-12, -1e-7, -1e-3, -1.0, -100.0, -1e30])
def test_log1mexp_is_finite_with_a_finite_gradient(log_p):
    value, gradient = value_and_gradient(losses.log1mexp, log_p)
    assert np.isfinite(value) and np.isfinite(gradient)
    assert value <= 0
    if -50 < log_p <= -1e-3:
        np.testing.assert_allclose(value, np.log(-np.expm1(log_p)), rtol=1e-4)


# -- arguments -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (lambda: losses.get("cat-xnt"), "did you mean cat-xent"),
        (lambda: losses.get("cat-xent", mask="eihter"), "did you mean either"),
        (lambda: losses.get("cat-xent", normalize="tokns"), "did you mean tokens"),
        (lambda: losses.get("dist", w=1.5), r"\[0, 1\]. Received: 1.5"),
        (lambda: losses.get("dist", w=-0.1), r"\[0, 1\]. Received: -0.1"),
        (lambda: losses.get("dist", w=float("nan")), "Received: nan"),
        (lambda: losses.get("dist", temperature=0), "temperature is a number in .*Received: 0"),
        (lambda: losses.get("cat-xent", k=1.5), "whole number in .*Received: 1.5"),
        (lambda: losses.get("cat-xent", floor=1), r"\[0, 1\). Received: 1"),
        (lambda: losses.get("cat-xent", beta=-1), "beta, .*Received: -1"),
        (lambda: losses.get("gatekeeper", alpha=2), r"\[0, 1\]. Received: 2"),
        (lambda: losses.get("gatekeeper", w=0.5), "does not take these arguments"),
    ],
)
def test_bad_arguments(make, message):
    with pytest.raises(CatKerasError, match=message):
        make()


@pytest.mark.parametrize("name", ["dist", "cat-xent", "cat-dist", "rho-1"])
def test_missing_columns_are_named(name):
    labels, logits, weights, columns = random_batch()
    loss = losses.get(name)
    for absent in loss.columns:
        with pytest.raises(CatKerasError, match=rf"missing \['{absent}'\]"):
            loss(labels, logits, weights, {k: v for k, v in columns.items() if k != absent})


@pytest.mark.parametrize(
    "loss",
    [
        losses.get("cat-dist", w=0.25, temperature=2.0, k=3, beta=0.1, normalize="live"),
        losses.get("gatekeeper", alpha=0.2),
    ],
)
def test_objectives_survive_serialization(loss):
    again = keras.saving.deserialize_keras_object(keras.saving.serialize_keras_object(loss))
    assert type(again) is type(loss) and again.get_config() == loss.get_config()
    assert losses.get(loss) is loss
