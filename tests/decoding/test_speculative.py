"""Target distributions of token-level cascades: by hand, at the ends of α, and as what verified drafts come out as."""

import doctest

import numpy as np
import pytest
from keras import ops
from scipy import stats

from cat_keras.decoding import speculative
from cat_keras.decoding.sampling import draw
from cat_keras.errors import CatKerasError

A, B = np.float32([0.7, 0.2, 0.1]), np.float32([0.5, 0.1, 0.4])
ALPHAS = {"lossless": 0.0, "lossy": 0.3, "chow": 0.7, "chow-log": 1.3, "diff": 0.05, "opt": 0.6}
ALPHAS |= {f"token-v{i}": 0.3 for i in (1, 2, 3)}


def pair(rows=200, tokens=7, seed=0):
    """Random distributions of many shapes, none with a zero."""
    rng = np.random.default_rng(seed)
    q, p = (rng.dirichlet(np.ones(tokens) * 0.6, rows) + 1e-3 for _ in range(2))
    return tuple((x / x.sum(-1, keepdims=True)).astype(np.float32) for x in (q, p))


def target(rule, q, p, alpha, drawn=None):
    return ops.convert_to_numpy(speculative.target(rule, q, p, np.float32(alpha), drawn))


@pytest.mark.parametrize(
    ("rule", "q", "p", "alpha", "expected"),
    [
        ("lossless", A, B, 0, B),
        ("chow", A, B, 0.35, A),
        ("chow", A, B, 0.25, B),
        ("chow-log", A, B, 0.81, A),  # 0.802 nats
        ("chow-log", A, B, 0.79, B),
        ("diff", B, A, 0.25, B),
        ("diff", B, A, 0.15, A),
        ("opt", B, A, 0.7, B),  # 0.5 against 0.7 − 0.3 α
        ("opt", B, A, 0.6, A),
        ("token-v1", A, B, 0.35, [0.75, 0.21, 0.04]),  # q ≥ 0.15: the first two, 0.9 of q
        ("token-v2", A, B, 0.2, [0.8, 0.02, 0.18]),  # p ≥ 0.3: the first and the last, 0.8 of q
        ("token-v3", A, B, 0.1, [0.85, 0.03, 0.12]),  # p ≥ 0.45: the first, 0.7 of q
        ("lossy", A, B, 0.2, [0.625, 0.125, 0.25]),  # min(q, p / 0.8), and all that is missing to the last
    ],
)
def test_targets_by_hand(rule, q, p, alpha, expected):
    np.testing.assert_allclose(target(rule, q, p, alpha), expected, atol=1e-6)


@pytest.mark.parametrize("rule", speculative.RULES)
def test_a_target_is_a_distribution_and_trust_keeps_the_small_model(rule):
    q, p = pair()
    for alpha in (0.0, 0.2, 0.5, 0.9, 1.0):
        pi = target(rule, q, p, alpha)
        np.testing.assert_allclose(pi.sum(-1), 1, atol=1e-5)
        assert pi.min() >= 0


def test_the_ends_of_alpha_are_one_model_alone():
    q, p = pair()
    large = {"lossless": 0, "lossy": 0, "chow": 0, "chow-log": 0, "diff": -1}
    large |= {f"token-v{i}": -1 for i in (1, 2, 3)}
    for rule, alpha in large.items():
        np.testing.assert_allclose(target(rule, q, p, alpha), p, atol=1e-5, err_msg=rule)
    for rule in set(speculative.RULES) - {"lossless"}:
        alpha = np.log(q.shape[-1]) + 1e-3 if rule == "chow-log" else 1
        np.testing.assert_allclose(target(rule, q, p, alpha), q, atol=1e-5, err_msg=rule)


def test_acceptance_grows_with_alpha():
    q, p = pair()
    for rule in set(speculative.RULES) - {"lossless"}:
        shares = [float(np.mean(speculative.acceptance(q, target(rule, q, p, a)))) for a in (0.0, 0.3, 0.6, 0.9)]
        assert shares == sorted(shares) and shares[0] < shares[-1], rule


def test_rules_look_at_the_models_and_not_at_what_is_drawn():
    """Under greedy decoding both distributions are certain, and the small model is still not trusted for that."""
    q, p = pair(rows=50)
    drawn = tuple(np.eye(7, dtype=np.float32)[x.argmax(-1)] for x in (q, p))
    for rule in set(speculative.RULES) - {"lossy"}:
        pi = target(rule, q, p, ALPHAS[rule], drawn)
        assert np.isin(pi, (0, 1)).all(), rule
        trusted = np.broadcast_to(speculative.TRUSTED[rule](q, p, ALPHAS[rule]), q.shape)
        keeps = np.take_along_axis(trusted, q.argmax(-1)[:, None], -1)[:, 0]
        np.testing.assert_array_equal(pi.argmax(-1), np.where(keeps, q.argmax(-1), p.argmax(-1)), err_msg=rule)
    for alpha in (0.0, 0.1, 0.4):  # only the most probable token is ever drafted
        np.testing.assert_array_equal(*(target(rule, q, p, alpha, drawn) for rule in ("token-v1", "diff")))


@pytest.mark.parametrize("rule", speculative.RULES)
def test_verified_drafts_are_distributed_as_the_target(rule):
    """30,000 draws at two drafted places and the one after them, each against its closed form."""
    n, tokens, gamma = 30_000, 5, 2
    rng = np.random.default_rng(speculative.RULES.index(rule))
    q, p = pair(rows=gamma + 1, tokens=tokens, seed=3)
    pi = target(rule, q, p, ALPHAS[rule])
    whole = [np.broadcast_to(x, (n, *x.shape)) for x in (q, pi)]
    uniforms = rng.random((n, 2 * gamma + 1), dtype=np.float32)
    drafts = np.stack([draw(whole[0][:, i], uniforms[:, i]) for i in range(gamma)], axis=1)
    accepted, token = map(np.asarray, speculative.verify(drafts, *whole, uniforms[:, gamma:]))
    np.testing.assert_allclose(
        [(accepted >= 1).mean(), (accepted[accepted >= 1] == 2).mean()], speculative.acceptance(q, pi)[:2], atol=0.015
    )
    for place in range(gamma + 1):
        reached = accepted >= place
        said = np.where(accepted > place, drafts[:, min(place, gamma - 1)], token)[reached]
        assert agree(np.bincount(said, minlength=tokens), pi[place]), place


def agree(counts, probs) -> bool:
    """Whether counts may come from a distribution: a chi-square test at 1 in 10,000, and nothing where it is 0."""
    probs = np.asarray(probs, np.float64)
    some = probs > 1e-7
    expected = counts.sum() * probs[some] / probs[some].sum()
    return counts[~some].sum() == 0 and (some.sum() == 1 or stats.chisquare(counts[some], expected).pvalue > 1e-4)


def test_the_chi_square_would_see_another_distribution():
    counts = np.random.default_rng(0).multinomial(30_000, [0.5, 0.3, 0.2])
    assert agree(counts, [0.5, 0.3, 0.2]) and not agree(counts, [0.52, 0.29, 0.19])


def test_a_rejection_by_rounding_alone_draws_from_the_target():
    q = pi = np.float32([[[0.5, 0.5, 0.0], [0.5, 0.5, 0.0]]])
    accepted, token = speculative.verify(np.int32([[0]]), q, pi, np.float32([[1.0, 0.9]]))
    assert int(accepted[0]) == 0 and int(token[0]) == 1


def test_expected_tokens_by_hand_and_by_drawing():
    assert speculative.expected_tokens(0.0, 4) == 1 and speculative.expected_tokens(1.0, 4) == 5
    assert speculative.expected_tokens(0.5, 2) == 1.75
    np.testing.assert_allclose(speculative.expected_tokens([0.2, 0.9], 3), [(1 - a**4) / (1 - a) for a in (0.2, 0.9)])
    assert speculative.expected_speedup(1.0, 4, 0.1) == pytest.approx(5 / 1.5)
    stands = np.random.default_rng(0).random((20_000, 3)) < 0.7
    drawn = 1 + stands.cumprod(1).sum(1).mean()
    assert speculative.expected_tokens(0.7, 3) == pytest.approx(drawn, rel=0.01)


@pytest.mark.parametrize(
    ("rule", "alpha"), [("chow", 1.1), ("lossy", -0.1), ("opt", 2), ("chow-log", -1), ("diff", np.nan)]
)
def test_alpha_outside_its_range(rule, alpha):
    with pytest.raises(CatKerasError, match=f"alpha of {rule} is a number in"):
        speculative.check(rule, alpha)


def test_an_unknown_rule():
    with pytest.raises(CatKerasError, match="did you mean"):
        speculative.check("token-v4", 0.5)


def test_the_example_of_the_docstring():
    assert doctest.testmod(speculative).failed == 0
