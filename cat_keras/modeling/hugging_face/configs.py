"""config.json of each family: which architecture of transformers computes what a KerasHub backbone computes.

Settings are read from the layers where a backbone does not hand all of its own to them: KerasHub's Gemma blocks, for
one, take neither the epsilon nor the scale of the queries.
"""

from cat_keras.errors import CatKerasError


def config(backbone, max_length: int | None = None) -> dict:
    """The config.json of a backbone, without the numeric type and the special tokens.

    Args:
        backbone: of KerasHub.
        max_length: the longest text in tokens that servers accept; None for the family's usual one. A model with
            learned positions has that many.

    Raises:
        CatKerasError: transformers has no architecture that computes the same.
    """
    write = FAMILIES.get(type(backbone).__name__)
    if write is None:
        raise CatKerasError(
            f"An export is of {', '.join(name.removesuffix('Backbone') for name in FAMILIES)}. Received: a "
            f"{type(backbone).__name__}, whose form in transformers is not known here"
        )
    entries = write(backbone)
    if max_length is not None and "max_position_embeddings" in entries:
        entries["max_position_embeddings"] = max_length
    return {"use_cache": True, **entries}


def refused(setting: str, received, remedy: str = "Export a model without it") -> CatKerasError:
    return CatKerasError(
        f"An export computes exactly what the model computes. Received: {setting} = {received!r:.60}, which this "
        f"architecture of transformers does not have. {remedy}"
    )


def _check(backbone, **wanted):
    """Raises CatKerasError unless the settings of a backbone are those that an architecture has built in."""
    for name, value in wanted.items():
        if (received := getattr(backbone, name, value)) != value:
            raise refused(name, received)


def _common(architecture: str, model_type: str, backbone, head_dim: int, activation: str) -> dict:
    norms = [layer for layer in backbone._flatten_layers() if hasattr(layer, "epsilon")]
    # Qwen 3 in KerasHub has an epsilon of its own for queries and keys; `tensors` makes up for it.
    epsilons = sorted({norm.epsilon for norm in norms if not norm.name.endswith("_dense_layernorm")})
    if len(epsilons) != 1:
        raise refused("layer_norm_epsilon", epsilons, "Build the backbone with the same epsilon for all layers")
    return {
        "architectures": [architecture],
        "model_type": model_type,
        "vocab_size": backbone.vocabulary_size,
        "hidden_size": backbone.hidden_dim,
        "intermediate_size": backbone.intermediate_dim,
        "num_hidden_layers": backbone.num_layers,
        "num_attention_heads": backbone.num_query_heads,
        "num_key_value_heads": backbone.num_key_value_heads,
        "head_dim": head_dim,
        "hidden_act": activation,
        "rms_norm_eps": epsilons[0],
        "attention_dropout": backbone.dropout,
        "attention_bias": False,
        "initializer_range": 0.02,
        "tie_word_embeddings": backbone.token_embedding.tie_weights,
    }


def _rope(theta, factor: float) -> dict:
    """Rotary positions; a factor other than 1 divides them."""
    return {"rope_theta": float(theta)} | (
        {"rope_scaling": {"rope_type": "linear", "factor": factor}} if factor != 1 else {}
    )


def _gemma(backbone) -> dict:
    """Gemma and Gemma 2, which are one backbone in KerasHub."""
    attention = backbone.transformer_layers[0].attention
    both_norms = (backbone.use_post_ffw_norm, backbone.use_post_attention_norm)
    common = {"hidden_activation": "gelu_pytorch_tanh", "max_position_embeddings": 8192} | _rope(10_000, 1)
    if any(both_norms):
        _check(backbone, use_post_ffw_norm=True, use_post_attention_norm=True)
        types = _layer_types(backbone, backbone.use_sliding_window_attention, 2)
        return _common("Gemma2ForCausalLM", "gemma2", backbone, backbone.head_dim, "gelu_pytorch_tanh") | common | {
            "intermediate_size": backbone.intermediate_dim // 2,
            "query_pre_attn_scalar": _query_scale(backbone, attention),
            "attn_logit_softcapping": backbone.attention_logit_soft_cap,
            "final_logit_softcapping": backbone.final_logit_soft_cap,
            "sliding_window": backbone.sliding_window_size,
            "layer_types": types,
        }  # fmt: skip
    _check(backbone, attention_logit_soft_cap=None, final_logit_soft_cap=None, use_sliding_window_attention=False)
    if _query_scale(backbone, attention) != backbone.head_dim:
        raise refused("query_head_dim_normalize", False)
    return _common("GemmaForCausalLM", "gemma", backbone, backbone.head_dim, "gelu_pytorch_tanh") | common | {
        "intermediate_size": backbone.intermediate_dim // 2,  # KerasHub counts both halves of the gate
    }  # fmt: skip


def _query_scale(backbone, attention) -> int:
    """What the square root is taken of by which queries are divided."""
    normalized = attention.query_head_dim_normalize
    return backbone.head_dim if normalized else backbone.hidden_dim // backbone.num_query_heads


def _layer_types(backbone, sliding: bool, every: int) -> list[str]:
    """Which layers see a window alone: all but the last of `every` layers in turn."""
    return [
        "sliding_attention" if sliding and (i + 1) % every else "full_attention" for i in range(backbone.num_layers)
    ]


def _gemma3(backbone) -> dict:
    if backbone.vision_encoder is not None:
        raise refused("vision_encoder", "one for images", "Export a text-only Gemma 3")
    _check(
        backbone, use_query_key_norm=True, use_post_ffw_norm=True, use_post_attention_norm=True,
        use_bidirectional_attention=False, is_embedding_model=False,
    )  # fmt: skip
    attention = backbone.transformer_layers[0].attention
    local = _rope_of_layers(10_000, backbone.local_rope_scaling_factor)
    full = _rope_of_layers(1_000_000, backbone.global_rope_scaling_factor)
    return _common("Gemma3ForCausalLM", "gemma3_text", backbone, backbone.head_dim, "gelu_pytorch_tanh") | {
        "hidden_activation": "gelu_pytorch_tanh",
        "max_position_embeddings": 131_072,
        "query_pre_attn_scalar": _query_scale(backbone, attention),
        "attn_logit_softcapping": backbone.attention_logit_soft_cap,
        "final_logit_softcapping": backbone.final_logit_soft_cap,
        "sliding_window": backbone.sliding_window_size,
        "layer_types": _layer_types(backbone, backbone.use_sliding_window_attention, 6),
        "rope_parameters": {"sliding_attention": local, "full_attention": full},
    }


def _rope_of_layers(theta: int, factor: float) -> dict:
    """As `_rope`, in the form for layers of several kinds."""
    scaling = {"rope_type": "linear", "factor": factor} if factor != 1 else {"rope_type": "default"}
    return {"rope_theta": float(theta), **scaling}


def _llama(backbone) -> dict:
    """Llama, Llama 3 and, by the scaled frequencies of their positions, 3.1 to 3.3."""
    common = _common("LlamaForCausalLM", "llama", backbone, backbone.hidden_dim // backbone.num_query_heads, "silu")
    _check(backbone, rope_position_scaling_factor=1.0)  # KerasHub takes it and does not use it
    rope = _rope(backbone.rope_max_wavelength, 1)
    length = 8192
    if backbone.rope_frequency_adjustment_factor is not None:
        length = 131_072
        rope["rope_scaling"] = {
            "rope_type": "llama3",
            "factor": backbone.rope_frequency_adjustment_factor,
            "low_freq_factor": backbone.rope_low_freq_factor,
            "high_freq_factor": backbone.rope_high_freq_factor,
            "original_max_position_embeddings": backbone.rope_pretraining_sequence_length,
        }
    return common | rope | {"mlp_bias": False, "max_position_embeddings": length}


def _mistral(backbone) -> dict:
    head_dim = backbone.head_dim or backbone.hidden_dim // backbone.num_query_heads
    return (
        _common("MistralForCausalLM", "mistral", backbone, head_dim, "silu")
        | _rope(backbone.rope_max_wavelength, backbone.rope_scaling_factor)
        | {"sliding_window": backbone.sliding_window, "max_position_embeddings": 32_768}
    )


def _qwen2(backbone) -> dict:
    sliding = backbone.use_sliding_window_attention
    return _qwen(
        "Qwen2ForCausalLM", "qwen2", backbone, backbone.hidden_dim // backbone.num_query_heads,
        backbone.sliding_window_size if sliding else None,
    )  # fmt: skip


def _qwen3(backbone) -> dict:
    return _qwen("Qwen3ForCausalLM", "qwen3", backbone, backbone.head_dim, backbone.sliding_window_size)


def _qwen(architecture, model_type, backbone, head_dim, window) -> dict:
    return (
        _common(architecture, model_type, backbone, head_dim, "silu")
        | _rope(backbone.rope_max_wavelength, backbone.rope_scaling_factor)
        | {
            "use_sliding_window": bool(window),
            "sliding_window": window or None,
            "max_window_layers": 0 if window else backbone.num_layers,  # layers from this one on see a window alone
            "layer_types": ["sliding_attention" if window else "full_attention"] * backbone.num_layers,
            "max_position_embeddings": 32_768,
        }
    )


def _gpt2(backbone) -> dict:
    if backbone.hidden_dim % backbone.num_heads:
        raise refused("hidden_dim", backbone.hidden_dim, "Take a width that is a multiple of the heads")
    return {
        "architectures": ["GPT2LMHeadModel"],
        "model_type": "gpt2",
        "vocab_size": backbone.vocabulary_size,
        "n_positions": backbone.max_sequence_length,
        "n_embd": backbone.hidden_dim,
        "n_layer": backbone.num_layers,
        "n_head": backbone.num_heads,
        "n_inner": backbone.intermediate_dim,
        "activation_function": "gelu_new",
        "layer_norm_epsilon": backbone.layer_norm.epsilon,
        "attn_pdrop": backbone.dropout,
        "embd_pdrop": backbone.dropout,
        "resid_pdrop": backbone.dropout,
        "initializer_range": 0.02,
        "tie_word_embeddings": True,
    }


FAMILIES = {
    "GemmaBackbone": _gemma,
    "Gemma3Backbone": _gemma3,
    "LlamaBackbone": _llama,
    "Llama3Backbone": _llama,
    "MistralBackbone": _mistral,
    "QwenBackbone": _qwen2,
    "Qwen3Backbone": _qwen3,
    "GPT2Backbone": _gpt2,
}
