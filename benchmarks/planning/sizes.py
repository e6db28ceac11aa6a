"""Parameters and FLOPs of the models of a profile, found out without building or loading one."""

import json
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.planning.profile import Model
from cat_keras.errors import CatKerasError
from cat_keras.modeling.costs import FlopCount


@dataclass(frozen=True)
class ModelSize:
    """How large a model is.

    Attributes:
        parameters: their number. flops: forward FLOPs.
        layers, width, vocabulary: of its architecture; 0 if only the number of parameters is known.
        known_from: where these numbers come from, in words.
    """

    parameters: int
    flops: FlopCount
    layers: int = 0
    width: int = 0
    vocabulary: int = 0
    known_from: str = ""


def of(model: Model, vocabulary: int) -> ModelSize:
    """The size of a profile's model.

    Args:
        model: a shape, a preset folder, or the name of a KerasHub preset. vocabulary: of a shape.

    Raises:
        CatKerasError: a preset that is neither a folder nor known to KerasHub.
    """
    if not model.preset:
        return _of_shape(model, vocabulary)
    folder = Path(model.preset)
    return _of_folder(folder) if folder.is_dir() else _of_name(model.preset)


def _of_shape(model: Model, vocabulary: int) -> ModelSize:
    """The size of the model that `cat_keras.modeling.models.build` makes of a shape."""
    width, embedding = model.width, vocabulary * model.width
    products = model.layers * width * (4 * width + 3 * model.feedforward)
    norms = (2 * model.layers + 1) * width
    flops = FlopCount(2.0 * products, 2.0 * embedding, 4.0 * model.layers * width)
    return ModelSize(products + embedding + norms, flops, model.layers, width, vocabulary, "its shape")


def _of_folder(folder: Path) -> ModelSize:
    """Counts like `cat_keras.modeling.costs.count`, but from the shapes in the files of weights."""
    import h5py

    shapes: dict[str, tuple[int, ...]] = {}
    for path in sorted(folder.glob("model*.weights.h5")):
        with h5py.File(path) as file:
            file.visititems(lambda name, item: shapes.update({name: item.shape} if hasattr(item, "shape") else {}))
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
        heads, layers = config.get("num_query_heads", config.get("num_heads")), config["num_layers"]
        width, vocabulary = config["hidden_dim"], config["vocabulary_size"]
        head_dim = config.get("head_dim") or width // heads
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise CatKerasError(
            f"A preset folder holds config.json of a decoder with layers, heads and hidden_dim. Received: {folder} "
            f"({error!r})"
        ) from error
    products = sum(int(np.prod(s)) for name, s in shapes.items() if len(s) >= 2 and "embedding" not in name)
    flops = FlopCount(2.0 * products, 2.0 * width * vocabulary, 4.0 * layers * heads * head_dim)
    parameters = sum(int(np.prod(s)) for s in shapes.values())
    return ModelSize(parameters, flops, layers, width, vocabulary, "the files of its preset")


def _of_name(preset: str) -> ModelSize:
    """Taken from KerasHub's list of presets, with 2 FLOPs per parameter and token. It needs no network, but TensorFlow
    is loaded."""
    import keras_hub

    presets = keras_hub.models.CausalLM.presets
    parameters = presets.get(preset, {}).get("metadata", {}).get("params")
    if not parameters:
        raise CatKerasError(
            f"The size of a preset is told by its folder or by KerasHub's list. Received: {preset}, which is neither. "
            "Download it, and give its folder"
        )
    return ModelSize(parameters, FlopCount(2.0 * parameters, 0.0, 0.0), known_from="KerasHub's list of presets")
