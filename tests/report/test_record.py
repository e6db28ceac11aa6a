"""A run with nothing to do shows the report that lies there, as long as it is of the same predictions and code."""

import io
import json

import pytest
from rich.console import Console
from test_report import hand

from benchmarks import report
from benchmarks.report.page import record
from benchmarks.report.plots import drawing


def shown(folder) -> str:
    out = io.StringIO()
    report.build(folder, Console(width=120, file=out), again=False)
    return out.getvalue()


@pytest.fixture
def folder(tmp_path, monkeypatch):
    monkeypatch.setattr(drawing, "files", lambda *arguments: {})
    return hand(tmp_path)


def test_a_report_of_the_same_inputs_is_shown_and_not_computed(folder, monkeypatch):
    first = shown(folder)
    assert "xent" in first and first.endswith("\n")
    manifest = json.loads((folder / "manifest.json").read_text())
    (folder / "manifest.json").write_text(json.dumps(manifest | {"seconds": 9.0}))
    monkeypatch.setattr(report, "Contents", None)
    assert shown(folder) == first


@pytest.mark.parametrize("change", ["table.csv", "predictions.parquet", "manifest", "code"])
def test_what_was_changed_is_computed_again(folder, monkeypatch, change):
    shown(folder)
    before = (folder / "table.csv").read_bytes()
    if change == "table.csv":
        (folder / change).write_text("other")
    elif change == "code":
        monkeypatch.setattr(record, "_code", lambda: "other")
    elif change == "manifest":
        facts = json.loads((folder / "manifest.json").read_text())
        (folder / "manifest.json").write_text(json.dumps(facts | {"hardware": "other"}))
    else:
        hand(folder, scores={"xent": [-9, -1, -1, -1]})
    computed = []
    contents = report.Contents
    monkeypatch.setattr(report, "Contents", lambda *given: computed.append(given) or contents(*given))
    shown(folder)
    assert len(computed) == 1
    assert ((folder / "table.csv").read_bytes() == before) == (change != "predictions.parquet")
    (folder / record.FILE).write_text("[]")
    shown(folder)
    assert len(computed) == 2
