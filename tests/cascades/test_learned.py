"""Learned rules: what they predict on data made so that it is known, no example judged by a model that saw it."""

import json
from collections import Counter

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sklearn.linear_model import RidgeCV

from cat_keras.cascades import deferral
from cat_keras.cascades.deferral import learned
from cat_keras.cascades.deferral.learned import CrossFit, LearnedRule, cross_fitted, features, reference_probability
from cat_keras.cascades.deferral.learned.estimators import ESTIMATORS, PENALTIES, predicted
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.confidence import auroc

ARGUMENTS = [LearnedRule(), LearnedRule("diff-01"), LearnedRule(estimator="mlp"), LearnedRule(embedding=True)]


def made(n=200, seed=0, name="test"):
    """The large model is always right; the small one where its worst token is likely, whatever the others are."""
    rng = np.random.default_rng([seed, 7])
    tokens = [np.log(rng.uniform(0.3, 1, rng.integers(2, 12))) for _ in range(n)]
    small = np.array([float(row.min() > np.log(0.38)) for row in tokens])
    return {
        "id": [f"{name}-{i}" for i in range(n)],
        "task": ["t"] * n,
        "token_logprobs": tokens,
        "option_logprobs": [[]] * n,
        "embedding": rng.normal(size=(n, 3)),
        "quality_small": small,
        "quality_large": np.ones(n),
    }


def rows(columns, chosen):
    return {name: [column[i] for i in chosen] for name, column in columns.items()}


@pytest.mark.parametrize("rule", ARGUMENTS, ids=lambda rule: rule.name)
def test_a_fitted_rule_finds_what_decides(rule):
    test = made(seed=1, name="other")
    scores = rule.fit(made())(test)
    assert auroc(scores, test["quality_small"]) > 0.97 > 0.9 > auroc(deferral.ChowSum()(test), test["quality_small"])
    np.testing.assert_array_equal(scores, rule.fit(made())(test))


def test_trees_rank_and_cannot_be_stored():
    test = made(seed=1, name="other")
    fitted = LearnedRule(estimator="trees").fit(made(60))
    assert auroc(fitted(test), test["quality_small"]) > 0.9
    with pytest.raises(CatKerasError, match="'learned-quality-trees' cannot be stored"):
        fitted.config()


@pytest.mark.parametrize("rule", ARGUMENTS, ids=lambda rule: rule.name)
def test_a_stored_rule_scores_the_same(rule):
    test, fitted = made(seed=1, name="other"), rule.fit(made())
    again = deferral.from_config(json.loads(json.dumps(fitted.config())))
    assert (again.name, again.rule) == (fitted.name, rule)
    np.testing.assert_array_equal(again(test), fitted(test))
    with pytest.raises(CatKerasError, match="200 of 200"):
        again(made())


def test_it_refuses_what_it_was_fitted_on():
    columns = made()
    fitted = LearnedRule().fit(rows(columns, range(150)))
    assert len(fitted(rows(columns, range(150, 200)))) == 50
    with pytest.raises(CatKerasError, match=r"1 of 51 it was fitted on.*cross_fitted"):
        fitted(rows(columns, range(149, 200)))
    assert len(fitted(rows(columns, range(150)) | {"task": ["another"] * 150})) == 150


def test_unfitted():
    with pytest.raises(CatKerasError, match="'learned-quality' was not"):
        LearnedRule()(made())
    assert LearnedRule.needs_fit and not deferral.ChowSum.needs_fit and not LearnedRule().fit(made()).needs_fit


def test_cross_fitting_scores_every_example_by_a_model_that_never_saw_it():
    columns = made()
    scores = cross_fitted(LearnedRule(), columns)
    assert auroc(scores, columns["quality_small"]) > 0.97
    # What an example gained does not move its own score, beyond the mean that is put back into all of them.
    for row in (0, 77):
        changed = columns | {"quality_small": np.where(np.arange(200) == row, 9.0, columns["quality_small"])}
        moved = cross_fitted(LearnedRule(), changed) - scores
        shared = (9.0 - columns["quality_small"][row]) / 200
        assert moved[row] == pytest.approx(shared, abs=1e-9)
        assert np.abs(moved - shared).max() > 1e-3


def test_folds_depend_on_the_ids_alone(monkeypatch):
    monkeypatch.setitem(ESTIMATORS, "ridge", lambda x, y: ((np.zeros((x.shape[1], 1)), np.array([float(len(y))])),))
    columns = made()
    # A model that predicts how many it was fitted to, the mean of which is taken out again: equal in every fold.
    assert len(np.unique(cross_fitted(LearnedRule(), columns).round(9))) == 1
    seen = []
    monkeypatch.setattr(CrossFit, "_split", spy(seen, CrossFit._split))
    cross_fitted(LearnedRule(), columns)
    cross_fitted(LearnedRule("diff-01"), {name: list(column)[::-1] for name, column in columns.items()})
    assert len(seen) == 10 and Counter(seen[:5]) == Counter(seen[5:])
    together = [f"unit-{i // 4}" for i in range(200)]
    del seen[:]
    cross_fitted(LearnedRule(), columns | {"unit": together}, by="unit")
    ids = learned.rule._keys(columns["task"], columns["id"])
    assert len(seen) == 5
    for fitted_on in seen:
        inside = [key in fitted_on for key in ids]
        assert all(len(set(inside[i : i + 4])) == 1 for i in range(0, 200, 4))


def spy(seen, split):
    def spied(self, table):
        splits = split(self, table)
        seen.extend(frozenset(table.keys[each.train].tolist()) for each in splits)
        return splits

    return spied


def test_rules_that_share_folds_score_as_each_alone():
    columns = made(60)
    shared = CrossFit(columns)
    for target in ("quality", "diff-01", "quality"):
        np.testing.assert_array_equal(shared.scores(LearnedRule(target)), cross_fitted(LearnedRule(target), columns))


def test_scores_that_know_nothing_are_no_worse_than_random():
    rng, found = np.random.default_rng(0), []
    for seed in range(20):
        columns = made(100, seed)
        columns |= {"quality_small": rng.integers(0, 2, 100).astype(float)}
        found.append(auroc(cross_fitted(LearnedRule(), columns), columns["quality_small"]))
    assert np.mean(found) > 0.46  # without taking the folds' means out: 0.41


@settings(deadline=None, max_examples=20)
@given(st.integers(0, 10**6))
def test_ridge_is_that_of_scikit_learn(seed):
    rng = np.random.default_rng(seed)
    x, y = rng.normal(size=(30, 4)) * 10.0 ** rng.integers(-2, 3, 4), rng.normal(size=30)
    x[:, 3] = 2.5  # a column that says nothing
    scale = np.where(np.arange(4) == 3, 1, x.std(axis=0))
    reference = RidgeCV(alphas=PENALTIES).fit((x - x.mean(axis=0)) / scale, y)
    np.testing.assert_allclose(
        predicted(ESTIMATORS["ridge"](x, y), x), reference.predict((x - x.mean(axis=0)) / scale), atol=1e-8
    )


def test_features_by_hand():
    columns = {
        "token_logprobs": [[-1.0, -3.0], [], [-2.0]],
        "option_logprobs": [[], [], [0.0, np.log(3.0)]],
        "embedding": [[1.0, 2.0], [3.0, 4.0], [5.0, 6.0]],
    }
    answered, found = features(columns, embedding=True)
    assert answered.tolist() == [True, False, True] and found.shape == (3, 20)
    np.testing.assert_allclose(found[0, :14], [*np.linspace(-3, -1, 11), -4, -2, 2])
    np.testing.assert_allclose(found[2, 11:], [-2, -2, 1, 3 / 4, 1 / 2, -0.5623351446, 2, 5, 6])
    assert not found[1, :18].any() and not found[0, 14:18].any()


def test_an_empty_answer_is_deferred_first():
    columns = made()
    columns["token_logprobs"] = [[] if i in (3, 190) else row for i, row in enumerate(columns["token_logprobs"])]
    assert set(np.argsort(cross_fitted(LearnedRule(), columns))[:2]) == {3, 190}
    assert LearnedRule().fit(rows(columns, range(100)))(rows(columns, range(100, 200))).argmin() == 90


def test_the_target_diff_prob():
    columns = made()
    probability = reference_probability({"option_logprobs": [[0.0, np.log(3.0)], [-1.0]]}, [1, 0])
    np.testing.assert_allclose(probability, [3 / 4, 1])
    gain = 1 - columns["quality_small"]
    rule = LearnedRule("diff-prob")
    with pytest.raises(CatKerasError, match="missing: probability_small, probability_large"):
        rule.fit(columns)
    scores = cross_fitted(rule, columns | {"probability_small": 1 - gain, "probability_large": np.ones(200)})
    np.testing.assert_allclose(scores, cross_fitted(LearnedRule(), columns))
    with pytest.raises(CatKerasError, match="row 1 has 1, place 1"):
        reference_probability({"option_logprobs": [[0.0, -1.0], [-1.0]]}, [1, 1])


def test_the_bar_of_diff_01():
    columns = made() | {"quality_large": np.full(200, 0.4)}
    low, high = (cross_fitted(LearnedRule("diff-01", bar=bar), columns) for bar in (0.3, 0.5))
    assert low.mean() < 0 < high.mean()  # an answer of quality 0.4 is right, or wrong


def test_bad_input():
    columns = made()
    for change, message in (
        ({"quality_small": [np.nan] * 200}, "example 'test-0' are not"),
        ({"token_logprobs": [[-np.inf]] * 200}, "finite numbers.*'test-0'"),
        ({"embedding": [[1.0]] * 199 + [[1.0, 2.0]]}, "sizes 1 to 2"),
        ({"token_logprobs": [[]] * 195 + [[-1.0]] * 5}, "at least 10 answers; received 5"),
    ):
        with pytest.raises(CatKerasError, match=message):
            LearnedRule(embedding=True).fit(columns | change)
    with pytest.raises(CatKerasError, match=r"folds is a whole number in \[2, .*Received: 1"):
        cross_fitted(LearnedRule(), columns, folds=1)
    for arguments in ({"target": "diff"}, {"estimator": "forest"}):
        with pytest.raises(CatKerasError, match="Unknown"):
            LearnedRule(**arguments)
    with pytest.raises(CatKerasError, match="bar missing"):
        deferral.from_config({"name": "learned-quality", "target": "quality", "estimator": "ridge", "embedding": False})


def test_names():
    assert deferral.get("learned-diff-01-mlp-embedding") == LearnedRule("diff-01", "mlp", True)
    with pytest.raises(CatKerasError, match="Unknown deferral rule 'learned-quallity'; did you mean learned-quality"):
        deferral.get("learned-quallity")
