"""Output in an encoding that lacks signs: question marks stand for them, and no command fails."""

import io
import json
import sys

import pytest

from benchmarks import cli
from tests import runs

ENCODINGS = ("ascii", "cp1252", "utf-8")


def printed(monkeypatch, encoding: str, *words, status=0) -> str:
    """What `python -m benchmarks` with these words prints in an encoding, errors of it being strict."""
    streams = [io.TextIOWrapper(io.BytesIO(), encoding=encoding, errors="strict") for _ in range(2)]
    with monkeypatch.context() as patch:
        patch.setattr(sys, "argv", ["benchmarks", *map(str, words)])
        patch.setattr(sys, "stdout", streams[0])
        patch.setattr(sys, "stderr", streams[1])
        with pytest.raises(SystemExit) as ended:
            cli.main()
    for stream in streams:
        stream.flush()
    assert (ended.value.code or 0) == status
    return "".join(stream.buffer.getvalue().decode(encoding) for stream in streams)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    return runs.full(tmp_path_factory.mktemp("runs") / "invented", ("sst2", "wmt22_deen"), n=20)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_rows_and_plans(monkeypatch, tmp_path, encoding):
    shown = printed(monkeypatch, encoding, "show", "wmt22_ruen", "--source", "samples", "-n", "1")
    assert ("\u0430" in shown) == (encoding == "utf-8") and ("????" in shown) == (encoding != "utf-8")
    assert "wmt22_ruen" in printed(monkeypatch, encoding, "list", "wmt22")
    assert "Estimate" in printed(monkeypatch, encoding, "run", "tiny", "--dry-run", "--out", tmp_path)
    assert "Usage" in printed(monkeypatch, encoding, "--help")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_reports(monkeypatch, run, encoding):
    for words in (["report", run], ["compare", run, run]):
        text = printed(monkeypatch, encoding, *words)
        assert ("\u0394" in text) == (encoding == "utf-8")


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_errors(monkeypatch, encoding):
    assert "error: Unknown task" in printed(monkeypatch, encoding, "show", "\u0394\u03c1", status=2)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_json_loses_no_sign(monkeypatch, encoding):
    words = ("show", "wmt22_ruen", "--source", "samples", "-n", "2", "--json")
    rows = [json.loads(line) for line in printed(monkeypatch, encoding, *words).splitlines()]
    assert all("\u0430" in row["prompt"] for row in rows)
