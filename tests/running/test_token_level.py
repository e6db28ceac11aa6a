"""Token-level cascades of a finished run, from its own models in its cache."""

import io
import subprocess
import sys

import pyarrow
import pyarrow.parquet
import pytest
from rich.console import Console

from benchmarks.running import token_level
from benchmarks.running.progress import Progress
from cat_keras.data.records import Example, Prediction
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store

TASKS = ("embedded_describe", "embedded_classify")
DATA = {"max_length": 48, "max_new_tokens": 6}


def write(path, rows):
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path)


@pytest.fixture(scope="module")
def finished(tmp_path_factory, examples, small, trained):
    """A run folder and its cache: `trained` is its large model; the test examples are those it was trained on."""
    root = tmp_path_factory.mktemp("runs")
    records = [Example(e.id, e.prompt, e.target, TASKS[bool(e.options)], e.options) for e in examples]
    models_of = [("large", "", -1), ("small", "xent", 0)]
    answers = [
        Prediction(e.id, e.task, e.target, (-0.5,), (-0.5, -1.0) if e.options else (), 9, 1, 1e6, 0.1).asdict()
        | {"quality": 1.0, "model": role, "method": method, "seed": seed}
        for role, method, seed in models_of
        for e in records
    ]
    cells = {}
    for label, model in (("large tune", trained), ("small xent seed 0", small)):
        key = store.identity(label=label)
        store.Store(root / "cache").get("train", key, lambda at, model=model: models.save(model, at / "preset"))
        cells[label] = {"key": key}
    folder = root / "tiny"
    folder.mkdir()
    write(folder / "examples.parquet", [e.asdict() for e in records])
    write(folder / "predictions.parquet", answers)
    facts = {"profile": "tiny", "rule": "chow-average", "methods": ["xent"], "seeds": [0], "tasks": list(TASKS)}
    store.write_json(folder / "manifest.json", facts | {"cells": cells, "settings": {"data": DATA}})
    return folder


def evaluate(folder, **choices):
    with Progress(Console(file=io.StringIO())) as progress:
        return token_level.evaluate(folder, folder.parent / "cache", progress, **choices)


@pytest.mark.slow
def test_a_run_is_answered_again_token_by_token(finished):
    table = evaluate(finished, rules=["lossless", "token-v3"], limit=8, gamma=2)
    token_level.write(finished / token_level.FILE, table)
    rows = pyarrow.parquet.read_table(finished / token_level.FILE).to_pylist()
    assert len(rows) == 8 * (1 + len(token_level.ALPHAS["token-v3"]))
    assert {row["task"] for row in rows} == {"embedded_describe"}  # what has options is not answered freely
    assert b'"gamma": 2' in table.schema.metadata[b"cat_keras"]
    exact = [row for row in rows if row["rule"] == "lossless"]
    # The large model knows these words by heart, the small one was never trained.
    assert sum(row["quality"] for row in exact) / 8 > 0.6 and all(row["rejected"] for row in exact)
    trusting = [row for row in rows if row["alpha"] == 0.999]
    assert sum(row["accepted"] for row in trusting) >= sum(row["accepted"] for row in exact)
    for row in rows:
        assert row["drafted"] == 2 * row["large_calls"] and 1 <= row["tokens"] <= 6 and row["flops"] > 0


def test_what_a_run_does_not_have(finished, tmp_path):
    with pytest.raises(CatKerasError, match="Unknown method of the run 'dist'"):
        evaluate(finished, methods=["dist"])
    with pytest.raises(CatKerasError, match="Unknown token-level rule 'chow-lag'; did you mean chow-log"):
        evaluate(finished, rules=["chow-lag"])
    with Progress(Console(file=io.StringIO())) as progress, pytest.raises(CatKerasError, match="is gone"):
        token_level.evaluate(finished, tmp_path, progress)


def test_results_without_texts_cannot_be_answered_again(tmp_path):
    command = [sys.executable, "-m", "benchmarks", "token-level", "results/embedded", "--out", tmp_path]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "keeps no texts" in done.stderr and done.stderr.count("\n") == 1
