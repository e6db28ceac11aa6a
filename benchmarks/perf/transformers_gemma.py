"""The peer of the decoding benchmark: `generate` of Hugging Face transformers with our weights; an optional extra."""

import json
import sys

import numpy as np


def weights(model) -> dict[str, np.ndarray]:
    """The weights of a KerasHub `GemmaCausalLM` under the names and in the layout of `GemmaForCausalLM`.

    KerasHub's own export is not used, because it takes one key–value head per layer for granted.
    """
    backbone = model.backbone
    arrays = {
        "model.embed_tokens.weight": _array(backbone.token_embedding),
        "model.norm.weight": _array(backbone.layer_norm),
    }
    for i, layer in enumerate(backbone.transformer_layers):
        attention, name = layer.attention, f"model.layers.{i}"
        for part, dense in zip("qkv", (attention.query_dense, attention.key_dense, attention.value_dense), strict=True):
            kernel = _array(dense)  # (heads, width, head size)
            arrays[f"{name}.self_attn.{part}_proj.weight"] = kernel.swapaxes(1, 2).reshape(-1, kernel.shape[1])
        kernel = _array(attention.output_dense)  # (heads, head size, width)
        arrays[f"{name}.self_attn.o_proj.weight"] = kernel.reshape(-1, kernel.shape[2]).T
        for part, dense in (("gate", layer.gating_ffw), ("up", layer.gating_ffw_2), ("down", layer.ffw_linear)):
            arrays[f"{name}.mlp.{part}_proj.weight"] = _array(dense).T
        arrays[f"{name}.input_layernorm.weight"] = _array(layer.pre_attention_norm)
        arrays[f"{name}.post_attention_layernorm.weight"] = _array(layer.pre_ffw_norm)
    return arrays


def _array(layer) -> np.ndarray:
    """The only or first weight of a layer."""
    return np.asarray(layer.weights[0])


def configuration(model) -> dict:
    """Arguments of `GemmaConfig` for a KerasHub `GemmaCausalLM`."""
    b = model.backbone
    return {
        "vocab_size": b.vocabulary_size,
        "hidden_size": b.hidden_dim,
        "intermediate_size": b.intermediate_dim // 2,  # KerasHub counts both halves of the gate
        "num_hidden_layers": b.num_layers,
        "num_attention_heads": b.num_query_heads,
        "num_key_value_heads": b.num_key_value_heads,
        "head_dim": b.head_dim,
    }


def serve(path: str, spec: str):
    """Prints the model's size, then answers every line {"batch": rows, "by_length": bool} with token ids, a list each.

    Args:
        path: an npz file of `weights`, and of the prompts as `tokens`, flat, and `lengths`.
        spec: as JSON `configuration`, the id `end` that ends an answer, and `new`, how many new tokens at most.
    """
    import torch
    from transformers import GemmaConfig, GemmaForCausalLM

    spec = json.loads(spec)
    with np.load(path) as z:
        arrays = dict(z)
    prompts = np.split(arrays.pop("tokens"), np.cumsum(arrays.pop("lengths"))[:-1])
    model = GemmaForCausalLM(GemmaConfig(**spec["configuration"])).eval()
    differences = model.load_state_dict({k: torch.from_numpy(v) for k, v in arrays.items()}, strict=False)
    if differences.unexpected_keys or differences.missing_keys != ["lm_head.weight"]:  # that one is the embedding
        raise RuntimeError(f"Weights of the two libraries go by other names: {differences}")
    print(model.num_parameters(), flush=True)
    for line in sys.stdin:
        print(json.dumps(_generate(torch, model, prompts, spec, **json.loads(line))), flush=True)


def _generate(torch, model, prompts, spec, batch, by_length):
    """Token ids of the answers, in the order of the prompts."""
    order = np.argsort([len(p) for p in prompts], kind="stable") if by_length else np.arange(len(prompts))
    answers = [[]] * len(prompts)
    for start in range(0, len(order), batch):
        rows = order[start : start + batch]
        tokens, mask = _padded([prompts[r] for r in rows])
        with torch.inference_mode():
            out = model.generate(
                input_ids=torch.from_numpy(tokens), attention_mask=torch.from_numpy(mask), do_sample=False,
                max_new_tokens=spec["new"], eos_token_id=spec["end"], pad_token_id=0,
            )  # fmt: skip
        for row, new in zip(rows, out[:, tokens.shape[1] :].tolist(), strict=True):
            answers[row] = new
    return answers


def _padded(prompts):
    """Tokens and mask, (rows, longest) int64, padded on the left so that all prompts end at the same position."""
    width = max(map(len, prompts))
    tokens = np.array([[0] * (width - len(p)) + list(p) for p in prompts])
    return tokens, (np.arange(width) >= width - np.array([[len(p)] for p in prompts])).astype(np.int64)


if __name__ == "__main__":
    match sys.argv[1:]:
        case [path, spec]:
            serve(path, spec)
        case _:
            sys.exit("Measure with: python -m benchmarks perf decoding generation")
