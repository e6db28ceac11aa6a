"""What `list` says of the registry: the names that select tasks, whole declarations, and rows counted unread."""

import json
import os
from pathlib import Path

import pytest

from benchmarks.sources import Dataset
from benchmarks.tasks import counting, listing, loading, sample_rows, task
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError

DATA = os.environ.get("CAT_KERAS_DATA")
# Figure 3 of FLAN's paper (arXiv 2109.01652) under the names of its code; there `misc` is six clusters.
FLAN = (
    *("entailment", "common_sense", "sentiment", "paraphrase", "open_domain_qa", "structure_to_text"),
    *("reading_comprehension", "read_comp_and_common_sense", "coreference", "misc", "summarization", "translation"),
)


@pytest.fixture
def data(tmp_path):
    folder = tmp_path / "data/toys/colour"
    folder.mkdir(parents=True)
    rows = [json.dumps({"text": f"row {i}", "label": i % 2}) for i in range(100)]
    (folder / "train.jsonl").write_text("\n".join(rows))  # the last line has no end
    (folder / "validation.jsonl").write_text("\n".join(rows[:10]) + "\n")
    return tmp_path / "data"


def toy(**changes):
    declaration = {
        **{"name": "toy", "suites": ("toys",), "cluster": "toys", "kind": "classification", "target": "label"},
        **{"source": Dataset("toys/colour", "1.0.0"), "templates": ("{text}\nColour:\n",), "options": ("red", "blue")},
        "splits": {"train": "train[:-20]", "validation": "train[-20:]", "test": "validation"},
        "metric": "accuracy",
    }
    return Task(**declaration | changes)


def test_each_task_of_flan_is_in_one_of_its_twelve_clusters():
    found = [t.name for cluster in FLAN for t in task.select(f"flan2021/{cluster}")]
    assert sorted(found) == sorted(t.name for t in task.select("flan2021"))
    assert len(set(found)) == len(found) == 70


@pytest.mark.parametrize("word", [*FLAN, "superglue", "wmt22", "flan2021", "embedded", "all", "flan2021/translation"])
def test_suites_and_clusters_are_names(word):
    assert task.select(word)
    assert listing.choose([word]) == task.select([word])


def test_a_slash_is_an_intersection():
    both = set(task.select("translation"))
    assert set(task.select("wmt22")) | set(task.select("flan2021/translation")) == both
    assert not any("embedded" in t.suites for t in both)
    with pytest.raises(CatKerasError, match="Unknown task, suite or cluster 'flan2021/translatoin'"):
        task.select("flan2021/translatoin")


def test_filters_narrow_and_name_what_is_near():
    found = listing.choose(["flan2021"], kind="classification", cluster="misc")
    assert [t.name for t in found] == ["wic", "cola", "trec"]
    assert [t.name for t in listing.choose(["all"], metric="multirc", suite="superglue")] == ["multirc"]
    for filters, near in (
        ({"kind": "generate"}, "generation"),
        ({"metric": "belu"}, "bleu"),
        ({"cluster": "sentimant"}, "sentiment"),
        ({"suite": "super_glue"}, "superglue"),
    ):
        with pytest.raises(CatKerasError, match=rf"Unknown {next(iter(filters))} .*did you mean .*{near}"):
            listing.choose(["all"], **filters)
    with pytest.raises(CatKerasError, match="Unknown source 'tdfs'; did you mean tfds"):
        listing.here([], "tdfs")


def test_rows_are_counted_by_recipe_and_source(data, monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    assert counting.count(toy(), "local", data) == {"train": 80, "validation": 20, "test": 10}
    assert counting.count(toy(splits={"test": "train[:30]"}), "local", data) == {"test": 30}
    assert counting.count(toy(source=Dataset("toys/shape", "1.0.0")), "local", data) == {}
    assert counting.count(task.get("axb"), "samples") == {"test": len(list(sample_rows.rows(task.get("axb"))))}
    assert counting.count(task.get("embedded_lookup"), "local") == {"train": 8000, "validation": 500, "test": 500}
    noted = tmp_path / "tensorflow_datasets/toys/colour/1.0.0/dataset_info.json"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({"splits": [{"name": "train", "shardLengths": ["60", "50"]}]}))
    assert counting.count(toy(), "tfds") == {"train": 90, "validation": 20}


@pytest.mark.parametrize("name", ["sst2", "axg", "wmt22_ende", "coqa", "stsb"])
def test_as_many_rows_as_are_loaded(name):
    declared = task.get(name)
    counted = counting.count(declared, "samples")
    assert counted == {split: len(loading.load(declared, split, source="samples")) for split in declared.splits}


def test_a_manifest_spares_the_counting(data):
    entry = {"rows": 1000, "bytes": 1, "sha256": ""}
    (data / "manifest.json").write_text(json.dumps({"files": {"toys/colour/train.jsonl": entry}}))
    assert counting.count(toy(), "local", data)["train"] == 980


def test_training_pairs_of_all_corpora_are_counted(tmp_path):
    for corpus, pair, n in (("one", "en-de", 300), ("two", "de-en", 200)):
        folder = tmp_path / "parallel" / corpus / pair
        folder.mkdir(parents=True)
        rows = [json.dumps({"en": f"{corpus} {i}", "de": f"{i} {corpus}"}) for i in range(n)]
        (folder / "train.jsonl").write_text("\n".join([*rows, rows[0]]))  # a repeated sentence is no further pair
    assert counting.count(task.get("wmt22_ende"), "local", tmp_path) == {"train": 300, "validation": 200}


def test_rows_that_are_no_examples_are_not_counted(data):
    declared = toy(keep=lambda row: row["label"] == 1, splits={"train": "train", "test": "validation"})
    path = data / "toys/colour/train.jsonl"
    path.write_text(path.read_text() + "\n\n  \n")
    expected = {split: len(loading.load(declared, split, data)) for split in declared.splits}
    assert counting.count(declared, "local", data) == expected == {"train": 50, "test": 5}
    assert "50 / – / 5" in listing.text(listing.entries([declared], data))


def test_rows_of_one_input_are_counted_once_outside_training(data):
    declared = toy(kind="generation", options=(), target="text", pooled=True, templates=("{label}\nColour:\n",))
    expected = {split: len(loading.load(declared, split, data)) for split in declared.splits}
    assert counting.count(declared, "local", data) == expected == {"train": 80, "validation": 2, "test": 2}


def test_tfds_counts_only_what_it_notes(monkeypatch, tmp_path):
    monkeypatch.setattr(Path, "home", lambda: tmp_path)
    noted = tmp_path / "tensorflow_datasets/toys/colour/1.0.0/dataset_info.json"
    noted.parent.mkdir(parents=True)
    noted.write_text(json.dumps({"splits": [{"name": "train", "shardLengths": ["60"]}]}))
    assert counting.count(toy(), "tfds") == {"train": 40, "validation": 20}
    assert counting.count(toy(keep=lambda row: True), "tfds") == {}


def test_a_task_whose_test_split_is_missing_shows_its_other_rows(data):
    (data / "toys/colour/validation.jsonl").unlink()
    (entry,) = listing.entries([toy()], data)
    assert entry.rows == {"local": {"train": 80, "validation": 20}}
    assert "80 / 20 / –" in listing.text([entry]) and listing.here([entry], real=True) == [entry]


def test_a_split_that_cannot_be_read_is_not_counted(data):
    (data / "toys/colour/validation.jsonl").write_text("no JSON\n")
    assert counting.count(toy(keep=lambda row: True), "local", data) == {"train": 80, "validation": 20}


@pytest.mark.long
@pytest.mark.skipif(not DATA, reason="CAT_KERAS_DATA names no folder with real data")
@pytest.mark.parametrize("name", [name for name in task.names() if "embedded" not in name])
def test_as_many_real_rows_as_are_loaded(name):
    declared = task.get(name)
    for split, number in counting.count(declared, "local", DATA).items():
        if number:
            assert len(loading.load(declared, split, DATA)) == number
        else:
            with pytest.raises(CatKerasError, match="is empty"):
                loading.load(declared, split, DATA)


def test_a_record_is_the_whole_declaration():
    (entry,) = listing.entries([task.get("bool_q")])
    record = json.loads(json.dumps(entry.record()))
    assert record["aliases"] == ["boolq"] and record["suites"] == ["superglue", "flan2021"]
    assert record["template_count"] == len(record["templates"]) >= 3
    assert record["splits"]["test"] == "validation" and record["source"] == {"tfds": "bool_q", "version": "1.0.0"}
    assert record["max_lengths"] == {"prompt": 512, "target": 8} and record["version"] >= 1
    assert record["options"] == ["no", "yes"] and record["metric"] == "accuracy"
    assert "2019" in record["citation"] and record["license"] == "CC BY-SA 3.0"
    assert record["here"][-1] == "samples" and set(record["rows"]["samples"]) == {"train", "validation", "test"}


def test_tables_have_a_line_per_task(data):
    found = listing.entries([toy(), task.get("wmt22_ende"), task.get("embedded_lookup")], data)
    header, *lines = listing.text(found).splitlines()
    assert header.split()[:3] == ["task", "kind", "metric"] and header.endswith("licence")
    assert "80 / 20 / 10" in lines[0] and " local " in lines[0]
    assert "generated" in lines[2] and "8,000 / 500 / 500" in lines[2]
    assert all(len(line) <= 60 for line in listing.text(found, width=60).splitlines())
    assert listing.markdown(found).splitlines()[2:] == [
        "| toy | toys/colour:1.0.0 | classification | accuracy | 80 | 20 | 10 |",
        "| wmt22_ende | wmt22 en-de | generation | bleu+chrf |  |  |  |",
        "| embedded_lookup | generated | generation | exact_match | 8,000 | 500 | 500 |",
    ]
    assert [e.task.name for e in listing.here(found, real=True)] == ["toy", "embedded_lookup"]
    assert [e.task.name for e in listing.here(found, "samples")] == ["wmt22_ende", "embedded_lookup"]
