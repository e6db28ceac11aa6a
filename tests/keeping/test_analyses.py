"""Analyses that are kept as rows: their tables follow from these alone, and no name of a query is kept."""

import pytest
from typer.testing import CliRunner

from benchmarks import cli, report
from benchmarks.keeping import analyses, keep, verify
from benchmarks.report.numbers import comparison
from benchmarks.report.reading import analysis
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs
from tests.analysis_rows import rejection_rows, retrieval_rows


def test_a_comparison_is_kept_and_verified(tmp_path):
    a, b = (runs.full(tmp_path / name, ("sst2",), seeds=(0,), n=30, seed=i) for i, name in enumerate("ab"))
    command = ["compare", str(a), str(b), "--to", str(tmp_path / "kept")]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    found = verify.verify(tmp_path / "kept")
    assert not found.problems and found.compared == 2
    text = (tmp_path / "kept" / "table.md").read_text()
    assert "Averages over 1 shared task" in text and "secret" not in text
    table = (tmp_path / "kept" / "comparison.csv").read_text()
    (tmp_path / "kept" / "comparison.csv").write_text(table.replace("all tasks", "some tasks", 1))
    assert "comparison.csv" in verify.verify(tmp_path / "kept").problems[0]
    keep.redraw(tmp_path / "kept")
    assert not verify.verify(tmp_path / "kept").problems
    assert comparison.LARGE in (tmp_path / "kept" / "comparison.csv").read_text()


def test_retrieval_is_kept_without_names_of_queries(tmp_path):
    source = tmp_path / "squad"
    store.write_together(source, {"retrieval.parquet": analysis.to_parquet(retrieval_rows())}, {"kind": "retrieval"})
    done = CliRunner().invoke(cli.app, ["keep", str(source), "--to", str(tmp_path / "kept")])
    assert done.exit_code == 0, done.output
    assert not verify.verify(tmp_path / "kept").problems
    assert b"who wrote" not in (tmp_path / "kept" / "retrieval.parquet").read_bytes()
    assert "labels alone" in (tmp_path / "kept" / "table.md").read_text()


def test_rejecting_is_kept_beside_its_run(tmp_path, monkeypatch):
    monkeypatch.setattr(report, "files", runs.quick_report)
    folder = runs.full(tmp_path / "run", ("sst2",), n=30, settings={"name": "run"}, cells={}, teacher={})
    (folder / "rejection.parquet").write_bytes(analysis.to_parquet(rejection_rows()))
    (folder / "latency.csv").write_text("model,batch\n")
    kept = keep.keep(folder, tmp_path / "kept")
    assert {"rejection.parquet", "rejection.csv", "rejection.md", "latency.csv"} <= {p.name for p in kept.iterdir()}
    assert not verify.verify(kept).problems
    (folder / "rejection.parquet").unlink()
    keep.keep(folder, kept, add=True)  # of a run that was not asked questions from elsewhere
    assert not verify.verify(kept).problems and (kept / "rejection.md").is_file()
    (kept / "rejection.md").write_text("Rejecting never harms.\n")
    assert verify.verify(kept).problems[0].startswith("rejection.md: line 1")
    keep.redraw(kept)
    assert not verify.verify(kept).problems


def test_bad_folders_are_said(tmp_path):
    store.write_together(tmp_path / "other", {}, {"kind": "poetry"})
    with pytest.raises(CatKerasError, match=r"kind of results.*poetry"):
        verify.verify(tmp_path / "other")
    run = runs.full(tmp_path / "run", ("sst2",), n=8)
    with pytest.raises(CatKerasError, match=r"which holds a run\. Give another folder"):
        analyses.keep(retrieval_rows(), "retrieval", run)
    store.write_together(tmp_path / "broken", {"retrieval.parquet": b"no rows"}, {"kind": "retrieval"})
    with pytest.raises(CatKerasError, match=r"retrieval\.parquet cannot be read"):
        verify.verify(tmp_path / "broken")
