"""LoRA: training two small factors beside each frozen kernel (arXiv 2106.09685).

An adapted layer computes with W + (alpha / rank) · A·B (equation 3 there), by Keras's own layers. W is frozen as every
other weight of the model is; A is drawn at random and B is 0, so that training starts from the base to the bit. What
is trained, checkpointed and saved are A and B alone, beside the identity of the base. Factors are float32.
"""

import contextlib
import io
import json
import math
from collections.abc import Sequence
from pathlib import Path

import numpy as np

from cat_keras.errors import CatKerasError, check_number, unknown_name
from cat_keras.modeling.fingerprints import weights_fingerprint
from cat_keras.storage import store
from cat_keras.storage.untrusted import read_npz

VERSION = 1  # of a file of adapters
ALPHA = "[1e-06, 1e+06]"
LAYERS = ("default", "attention", "all")
ATTENTION = ("query", "key", "value", "attention_output")  # names of dense layers, in every family of KerasHub


def enable(model, rank: int, alpha: float | None = None, layers: str = "default", seed: int = 0):
    """Puts factors beside the kernels of a `CausalLM`, in place, and freezes everything else.

    Call it in the scope of the strategy that the model was made in, and before `CascadeAware.compile`.

    Args:
        model: plain: without LoRA, not quantized.
        rank: columns of A and rows of B, at most the width of the model.
        alpha: their product is multiplied by alpha / rank; None for `rank`, which multiplies by 1.
        layers: which kernels: "default" (those that the backbone names: queries and values, as in the paper),
            "attention" (also keys and outputs), or "all" dense layers of the backbone. Embeddings and norms have none.
        seed: of A. The same seed gives the same A on every backend.

    Raises:
        CatKerasError: a number outside its range, an unknown name, or a model that is not plain or has no such layers.
    """
    if layers not in LAYERS:
        raise unknown_name("layers of LoRA", str(layers), LAYERS)
    width = getattr(model.backbone, "hidden_dim", 2**20)
    check_number("rank", rank, f"[1, {width}]", whole=True, remedy="Its upper limit is the width of the model")
    alpha = float(rank if alpha is None else check_number("alpha", alpha, ALPHA))
    check_number("seed", seed, "[0, 4294967295]", whole=True)
    _check_plain(model)
    places = _dense(model, layers)
    if not places:
        raise CatKerasError(
            f"LoRA is of the dense layers of a backbone. Received: {type(model.backbone).__name__}, which has none for "
            f"layers={layers!r}. Give layers='all', or take a family whose attention has dense layers"
        )
    _enable(model, [(place, rank, alpha) for place in places])
    for i, layer in enumerate(adapted(model)):
        a = factors(layer)[0]
        a.assign(_drawn(a.shape, seed, i))


def adapted(model) -> list:
    """The layers of a `CausalLM` that have LoRA, in order; [] for a plain model."""
    return [layer for layer in _adaptable(model) if layer.lora_enabled]


def factors(layer) -> tuple:
    """The variables A (…, rank) and B (rank, last axis of the kernel) of an adapted layer."""
    kind = _kind(layer)
    return getattr(layer, f"lora_{kind}_a"), getattr(layer, f"lora_{kind}_b")


def summed(layer) -> np.ndarray:
    """The kernel of an adapted layer, or its embeddings, with the product of its factors; float32."""
    weight, a, b = (_value(v).astype(np.float32) for v in (_weight(layer), *factors(layer)))
    return weight + np.float32(layer.lora_alpha / layer.lora_rank) * (a @ b)


def base_fingerprint(model) -> str:
    """sha256 (hex) of the model without its factors: what `weights_fingerprint` says of the plain base."""
    ours = {id(v) for layer in adapted(model) for v in factors(layer)}
    return weights_fingerprint(model, [v for v in model.backbone.weights if id(v) not in ours])


def identity(model) -> dict:
    """What decides the logits beside the factors: {"base": fingerprint, "layers": [[place, rank, alpha], …]}.

    {} for a plain model.
    """
    layers = [
        [place, layer.lora_rank, float(layer.lora_alpha)]
        for place, layer in enumerate(_adaptable(model))
        if layer.lora_enabled
    ]
    return {"base": base_fingerprint(model), "layers": layers} if layers else {}


def initial(model, weights: Sequence[np.ndarray], seed: int) -> list[np.ndarray]:
    """The weights of an adapted model before training, in the order of `model.weights`.

    Args:
        model: adapted.
        weights: those of the plain base, as its `get_weights` gives them.
        seed: of A, as in `enable`.
    """
    check_number("seed", seed, "[0, 4294967295]", whole=True)
    drawn = {}
    for i, layer in enumerate(adapted(model)):
        a, b = factors(layer)
        drawn |= {id(a): _drawn(a.shape, seed, i), id(b): np.zeros(b.shape, np.float32)}
    if len(weights) + len(drawn) != len(model.weights):
        raise CatKerasError(
            f"The base of {model.name} has {len(model.weights) - len(drawn)} weights. Received: {len(weights)}. Give "
            "what get_weights of the plain model gives"
        )
    base = iter(weights)
    return [drawn[id(v)] if id(v) in drawn else next(base) for v in model.weights]


def merged(model) -> list[np.ndarray]:
    """The weights of the plain model that computes the same, as its `get_weights` would give them.

    Kernels are added up in float32 and rounded to the type that they are stored in.
    """
    sums = {id(_weight(layer)): layer for layer in adapted(model)}
    ours = {id(v) for layer in adapted(model) for v in factors(layer)}
    return [
        summed(sums[id(v)]).astype(_value(v).dtype) if id(v) in sums else _value(v)
        for v in model.weights
        if id(v) not in ours
    ]


def merge(model):
    """Adds the factors to their kernels and takes them away, in place: a plain model, all of whose weights train.

    Functions that were compiled for the model before, as those of a trainer, mean nothing any more.
    """
    layers = adapted(model)
    for layer in layers:
        _weight(layer).assign(summed(layer))
        for name, factor in zip("ab", factors(layer), strict=True):
            layer._untrack_variable(factor)
            del vars(layer)[f"lora_{_kind(layer)}_{name}"]
        layer.lora_enabled, layer.lora_rank, layer.lora_alpha = False, None, None
    if layers:
        _unfreeze(model)


@contextlib.contextmanager
def as_plain(model):
    """Within the context, kernels hold their sums with the factors, and Keras saves the model as a plain one.

    Keras adds them up itself, but in the type that the layer computes in, which under a mixed policy has 16 bits.
    """
    layers = adapted(model)
    kernels = [_value(_weight(layer)) for layer in layers]
    try:
        for layer in layers:
            _weight(layer).assign(summed(layer))
            layer.lora_enabled = False
        yield
    finally:
        for layer, kernel in zip(layers, kernels, strict=True):
            _weight(layer).assign(kernel)
            layer.lora_enabled = True


def save(model, path: Path):
    """Writes the factors of an adapted model and the identity of its base to one file, whole or not at all.

    Args:
        path: of the file, an npz archive whose members carry checksums of their own.

    Raises:
        CatKerasError: the model has no LoRA.
    """
    header = {"version": VERSION, **identity(model)}
    if not adapted(model):
        raise CatKerasError(
            f"Adapters are saved of a model with LoRA. Received: {model.name} without. Save it by ck.models.save"
        )
    pairs = [map(_value, factors(layer)) for layer in adapted(model)]
    arrays = {f"{name}{i}": value for i, pair in enumerate(pairs) for name, value in zip("ab", pair, strict=True)}
    buffer = io.BytesIO()
    np.savez(buffer, header=json.dumps(header), **arrays)
    store.write_bytes(path, buffer.getvalue())


def load(model, path: Path):
    """Puts saved factors beside the kernels of their base, in place, as `enable` does.

    Args:
        model: the base, plain or with LoRA of the same layers and ranks.
        path: of a file that `save` wrote.

    Raises:
        CatKerasError: there is no such file, it is damaged, or it is of another base or of other layers.
    """
    header, arrays = _read(Path(path))
    base = base_fingerprint(model)
    if header["base"] != base:
        raise CatKerasError(
            f"Adapters belong to the weights that they were trained beside. Received: {path} for the base "
            f"{header['base'][:12]} and {model.name}, which is {base[:12]}. Load the base as it was then, in the same "
            "numeric type"
        )
    _check_shapes(model, path, header, arrays)
    if not adapted(model):
        _check_plain(model)
        _enable(model, header["layers"])
    elif (layers := identity(model)["layers"]) != header["layers"]:
        raise CatKerasError(
            "Adapters replace those of the same layers, rank and alpha. Received: "
            f"{path} with {header['layers']!r:.60} for {model.name} with {layers!r:.60}. Give the plain base"
        )
    for i, layer in enumerate(adapted(model)):
        for name, factor in zip("ab", factors(layer), strict=True):
            factor.assign(arrays[f"{name}{i}"])


def _read(path: Path) -> tuple[dict, dict]:
    """(header, arrays) of a file of adapters."""
    try:
        arrays = read_npz(path)
        header = json.loads(str(arrays.pop("header")))
        names = {f"{name}{i}" for name in "ab" for i in range(len(header["layers"]))}
        if header["version"] != VERSION or arrays.keys() != names:
            raise ValueError(f"version {header['version']} with {len(arrays)} arrays")
        return header, arrays
    except FileNotFoundError:
        raise CatKerasError(f"Adapters lie in a file of ck.lora.save. Received: {path}, which does not exist") from None
    except (KeyError, ValueError, TypeError) as error:
        raise CatKerasError(f"Expected adapters as ck.lora.save writes them. Received: {path} ({error})") from error


def _check_shapes(model, path: Path, header: dict, arrays: dict):
    """Raises CatKerasError unless the arrays of a file are factors of layers of the model."""
    adaptable = dict(enumerate(_adaptable(model)))
    for i, (place, rank, _) in enumerate(header["layers"]):
        *inner, last = _weight(adaptable[place]).shape if place in adaptable else (0,)
        expected = (*inner, rank), (rank, last)
        received = arrays[f"a{i}"].shape, arrays[f"b{i}"].shape
        if expected != received:
            raise CatKerasError(
                f"Expected adapters of shapes {expected}. Received: {path} with {received}. Save them again"
            )


def _adaptable(model) -> list:
    """The layers of a backbone to which Keras can add LoRA, each once, in an order that the architecture decides."""
    flatten = getattr(getattr(model, "backbone", None), "_flatten_layers", None)
    layers = flatten(include_self=False) if flatten else ()
    return list({id(layer): layer for layer in layers if hasattr(layer, "lora_enabled")}.values())


def _dense(model, layers: str) -> list[int]:
    """Places among `_adaptable` of the dense layers that a name of `LAYERS` stands for."""
    import keras

    default = getattr(model.backbone, "default_lora_layer_names", tuple)
    names = {"default": default(), "attention": ATTENTION, "all": None}[layers]
    kinds = (keras.layers.Dense, keras.layers.EinsumDense)
    return [
        place
        for place, layer in enumerate(_adaptable(model))
        if isinstance(layer, kinds) and (names is None or layer.name in names)
    ]


def _check_plain(model):
    if adapted(model):
        raise CatKerasError(
            f"LoRA is added to plain weights. Received: {model.name}, which has it already. Call ck.lora.merge first"
        )
    if mode := next((m for layer in _adaptable(model) if (m := getattr(layer, "quantization_mode", None))), None):
        raise CatKerasError(
            "LoRA is added to plain weights, into which it can be merged. Received: "
            f"{model.name}, quantized to {mode}. Load the model from before quantize"
        )


def _enable(model, layers):
    """Adds factors of 0 to the layers at (place, rank, alpha), which alone are trainable then."""
    adaptable = _adaptable(model)
    _unfreeze(model)  # a part that is frozen as a whole would hide its factors
    for place, rank, alpha in layers:
        adaptable[place].enable_lora(rank, lora_alpha=alpha, a_initializer="zeros")
    ours = {id(v) for layer in adapted(model) for v in factors(layer)}
    for variable in model.weights:
        variable.trainable = id(variable) in ours


def _unfreeze(model):
    """Makes all weights of a model trainable that its layers were made with as such."""
    for layer in model._flatten_layers():
        layer.trainable = False  # Keras does nothing where a layer has the value already, whatever its weights have
        layer.trainable = True


def _drawn(shape, seed: int, place: int) -> np.ndarray:
    """Values of the A of an adapted layer, as Keras draws them (He, uniform), but by NumPy for all backends."""
    limit = math.sqrt(6 / math.prod(shape[:-1]))
    return np.random.default_rng([seed, place]).uniform(-limit, limit, shape).astype(np.float32)


def _kind(layer) -> str:
    return "kernel" if hasattr(layer, "_kernel") else "embeddings"


def _weight(layer):
    """The variable that the factors are beside."""
    return getattr(layer, f"_{_kind(layer)}")


def _value(variable) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(variable)
