"""Parameters and FLOPs of the models of a profile, found out without building or loading one."""

import json
import math
import tomllib
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.planning.profile import Lora, Model
from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs
from cat_keras.modeling.costs import FlopCount

ARCHITECTURES = Path(__file__).parent / "presets.toml"


@dataclass(frozen=True)
class ModelSize:
    """How large a model is.

    Attributes:
        parameters: their number. flops: forward FLOPs.
        layers, width, vocabulary: of its architecture; 0 if only the number of parameters is known.
        known_from: where these numbers come from, in words.
        kernels: (name, shape) of the dense kernels of all layers; () if only the number of parameters is known.
    """

    parameters: int
    flops: FlopCount
    layers: int = 0
    width: int = 0
    vocabulary: int = 0
    known_from: str = ""
    kernels: tuple[tuple[str, tuple[int, ...]], ...] = ()

    @property
    def outputs(self) -> float:
        """Outputs of the kernels of all layers for a token; of one that ends at the width of the model its inputs."""
        return sum(math.prod(shape) for _, shape in self.kernels) / max(self.width, 1)

    @property
    def heads(self) -> int:
        """Heads of attention, of all layers together."""
        queries = [s for name, s in self.kernels if "query" in name.rpartition("/")[2] and len(s) == 3]
        return sum(shape[1] if shape[0] == self.width else shape[0] for shape in queries)

    def adapted(self, lora: Lora) -> tuple[int, float]:
        """Numbers in the factors of LoRA, and products per token of the kernels that they are beside.

        Of a model whose kernels are not known, factors are taken as 0 and the kernels as their share in a decoder with
        feed-forward blocks of four times the width.
        """
        if not self.kernels:
            return 0, {"default": 1 / 6, "attention": 1 / 3, "all": 1}[lora.layers] * self.parameters
        parts = {"default": ("query", "value"), "attention": ("query", "key", "value", "output"), "all": ("",)}
        shapes = [
            shape
            for name, shape in self.kernels
            if (lora.layers == "all" or "attention" in name)
            and any(part in name.rpartition("/")[2] for part in parts[lora.layers])
        ]
        return sum(lora.rank * (math.prod(s[:-1]) + s[-1]) for s in shapes), float(sum(map(math.prod, shapes)))


def of(model: Model, vocabulary: int) -> ModelSize:
    """The size of a profile's model.

    Args:
        model: a shape, a preset folder, the name of a KerasHub preset, or an endpoint. vocabulary: of a shape.

    Raises:
        CatKerasError: a preset that is neither a folder nor known to KerasHub.
    """
    if model.endpoint:  # nothing is computed here
        return ModelSize(0, FlopCount(0.0, 0.0, 0.0), known_from=f"{model.endpoint}, where it is computed")
    if not model.preset:
        return _of_shape(model, vocabulary)
    folder = Path(model.preset)
    return _of_folder(folder) if folder.is_dir() else _of_architecture(model.preset) or _of_name(model.preset)


def _of_shape(model: Model, vocabulary: int) -> ModelSize:
    """The size of the model that `cat_keras.modeling.models.build` makes of a shape."""
    width, embedding = model.width, vocabulary * model.width
    products = model.layers * width * (4 * width + 3 * model.feedforward)
    norms = (2 * model.layers + 1) * width
    flops = FlopCount(2.0 * products, 2.0 * embedding, 4.0 * model.layers * width)
    heads, inner = (model.heads, width, width // model.heads), (width, model.feedforward)
    kernels = {f"attention/{name}": heads for name in ("query", "key", "value")}
    kernels |= {"attention/output": (model.heads, width // model.heads, width)}
    kernels |= {"gate": inner, "up": inner, "down": inner[::-1]}
    kernels = tuple(kernels.items()) * model.layers
    return ModelSize(products + embedding + norms, flops, model.layers, width, vocabulary, "its shape", kernels)


def _of_folder(folder: Path) -> ModelSize:
    """Counts like `cat_keras.modeling.costs.count`, but from the shapes in the files of weights.

    Of a decoder whose configuration is not of a known kind, FLOPs are taken as 2 per parameter and token.
    """
    import h5py

    layers: dict[str, list] = {}  # layer → its arrays, as (shape, whether they are integers)

    def note(name, item):
        if hasattr(item, "shape"):
            layers.setdefault(name.rpartition("/")[0], []).append((item.shape, item.dtype.kind in "iu"))

    for path in sorted(folder.glob("model*.weights.h5")):
        with h5py.File(path) as file:
            file.visititems(note)
    try:
        config = json.loads((folder / "config.json").read_text(encoding="utf-8"))["config"]
        policy = json.dumps(config.get("dtype"))
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise CatKerasError(
            f"A preset folder holds config.json of a decoder. Received: {folder} ({error!r})"
        ) from error
    packed = 2 if '"int4' in policy else 1  # numbers in a byte
    active = idle = parameters = 0
    for name, arrays in layers.items():
        (first, quantized), *others = arrays
        # Of quantized weights the other arrays are scales and biases.
        kept = arrays[:1] if quantized else [(s, q) for s, q in arrays if len(s) == len(first)]
        times = packed if quantized else 1
        parameters += times * int(np.prod(first)) + sum(int(np.prod(s)) for s, _ in others if not quantized)
        if "embedding" not in name:
            for shape, _ in kept:
                products, unused = costs.of_shape(shape, config)
                active, idle = active + times * products, idle + times * unused
    try:
        costs.check_known(config, str(folder))
    except CatKerasError:
        return ModelSize(
            parameters, FlopCount(2.0 * parameters, 0.0, 0.0), known_from="the files of its preset, 2 FLOPs a parameter"
        )
    flops = costs.of_config(config, 2.0 * active, 2.0 * idle)
    sizes = config["num_layers"], config["hidden_dim"], config["vocabulary_size"]
    kernels = tuple(
        (name.removesuffix("/vars"), tuple(arrays[0][0]))
        for name, arrays in layers.items()
        if "embedding" not in name and len(arrays[0][0]) > 1
    )
    return ModelSize(parameters, flops, *sizes, "the files of its preset", kernels)


def _of_architecture(preset: str) -> ModelSize | None:
    """The size of a preset whose architecture stands in `presets.toml`; None of others. Nothing of Keras is loaded."""
    known = tomllib.loads(ARCHITECTURES.read_text(encoding="utf-8")).values()
    shape = next((shape for shape in known if preset in shape["names"]), None)
    if shape is None:
        return None
    width, head_dim, embedding = shape["width"], shape["head_dim"], shape["vocabulary"] * shape["width"]
    query, pair = (shape["heads"], width, head_dim), (shape["key_value_heads"], width, head_dim)
    inner = width, shape["feedforward"]
    layer = {"query_dense": query, "key_dense": pair, "value_dense": pair, "output_dense": (*query[::2], width)}
    layer = {f"attention/{name}": kernel for name, kernel in layer.items()}
    layer |= {"gating_ffw": inner, "gating_ffw_2": inner, "ffw_linear": inner[::-1]}
    products = shape["layers"] * sum(map(math.prod, layer.values()))
    norms = shape["layers"] * (4 * width + 2 * head_dim) + width  # two around each block, two of queries and keys
    flops = FlopCount(2.0 * products, 2.0 * embedding, 4.0 * shape["layers"] * shape["heads"] * head_dim)
    kernels = tuple(layer.items()) * shape["layers"]
    return ModelSize(
        products + embedding + norms, flops, shape["layers"], width, shape["vocabulary"], shape["source"], kernels
    )


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
