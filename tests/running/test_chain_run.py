"""A cascade of three models by the command line, at a tiny size: train, report, keep, verify, tune, export, refuse."""

import json

import pandas
import pytest

from tests import commands, tiny

pytestmark = pytest.mark.long  # trains ten models

MIDDLE = """
[variants.cat-any]
objective = "cat-xent"
later = "any"
[middle.medium]
layers = 1
width = 24
heads = 1
feedforward = 24
pretrain = {epochs = 1, learning_rate = 1e-3, batch_size = 16}
"""


def benchmarks(folder, *words, status=0):
    """What a command says; it ends with a status."""
    return commands.benchmarks(*map(str, words), status=status, cwd=folder)


def test_three_models_from_training_to_a_policy(tmp_path, monkeypatch):
    monkeypatch.setattr(tiny, "PROFILE", tiny.PROFILE.replace("test = 12", "test = 60") + MIDDLE)
    arguments = ("--methods", "cat-dist,cat-any", "--set", "large.pretrain.epochs=0")
    planned = tiny.run(tmp_path, *arguments, "--dry-run")
    assert "medium cat-dist seed 0" in planned and "columns of medium cat-dist seed 0" in planned
    output = tiny.run(tmp_path, *arguments)
    steps = ["large tune:", "medium cat-dist seed 0:", "columns of medium cat-dist seed 0: medium model right on",
             "small cat-dist seed 0:"]  # fmt: skip
    places = [output.index(step) for step in steps]
    assert places == sorted(places)
    assert "small→medium→large" in output and "Does the model medium pay?" in output
    folder = tmp_path / "runs" / "tiny"
    rows = pandas.read_parquet(folder / "predictions.parquet").groupby(["model", "method", "seed"]).size()
    assert sorted(rows.index) == sorted(
        [("large", "", -1), *((m, method, 0) for m in ("small", "medium") for method in ("cat-dist", "cat-any"))]
    )
    assert json.loads((folder / "manifest.json").read_text())["middle"] == ["medium"]
    assert (folder / "chains.png").stat().st_size > 10_000 and "## Longer cascades" in (folder / "table.md").read_text()
    answers = tiny.predictions(tmp_path)
    assert "nothing to do" in tiny.run(tmp_path, *arguments) and tiny.predictions(tmp_path) == answers

    benchmarks(tmp_path, "keep", folder, "--to", "kept")
    assert "all as committed" in benchmarks(tmp_path, "verify", "kept")
    models = ("--models", "cat-any,medium/cat-any,large", "--max-cost", "1e7")
    for method in ("grid", "rational"):
        assert "Policy" in benchmarks(tmp_path, "tune", folder, *models, "--method", method)
    assert "medium-cat-any-seed0" in benchmarks(tmp_path, "export", "tiny", "medium/cat-any", "--out", "runs")
    for words in (("compare", folder, folder), ("illustrate", folder)):
        assert "between them" in benchmarks(tmp_path, *words, status=2)
