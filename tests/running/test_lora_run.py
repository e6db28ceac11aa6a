"""LoRA by the command line, at a tiny size: trained, stored alone, answered with, and exported."""

import json

import numpy as np
import pytest

from cat_keras.modeling import lora, models
from tests import tiny

pytestmark = pytest.mark.long

ARGUMENTS = (
    "--methods", "xent,low", "--set", "small.lora.rank=2", "--set", "large.lora={rank = 3, layers = 'all'}",
    "--set", "variants.low={objective = 'cat-dist', lora = {rank = 1, alpha = 2}}",
)  # fmt: skip


def test_a_run_keeps_adapters_and_answers_with_them_merged(tmp_path):
    planned = tiny.run(tmp_path, *ARGUMENTS, "--dry-run")
    assert "LoRA of rank 3" in planned and "LoRA of rank 1, 2" in planned
    tiny.run(tmp_path, *ARGUMENTS)
    answers, runs = tiny.predictions(tmp_path), tmp_path / "runs"
    manifest = json.loads((runs / "tiny" / "manifest.json").read_text())
    assert manifest["settings"]["large"]["lora"] == {"rank": 3, "alpha": None, "layers": "all"}
    entries = {label: runs / "cache" / "train" / cell["key"][:16] for label, cell in manifest["cells"].items()}
    kept = {label: (entry / "adapters.npz").exists() for label, entry in entries.items()}
    assert kept == {
        "large pretrain": False, "large tune": True, "small pretrain seed 0": False, "small xent seed 0": True,
        "small low seed 0": True,
    }  # fmt: skip
    assert not any((entries[label] / "preset").exists() for label, alone in kept.items() if alone)
    assert "nothing to do" in tiny.run(tmp_path, *ARGUMENTS)

    exported = tiny.command(tmp_path, "export", "tiny", "low", "--to", str(tmp_path / "exported"))
    assert "holds the model" in exported
    base = models.load(entries["small pretrain seed 0"] / "preset")
    lora.load(base, entries["small low seed 0"] / "adapters.npz")
    assert [(layer.lora_rank, layer.lora_alpha) for layer in lora.adapted(base)] == [(1, 2.0)] * 2
    merged = lora.merged(base)
    for ours, theirs in zip(merged, models.load(tmp_path / "exported").get_weights(), strict=True):
        np.testing.assert_array_equal(ours, theirs)
    assert any(
        (a != b).any()
        for a, b in zip(merged, models.load(entries["small pretrain seed 0"] / "preset").get_weights(), strict=True)
    )

    (runs / "tiny").rename(tmp_path / "kept")
    tiny.run(tmp_path, "--methods", "xent")  # another model under every name but that of pretraining
    assert tiny.predictions(tmp_path) != answers
