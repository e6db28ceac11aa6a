"""Where the numbers of a size are in the configuration and in the weights of each family of KerasHub."""

from dataclasses import dataclass

from cat_keras.errors import CatKerasError
from cat_keras.modeling.elastic.sizes import Size


@dataclass(frozen=True)
class Family:
    """How a backbone counts and where a layer keeps its heads and units.

    Attributes:
        halves: 2 where `intermediate_dim` counts both halves of the gate, else 1.
        attention, query, key, value, output: names of the attention in a layer and of its parts.
        head_axis: of the kernels of query, key and value; that of the output is 0.
        gates: the feed-forward matrices whose last axis is the units.
        down: the one whose first axis is the units.
        tied_head: whether the size of a head is width / heads.
    """

    halves: int
    attention: str
    query: str
    key: str
    value: str
    output: str
    head_axis: int
    gates: tuple[str, str]
    down: str
    tied_head: bool


_GEMMA = Family(
    2, "attention", "query_dense", "key_dense", "value_dense", "output_dense", 0, ("gating_ffw", "gating_ffw_2"),
    "ffw_linear", False,
)  # fmt: skip
FAMILIES = {
    "GemmaBackbone": _GEMMA,
    "Gemma3Backbone": Family(**vars(_GEMMA) | {"halves": 1}),
    "Llama3Backbone": Family(
        1, "_self_attention_layer", "_query_dense", "_key_dense", "_value_dense", "_output_dense", 1,
        ("_feedforward_intermediate_dense", "_feedforward_gate_dense"), "_feedforward_output_dense", True,
    ),
}  # fmt: skip


def of(model) -> Family:
    """The family of a `CausalLM`.

    Raises:
        CatKerasError: it is not one of `FAMILIES`, or has weights that its architecture alone does not have.
    """
    backbone = model.backbone
    name = type(backbone).__name__
    if name not in FAMILIES or getattr(backbone, "vision_encoder", None) is not None:
        known = ", ".join(known.removesuffix("Backbone") for known in FAMILIES)
        raise CatKerasError(
            f"An elastic model is a text model of {known}. Received: {name}"
            f"{' with images' * (name in FAMILIES)}. Take a preset of one of these"
        )
    layers = [layer for layer in backbone._flatten_layers() if hasattr(layer, "kernel")]
    if any(getattr(layer, "lora_enabled", False) or getattr(layer, "quantization_mode", None) for layer in layers):
        raise CatKerasError(
            f"An elastic model has plain weights. Received: {model.name} with LoRA or quantized weights. Merge the "
            "LoRA weights first, or load the model unquantized"
        )
    return FAMILIES[name]


def whole(backbone) -> Size:
    """The size of the whole model."""
    return Size(
        layers=backbone.num_layers,
        width=backbone.hidden_dim,
        heads=backbone.num_query_heads,
        feedforward=backbone.intermediate_dim // FAMILIES[type(backbone).__name__].halves,
    )


def config(backbone, size: Size) -> dict:
    """The configuration of a backbone that is cut to a size."""
    group = backbone.num_query_heads // backbone.num_key_value_heads
    values = backbone.get_config() | {
        "num_layers": size.layers,
        "hidden_dim": size.width,
        "num_query_heads": size.heads,
        "num_key_value_heads": max(size.heads // group, 1),
        "intermediate_dim": size.feedforward * FAMILIES[type(backbone).__name__].halves,
    }
    if hasattr(backbone, "tie_word_embeddings"):  # which KerasHub leaves out of the configuration of Llama
        values["tie_word_embeddings"] = backbone.tie_word_embeddings
    return {k: v for k, v in values.items() if k not in ("name", "trainable")}


def parts(backbone) -> list:
    """The layers of a backbone that have weights: embeddings, transformer layers in order, the last norm."""
    return [backbone.token_embedding, *backbone.transformer_layers, backbone.layer_norm]


def counterparts(cut, backbone) -> list[tuple]:
    """(variable of a cut backbone, variable of the whole one), for all of the cut one."""
    first = [backbone.token_embedding, *backbone.transformer_layers[: cut.num_layers], backbone.layer_norm]
    return [
        pair
        for part, whole_part in zip(parts(cut), first, strict=True)
        for pair in zip(part.variables, whole_part.variables, strict=True)
    ]
