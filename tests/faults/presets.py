"""Folders that look like presets, written without Keras."""

import json
from pathlib import Path


def serialized(called, module="keras.layers", registered=None, **config) -> dict:
    return {"module": module, "class_name": called, "config": config, "registered_name": registered}


BACKBONE = serialized(
    "GemmaBackbone", "keras_hub.src.models.gemma.gemma_backbone", "keras_hub>GemmaBackbone",
    vocabulary_size=300, num_layers=2, hidden_dim=32, intermediate_dim=64,
    dtype=serialized("DTypePolicy", "keras", name="float32"),
)  # fmt: skip


def preset(folder, weights=100_000, **files) -> Path:
    """A folder with a genuine configuration, some of its files replaced."""
    folder.mkdir(exist_ok=True)
    contents = {"config": BACKBONE, "task": serialized("GemmaCausalLM", "keras_hub", backbone=BACKBONE)} | files
    for name, value in contents.items():
        (folder / f"{name}.json").write_text(value if isinstance(value, str) else json.dumps(value))
    (folder / "model.weights.h5").write_bytes(bytes(weights))
    return folder
