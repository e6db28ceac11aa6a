"""`export` of a finished run: its own models in the form of transformers."""

import json

import numpy as np
import pytest

from benchmarks.cli import app
from benchmarks.running import trained
from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora, models
from cat_keras.storage import store

pytest.importorskip("safetensors")


def adapted(model):
    """The model with LoRA whose factors are not 0."""
    lora.enable(model, 2)
    for layer in lora.adapted(model):
        lora.factors(layer)[1].assign(np.full(lora.factors(layer)[1].shape, 0.1))
    return model


@pytest.fixture(scope="module")
def finished(tmp_path_factory, small, large, new_model):
    """A folder of runs with the manifest of one and its models in the cache."""
    small_again = new_model("small", seed=1)  # as `small`, which nobody changes
    root, cells = tmp_path_factory.mktemp("runs"), {}
    for label, model in (("large tune", large), ("small cat-xent seed 1", small)):
        key = store.identity(label=label)
        store.Store(root / "cache").get("train", key, lambda at, model=model: models.save(model, at / "preset"))
        cells[label] = {"key": key}
    key = store.identity(label="small low seed 1")
    results, base = store.Store(root / "cache"), cells["small cat-xent seed 1"]["key"]
    results.get("train", key, lambda at: lora.save(adapted(small_again), at / "adapters.npz") or {"base": base})
    cells["small low seed 1"] = {"key": key}
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


def test_adapters_are_merged_into_the_preset_that_they_are_read_as(finished, new_model):
    manifest = store.read_manifest(finished / "mine" / "manifest.json")
    place = trained.preset(manifest, finished / "cache", "small", ("small low seed 1",))
    merged = lora.merged(adapted(new_model("small", seed=1)))
    for ours, theirs in zip(models.load(place).get_weights(), merged, strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert trained.preset(manifest, finished / "cache", "small", ("small low seed 1",)) == place
    (finished / "cache" / "train").rename(finished / "cache" / "away")
    try:
        with pytest.raises(CatKerasError, match="is gone"):
            trained.preset(manifest, finished / "cache", "small", ("small low seed 1",))
    finally:
        (finished / "cache" / "away").rename(finished / "cache" / "train")
