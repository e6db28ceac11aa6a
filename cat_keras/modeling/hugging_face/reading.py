"""What KerasHub's converters leave out of a Hugging Face folder is an error here, or is put right."""

import json
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.modeling.hugging_face.configs import FAMILIES, config
from cat_keras.modeling.hugging_face.tensors import epsilon_factor, stored_type
from cat_keras.storage import store

# Entries of config.json that change what a model computes, and that not every converter takes.
ENTRIES = (
    "rms_norm_eps", "head_dim", "attention_bias", "query_pre_attn_scalar", "attn_logit_softcapping",
    "final_logit_softcapping", "n_inner", "layer_norm_epsilon", "rope_theta",
)  # fmt: skip


def check(model, folder: Path):
    """Raises CatKerasError if a model that KerasHub read from a folder does not compute what its config.json says.

    Two things are put right instead. The epsilon of Llama's norms is set, which KerasHub stores with a preset and only
    forgets to read. Qwen 3's queries and keys are scaled, see `epsilon_factor`.

    Args:
        model: a `CausalLM` just read. Of a family that `configs` does not know nothing is checked.
        folder: where it was read from; a preset of KerasHub's own form is not checked.
    """
    entries, backbone = store.read_json(folder / "config.json"), model.backbone
    family = type(backbone).__name__
    if "model_type" not in entries or "text_config" in entries or family not in FAMILIES:
        return
    if family == "Llama3Backbone":
        _check_byte_pairs(folder / "tokenizer.json")
        backbone.layer_norm_epsilon = entries.get("rms_norm_eps", 1e-6)
        for layer in backbone._flatten_layers():
            if hasattr(layer, "epsilon"):
                layer.epsilon = backbone.layer_norm_epsilon
    if family == "Qwen3Backbone":
        for layer in backbone.transformer_layers:
            for word in ("query", "key"):
                dense = getattr(layer._self_attention_layer, f"_{word}_dense")
                norm = getattr(layer._self_attention_layer, f"_{word}_dense_layer_norm")
                dense._kernel.assign(dense._kernel / epsilon_factor(norm, backbone, stored_type(backbone)))
    said, computed = _computation(entries), _computation(config(backbone))
    # An entry that is not there has the default of transformers, which is that of the family's first models.
    dropped = {name: value for name, value in said.items() if name in computed and computed[name] != value}
    if dropped:
        name = min(dropped)
        raise CatKerasError(
            f"A model computes what the config.json of its folder says. Received: {name} = {dropped[name]!r:.80}, for "
            f"which KerasHub's converter of {family} has {computed[name]!r:.80}. Take a KerasHub preset of this model"
        )


def _check_byte_pairs(path: Path):
    """Raises CatKerasError for a Llama with SentencePiece, whose tokenizer KerasHub reads as that of Llama 3."""
    tokenizer = store.read_json(path)
    if "ByteLevel" not in json.dumps([tokenizer.get("pre_tokenizer"), tokenizer.get("decoder")]):
        raise CatKerasError(
            f"KerasHub reads the folder of a Llama with a tokenizer of byte pairs. Received: {path}, which is of "
            "SentencePiece. Take a KerasHub preset of this model"
        )


def _computation(entries: dict) -> dict:
    """The entries that change what is computed, in one form for all versions of transformers."""
    found = {name: entries[name] for name in ENTRIES if entries.get(name) is not None}
    rope = entries.get("rope_parameters") or {}
    if "full_attention" not in rope and entries.get("model_type") not in ("gemma3", "gemma3_text"):
        rope = rope | (entries.get("rope_scaling") or {})
        found["rope_theta"] = rope.get("rope_theta", entries.get("rope_theta"))
        kind = rope.get("rope_type", rope.get("type", "default"))
        found["rope_scaling"] = {k: v for k, v in rope.items() if k not in ("rope_theta", "type", "rope_type")}
        found["rope_scaling"] = {"rope_type": kind, **found["rope_scaling"]} if kind != "default" else None
    if found.get("rope_theta") is None:
        found.pop("rope_theta", None)
    window = entries.get("sliding_window") if entries.get("use_sliding_window", True) else None
    types = entries.get("layer_types")
    if types is not None and "sliding_attention" not in types:
        window = None
    if entries.get("model_type") in ("mistral", "qwen2", "qwen3") or window is not None:
        found["sliding_window"] = window
    return found
