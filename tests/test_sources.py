"""Split recipes, samples and messages of `benchmarks.sources`, on folders written by the tests."""

import json
import time

import pytest

from benchmarks import sources, task
from benchmarks.sources import Dataset, load, own_rows, parse_recipe
from benchmarks.task import Task
from cat_keras.errors import CatKerasError


def write(folder, split, rows):
    folder.mkdir(parents=True, exist_ok=True)
    (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows), encoding="utf-8")


def toy(**changes):
    declaration = {
        "name": "toy",
        "suites": (),
        "cluster": "toys",
        "kind": "classification",
        "source": Dataset("toys/colour", "1.0.0"),
        "splits": {"train": "train[:30000]", "validation": "train[-20:]", "test": "validation"},
        "templates": ("{text}\nColour:\n",),
        "target": "label",
        "options": ("red", "blue"),
        "metric": "accuracy",
    }
    return Task(**declaration | changes)


@pytest.fixture
def data(tmp_path):
    for split, n in (("train", 100), ("validation", 10)):
        write(tmp_path / "toys/colour", split, [{"text": f"{split} {i}", "label": i % 2} for i in range(n)])
    return tmp_path


@pytest.mark.parametrize(
    ("recipe", "expected"),
    [
        ("train", range(10)),
        ("train[:-3]", range(7)),
        ("train[-3:]", range(7, 10)),
        ("train[:4]", range(4)),
        ("train[:30000]", range(10)),
        ("train[2:4]", range(2, 4)),
        ("train[20:40]", range(0)),
    ],
)
def test_recipe_selects_these_rows(recipe, expected):
    part, cut = parse_recipe(recipe)
    assert part == "train"
    assert range(10)[cut] == expected


@pytest.mark.parametrize("recipe", ["train[:10%]", "train[3]", "train+test", ""])
def test_recipe_that_cannot_be_read(recipe):
    with pytest.raises(CatKerasError, match=r"name\[start:stop\]"):
        parse_recipe(recipe)


def test_rows_claimed_twice_are_never_trained_on():
    splits = {"train": "train[:30000]", "validation": "train[-4:]", "test": "train[-6:-2]"}
    assert own_rows(splits, "test", 10) == [4, 5, 6, 7]
    assert own_rows(splits, "validation", 10) == [8, 9]
    assert own_rows(splits, "train", 10) == [0, 1, 2, 3]


def test_splits_have_disjoint_ids_that_stay_the_same(data):
    ids = {split: [example.id for example in load(toy(), split, data)] for split in ("train", "validation", "test")}
    assert [len(ids[split]) for split in ids] == [80, 20, 10]
    assert len({id for split in ids.values() for id in split}) == 110
    assert ids["train"][:2] == ["train-0", "train-1"] and ids["test"][0] == "validation-0"


def test_limit_is_a_seeded_sample_in_source_order_and_nested(data):
    def sample(limit, seed):
        return [int(example.id.split("-")[1]) for example in load(toy(), "train", data, limit=limit, seed=seed)]

    assert sample(10, 3) == sample(10, 3) == sorted(set(sample(10, 3)))
    assert sample(10, 3) != sample(10, 4)
    assert set(sample(10, 3)) < set(sample(30, 3))
    assert sample(1000, 3) == list(range(80))


def test_a_line_separator_inside_a_string_ends_no_line(data):
    write(data / "toys/colour", "validation", [{"text": "one\u2028two", "label": 1}])
    path = data / "toys/colour/validation.jsonl"
    path.write_text(json.dumps({"text": "one\u2028two", "label": 1}, ensure_ascii=False) + "\n\n", encoding="utf-8")
    (example,) = load(toy(), "test", data)
    assert example.prompt == "one\u2028two\nColour:\n" and example.target == "blue"


def test_a_dataset_without_config_lies_under_default_and_the_first_folder_there_wins(data):
    write(data / "solo/default", "validation", [{"text": "solo", "label": 0}])
    assert load(toy(source=Dataset("solo", "1.0.0")), "test", data)[0].prompt.startswith("solo")
    either = Dataset("absent", "1.0.0", local=("absent", "solo"))
    assert load(toy(source=either), "test", data)[0].prompt.startswith("solo")


def test_rows_may_be_generated():
    class Counter:
        def rows(self, part, data):
            return [(f"{part}-{i}", {"text": str(i), "label": i % 3, "stratum": "easy"}) for i in range(5)]

        def identity(self):
            return "counter"

    counted = toy(source=Counter(), splits={"train": "train[:2]"}, group="stratum")
    assert [(e.id, e.target, e.group) for e in load(counted, "train")] == [
        ("train-0", "red", "easy"),
        ("train-1", "blue", "easy"),
    ]
    with pytest.raises(CatKerasError, match=r"train-2: A label of task toy is 0\.\.1"):
        load(toy(source=Counter(), splits={"train": "train"}), "train")


def line(data, text):
    with (data / "toys/colour/validation.jsonl").open("a", encoding="utf-8") as file:
        file.write(text + "\n")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('{"text": "a", "lab', r"validation\.jsonl:11: not a line of JSON"),
        ("[1, 2]", r"validation\.jsonl:11: a row is a JSON object; received list"),
        ('{"text": "a"}', r"validation\.jsonl:11: Task toy needs field 'label'; the row has text"),
        ('{"label": 0}', r"validation\.jsonl:11: Task toy needs field 'text'"),
        ('{"text": null, "label": 0}', r"validation\.jsonl:11: Task toy needs text in field 'text'; received None"),
        ('{"text": "a", "label": 2}', r"validation\.jsonl:11: A label of task toy is 0\.\.1 \(red, blue\); received 2"),
        ('{"text": "a", "label": -1}', r"validation\.jsonl:11: A label .* received -1"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(data, text, message):
    line(data, text)
    with pytest.raises(CatKerasError, match=message):
        load(toy(), "test", data)


def test_bytes_that_are_not_utf8_are_named_by_file_and_line(data):
    with (data / "toys/colour/validation.jsonl").open("ab") as file:
        file.write(b'{"text": "\xff", "label": 0}\n')
    with pytest.raises(CatKerasError, match=r"validation\.jsonl:11: not a line of JSON"):
        load(toy(), "test", data)


def test_missing_places_are_named_with_what_is_there(data):
    with pytest.raises(CatKerasError, match=r"no folder was named; pass --data DIR"):
        load(toy(), "train")
    with pytest.raises(CatKerasError, match=r"The data folder does not exist; received .*absent"):
        load(toy(), "train", data / "absent")
    with pytest.raises(CatKerasError, match=r"The data set toys/color is missing in .*, where toys/colour is"):
        load(toy(source=Dataset("toys/color", "1.0.0")), "train", data)
    with pytest.raises(CatKerasError, match=r"heldout\.jsonl is missing; .* has the splits: train, validation"):
        load(toy(splits={"test": "heldout"}), "test", data)


def test_bad_requests(data):
    with pytest.raises(CatKerasError, match=r"Unknown split of task toy: 'trian'; did you mean train\?"):
        load(toy(), "trian", data)
    with pytest.raises(CatKerasError, match="limit is a number of rows, at least 1"):
        load(toy(), "train", data, limit=0)


@pytest.mark.parametrize("recipe", ["train[200:400]", "train[:-200]"])
def test_an_empty_split_is_an_error(data, recipe):
    with pytest.raises(CatKerasError, match=r"Split train of task toy is empty: .* of 100 rows"):
        load(toy(splits={"train": recipe}), "train", data)


def write_pairs(root, n=300):
    write(root / "parallel/tatoeba_manythings/en-de", "train", [{"en": f"w{i}", "de": f"W{i}"} for i in range(n)])
    more = [{"en": "w5", "de": "other"}] + [{"en": f"m{i}", "de": f"M{i}"} for i in range(n)]
    write(root / "parallel/multi30k/en-de", "train", more)
    write(root / "wmt22/en-de", "test", [{"en": "hello", "de": "hallo"}, {"en": "bye", "de": "tschüs"}])
    write(root / "wmt22/en-de", "test_other_refs", [{"B": "guten Tag"}, {"B": ""}])


def test_translation_pairs_are_one_mixed_pool_for_both_directions(tmp_path):
    write_pairs(tmp_path)
    there, back = task.get("wmt22_ende"), task.get("wmt22_de-en")
    held_out = {example.id for example in load(there, "validation", tmp_path)}
    trained_on = {example.id for example in load(there, "train", tmp_path)}
    assert len(held_out) == 200 and len(trained_on) == 400 and not held_out & trained_on
    assert "multi30k/train-0" not in held_out | trained_on  # its English side occurs in the corpus before
    assert {id.split("/")[0] for id in held_out} == {"tatoeba_manythings", "multi30k"}
    assert held_out == {example.id for example in load(back, "validation", tmp_path)}


def test_translation_tests_have_all_references(tmp_path):
    write_pairs(tmp_path)
    hello, bye = load(task.get("wmt22_ende"), "test", tmp_path)
    assert (hello.prompt, hello.target) == ("English: hello\nGerman:\n", "hallo")
    assert hello.references == ("hallo", "guten Tag") and bye.references == ("tschüs",)


def test_translation_messages(tmp_path):
    write_pairs(tmp_path)
    write(tmp_path / "parallel/newstest/en-de", "train", [{"en": "no German"}])
    with pytest.raises(CatKerasError, match=r"newstest/en-de/train\.jsonl:1: Task wmt22_ende needs field 'de'"):
        load(task.get("wmt22_ende"), "train", tmp_path) + load(task.get("wmt22_ende"), "validation", tmp_path)
    write(tmp_path / "wmt22/en-de", "test_other_refs", [{"B": "guten Tag"}])
    with pytest.raises(CatKerasError, match="received 2 and 1 rows"):
        load(task.get("wmt22_ende"), "test", tmp_path)
    with pytest.raises(CatKerasError, match=r"Training pairs lie in parallel/<corpus>/en-de/train\.jsonl"):
        list(task.get("wmt22_ende").source.rows("pairs", tmp_path / "wmt22"))


def test_twenty_thousand_rows_take_under_three_seconds(tmp_path):
    rows = [{"text": f"{i} " + "word " * 40, "label": i % 2} for i in range(20_000)]
    write(tmp_path / "toys/colour", "train", rows)
    # Processor time: other processes of the machine must not fail the test.
    start = time.process_time()
    assert len(load(toy(splits={"train": "train"}), "train", tmp_path)) == 20_000
    assert time.process_time() - start < 3


def test_every_recipe_of_the_registry_can_be_read():
    for name in task.names():
        assert all(sources.parse_recipe(recipe) for recipe in task.get(name).splits.values())
