"""`list` and `show` as typed, and what they say of bad input."""

import json

import pytest
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.tasks import loading, task
from cat_keras.errors import CatKerasError

SST2 = [{"sentence": f"film {i} was fine", "label": i % 2, "idx": i} for i in range(300)]


def run(*words):
    return CliRunner().invoke(cli.app, [str(word) for word in words])


def said(*words):
    done = run(*words)
    assert done.exit_code == 0, done.exception
    return done.stdout


def refused(*words):
    error = run(*words).exception
    assert isinstance(error, CatKerasError), error
    return str(error)


def write(path, rows):
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{row if isinstance(row, str) else json.dumps(row)}\n" for row in rows))


@pytest.fixture
def data(tmp_path):
    for part in ("train", "validation"):
        write(tmp_path / f"glue/sst2/{part}.jsonl", SST2)
    write(tmp_path / "wmt22/en-de/test.jsonl", [{"en": "hello", "de": "hallo"}, {"en": "bye", "de": "tschüs"}])
    return tmp_path


def test_list_as_json_holds_every_task_whole():
    records = json.loads(said("list", "--json"))
    assert [record["name"] for record in records] == task.names()
    for record in records:
        assert record["license"] and record["citation"] and record["version"] and record["splits"]["test"]
        assert all(record["max_lengths"].values())


def test_list_takes_names_filters_and_sources(data):
    assert "2 tasks" in said("list", "boolq", "copa")
    assert "8 tasks" in said("list", "superglue", "--suite", "flan2021")
    assert "100 / 200 / 300" in said("list", "sst2", "cola", "--data", data, "--source", "local")
    assert "1 task." in said("list", "sst2", "cola", "--data", data, "--here")
    assert "| sst2 | glue/sst2:2.0.0 |" in said("list", "sst2", "--data", data, "--markdown")


def test_show_renders_any_template_on_any_source(data):
    declared = task.get("sst2")
    for source in ("samples", "local"):
        for template in range(len(declared.templates)):
            rows = said("show", "sst2", "--template", template, "--source", source, "--data", data, "--json", "-n", 2)
            shown = [json.loads(row)["prompt"] for row in rows.splitlines()]
            examples = loading.load(declared, "test", data, limit=2, template=template, source=source)
            assert shown == [example.prompt for example in examples]


def test_show_draws_the_mixture_that_trains():
    words = ("show", "sst2", "--source", "samples", "--split", "train", "--template", "mix", "--seed", 3)
    found = [json.loads(row) for row in said(*words, "--json", "-n", 9).splitlines()]
    mixture = loading.load(task.get("sst2"), "train", template=loading.MIXTURE, seed=3, source="samples")
    assert [row["prompt"] for row in found] == [example.prompt for example in mixture]
    titles = [line for line in said(*words, "-n", 9).splitlines() if "· template " in line]
    drawn = [loading.drawn_template(task.get("sst2"), example.id, 3) for example in mixture]
    assert [int(title.split("· template ")[1].split()[0]) for title in titles] == drawn
    assert len(set(drawn)) > 1


def test_show_takes_suites():
    rows = said("show", "superglue", "--source", "samples", "-n", 1, "--json").splitlines()
    assert [json.loads(row)["task"] for row in rows] == [t.name for t in task.select("superglue")]


def test_bad_words_come_with_near_ones(data):
    assert "Unknown split of task sst2: 'tset'; did you mean test" in refused("show", "sst2", "--split", "tset")
    assert "did you mean mixture" in refused("show", "sst2", "--template", "mixtur", "--source", "samples")
    assert "Unknown template of task sst2: '3'" in refused("show", "sst2", "--template", "3", "--source", "samples")
    assert "Unknown kind 'classify'; did you mean classification" in refused("list", "--kind", "classify")
    assert "The data set glue/stsb is missing" in (message := refused("show", "stsb", "--data", data))
    assert "where glue/sst2" in message
    assert "--source samples" in refused("show", "sst2")


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ('{"sentence": "x", "lab', "validation.jsonl:301: not a line of JSON"),
        ('{"sentence": "x", "label": 7}', "validation.jsonl:301: A label of task sst2 is 0..1"),
        ('{"sentence": "x", "label": -1}', "validation.jsonl:301: A label of task sst2 is 0..1"),
        ('{"sentense": "x", "label": 1}', "validation.jsonl:301: Task sst2 needs field 'sentence'"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(row, message, data):
    write(data / "glue/sst2/validation.jsonl", [*SST2, row])
    assert message in refused("show", "sst2", "--data", data, "-n", 1000)


def test_references_are_as_many_as_rows(data):
    write(data / "wmt22/en-de/test_other_refs.jsonl", [{"B": "guten Tag"}])
    assert "received 2 and 1 rows" in refused("show", "wmt22_ende", "--data", data)


def test_a_file_that_is_not_what_the_manifest_lists(data, tmp_path):
    said("prepare", "sst2", "--source", "local", "--data", data, "--out", tmp_path / "out")
    write(tmp_path / "out/glue/sst2/validation.jsonl", SST2[1:])
    message = refused("show", "sst2", "--data", tmp_path / "out")
    assert "validation.jsonl is not the file that" in message and "prepare" in message
