"""Deferral rules: values worked out by hand, one meaning for every kind of column, errors that name the culprit."""

import json
from dataclasses import dataclass

import numpy as np
import pandas as pd
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cat_keras.cascades import deferral
from cat_keras.cascades.deferral import (
    NO_ANSWER,
    RULES,
    ChowAverage,
    ChowQuantile,
    ChowSum,
    Entropy,
    Margin,
    MaxProbability,
    Oracle,
    Random,
    Rule,
    SeedVariance,
    TokenEntropy,
    TokenMargin,
)
from cat_keras.data.records import Prediction
from cat_keras.errors import CatKerasError

TOKENS = [(-1.0, -3.0, -2.0), (), (-0.5,), (-4.0, 0.0)]
OPTIONS = [(-1.0, -1.0), (-2.0, -2.0, -2.0), (0.0, np.log(3.0)), (-1000.0, -1001.0)]
PREDICTIONS = [
    Prediction(id=f"e{i}", task="t", text="", token_logprobs=tokens, option_logprobs=options)
    for i, (tokens, options) in enumerate(zip(TOKENS, OPTIONS, strict=True))
]

MORE = {
    "quality_small": [0.0, 1.0, 0.5, 0.0],
    "quality_large": [1.0, 1.0, 0.0, 0.0],
    "token_entropies": [[0.5, 1.0, 1.5], [], [0.25], [0.0, 3.0]],
    "token_margins": [[0.5, 0.25, 0.75], [], [1.0], [0.0, 0.5]],
    "ensemble_confidences": [[0.5, 0.5], [0.25, 0.75], [1.0, 0.0, 0.5], [0.0, 0.0]],
}

ragged = st.lists(st.lists(st.floats(-50, 0), max_size=6), min_size=1, max_size=8)


def table(token_logprobs, **more):
    n = len(token_logprobs)
    return {"id": [f"e{i}" for i in range(n)], "task": ["t"] * n, "token_logprobs": token_logprobs, **more}


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        (ChowSum(), [-6, NO_ANSWER, -0.5, -4]),
        (ChowAverage(), [-2, NO_ANSWER, -0.5, -2]),
        (ChowQuantile(0.0), [-3, NO_ANSWER, -0.5, -4]),
        (ChowQuantile(1.0), [-1, NO_ANSWER, -0.5, 0]),
        (ChowQuantile(0.5), [-2, NO_ANSWER, -0.5, -2]),
        (ChowQuantile(0.25), [-2.5, NO_ANSWER, -0.5, -3]),  # halfway from −3 to −2; a quarter of the way from −4 to 0
        (MaxProbability(), [1 / 2, 1 / 3, 3 / 4, 1 / (1 + np.exp(-1))]),
        (Margin(), [0, 0, 1 / 2, np.tanh(1 / 2)]),
        (Entropy(), [-np.log(2), -np.log(3), 0.75 * np.log(0.75) + 0.25 * np.log(0.25), -0.5822033]),
        (TokenEntropy(), [-1, NO_ANSWER, -0.25, -1.5]),
        (TokenMargin(), [0.5, NO_ANSWER, 1, 0.25]),
        (SeedVariance(), [0, -1 / 16, -1 / 6, 0]),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_rules_by_hand(rule, expected):
    scores = rule(deferral.columns(PREDICTIONS, **MORE))
    assert scores.dtype == np.float64
    np.testing.assert_allclose(scores, expected, rtol=1e-6 if rule == Entropy() else 1e-12)


def test_oracle_is_the_quality_difference():
    columns = deferral.columns(PREDICTIONS, quality_small=[1, 0, 0.5, 1], quality_large=[0, 1, 0.25, 1])
    np.testing.assert_array_equal(Oracle()(columns), [1, -1, 0.25, 0])


def test_an_empty_answer_is_deferred_before_everything():
    assert ChowSum()(table([[-1e9], []])).argmin() == 1
    assert np.isfinite(NO_ANSWER)


@settings(deadline=None, max_examples=30)
@given(st.lists(st.lists(st.floats(-50, 0), min_size=1, max_size=5), min_size=1, max_size=8))
def test_option_rules_equal_numpy_row_by_row(rows):
    columns = table([[]] * len(rows), option_logprobs=rows)
    probabilities = [np.exp(row) / np.exp(row).sum() for row in map(np.array, rows)]
    ordered = [[0.0, *sorted(row)] for row in probabilities]
    np.testing.assert_allclose(MaxProbability()(columns), [row[-1] for row in ordered], rtol=1e-12)
    np.testing.assert_allclose(Margin()(columns), [row[-1] - row[-2] for row in ordered], atol=1e-12)
    entropies = [-np.sum(row * np.log(row)) for row in probabilities]
    np.testing.assert_allclose(-Entropy()(columns), entropies, atol=1e-12)


def test_an_impossible_option_adds_no_entropy():
    columns = table([[], []], option_logprobs=[[0.0, -np.inf, 0.0], [0.0, -1e9]])
    np.testing.assert_allclose(Entropy()(columns), [-np.log(2), 0])


@settings(deadline=None, max_examples=30)
@given(ragged, st.floats(0, 1))
def test_vectorised_rules_equal_numpy_row_by_row(rows, alpha):
    def by_row(function):
        return [function(row) if row else NO_ANSWER for row in rows]

    columns = table(rows)
    np.testing.assert_allclose(ChowSum()(columns), by_row(np.sum), rtol=1e-12)
    np.testing.assert_allclose(ChowAverage()(columns), by_row(np.mean), rtol=1e-12)
    np.testing.assert_array_equal(ChowQuantile(0.0)(columns), by_row(np.min))
    np.testing.assert_array_equal(ChowQuantile(alpha)(columns), by_row(lambda row: np.quantile(row, alpha)))


@pytest.mark.parametrize("name", sorted(RULES))
def test_records_lists_arrays_and_frames_score_alike(name):
    from_records = RULES[name](deferral.columns(PREDICTIONS, **MORE))
    arrays = {
        "id": [p.id for p in PREDICTIONS],
        "task": [p.task for p in PREDICTIONS],
        "token_logprobs": [np.array(row) for row in TOKENS],
        "option_logprobs": [np.array(row) for row in OPTIONS],
        **MORE,
    }
    # A frame that was filtered has an index of its own: rules must go by position.
    frame = pd.DataFrame(arrays, index=[7, 3, 9, 1])
    np.testing.assert_array_equal(from_records, RULES[name](arrays))
    np.testing.assert_array_equal(from_records, RULES[name](frame))


@pytest.mark.parametrize("name", sorted(RULES))
def test_a_rule_accepts_no_predictions(name):
    columns = deferral.columns([], **{column: [] for column in MORE})
    assert RULES[name](columns).shape == (0,)


def test_random_depends_on_seed_task_and_id_only():
    ids = [f"e{i}" for i in range(2000)]
    columns = {"id": ids, "task": ["t"] * 2000}
    scores = Random(3)(columns)
    backwards = Random(3)({"id": ids[::-1], "task": ["t"] * 2000})
    np.testing.assert_array_equal(scores, backwards[::-1])
    for other in (Random(4)(columns), Random(3)({"id": ids, "task": ["u"] * 2000})):
        assert abs(np.corrcoef(scores, other)[0, 1]) < 0.1
    assert scores.min() >= 0
    assert scores.max() < 1
    assert abs(scores.mean() - 0.5) < 0.03


@pytest.mark.parametrize("name", [*RULES, "chow-quantile-0.35", "chow-quantile-1e-05", "random-7"])
def test_a_rule_is_found_by_its_own_name(name):
    assert deferral.get(name).name == name


def test_names_with_a_parameter():
    assert deferral.get("chow-quantile-0.35") == ChowQuantile(0.35)
    assert deferral.get("random-7") == Random(7)


@pytest.mark.parametrize("name", ["chow-averag", "chow-quantile", "chow-quantile-low", "random-x", "", None])
def test_an_unknown_name_says_what_exists(name):
    with pytest.raises(CatKerasError, match="Unknown deferral rule"):
        deferral.get(name)
    with pytest.raises(CatKerasError, match="chow-average"):
        deferral.get("chow-averag")


@pytest.mark.parametrize("alpha", ["1.5", "-0.1", "nan"])
def test_alpha_outside_its_range(alpha):
    with pytest.raises(CatKerasError, match=r"\[0, 1\]"):
        deferral.get(f"chow-quantile-{alpha}")


@dataclass(frozen=True)
class ShortestFirst(Rule):
    sign: int = -1
    name = "shortest-first"
    needs = ("token_logprobs",)

    def score(self, columns):
        return self.sign * deferral.row_lengths(columns["token_logprobs"])


def test_a_rule_of_the_users(monkeypatch):
    monkeypatch.setattr(deferral, "RULES", dict(RULES))
    deferral.register(ShortestFirst())
    np.testing.assert_array_equal(deferral.get("shortest-first")(PREDICTIONS), [-3, 0, -1, -2])
    deferral.register(ShortestFirst())  # a notebook cell runs twice
    with pytest.raises(CatKerasError, match="unique"):
        deferral.register(ShortestFirst(sign=1))
    with pytest.raises(CatKerasError, match="instance"):
        deferral.register(ShortestFirst)


class Returns(Rule):
    name = "returns"
    needs = ()

    def __init__(self, value):
        self.value = value

    def score(self, columns):
        return np.array(self.value)


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_a_score_that_is_no_number_names_rule_and_example(bad):
    with pytest.raises(CatKerasError, match=r"'returns' gave .* for example 'e2'"):
        Returns([0, 0, bad, 0])(PREDICTIONS)
    for rule in (ChowSum(), ChowAverage(), ChowQuantile(0.1)):
        with pytest.raises(CatKerasError, match=f"'{rule.name}' gave .* for example 'e1'"):
            rule(table([[-1.0], [bad, -1.0], [-2.0]]))


def test_a_rule_of_the_wrong_shape():
    with pytest.raises(CatKerasError, match=r"shape \(4,\).*received shape \(3,\)"):
        Returns([0, 0, 0])(PREDICTIONS)


@pytest.mark.parametrize("rule", [MaxProbability(), Margin(), Entropy()], ids=lambda rule: rule.name)
def test_options_that_are_impossible_or_missing(rule):
    with pytest.raises(CatKerasError, match=rf"{rule.name}.*'e0'"):
        rule(table([[]], option_logprobs=[[-np.inf, -np.inf]]))
    with pytest.raises(CatKerasError, match=rf"{rule.name}.*'e1' has none"):
        rule(table([[], []], option_logprobs=[[-1.0], []]))


@pytest.mark.parametrize("rule", [TokenEntropy(), TokenMargin()], ids=lambda rule: rule.name)
def test_tokens_that_were_not_measured(rule):
    with pytest.raises(CatKerasError, match=rf"{rule.name} needs token_.*'e0' has them not. Ask"):
        rule(PREDICTIONS)


def members(*option_logprobs, tokens=([-1.0], [-2.0, -4.0])):
    return [table(list(tokens), option_logprobs=rows) for rows in option_logprobs]


def test_confidences_of_an_ensemble():
    # The first member chooses option 1 of the first example; the second example has no options.
    one, other = members([[0.0, np.log(3.0)], []], [[np.log(4.0), 0.0], []])
    other["token_logprobs"] = [[-1.0], []]
    found = deferral.confidences([one, other])
    np.testing.assert_allclose(found, [[3 / 4, 1 / 5], [np.exp(-3), 0]])
    np.testing.assert_allclose(SeedVariance()(one | {"ensemble_confidences": found}), -np.var(found, axis=1))


def test_of_equal_options_the_first_is_chosen():
    found = deferral.confidences(members([[-1.0, -1.0], []], [[0.0, np.log(3.0)], []]))
    assert found[0].tolist() == pytest.approx([1 / 2, 1 / 4])


def test_members_that_do_not_belong_together():
    one, other = members([[0.0, 1.0], []], [[0.0], []])
    with pytest.raises(CatKerasError, match="same options"):
        deferral.confidences([one, other])
    with pytest.raises(CatKerasError, match="same examples"):
        deferral.confidences([one, one | {"id": ["e1", "e0"]}])
    with pytest.raises(CatKerasError, match=r"'e0' has 1"):
        SeedVariance()(one | {"ensemble_confidences": [[0.5], [0.5, 0.1]]})


@pytest.mark.parametrize("name", [*RULES, "chow-quantile-0.35", "random-7", "learned-diff-01-mlp"])
def test_a_rule_is_stored_as_json_values(name):
    rule = deferral.get(name)
    assert deferral.from_config(json.loads(json.dumps(rule.config()))) == rule


def test_a_stored_rule_that_is_not_there(monkeypatch):
    with pytest.raises(CatKerasError, match="Unknown deferral rule 'shortest-first'"):
        deferral.from_config(ShortestFirst().config())
    monkeypatch.setattr(deferral, "RULES", dict(RULES))
    deferral.register(ShortestFirst(sign=1))
    with pytest.raises(CatKerasError, match=r"'sign': -1.*stored.*'sign': 1.*registered"):
        deferral.from_config(ShortestFirst().config())
    assert deferral.from_config(ShortestFirst(sign=1).config()) == ShortestFirst(sign=1)
    with pytest.raises(CatKerasError, match="Unknown deferral rule"):
        deferral.from_config({})


def test_missing_uneven_and_null_columns():
    with pytest.raises(CatKerasError, match="missing: quality_small, quality_large"):
        Oracle()(PREDICTIONS)
    with pytest.raises(CatKerasError, match="equally long"):
        Oracle()(deferral.columns(PREDICTIONS, quality_small=[1.0], quality_large=[1.0] * 4))
    with pytest.raises(CatKerasError, match="row 1 is not"):
        ChowSum()(table([[-1.0], None]))
