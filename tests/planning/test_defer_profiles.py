"""A method that asks for help in a profile: what it is made of, and that it renames nothing else."""

import pytest

from benchmarks.planning import plan, profile
from cat_keras.errors import CatKerasError

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4}


def made(*methods, **changes):
    return plan.make(profile.read("embedded", SMALL | {"methods": list(methods)} | changes), None)


def test_it_is_trained_with_what_both_models_got_right_at_the_start():
    todo = made("defer-token", "defer-token-right", "cat-start")
    gain, right, start = (todo.small[method, 0] for method in ("defer-token", "defer-token-right", "cat-start"))
    assert gain.needs_teacher and right.needs_teacher
    assert gain.start_columns == start.start_columns and not right.start_columns
    assert gain.start.key == right.start.key == start.start.key
    assert len({gain.key, right.key, start.key}) == 3


def test_its_answers_are_named_by_what_is_measured_and_no_others():
    alone, beside = made("xent"), made("xent", "defer-token")
    for model in alone.models():
        key = alone.model_key(model)
        assert key == beside.model_key(model) and alone.prediction_key(key) == beside.prediction_key(key)
    key = beside.model_key(("defer-token", 0))
    assert beside.prediction_key(key) != alone.prediction_key(key)  # the same weights, answering like any model


def test_the_rule_of_a_run_is_one_that_all_methods_have():
    assert profile.read("embedded", {"methods": ["defer-token"], "rule": "defer-token"}).rule == "defer-token"
    with pytest.raises(CatKerasError, match=r"which reads a token that xent does not learn"):
        profile.read("embedded", {"methods": ["defer-token", "xent"], "rule": "defer-token"})


def test_the_profile_shares_its_models_with_embedded():
    ours, embedded = (profile.read(name, SMALL) for name in ("defer_token", "embedded"))
    assert len(ours.seeds) == 5
    one, other = plan.make(ours, None), plan.make(embedded, None)
    assert one.large_key == other.large_key and one.small["cat-xent", 0].key == other.small["cat-xent", 0].key
