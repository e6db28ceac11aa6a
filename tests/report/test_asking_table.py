"""A method that learned to ask for help in the report: by its own rule, against all others by theirs."""

import csv

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.keeping import keep
from benchmarks.report.page.contents import Contents
from benchmarks.report.reading import load
from cat_keras.storage import store
from tests import runs

pytestmark = pytest.mark.slow

TASKS, METHODS = ("sst2", "wmt22_deen"), ("xent", "defer-token")


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run folder in which one of the methods has a token that asks for help."""
    place = runs.full(tmp_path_factory.mktemp("asking") / "run", TASKS, METHODS, n=50)
    path = place / "predictions.parquet"
    table = pyarrow.parquet.read_table(path)
    asks = np.log(np.random.default_rng(1).uniform(0.01, 0.9, len(table)))
    asks[np.array(table["method"].to_pylist()) != "defer-token"] = np.nan
    pyarrow.parquet.write_table(table.append_column("defer_logprob", pyarrow.array(asks)), path)
    manifest = store.read_json(place / "manifest.json")
    manifest["files"]["predictions.parquet"] = store.sha256_file(path)
    store.write_json(place / "manifest.json", manifest)
    return place


@pytest.fixture(scope="module")
def contents(folder):
    return Contents(load.load(folder))


def rows(content: bytes) -> list[dict]:
    return list(csv.DictReader(content.decode().splitlines()))


def test_only_its_method_is_deferred_by_the_token(contents):
    by_rule = {}
    for name, kind in contents.numbers.rules.items():
        for rule, method in kind.standings:
            by_rule.setdefault((name, rule), set()).add(method)
    assert by_rule["all tasks", "defer-token"] == by_rule["classification", "defer-margin"] == {"defer-token"}
    assert by_rule["all tasks", "chow-average"] == set(METHODS)


def test_leads_are_differences_of_what_each_gives_by_its_rule(contents):
    numbers = contents.numbers
    leads = numbers.rules["classification"].leads
    assert {key[2:] for key in leads if key[0] == "defer-token"} >= {
        (rule, method) for rule in ("chow-average", "max-probability", "learned-quality") for method in METHODS[:1]
    }
    lead = leads["defer-token", "defer-token", "max-probability", "xent"]

    def mean(method, rule, measure):
        return np.mean([measure(numbers.cells[method, seed, "sst2"].curve(rule)) for seed in (0, 1)])

    expected = mean("defer-token", "defer-token", lambda c: c.audc) - mean("xent", "max-probability", lambda c: c.audc)
    assert lead["audc"].estimate == pytest.approx(expected)
    assert lead["audc"].low < lead["audc"].estimate < lead["audc"].high
    assert set(lead) == {"audc", "s_d", "auroc_small_right", "auroc_large_right_small_wrong"}


def test_the_file_the_table_and_what_is_kept(contents, folder, tmp_path):
    files = contents.files(drawn=False)
    (table,) = [t for t in contents.further if t.title == "A token that asks for help"]
    records = rows(files["asking.csv"])
    assert {(r["method"], r["rule"]) for r in records} == {("defer-token", r) for r in ("defer-token", "defer-margin")}
    assert {r["baseline"] for r in records} == {"xent"} and len(records) % 4 == 0
    assert {row[2] for row in table.rows} == {"all tasks", "classification", "generation"}
    kept = keep.keep(folder, tmp_path / "kept")
    assert {name: (kept / name).read_bytes() for name in files} == files
    assert all(r["method"] == "defer-token" for r in rows(files["rules.csv"]) if r["rule"] == "defer-token")
