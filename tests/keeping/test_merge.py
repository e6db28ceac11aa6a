"""Kept results that grow run by run end where one run of everything ends."""

import pyarrow.compute
import pyarrow.parquet
import pytest

from benchmarks import report
from benchmarks.keeping import keep
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs

TASKS = ("sst2", "xsum")


@pytest.fixture(autouse=True)
def quick(monkeypatch):
    monkeypatch.setattr(report, "files", runs.quick_report)


def part(whole, folder, keeps, **facts):
    """The rows of a run folder that `keeps` chooses by (method, seed), as a run folder."""
    rows = pyarrow.parquet.read_table(whole / "predictions.parquet").to_pylist()
    folder.mkdir()
    (folder / "examples.parquet").write_bytes((whole / "examples.parquet").read_bytes())
    chosen = [row for row in rows if keeps(row["method"], row["seed"])]
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(chosen), folder / "predictions.parquet")
    store.write_json(folder / "manifest.json", store.read_json(whole / "manifest.json") | {"files": {}} | facts)
    return folder


@pytest.fixture
def whole(tmp_path):
    return runs.full(tmp_path / "whole", TASKS, settings={"methods": ["xent", "cat-xent"], "seeds": [0, 1], "x": 1})


def test_parts_together_are_the_whole(whole, tmp_path):
    first = part(whole, tmp_path / "first", lambda method, seed: seed != 1, seeds=[0])
    second = part(whole, tmp_path / "second", lambda method, seed: seed == 1, seeds=[1])
    expected = keep.keep(whole, tmp_path / "expected")
    kept = keep.keep(first, tmp_path / "kept")
    assert load.load(kept).missing == ()
    keep.keep(second, kept, add=True)
    run = load.load(kept)
    assert run.missing == () and sorted(run.seeds) == [0, 1]
    assert store.read_json(kept / "manifest.json")["missing"] == []
    for name in ("table.md", "table.csv", "tasks.csv"):
        assert (kept / name).read_bytes() == (expected / name).read_bytes(), name


def test_of_a_model_in_both_the_new_answers_count(whole, tmp_path):
    kept = keep.keep(whole, tmp_path / "kept")
    other = runs.full(tmp_path / "other", TASKS, better=0.2, settings={"x": 1})
    again = part(other, tmp_path / "again", lambda method, seed: (method, seed) == ("xent", 0))
    before, new = load.load(kept), load.load(again)
    keep.keep(again, kept, add=True)
    after = load.load(kept)
    for name in TASKS:
        assert after.small["xent", 0, name]["quality"].tolist() == new.small["xent", 0, name]["quality"].tolist()
        for key in (("xent", 1, name), ("cat-xent", 0, name)):
            assert after.small[key]["quality"].tolist() == before.small[key]["quality"].tolist()
        assert after.large[name]["quality"].tolist() == before.large[name]["quality"].tolist()


def test_what_is_still_missing_is_named(whole, tmp_path):
    first = part(whole, tmp_path / "first", lambda method, seed: (method, seed) == ("xent", 0))
    second = part(whole, tmp_path / "second", lambda method, seed: (method, seed) in (("xent", 1), ("", -1)))
    kept = keep.keep(first, tmp_path / "kept")
    keep.keep(second, kept, add=True)
    expected = {f"cat-xent/{seed}/{name}" for seed in (0, 1) for name in TASKS}
    assert set(store.read_json(kept / "manifest.json")["missing"]) == expected == set(load.load(kept).missing)


@pytest.mark.parametrize(
    ("change", "message"),
    [({"n": 12}, "where examples differ"), ({"settings": {"x": 2}}, "where settings differ")],
)
def test_runs_that_are_not_alike_stay_apart(whole, tmp_path, change, message):
    kept = keep.keep(whole, tmp_path / "kept")
    before = {path.name: path.read_bytes() for path in kept.iterdir()}
    other = runs.full(tmp_path / "other", TASKS, **{"settings": {"x": 1}} | change)
    with pytest.raises(CatKerasError, match=message):
        keep.keep(other, kept, add=True)
    assert {path.name: path.read_bytes() for path in kept.iterdir()} == before


def test_results_of_before_bad_rows_could_be_left_out_still_grow(whole, tmp_path):
    old = part(whole, tmp_path / "old", lambda method, seed: seed != 1, seeds=[0], settings={"data": {"train": 5}})
    new = part(whole, tmp_path / "new", lambda method, seed: seed == 1, seeds=[1])
    store.write_json(
        new / "manifest.json",
        store.read_json(new / "manifest.json") | {"settings": {"data": {"train": 5, "bad_rows": "error"}}},
    )
    kept = keep.keep(old, tmp_path / "kept")
    keep.keep(new, kept, add=True)
    assert sorted(load.load(kept).seeds) == [0, 1]
