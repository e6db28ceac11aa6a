"""Bi-encoders and rankers as folders: presets of their models, and their few other weights."""

from pathlib import Path

import numpy as np
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.retrieval.towers import BiEncoder, Ranker, Tower
from cat_keras.storage import store
from cat_keras.storage.untrusted import read_npz

FORMAT = 1
FACTS = "retriever.json"  # not the manifest, so that a folder can also be an entry of a store


def save(model: BiEncoder | Ranker, folder: Path):
    """Writes a folder, whole or not at all; replaces what was there."""
    towers = {"model": model} if isinstance(model, Ranker) else {"query": model.query}
    if isinstance(model, BiEncoder) and model.document is not model.query:
        towers["document"] = model.document
    facts = {"format": FORMAT, "kind": type(model).__name__, "temperature": model.temperature, "towers": {}}
    with store.replaced(Path(folder)) as temporary:
        arrays = {}
        for name, tower in towers.items():
            models.save(tower.model, temporary / name)
            layer = model.head if isinstance(model, Ranker) else tower.projection
            if layer is not None:
                arrays[name] = ops.convert_to_numpy(layer.kernel)
            facts["towers"][name] = {"dim": tower.dim, "size": getattr(tower, "size", ""), "kernel": layer is not None}
        np.savez(temporary / "kernels.npz", **arrays)
        store.write_json(temporary / FACTS, facts)
        store.seal(temporary, {})


def load(folder: Path) -> BiEncoder | Ranker:
    """Reads what `save` wrote.

    Raises:
        CatKerasError: it is damaged, or no folder of `save`.
    """
    folder = Path(folder)
    if problem := store.damage(folder):
        raise CatKerasError(f"A saved retriever is a whole folder. Received: {folder}: {problem}. Save it again")
    facts = store.read_json(folder / FACTS)
    if facts.get("format") != FORMAT:
        raise CatKerasError(f"A saved retriever has format {FORMAT}. Received: {facts.get('format')!r}. Save it again")
    kernels = read_npz(folder / "kernels.npz")
    if facts["kind"] == "Ranker":
        ranker = Ranker(models.load(folder / "model"), facts["temperature"])
        ranker.head.kernel.assign(kernels["model"])
        return ranker
    towers = {}
    for name, tower in facts["towers"].items():
        dim = tower["dim"] if tower["kernel"] else None
        towers[name] = Tower(models.load(folder / name), dim, tower["size"])
        if tower["kernel"]:
            towers[name].projection.kernel.assign(kernels[name])
    return BiEncoder(towers["query"], towers.get("document"), facts["temperature"])
