"""Split recipes, samples and messages of `benchmarks.sources`, on folders written by the tests."""

import json
import time
from pathlib import Path

import pytest

from benchmarks import metrics, sources
from benchmarks.sources import Dataset, direction, own_rows, parse_recipe
from benchmarks.tasks import loading, sample_rows, task
from benchmarks.tasks.loading import load
from benchmarks.tasks.prepare import needed, prepare
from benchmarks.tasks.task import Task
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
    (example,) = load(toy(text="verbatim"), "test", data)
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


def test_a_part_may_have_another_name_in_a_local_copy(data):
    held_out = Dataset("toys/colour", "1.0.0", renamed={"dev": "validation"})
    (first, *_) = load(toy(source=held_out, splits={"test": "dev"}), "test", data)
    assert first.id == "dev-0" and first.prompt.startswith("validation 0")
    write(data / "toys/colour", "dev", [{"text": "own", "label": 0}])
    assert load(toy(source=held_out, splits={"test": "dev"}), "test", data)[0].prompt.startswith("own")


def odd(row):
    return row["label"] == 1


def test_rows_that_are_no_examples_are_left_out_before_the_sample(data):
    kept = load(toy(keep=odd), "train", data)
    assert len(kept) == 40 and {example.target for example in kept} == {"blue"}
    assert len(load(toy(keep=odd), "train", data, limit=30)) == 30
    with pytest.raises(CatKerasError, match="without label or text"):
        load(toy(keep=lambda row: False), "train", data)
    line(data, '{"text": "a"}')
    with pytest.raises(CatKerasError, match=r"validation\.jsonl:11: Task toy needs field 'label'"):
        load(toy(keep=odd), "test", data)


def ten(row):
    return str(int(row["text"].split()[1]) // 3)


def test_rows_that_are_judged_together_are_sampled_together(data):
    together = toy(group=ten, together=True, splits={"test": "train"})
    some = load(together, "test", data, limit=10)
    assert len(some) == 9 and {example.group for example in some} <= {str(i) for i in range(34)}
    assert all(len([e for e in some if e.group == group]) == 3 for group in {e.group for e in some})
    assert {e.id for e in some} < {e.id for e in load(together, "test", data, limit=50)}
    assert len(load(together, "test", data)) == 100
    assert len(load(together, "test", data, limit=2)) == 2  # not even one group fits


THREE = ("{text}\nColour:\n", "{text}\nHue:\n", "{text}\nRed or blue:\n")


def test_a_mixture_draws_one_template_per_example(data):
    mixed = load(toy(templates=THREE), "train", data, template="mixture", seed=1)
    apart = [load(toy(templates=THREE), "train", data, template=i) for i in range(3)]
    drawn = [[row[place] for row in apart].index(example) for place, example in enumerate(mixed)]
    assert {0, 1, 2} == set(drawn) and min(drawn.count(i) for i in range(3)) > 15
    assert mixed == load(toy(templates=THREE), "train", data, template="mixture", seed=1)
    assert mixed != load(toy(templates=THREE), "train", data, template="mixture", seed=2)
    few = load(toy(templates=THREE), "train", data, template="mixture", seed=1, limit=10)
    assert {example.prompt for example in few} <= {example.prompt for example in mixed}
    with pytest.raises(CatKerasError, match=r"Unknown template of task toy: 'mix'; did you mean mixture\?"):
        load(toy(), "train", data, template="mix")


@pytest.mark.parametrize("name", [n for n in task.names() if "embedded" not in task.get(n).suites])
def test_samples_run_without_any_data(name):
    declared = task.get(name)
    found = {split: load(declared, split, source="samples", template="mixture") for split in declared.splits}
    ids = [example.id for examples in found.values() for example in examples]
    assert len(ids) == len(set(ids)) and all(len(examples) >= 2 for examples in found.values())
    assert sample_rows.rows(declared).count >= 6
    if isinstance(declared.options, tuple) and declared.options and name != "stsb":
        answers = {example.target for examples in found.values() for example in examples}
        assert answers == set(declared.options)
    metric = metrics.of(declared)
    qualities = [metric.per_example(example.target, example) for example in found["test"]]
    assert min(qualities) > 0.95


def test_samples_say_what_is_missing(tmp_path, monkeypatch):
    with pytest.raises(CatKerasError, match=r"Task toy has no samples; expected .*toy\.jsonl"):
        load(toy(), "train", source="samples")
    with pytest.raises(CatKerasError, match=r"Unknown source 'sample'; did you mean samples\?"):
        load(toy(), "train", source="sample")
    monkeypatch.setattr(sample_rows, "FOLDER", tmp_path)
    write(tmp_path, "toy", [{"text": "a", "label": 0}, {"text": "b", "label": 7}])
    with pytest.raises(CatKerasError, match=r"toy\.jsonl:2: A label of task toy"):
        load(toy(splits={"train": "train", "test": "test"}), "test", source="samples")


def test_generated_rows_come_from_nowhere_else():
    embedded = task.get("embedded_classify")
    assert load(embedded, "test", source="samples", limit=5) == load(embedded, "test", source="tfds", limit=5)
    assert loading.available(embedded) == ["local", "samples", "tfds"]


def test_available_names_the_sources_that_have_the_data(data, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert loading.available(toy(), data) == ["local"] and loading.available(toy()) == []
    (data / "toys/colour/validation.jsonl").unlink()  # the test split
    assert loading.available(toy(), data) == [] and loading.available(toy(), data, "train") == ["local"]
    assert loading.available(task.get("wmt22_ende"), data) == ["samples"]
    (tmp_path / "tensorflow_datasets/glue/sst2/2.0.0").mkdir(parents=True)
    (tmp_path / "tensorflow_datasets/glue/sst2/2.0.0/dataset_info.json").write_text("{}")
    assert loading.available(task.get("sst2"), data) == ["samples", "tfds"]


def test_pairs_that_tfds_lacks_are_asked_for():
    with pytest.raises(CatKerasError, match=r"no training pairs for en-liv.*DIR/parallel/<corpus>/en-liv/train\.jsonl"):
        load(task.get("wmt22_enliv"), "train", source="tfds")


def test_talks_give_pairs_where_both_languages_are_there():
    talk = {"translations": {"language": ["cs", "en"], "translation": ["ano", "yes"]}, "talk_name": "t"}
    assert direction._pair_of(talk, ("cs", "en")) == {"cs": "ano", "en": "yes"}
    assert direction._pair_of(talk, ("cs", "uk")) is None
    assert direction._pair_of({"de": "ja", "en": "yes"}, ("de", "en")) == {"de": "ja", "en": "yes"}


def test_test_sets_of_sacrebleu_have_their_references_in_order(monkeypatch, tmp_path):
    for field, text in {"src": "one\u2028 x\ntwo\n", "ref-A": "a1\na2\n", "ref-B": "b1\n\n", "docid": "d\nd\n"}.items():
        (tmp_path / field).write_text(text, encoding="utf-8")

    class TestSet:
        fieldnames = staticmethod(lambda pair: ["src", "ref:B", "ref:A", "docid"])
        get_files = staticmethod(lambda pair: [str(tmp_path / f) for f in ("src", "ref-B", "ref-A", "docid")])
        get_reference_files = staticmethod(lambda pair: [str(tmp_path / "ref-A")])

    import sacrebleu.dataset

    monkeypatch.setitem(sacrebleu.dataset.DATASETS, "wmt22", TestSet)
    first, second = load(task.get("wmt22_ende"), "test", source="tfds")
    assert (first.prompt, first.target) == ("English: one\u2028 x\nGerman:\n", "a1")
    assert first.references == ("a1", "b1") and second.references == ("a2",)


def test_a_test_set_that_cannot_be_downloaded(monkeypatch, tmp_path):
    import sacrebleu.dataset

    class Offline:
        @staticmethod
        def fieldnames(pair):
            raise OSError("no route to host")

    monkeypatch.setitem(sacrebleu.dataset.DATASETS, "wmt22", Offline)
    with pytest.raises(CatKerasError, match=r"could not download the WMT22 test set en-de \(no route to host\)"):
        load(task.get("wmt22_ende"), "test", source="tfds")


@pytest.mark.parametrize(
    ("recipes", "n", "expected"),
    [
        (["train"], 5, [0, 1, 2, 3, 4]),
        (["train[:-2]", "train[-2:]"], 5, [0, 1, 2, 3, 4]),
        (["train[:2]", "train[-1:]"], 5, [0, 1, 4]),
        (["train[:2]", "train[2:3]", "train[-2:-1]"], 9, [0, 1, 2, 7, 8]),
        (["train[:30000]", "train[-200:]"], 50, list(range(50))),
    ],
)
def test_what_recipes_need_of_a_part(recipes, n, expected):
    kept = list(needed(recipes, n))
    assert kept == expected
    for recipe in recipes:  # the same recipe finds the same rows in what is left
        cut = parse_recipe(recipe)[1]
        assert kept[cut] == list(range(n))[cut]


def test_prepare_copies_and_seals(data, tmp_path):
    out = tmp_path / "out"
    lines = []
    manifest = prepare([toy()], "local", out, data, report=lines.append)
    assert manifest == out / "manifest.json" and len(lines) == 2
    for split in ("train", "validation", "test"):
        assert load(toy(), split, out) == load(toy(), split, data)
    again = []
    prepare([toy()], "local", out, data, report=again.append)
    assert all(line.startswith("already there") for line in again)
    with (out / "toys/colour/train.jsonl").open("a") as file:
        file.write(" ")
    with pytest.raises(CatKerasError, match=r"toys/colour/train\.jsonl is not the file that .*manifest\.json lists"):
        load(toy(), "train", out)
    prepare([toy()], "local", out, data, report=again.append)
    assert load(toy(), "train", out) == load(toy(), "train", data)


def test_a_manifest_is_compared_with_what_it_lists(data, tmp_path):
    prepare([toy()], "local", tmp_path / "out", data, report=str)
    path = tmp_path / "out/toys/colour/validation.jsonl"
    path.write_bytes(path.read_bytes().replace(b"validation 3", b"validation 4"))  # the size is the same
    with pytest.raises(CatKerasError, match=r"size or sha256 differ"):
        load(toy(), "test", tmp_path / "out")
    write(tmp_path / "out/more/default", "test", [{"text": "not listed", "label": 1}])
    assert load(toy(source=Dataset("more", "1.0.0"), splits={"test": "test"}), "test", tmp_path / "out")
    (tmp_path / "out/manifest.json").write_text('{"files": 3}')
    with pytest.raises(CatKerasError, match=r"manifest\.json must read"):
        load(toy(), "train", tmp_path / "out")


def test_prepare_does_what_it_can_and_says_what_it_could_not(data, tmp_path):
    missing = toy(name="gone", source=Dataset("gone", "1.0.0"))
    with pytest.raises(CatKerasError, match=r"2 of the data could not be prepared; .* First: gone, train: .* missing"):
        prepare([missing, toy(), task.get("embedded_lookup")], "local", tmp_path / "out", data, report=str)
    assert load(toy(), "train", tmp_path / "out") == load(toy(), "train", data)
    with pytest.raises(CatKerasError, match=r"Unknown source to prepare from: 'samples'"):
        prepare([toy()], "samples", tmp_path / "out")


def test_prepare_writes_translations_once_for_both_directions(tmp_path):
    write_pairs(tmp_path / "in")
    lines = []
    both = [task.get("wmt22_ende"), task.get("wmt22_deen")]
    write(tmp_path / "in/wmt22/de-en", "test", [{"de": "ja", "en": "yes"}])
    prepare(both, "local", tmp_path / "out", tmp_path / "in", report=lines.append)
    assert sum("parallel" in line for line in lines) == 2
    for declared in both:
        for split in declared.splits:
            assert load(declared, split, tmp_path / "out") == load(declared, split, tmp_path / "in")
