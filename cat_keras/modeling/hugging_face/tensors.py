"""The weights of a KerasHub backbone under the names and in the shapes that transformers has for them."""

from collections.abc import Iterator

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora
from cat_keras.modeling.hugging_face.configs import refused

TYPES = ("float32", "bfloat16", "float16")


def tensors(backbone, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Name and value of each tensor, in the order of the layers; LoRA merged into the kernels.

    Args:
        backbone: of a family of `configs`.
        dtype: one of `TYPES`.

    Raises:
        CatKerasError: a weight has no place there, or is quantized.
    """
    _check_plain(backbone)
    written = 0
    for name, value in _FAMILIES[type(backbone).__name__](backbone, dtype):
        written += value.size
        yield name, np.ascontiguousarray(value.astype(_numpy_type(dtype)))
    weights = [v for v in backbone.weights if not v.name.startswith("lora_")]
    if written != (total := sum(int(np.prod(v.shape)) for v in weights)):
        raise CatKerasError(
            f"An export holds every weight of a model. Received: {total:,} weights, of which {written:,} have a place "
            f"in transformers. Export a {type(backbone).__name__} without layers of your own"
        )


def stored_type(backbone) -> str:
    """The numeric type that the weights of a backbone are stored in."""
    return str(backbone.token_embedding.variable_dtype)


def _numpy_type(dtype: str):
    import ml_dtypes

    return ml_dtypes.bfloat16 if dtype == "bfloat16" else np.dtype(dtype)


def _check_plain(backbone):
    for layer in backbone._flatten_layers():
        if mode := getattr(layer, "quantization_mode", None):
            raise refused(f"the quantization of {layer.path}", mode, "Export the model from before `quantize`")


def _value(variable) -> np.ndarray:
    from keras import ops

    return ops.convert_to_numpy(variable)


def _kernel(layer) -> np.ndarray:
    """The kernel of a dense layer; with LoRA their sum in float32, whatever the model computes in."""
    return lora.summed(layer) if layer.lora_enabled else _value(layer._kernel)


def _embeddings(layer) -> np.ndarray:
    return lora.summed(layer) if getattr(layer, "lora_enabled", False) else _value(layer._embeddings)


def _feed_forward(prefix: str, gate, up, down) -> Iterator[tuple[str, np.ndarray]]:
    """The kernels of a gated feed-forward part, given by its three dense layers."""
    for name, dense in (("gate", gate), ("up", up), ("down", down)):
        yield f"{prefix}.mlp.{name}_proj.weight", _kernel(dense).T


def _end(backbone) -> Iterator[tuple[str, np.ndarray]]:
    """The last norm and, where it is not that of the embeddings, the output layer."""
    yield "model.norm.weight", _value(backbone.layer_norm.scale)
    if not backbone.token_embedding.tie_weights:
        yield "lm_head.weight", _value(backbone.token_embedding.reverse_embeddings).T


def _gemma(backbone, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Gemma, Gemma 2 and Gemma 3. Kernels of queries, keys and values are (heads, width, head size)."""
    yield "model.embed_tokens.weight", _embeddings(backbone.token_embedding)
    for i, block in enumerate(backbone.transformer_layers):
        prefix, attention = f"model.layers.{i}", block.attention
        after_attention = getattr(block, "post_attention_norm", None)
        # The norm before the feed-forward block is named after the place where Gemma has no norm after the attention.
        before = "pre_feedforward" if after_attention else "post_attention"
        norms = {
            "input_layernorm": block.pre_attention_norm,
            "post_attention_layernorm": after_attention,
            f"{before}_layernorm": block.pre_ffw_norm,
            "post_feedforward_layernorm": getattr(block, "post_ffw_norm", None),
            "self_attn.q_norm": getattr(attention, "query_norm", None),
            "self_attn.k_norm": getattr(attention, "key_norm", None),
        }
        for name, norm in norms.items():
            if norm is not None:
                yield f"{prefix}.{name}.weight", _value(norm.scale)
        for letter, dense in (("q", attention.query_dense), ("k", attention.key_dense), ("v", attention.value_dense)):
            kernel = _kernel(dense)
            yield f"{prefix}.self_attn.{letter}_proj.weight", kernel.transpose(0, 2, 1).reshape(-1, kernel.shape[1])
        yield f"{prefix}.self_attn.o_proj.weight", _rows(attention.output_dense)
        yield from _feed_forward(prefix, block.gating_ffw, block.gating_ffw_2, block.ffw_linear)
    yield from _end(backbone)


def _rows(output_dense) -> np.ndarray:
    """The kernel after the attention, (heads, head size, width), as (width, heads · head size)."""
    kernel = _kernel(output_dense)
    return kernel.reshape(-1, kernel.shape[-1]).T


def _llama(backbone, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """Llama, Mistral and Qwen. Kernels of queries, keys and values are (width, heads, head size)."""
    yield "model.embed_tokens.weight", _embeddings(backbone.token_embedding)
    for i, layer in enumerate(backbone.transformer_layers):
        prefix, attention = f"model.layers.{i}", layer._self_attention_layer
        yield f"{prefix}.input_layernorm.weight", _value(layer._self_attention_layernorm.scale)
        yield f"{prefix}.post_attention_layernorm.weight", _value(layer._feedforward_layernorm.scale)
        for letter, word in (("q", "query"), ("k", "key"), ("v", "value")):
            dense = getattr(attention, f"_{word}_dense")
            kernel = _kernel(dense)
            if norm := getattr(attention, f"_{word}_dense_layer_norm", None):  # Qwen 3
                yield f"{prefix}.self_attn.{letter}_norm.weight", _value(norm.scale)
                kernel = kernel * epsilon_factor(norm, backbone, dtype)
            yield f"{prefix}.self_attn.{letter}_proj.weight", kernel.reshape(len(kernel), -1).T
            if dense.bias is not None:  # Qwen 2
                yield f"{prefix}.self_attn.{letter}_proj.bias", _value(dense.bias).ravel()
        yield f"{prefix}.self_attn.o_proj.weight", _rows(attention._output_dense)
        yield from _feed_forward(
            prefix,
            layer._feedforward_gate_dense,
            layer._feedforward_intermediate_dense,
            layer._feedforward_output_dense,
        )
    yield from _end(backbone)


def epsilon_factor(norm, backbone, dtype: str) -> np.float32:
    """What queries or keys are multiplied by, so that their norm with the epsilon of all norms gives the same.

    KerasHub's Qwen 3 has an epsilon of 1e-5 there, whatever that of the other norms. c·x, normalized with c²·ε, is x
    normalized with ε. In 16 bits the rounding of c·x would be a larger error than that of the epsilon.
    """
    return np.float32(np.sqrt(backbone.layer_norm.epsilon / norm.epsilon) if dtype == "float32" else 1)


def _gpt2(backbone, dtype: str) -> Iterator[tuple[str, np.ndarray]]:
    """GPT-2, whose kernels are (in, out) in both. One holds those of queries, keys and values."""
    yield "transformer.wte.weight", _embeddings(backbone.token_embedding)
    yield "transformer.wpe.weight", _value(backbone.position_embedding.position_embeddings)
    width = backbone.hidden_dim
    for i, layer in enumerate(backbone.transformer_layers):
        attention = layer._self_attention_layer
        three = (attention._query_dense, attention._key_dense, attention._value_dense)
        parts = {
            "ln_1": _norm(layer._self_attention_layer_norm),
            "attn.c_attn": (
                np.concatenate([_kernel(dense).reshape(width, -1) for dense in three], axis=1),
                np.concatenate([_value(dense.bias).ravel() for dense in three]),
            ),
            "attn.c_proj": (_rows(attention._output_dense).T, _value(attention._output_dense.bias)),
            "ln_2": _norm(layer._feedforward_layer_norm),
            "mlp.c_fc": _dense(layer._feedforward_intermediate_dense),
            "mlp.c_proj": _dense(layer._feedforward_output_dense),
        }
        for name, (weight, bias) in parts.items():
            yield f"transformer.h.{i}.{name}.weight", weight
            yield f"transformer.h.{i}.{name}.bias", bias
    weight, bias = _norm(backbone.layer_norm)
    yield "transformer.ln_f.weight", weight
    yield "transformer.ln_f.bias", bias


def _norm(layer) -> tuple[np.ndarray, np.ndarray]:
    return _value(layer.gamma), _value(layer.beta)


def _dense(layer) -> tuple[np.ndarray, np.ndarray]:
    return _kernel(layer), _value(layer.bias)


_FAMILIES = {
    **dict.fromkeys(("GemmaBackbone", "Gemma3Backbone"), _gemma),
    **dict.fromkeys(("LlamaBackbone", "Llama3Backbone", "MistralBackbone", "QwenBackbone", "Qwen3Backbone"), _llama),
    "GPT2Backbone": _gpt2,
}
