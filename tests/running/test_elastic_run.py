"""Elastic methods by the command line, at a tiny size, on real models."""

import json

import pandas
import pytest

from benchmarks.running import trained
from cat_keras.modeling import models
from tests import tiny

pytestmark = pytest.mark.long  # the parts are tested in their folders

ARGUMENTS = (
    *("--methods", "elastic,static,elastic-cat", "--set", "small.layers=2", "--set", "large.pretrain.epochs=0"),
    *("--set", "elastic.sizes.half={layers = 1, feedforward = 8}", "--set", "elastic.importance=1"),
)


def test_every_size_answers_and_is_in_the_report(tmp_path):
    output = tiny.run(tmp_path, *ARGUMENTS)
    assert "small elastic seed 0" in output
    folder = tmp_path / "runs" / "tiny"
    manifest = json.loads((folder / "manifest.json").read_text())
    names = [f"{kind}-{size}" for kind in ("elastic", "static", "elastic-cat") for size in ("half", "whole")]
    assert manifest["methods"] == names
    table = pandas.read_csv(folder / "elastic.csv")
    assert {*table["method"]} == {*names} and table["quality"].notna().all()
    assert (folder / "elastic.png").exists() and "Sizes of the elastic" in (folder / "table.md").read_text()
    half, whole = (table.set_index("method")["flops"][f"elastic-{size}"] for size in ("half", "whole"))
    assert half < whole
    cells = manifest["cells"]
    assert cells["small elastic-half seed 0"]["loss"] == cells["small elastic seed 0"]["loss"]
    assert cells["small static-half seed 0"]["steps"] == cells["small elastic seed 0"]["steps"]

    again = tiny.run(tmp_path, *ARGUMENTS)
    assert "nothing to do" in again
    preset = trained.preset(manifest, tmp_path / "runs" / "cache", "small", ["small elastic-half seed 0"])
    assert models.load(preset).backbone.num_layers == 1
