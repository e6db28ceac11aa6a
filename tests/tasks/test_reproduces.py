"""The tests that reproduce tasks: whom `-k` selects, and what they say of a run that differs from its reference."""

import csv
import shutil
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.conftest import spellings
from benchmarks.planning import profile
from benchmarks.tasks import loading, task
from benchmarks.test_reproduction import tolerance
from tests import commands

ROOT = Path(__file__).parents[2]
REFERENCE = ROOT / "results" / "embedded"
# What a person may type → the tasks meant. Longer names hold shorter ones, as pytest's -k does.
TYPED = {
    "boolq": ["bool_q"],
    "bool_q": ["bool_q"],
    "agnews": ["ag_news_subset"],
    "glue/sst2": ["sst2"],
    "rte": ["rte"],
    "qqp": ["glue_qqp"],
    "mnli": ["mnli_matched", "mnli_mismatched"],
    "wsc273": ["wsc273"],
    "wmt22_en-de": ["wmt22_ende"],
    "naturalquestions": ["natural_questions"],
    "embedded_lookup": ["embedded_lookup"],
}


def matched(word):
    """As `-k` matches: a part of any name, whatever the case."""
    return [name for name in task.names() if any(word in s.lower() for s in spellings(task.get(name)))]


@pytest.mark.parametrize("word", TYPED)
def test_names_as_people_type_them(word):
    assert matched(word) == TYPED[word]


@pytest.mark.parametrize("name", task.names())
def test_every_task_goes_by_all_its_names(name):
    declared = task.get(name)
    for word in (name, name.replace("_", ""), *declared.aliases, *declared.suites, declared.cluster):
        assert name in matched(word.lower())
    assert len(matched(name)) <= 3


def test_tolerance_is_two_standard_errors_of_a_difference():
    half = (0.5 * 0.5 / 200 * 2) ** 0.5
    assert tolerance(0.5, 200, [0.5]) == pytest.approx(2 * half)
    assert 0 < tolerance(0.0, 200, [0.0]) < half
    assert tolerance(0.0, 200, [0.0]) == pytest.approx(tolerance(1.0, 200, [1.0]))
    assert tolerance(0.5, 200, [0.4, 0.6]) == pytest.approx(2 * (half**2 + 2 * 0.02) ** 0.5)


@pytest.fixture
def runs(tmp_path):
    """A run folder that agrees with the reference results of the embedded profile."""
    folder = tmp_path / "embedded"
    folder.mkdir()
    for name in ("manifest.json", "tasks.csv"):
        shutil.copy(REFERENCE / name, folder)
    n, seed = profile.read("embedded").data.test, profile.read("embedded").data.seed
    examples = [e for t in task.select("embedded") for e in loading.load(t, "test", limit=n, seed=seed)]
    rows = [example.asdict() for example in examples]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), folder / "examples.parquet")
    return tmp_path


def reproduce(runs, *words):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("COLUMNS", "200")
        done = commands.call("pytest", "benchmarks", "--profile", "embedded", "--runs", str(runs), *words, cwd=ROOT)
    return done.returncode, done.stdout


@pytest.mark.slow
def test_a_run_is_compared_with_the_reference(runs):
    status, output = reproduce(runs, "-k", "embedded or boolq", "-rsP")
    assert status == 0, output
    assert "large_quality: measured" in output and "reference" in output and ": ok" in output
    assert "results/embedded has no bool_q" in output


@pytest.mark.slow
def test_both_numbers_are_told_where_they_differ(runs):
    path = runs / "embedded" / "tasks.csv"
    with path.open(encoding="utf-8", newline="") as file:
        rows = list(csv.DictReader(file))
    (row,) = [r for r in rows if (r["task"], r["method"], r["seed"]) == ("embedded_lookup", "cat-xent", "1")]
    wanted, row["small_quality"] = float(row["small_quality"]), "0.0125"
    with path.open("w", encoding="utf-8", newline="") as file:
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    status, output = reproduce(runs, "-k", "lookup")
    assert status == 1
    assert "embedded_lookup is not reproduced:" in output
    assert f"small_quality, cat-xent seed 1: measured 0.0125, reference {wanted:.4f} ± 0." in output


@pytest.mark.long
def test_a_run_of_other_examples_does_not_count(runs):
    path = runs / "embedded" / "examples.parquet"
    pyarrow.parquet.write_table(pyarrow.parquet.read_table(path).slice(1), path)
    status, output = reproduce(runs, "-k", "embedded_classify")
    assert status == 1
    assert "was made with other test examples of embedded_classify" in output
