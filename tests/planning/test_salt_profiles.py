"""SALT in a profile: what it renames, what it needs, what a dry run counts, and what it refuses."""

import pytest

from benchmarks.planning import plan, profile
from benchmarks.planning.estimate import Estimate
from cat_keras.errors import CatKerasError

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4, "seeds": [0, 1]}
SALT = {"large.tune.objective": "salt"}


def read(**changes):
    return profile.read("embedded", SMALL | changes)


def made(**changes):
    return plan.make(read(**changes), None)


def test_xent_is_what_it_was_before_there_was_anything_else():
    plain = profile.read("embedded", SMALL)
    named = read(**{"large.tune.objective": "xent", "large.tune.salt.share": 0.5})
    assert named.model_dump() == plain.model_dump()
    assert "objective" not in plain.large.tune.model_dump()
    assert [c.key for c in plan.make(named, None).cells()] == [c.key for c in plan.make(plain, None).cells()]


def test_a_profile_is_read_again_as_it_is_written():
    for objective in ("salt", "salt-ds"):
        written = read(**{"large.tune.objective": objective, "large.tune.salt.omega": 0.5})
        assert profile.Profile.model_validate(written.model_dump()).large == written.large


def test_salt_renames_the_large_model_and_what_reads_its_columns():
    plain, salt = made(), made(**SALT)
    assert (plain.tokenizer, plain.encoded) == (salt.tokenizer, salt.encoded)
    assert plain.large.start.key == salt.large.start.key  # pretraining
    assert plain.large_key != salt.large_key and plain.teacher != salt.teacher
    changed = {method for (method, seed), cell in plain.small.items() if cell.key != salt.small[method, seed].key}
    assert changed == {"dist", "cat-xent", "cat-dist"}
    assert {c.start.key for c in plain.small.values()} == {c.start.key for c in salt.small.values()}


@pytest.mark.parametrize("seed", [0, 1, 7])
def test_the_small_start_of_the_large_models_seed_helps(seed):
    todo = made(**SALT, **{"large.seed": seed})
    helper = todo.large.small_teacher
    assert (helper.role, helper.seed, helper.objective) == ("small", seed, "xent")
    if seed in (0, 1):
        assert helper == todo.small["xent", seed].start
    keys = [c.key for c in todo.cells()]
    assert keys.index(helper.key) < keys.index(todo.large.key)
    assert keys == list(dict.fromkeys(keys))
    assert ("teacher", todo.large.small_columns) in todo.made_from()
    assert todo.large.small_columns in {s.key for s in Estimate(todo).stages()}


@pytest.mark.parametrize(
    ("change", "salt", "salt_ds"),
    [
        ({"large.tune.salt.share": 0.3}, True, True),
        ({"large.tune.salt.omega": 0.3}, True, True),
        ({"large.tune.salt.temperature": 2.0}, True, True),
        ({"large.tune.salt.kept": 0.3}, False, True),
        ({"large.tune.salt.top": 3}, False, True),
        ({"small.tune.epochs": 0.5}, True, True),
        ({"teacher.k": 20}, True, True),
        ({"methods": ["xent"]}, False, False),
    ],
)
def test_what_the_large_model_is_made_of_is_in_its_key(change, salt, salt_ds):
    for objective, renamed in (("salt", salt), ("salt-ds", salt_ds)):
        before, after = (made(**{"large.tune.objective": objective} | more) for more in ({}, change))
        assert (before.large_key != after.large_key) == renamed


def test_a_baseline_of_as_many_flops_has_as_many_epochs():
    todo = made(**SALT)
    estimate = Estimate(todo)
    stages = {s.key: s for s in estimate.stages()}
    helped = stages[todo.large.key].flops + stages[todo.large.small_columns].flops
    more = made(**{"large.tune.epochs": estimate.equal_epochs(todo.large)})
    plain = {s.key: s for s in Estimate(more).stages()}[more.large_key].flops
    assert plain == pytest.approx(helped)
    assert stages[todo.large.small_columns].role == "small"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"large.tune.objective": "dist"}, "large.tune.objective"),
        ({"large.tune.salt.omega": 2}, "large.tune.salt.omega"),
        ({"large.tune.salt.omge": 0.5}, "large.tune.salt.omega"),
        ({"large.pretrain.objective": "salt"}, "large.tune.objective"),
        ({"small.tune.objective": "salt"}, "The small model starts from xent"),
        (SALT | {"small.pretrain.epochs": 0, "small.tune.epochs": 0}, "trained already"),
        (SALT | {"teacher.distribution": "none"}, 'Set teacher.distribution="topk"'),
        ({"large.tune.objective": "salt-ds", "teacher.k": 9}, "teacher.k=10"),
        ({"large.tune.objective": "salt-ds", "teacher.distribution": "sampled"}, 'teacher.distribution="topk"'),
    ],
)
def test_what_cannot_be_trained_is_an_error(changes, message):
    with pytest.raises(CatKerasError, match=message):
        read(**changes)
