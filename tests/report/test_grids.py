"""The best point of a grid, told from the answers to validation data; methods compared at the same point."""

import pytest

from benchmarks.report.numbers import changes, grids, scopes, summary
from benchmarks.report.reading import load
from benchmarks.report.tables import change_tables, grid_table
from tests import runs

METHODS = ("xent@epochs=1", "xent@epochs=2", "dist@epochs=1", "dist@epochs=2")


def test_the_best_point_of_every_method_and_its_lead(tmp_path):
    folder = runs.full(tmp_path / "run", ("sst2",), METHODS, (0,), settings={"data": {"evaluate": "validation"}})
    numbers = summary.summarize(load.load(folder))
    by_method = grids.points(numbers)
    assert list(by_method) == ["xent", "dist"]
    table = grid_table.table(numbers)
    for (method, rows), line in zip(by_method.items(), table.rows, strict=True):
        assert rows[0].audc.mean == max(numbers.row(f"{method}@epochs={n}").audc.mean for n in (1, 2))
        lead = 100 * (rows[0].audc.mean - rows[1].audc.mean)
        assert line[:3] == (method, "2", rows[0].name.split("@")[1])
        assert float(line[4]) == pytest.approx(lead, abs=0.006) and lead >= 0
    assert "validation data" in table.notes[0] and len(table.notes) == 1


def test_a_run_without_a_grid_has_no_such_table(tmp_path):
    numbers = summary.summarize(load.load(runs.full(tmp_path / "run", ("sst2",))))
    assert grid_table.table(numbers) is None
    assert change_tables.same_point_table(changes.Changes(numbers, scopes.averages(numbers))) is None


def test_methods_are_compared_at_the_same_point(tmp_path):
    folder = runs.full(tmp_path / "run", ("sst2",), METHODS, (0, 1))
    numbers = summary.summarize(load.load(folder))
    found = changes.Changes(numbers, scopes.averages(numbers))
    assert list(found.versus_same_point) == [("dist", "epochs=1"), ("dist", "epochs=2")]
    for (method, point), change in found.versus_same_point.items():
        own, base = (numbers.row(f"{name}@{point}").audc.mean for name in (method, "xent"))
        assert change.estimate == pytest.approx(own - base) and change.low <= change.estimate <= change.high
    table = change_tables.same_point_table(found)
    assert table.columns == ("point", "dist") and [line[0] for line in table.rows] == ["epochs=1", "epochs=2"]
    recorded = [(r["method"], r["baseline"], r["scope"], r["measure"]) for r in found.records()]
    assert ("dist@epochs=2", "xent@epochs=2", "all", "audc") in recorded and len(set(recorded)) == len(recorded)
