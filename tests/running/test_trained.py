"""`export` of a finished run: its own models in the form of transformers."""

import json

import numpy as np
import pytest

from benchmarks.cli import app
from benchmarks.running import trained
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store

pytest.importorskip("safetensors")


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small, large):
    """A folder of runs with the manifest of one and its models in the cache."""
    root, cells = tmp_path_factory.mktemp("runs"), {}
    for label, model in (("large tune", large), ("small cat-xent seed 1", small)):
        key = store.identity(label=label)
        store.Store(root / "cache").get("train", key, lambda at, model=model: models.save(model, at / "preset"))
        cells[label] = {"key": key}
    settings = {"data": {}, "small": {"preset": ""}, "large": {"preset": ""}}
    store.write_manifest(root / "mine" / "manifest.json", {"cells": cells, "seeds": [1], "settings": settings})
    return root


def test_the_command_writes_the_model_of_a_method_and_seed(finished, small):
    from typer.testing import CliRunner

    done = CliRunner().invoke(app, ["export", "mine", "cat-xent", "--seed", "1", "--out", str(finished)])
    assert done.exit_code == 0, done.output
    folder = finished / "mine" / "export" / "cat-xent-seed1"
    assert str(folder) in done.output.replace("\n", "")
    back = models.load(folder)
    for ours, theirs in zip(small.get_weights(), back.get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)


def test_the_large_model_goes_where_it_is_told_to(finished, tmp_path):
    to = tmp_path / "x"
    assert trained.export(finished / "mine", finished / "cache", "large", 0, to, "bfloat16") == to
    assert json.loads((to / "config.json").read_text())["torch_dtype"] == "bfloat16"


@pytest.mark.parametrize(
    ("model", "seed", "reason"), [("cat-xnet", 1, "did you mean cat-xent"), ("cat-xent", 0, "seeds .1.")]
)
def test_a_model_that_the_run_does_not_have_is_named(finished, tmp_path, model, seed, reason):
    with pytest.raises(CatKerasError, match=reason):
        trained.export(finished / "mine", finished / "cache", model, seed, tmp_path / "x", None)
    assert not list(tmp_path.iterdir())
