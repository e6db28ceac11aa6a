"""What stands against a run is found before its first training: all of it, with its place, and nothing is trained."""

import io
import json
import shutil
from pathlib import Path

import pytest
from rich.console import Console

from benchmarks import metrics
from benchmarks.planning import profile
from benchmarks.planning.findings import BadInput
from benchmarks.running import preflight
from benchmarks.running import run as running
from benchmarks.sources import Dataset
from benchmarks.tasks import loading, task
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

SMALL = {
    "methods": ["xent"], "data.train": 24, "data.test": "all", "data.max_length": 48, "data.max_new_tokens": 8,
    "data.vocabulary_size": 320, "data.tasks": ["mine"], "large.pretrain.epochs": 0, "small.pretrain.epochs": 0,
}  # fmt: skip


def row(number: int, **changes) -> dict:
    return {"question": f"Which is {number}?", "options": ["left", "right"], "label": number % 2} | changes


@pytest.fixture
def mine():
    """A task of one's own whose rows bring their options; its registration ends with the test."""
    task.names()  # the others first
    declared = task.register(
        Task(
            name="mine", suites=("own",), cluster="own", kind="classification", source=Dataset("mine", "1.0.0"),
            splits={"train": "train", "test": "test"}, templates=("{question}\n", "Once more: {question}\n"),
            options="options", target="label", metric="accuracy",
        )
    )  # fmt: skip
    yield declared
    task._TASKS.pop("mine")


def data(folder: Path, test: dict[int, dict], train: dict[int, dict] | None = None) -> Path:
    """A data folder whose rows at some indices are changed: into others, or by what they lack (None)."""
    place = folder / "data" / "mine" / "default"
    place.mkdir(parents=True)
    for name, changes, numbers in (("train", train or {}, range(24)), ("test", test, range(100, 108))):
        rows = [row(n, **changes.get(i, {})) for i, n in enumerate(numbers)]
        (place / f"{name}.jsonl").write_text("".join(json.dumps(r) + "\n" for r in rows))
    return folder / "data"


def run(folder: Path, rows: Path, **options):
    """(what is printed, the run folder or the error)"""
    screen, changes = io.StringIO(), options.pop("changes", {})
    console = Console(file=screen, width=200)
    try:
        done = running.run(profile.read("tiny", SMALL | changes), rows, folder / "runs", console, **options)
    except CatKerasError as error:
        done = error
    return screen.getvalue(), done


def trained(folder: Path) -> list[Path]:
    return list((folder / "runs" / "cache").glob("train/*"))


BAD = {
    1: {"options": ["left", "left"], "label": 0},
    3: {"options": ["left", ""], "label": 0},
    4: {"options": ["left", "right " * 100], "label": 0},
    6: {"label": 7},
}


def test_all_bad_rows_are_named_before_anything_is_trained(mine, tmp_path):
    """Those that cannot be rendered, of all splits at once; and then those that the tokenizer shows to be bad."""
    folder = data(tmp_path, BAD, {5: {"question": None}, 7: {"label": -1}})
    said, error = run(tmp_path, folder)
    assert isinstance(error, BadInput) and error.count == 5 and "data.bad_rows=leave out" in str(error)
    for place in ("train.jsonl:6: ", "train.jsonl:8: ", "test.jsonl:2: ", "test.jsonl:4: ", "test.jsonl:7: "):
        assert place in said
    assert "train.jsonl:6: " in str(error)
    assert "\n" not in str(error) and "--skip mine" in str(error)
    shutil.rmtree(folder)

    said, error = run(tmp_path, data(tmp_path, {1: BAD[4], 4: BAD[4]}))
    assert isinstance(error, BadInput) and error.count == 2, said
    for place in ("2", "5"):
        assert any(f"test.jsonl:{place}: An option fits the context" in line for line in said.splitlines())
    assert not trained(tmp_path)
    assert "test.jsonl:2" in (tmp_path / "runs" / "tiny" / "log.txt").read_text()


@pytest.mark.slow
def test_bad_rows_are_left_out_and_counted_if_the_profile_says_so(mine, tmp_path):
    import pandas

    folder = data(tmp_path, BAD, {5: {"question": None}, 9: {"question": "Which is 100?"}})
    settings = {"data.bad_rows": "leave out"}
    said, done = run(tmp_path, folder, changes=settings)
    assert done == tmp_path / "runs" / "tiny", said
    assert "left out of train as bad rows: mine 1" in said and "left out of test as bad rows: mine 4" in said
    manifest = store.read_manifest(done / "manifest.json")
    assert manifest["left_out"] == {"train": {"mine": 1}, "test": {"mine": 4}}
    assert sorted(pandas.read_parquet(done / "examples.parquet")["id"]) == ["test-0", "test-2", "test-5", "test-7"]
    assert manifest["overlap"] == {"mine": {"rows": 4, "exact": 1, "normalised": 1}}
    report = (done / "table.md").read_text(encoding="utf-8")
    assert "Bad rows were left out of test: mine 4" in report and "of 4 test rows 1 are training rows too" in report
    assert "overlap: of 4 test rows of mine" in (done / "log.txt").read_text()

    again, done = run(tmp_path, folder, changes=settings)  # what was found is remembered, and nothing is made again
    assert "nothing to do" in again and "left out of test as bad rows: mine 4" in again
    assert store.read_manifest(done / "manifest.json")["predictions"] == manifest["predictions"]


@pytest.mark.parametrize("tool", ["metric", "arguments", "log", "disk"])
def test_what_a_run_lacks_is_said_before_anything_is_trained(mine, tmp_path, monkeypatch, tool):
    options, expected = {}, {
        "metric": "metric accuracy of task mine: MeCab is not installed", "arguments": "w, the weight",
        "log": "pip install tensorboard", "disk": "10,000 bytes free",
    }[tool]  # fmt: skip
    if tool == "metric":

        def fail(*_):
            raise CatKerasError("MeCab is not installed")

        monkeypatch.setattr(type(metrics.of(mine)), "statistics", fail)
    elif tool == "arguments":
        options["changes"] = {"arguments": {"xent": {"w": 5.0}}}
    elif tool == "log":
        monkeypatch.setitem(__import__("sys").modules, "tensorboard", None)
        options["logs"] = ("csv", "tensorboard")
    else:
        usage = shutil.disk_usage(tmp_path)
        monkeypatch.setattr(preflight.shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    said, error = run(tmp_path, data(tmp_path, {}), **options)
    assert isinstance(error, CatKerasError) and expected in str(error), said
    assert not trained(tmp_path)


def test_a_temperature_that_the_teacher_has_not_is_said_before_anything_is_trained(mine, tmp_path):
    changes = {"methods": ["dist"], "arguments": {"dist": {"temperature": 2.0}}}
    _, error = run(tmp_path, data(tmp_path, {}), changes=changes)
    assert "at temperature 1. Received: 2" in str(error) and not trained(tmp_path)


def test_a_metric_says_by_itself_what_it_lacks(mine, tmp_path, monkeypatch):
    def fail(*_):
        raise CatKerasError("the package is missing")

    monkeypatch.setattr(type(metrics.of(mine)), "check_available", fail, raising=False)
    _, error = run(tmp_path, data(tmp_path, {}))
    assert "the package is missing" in str(error) and not trained(tmp_path)


def test_a_row_that_its_metric_fails_on_is_named(mine, tmp_path, monkeypatch):
    judge = type(metrics.of(mine))
    statistics = judge.statistics

    def fail(self, texts, examples):
        if examples[0].id == "test-3":
            raise ValueError("odd row")
        return statistics(self, texts, examples)

    monkeypatch.setattr(judge, "statistics", fail)
    _, error = run(tmp_path, data(tmp_path, {}))
    assert "test.jsonl:4: metric accuracy: ValueError: odd row" in str(error)


def test_half_a_pair_is_judged_with_the_other_half():
    """Gender parity means nothing for one sentence alone, and a metric fails on it."""
    pairs = task.get("axg")
    examples = loading.load(pairs, "test", source="samples", limit=3)
    assert [problem for _, problem in preflight._judged(pairs, examples)] == ["", ""]
    (_, problem), *_ = preflight._judged(pairs, examples[:1])
    assert "has 1 examples" in problem


def test_prompts_of_a_mixture_are_compared_by_their_rows(mine, tmp_path):
    """Templates that differ do not hide that a test row is a training row."""
    folder = data(tmp_path, {}, {9: {"question": "which is  100"}, 11: {"question": "Which is 101?"}})
    from benchmarks.planning import plan

    for template in (0, 1, "mixture"):
        todo = plan.make(profile.read("tiny", SMALL | {"data.template": template}), folder)
        assert todo.overlap["mine"] == (8, 1, 2)


def test_what_is_shown_of_many_findings(mine, tmp_path):
    """A line each, and a count of those beyond what anybody reads."""
    place = tmp_path / "data" / "mine" / "default"
    place.mkdir(parents=True)
    for name in ("train", "test"):
        (place / f"{name}.jsonl").write_text("".join(json.dumps(row(n, label=9)) + "\n" for n in range(1500)))
    said, error = run(tmp_path, tmp_path / "data", changes={"data.train": "all"})
    assert isinstance(error, CatKerasError) and len(str(error)) < 2000
    assert "No row of split train of task mine can be read" in said and "test.jsonl:1: " in str(error)
