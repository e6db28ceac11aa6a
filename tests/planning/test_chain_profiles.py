"""Profiles of three and more models: how they are written, what they build in which order, and what is refused."""

import pytest

from benchmarks.planning import graph, plan, profile
from benchmarks.planning.estimate import Estimate
from cat_keras.errors import CatKerasError

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4}
HEAD = """
methods = ["xent", "cat-xent", "cat-any", "cat-last"]
seeds = [0, 1]
[data]
tasks = ["embedded_classify"]
train = 20
test = 4
max_length = 64
max_new_tokens = 24
[objective]
epochs = 1.0
learning_rate = 4e-3
[variants.cat-any]
objective = "cat-xent"
later = "any"
[variants.cat-last]
objective = "cat-xent"
later = "last"
"""
SHAPE = "layers = {0}\nwidth = {1}\nheads = 2\nfeedforward = {1}\ntune = {{epochs = 1.0, learning_rate = 4e-3}}\n"
SHAPES = [SHAPE.format(*shape) for shape in ((1, 16), (1, 32), (2, 48), (2, 64))]


def read(folder, models, head=HEAD, **changes):
    """A profile of models, given by the text of their tables; or by their places in `SHAPES`."""
    tables = [SHAPES[each] if isinstance(each, int) else each for each in models]
    path = folder / "written.toml"
    path.write_text(head + "".join(f"[[models]]\n{table}" for table in tables))
    return profile.read(str(path), changes)


def named(name, i):
    return f"name = '{name}'\n{SHAPES[i]}"


@pytest.fixture
def two(tmp_path):
    """The same profile of a small and a large model, as it is written without [[models]]."""
    path, head = tmp_path / "written.toml", HEAD.replace('later = "any"', "").replace('later = "last"', "")
    path.write_text(f"{head}[small]\n{SHAPES[0]}[large]\n{SHAPES[2]}")
    return plan.make(profile.read(str(path)), None)


@pytest.fixture
def three(tmp_path):
    return plan.make(read(tmp_path, (0, 1, 2)), None)


def keys(todo):
    return [todo.made_from(), [todo.prediction_key(todo.model_key(m)) for m in todo.models()]]


def test_a_list_of_two_is_a_small_and_a_large_model(tmp_path, two):
    head = HEAD.replace('later = "any"', "").replace('later = "last"', "")
    listed = plan.make(read(tmp_path, (0, 2), head), None)
    assert keys(listed) == keys(two) and listed.profile.model_dump() == two.profile.model_dump()
    assert not {"middle", "later"} & listed.profile.model_dump().keys()
    assert "later" not in listed.profile.model_dump()["variants"]["cat-any"]


def test_a_profile_is_read_again_as_it_is_written(tmp_path):
    written = read(tmp_path, (0, named("b", 1), named("a", 2), 3))
    assert written.roles == ("small", "b", "a", "large")
    again = profile.Profile.model_validate(written.model_dump())
    assert again == written and again.roles == written.roles


def test_what_is_the_same_with_and_without_a_model_between(two, three):
    assert (three.tokenizer, three.encoded, three.large_key, three.teacher) == (
        two.tokenizer, two.encoded, two.large_key, two.teacher
    )  # fmt: skip
    for method in ("xent", "cat-last"):  # reads no columns, or those of the large model
        assert three.small[method, 0].key == two.small[method, 0].key
    assert three.small["cat-xent", 0].key != two.small["cat-xent", 0].key


def test_each_smaller_model_is_trained_for_what_comes_after_it(three):
    roles = {
        method: [source.role for source in three.small[method, 1].teachers]
        for method in ("xent", "cat-xent", "cat-any", "cat-last")
    }
    assert roles == {"xent": [], "cat-xent": ["middle"], "cat-any": ["middle", "large"], "cat-last": ["large"]}
    source = three.small["cat-xent", 1].teachers[0]
    assert source.cell is three.middle["cat-xent", 1, "middle"] and source.cell.seed == 1
    for method in ("cat-xent", "cat-any", "cat-last"):  # the middle model has only one after it
        assert three.middle[method, 1, "middle"].key == source.cell.key
    assert len({three.small[method, 1].key for method in roles}) == 4
    assert three.small["cat-xent", 0].teachers[0].key != source.key


def test_later_of_the_profile_holds_for_methods_without_their_own(tmp_path):
    todo = plan.make(read(tmp_path, (0, 1, 2), later="any"), None)
    assert todo.small["cat-xent", 0].key == todo.small["cat-any", 0].key != todo.small["cat-last", 0].key


def test_everything_is_made_after_what_it_needs(three):
    made = [cell.key for cell in three.cells()]
    for cell in three.cells():
        needed = [cell.start, *(source.cell for source in cell.teachers)]
        assert all(made.index(each.key) < made.index(cell.key) for each in needed if each)
    order = graph.ordered(three, three.models())
    assert [three.role(m) for m in order] == ["large", *["middle"] * 8, *["small"] * 8]
    assert {("teacher", source.key) for source in three.columns(three.cells())} <= set(three.made_from())
    only = three.cells([three.named("cat-xent/0")])
    assert [cell.label for cell in only if "seed 1" in cell.label] == []
    assert any(cell.label == "middle cat-xent seed 0" for cell in only)


def test_names_of_models(three):
    model = three.named("middle/cat-any/1")
    assert (three.role(model), three.label(model)) == ("middle", "middle cat-any seed 1")
    assert len(three.models()) == 1 + 2 * 8 == len({three.name(m) for m in three.models()})


def test_an_estimate_has_every_model_once(three):
    stages = Estimate(three).stages()
    assert [stage.model for stage in stages if stage.kind == "predict"] == three.models()
    trained = [stage.key for stage in stages if stage.kind == "train"]
    assert len(trained) == len(set(trained)) == len({cell.key for cell in three.cells()})
    assert {source.key for source in three.columns(three.cells())} == {s.key for s in stages if s.kind == "teacher"}


def test_a_profile_on_top_of_another_takes_the_place_of_its_models(tmp_path):
    found = read(tmp_path, (0, 1, 2), f"base = 'tiny'\n{HEAD}")
    assert found.large.pretrain is None and found.large.width == 48 and list(found.middle) == ["middle"]
    assert read(tmp_path, (0, 1, 2), **{"middle.middle.width": 34}).middle["middle"].width == 34


def test_four_models_are_each_trained_for_the_next(tmp_path):
    todo = plan.make(read(tmp_path, (0, 1, 2, 3)), None)
    assert todo.profile.roles == ("small", "middle-1", "middle-2", "large")
    assert [s.role for s in todo.small["cat-any", 0].teachers] == ["middle-1", "middle-2", "large"]
    assert [s.role for s in todo.middle["cat-xent", 0, "middle-1"].teachers] == ["middle-2"]


@pytest.mark.parametrize(
    ("models", "changes", "message"),
    [
        ((0,), {}, r"two or more models, one table \[\[models\]\] each, the smallest first. Received: 1"),
        ((0, 1, f"{SHAPES[2]}[small]\n{SHAPES[0]}"), {}, r"Received: \[\[models\]\] beside \[small\]"),
        ((0, 2, 1), {}, "larger than the one before it. Received: large with"),
        ((1, 0, 2), {}, "larger than the one before it. Received: middle with"),
        ((0, named("small", 1), 2), {}, "different names. Received: 'small' twice"),
        ((0, named("a", 1), named("a", 2), 3), {}, "different names. Received: 'a' twice"),
        ((0, named("a/b", 1), 2), {}, "name of a model"),
        ((0, "name = 3\n" + SHAPES[1], 2), {}, "name of a model"),
        ((named("tiny", 0), 1, 2), {}, "called small and the last large"),
        ((0, 2), {}, "later says which of several larger models"),
        ((0, 1, 2), {"later": "both"}, "later"),
        ((0, 1, 2), {"middle.middle.tune.objective": "salt"}, "start from xent"),
        ((0, "endpoint = 'http://127.0.0.1:1/v1'\nmodel = 'm'\n", 2), {}, "Every model of a profile but the last"),
        ((0, 1, 2), {"middle.middle.widht": 3}, "middle.middle.widht"),
    ],
)
def test_bad_profiles(tmp_path, models, changes, message):
    with pytest.raises(CatKerasError, match=message):
        plan.make(read(tmp_path, models, **changes), None)
