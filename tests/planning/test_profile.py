"""Profiles and their errors; plans that name every result without TensorFlow."""

import dataclasses
import subprocess
import sys

import pytest

from benchmarks.planning import methods, plan, profile
from cat_keras.errors import CatKerasError

SMALL = {"data.train": 20, "data.test": 8}


@pytest.mark.parametrize("name", profile.names())
def test_every_profile_is_valid(name):
    assert profile.read(name).methods


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"data.trian": 3}, "Unknown profile key 'data.trian'; did you mean data.train"),
        ({"methods": ["cat-xnet"]}, "Unknown method 'cat-xnet'; did you mean cat-xent"),
        ({"data.train": 0}, 'key data.train: a number of examples is "all" or greater than 0. Received: 0'),
        ({"data.max_new_tokens": 64}, "key data: .*leaves room for a prompt within max_length, 64"),
        ({"small.preset": "x"}, "give either preset, or all of layers"),
        ({"seeds.first": 1}, "Unknown profile key 'seeds.first'"),
    ],
)
def test_bad_settings_are_one_clear_error(changes, message):
    with pytest.raises(CatKerasError, match=message):
        profile.read("embedded", changes)


def test_unknown_profile_names_the_nearest():
    with pytest.raises(CatKerasError, match="Unknown profile 'embeded'; did you mean embedded"):
        profile.read("embeded")


@pytest.mark.parametrize(
    ("text", "parsed"),
    [
        ("data.train=100", ("data.train", 100)),
        ("rule=chow-sum", ("rule", "chow-sum")),
        ("seeds=[0, 1]", ("seeds", [0, 1])),
        ("objective.learning_rate=1e-3", ("objective.learning_rate", 1e-3)),
    ],
)
def test_changes_are_read_as_toml_or_text(text, parsed):
    assert profile.parse_change(text) == parsed


def test_a_change_without_value_is_an_error():
    with pytest.raises(CatKerasError, match="key=value"):
        profile.parse_change("data.train")


def test_known_objectives_are_those_of_the_library():
    from cat_keras.training import losses

    def reads_teacher(name):
        return any(c.startswith("teacher") or c == "defer" for c in losses.get(name).columns)

    assert {name: reads_teacher(name) for name in losses.OBJECTIVES} == methods.OBJECTIVES
    for objective, arguments in methods.VARIANTS.values():
        losses.get(objective, **arguments)


def _plan(**changes):
    return plan.make(profile.read("embedded", SMALL | changes), None)


def test_equal_profiles_have_equal_plans():
    one, two = _plan(), _plan()
    assert [c.key for c in one.cells()] == [c.key for c in two.cells()]
    assert list(map(one.model_key, one.models())) == list(map(two.model_key, two.models()))


@pytest.mark.parametrize(
    ("change", "same", "other"),
    [
        ({"data.test": 9}, ("tokenizer", "encoded", "large_key", "teacher"), ()),
        ({"data.train": 21}, (), ("tokenizer", "encoded", "large_key", "teacher")),
        ({"large.width": 64}, ("tokenizer", "encoded"), ("large_key", "teacher")),
        ({"large.seed": 5}, ("tokenizer", "encoded"), ("large_key", "teacher")),
        ({"teacher.k": 3}, ("tokenizer", "encoded", "large_key"), ("teacher",)),
        ({"small.width": 64}, ("tokenizer", "encoded", "large_key", "teacher"), ()),
    ],
)
def test_a_change_renames_exactly_what_it_changes(change, same, other):
    before, after = _plan(), _plan(**change)
    assert all(getattr(before, k) == getattr(after, k) for k in same)
    assert all(getattr(before, k) != getattr(after, k) for k in other)


def test_objectives_share_their_start_and_only_those_that_read_it_depend_on_the_teacher():
    before, after = _plan(), _plan(**{"teacher.k": 3})
    assert len({c.start.key for c in before.small.values()}) == 1
    changed = {m for (m, s), c in before.small.items() if c.key != after.small[m, s].key}
    assert changed == {"dist", "cat-xent", "cat-dist"}


def test_seeds_share_the_large_model():
    todo = _plan(seeds=[0, 1])
    assert len({c.start.key for c in todo.small.values()}) == 2
    assert sum(c.role == "large" for c in todo.cells()) == 2  # pretraining and tuning, once each


def test_a_plan_loads_no_framework():
    code = (
        "import sys; from benchmarks.planning import plan, profile\n"
        "plan.make(profile.read('embedded', {'data.train': 10, 'data.test': 4}), None).cells()\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'matplotlib'} & set(sys.modules)"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_a_changed_metric_renames_the_predictions_it_judged():
    todo = _plan()
    other = dataclasses.replace(todo, tasks=tuple(dataclasses.replace(t, metric="exact_match") for t in todo.tasks))
    assert todo.prediction_key(todo.large_key) != other.prediction_key(todo.large_key)


def test_a_profile_lies_over_its_base(tmp_path):
    base = (profile.FOLDER / "embedded.toml").read_text()
    (tmp_path / "below.toml").write_text(base)
    (tmp_path / "above.toml").write_text('base = "below"\nseeds = [3]\n[small]\nwidth = 32\n')
    above, below = (profile.read(str(tmp_path / f"{name}.toml")) for name in ("above", "below"))
    assert (above.name, above.seeds, above.small.width, above.small.layers) == ("above", (3,), 32, below.small.layers)
    assert above.large == below.large and above.objective == below.objective
    (tmp_path / "own.toml").write_text('base = "embedded_small"\nseeds = [3]\n')
    own = profile.read(str(tmp_path / "own.toml"))
    assert own.seeds == (3,) and own.small == profile.read("embedded_small").small
    (tmp_path / "below.toml").write_text('base = "above"')
    with pytest.raises(CatKerasError, match=r"not its own base. Received: .*above.* → below → above"):
        profile.read(str(tmp_path / "above.toml"))


def test_a_method_may_be_trained_in_its_own_way():
    read = profile.read("embedded", {**SMALL, "tuned": {"gatekeeper": {"learning_rate": 1e-3}}})
    assert read.training_of("gatekeeper").learning_rate == 1e-3
    assert read.training_of("gatekeeper").epochs == read.training_of("xent").epochs
    made = plan.make(read)
    plain = plan.make(profile.read("embedded", SMALL))
    changed = {method for method, seed in made.small if made.small[method, seed].key != plain.small[method, seed].key}
    assert changed == {"gatekeeper"}
    for tuned, message in (({"gatekeper": {}}, "did you mean gatekeeper"), ({"xent": {"epoch": 1}}, "epoch")):
        with pytest.raises(CatKerasError, match=message):
            profile.read("embedded", {"tuned": tuned})


def test_choices_are_made_on_validation_data():
    test, validation = (
        plan.make(profile.read("embedded", {**SMALL, "data.evaluate": split})) for split in ("test", "validation")
    )
    assert validation.train.fingerprint == test.train.fingerprint
    assert validation.test.fingerprint != test.test.fingerprint
    assert validation.large_key == test.large_key and validation.small["xent", 0].key == test.small["xent", 0].key


def test_a_mask_of_the_start_names_what_it_reads():
    variants = {"frozen": {"objective": "cat-xent", "arguments": {"mask": "start"}}}
    made = plan.make(profile.read("embedded", {**SMALL, "variants": variants, "methods": ["xent", "frozen"]}))
    assert made.small["frozen", 0].start_columns and not made.small["xent", 0].start_columns
    assert made.small["frozen", 0].needs_teacher


def test_a_grid_trains_every_method_at_every_point():
    changes = {**SMALL, "methods": ["xent", "mask-gap"], "grid": {"learning_rate": [1e-3, 2e-3], "epochs": [1, 2]}}
    read = profile.read("embedded", changes)
    assert len(read.methods) == 8 and read.methods[1] == "xent@learning_rate=0.001,epochs=2"
    assert read.objective_of("mask-gap@learning_rate=0.002,epochs=1") == ("cat-xent", {"mask": "gap"})
    assert read.training_of("mask-gap@learning_rate=0.002,epochs=1").learning_rate == 2e-3
    with pytest.raises(CatKerasError, match="learning_rat"):
        profile.read("embedded", changes | {"grid": {"learning_rat": [1e-3]}})


@pytest.mark.parametrize(
    ("key", "value", "message"),
    [
        ("objective.learning_rate", float("nan"), "finite number"),
        ("objective.learning_rate", 1e300, "less than or equal to 1000000"),
        ("objective.epochs", float("inf"), "finite number"),
        ("objective.batch_size", True, "neither true, false nor a text"),
        ("objective.batch_size", "16", "neither true, false nor a text"),
        ("objective.batch_size", 10**30, "less than or equal to"),
        ("objective.warmup", 1.5, "less than or equal to 1"),
        ("arguments", {"cat-xent": {"w": float("nan")}}, "w is a finite number"),
        ("variants", {"own": {"objective": "cat-xent", "arguments": {"w": float("inf")}}}, "w is a finite number"),
        ("grid", {"epochs": [float("nan")]}, "finite number"),
        ("tuned", {"xent": {"epochs": float("nan")}}, "finite number"),
        ("data.bad_rows", "leave", "'error' or 'leave out'"),
    ],
)
def test_numbers_of_a_profile(key, value, message):
    with pytest.raises(CatKerasError, match=message):
        profile.read("embedded", {key: value})
