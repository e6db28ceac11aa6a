"""A folder that transformers, vLLM and KerasHub load a language model from."""

import json
from collections.abc import Iterator
from pathlib import Path

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.modeling.hugging_face.checks import check, check_as_qwen2
from cat_keras.modeling.hugging_face.configs import config
from cat_keras.modeling.hugging_face.tensors import TYPES, stored_type, tensors
from cat_keras.modeling.hugging_face.tokenizers import Words, tokenizer_json
from cat_keras.modeling.tokenizers import special_id
from cat_keras.modeling.tokens import WORD, control_words, tokenize
from cat_keras.storage import store

SHARD_BYTES = 4 * 2**30  # of a file of weights; at most so much is held in memory beside the model


def write(
    folder: Path, backbone, tokenizer, ends: tuple[int, ...], template: str, dtype: str | None, max_length: int | None
):
    """Fills an empty folder with all files; see `models.export`."""
    dtype = dtype or stored_type(backbone)
    if dtype not in TYPES:
        raise CatKerasError(f"Weights are exported as {', '.join(TYPES)}. Received: {dtype!r:.40}. Give dtype=…")
    settings = config(backbone, max_length)
    if tokenizer.vocabulary_size() > backbone.vocabulary_size:
        raise CatKerasError(
            f"A model has an embedding for each token. Received: {backbone.vocabulary_size} of them for a tokenizer of "
            f"{tokenizer.vocabulary_size()} pieces. Take the tokenizer that the model was built for"
        )
    _write_tokenizer(folder, tokenizer, template, settings)
    ids = _special_ids(tokenizer, ends)
    store.write_json(folder / "config.json", {**settings, **ids, "torch_dtype": dtype})
    store.write_json(folder / "generation_config.json", {**ids, "do_sample": False})
    _write_tensors(folder, tensors(backbone, dtype))


def _special_ids(tokenizer, ends: tuple[int, ...]) -> dict:
    ids = {"bos_token_id": special_id(tokenizer, "start"), "eos_token_id": ends[0] if len(ends) == 1 else list(ends)}
    if getattr(tokenizer, "pad_token", None):
        ids["pad_token_id"] = special_id(tokenizer, "pad")
    return {name: value for name, value in ids.items() if value is not None}


def _write_tokenizer(folder: Path, tokenizer, template: str, settings: dict):
    # Some families' tokenizers name only the ends as control words (Qwen 3); a template has the others.
    of_template = set(WORD.findall(template)) & set(tokenizer.get_vocabulary())
    words = Words(sorted(of_template.union(control_words(tokenizer).words)), tokens=bool(template))
    text = tokenizer_json(tokenizer, words)
    check(text, tokenizer, lambda texts: tokenize(tokenizer, texts), words)
    if settings["model_type"] == "qwen2":
        check_as_qwen2(text, tokenizer, lambda texts: tokenize(tokenizer, texts))
    store.write_bytes(folder / "tokenizer.json", text.encode())
    end = tokenizer.end_token
    described = {
        "tokenizer_class": "PreTrainedTokenizerFast",  # whatever tokenizer.json says, and nothing of a family's own
        "bos_token": tokenizer.start_token,
        "eos_token": end,
        "pad_token": getattr(tokenizer, "pad_token", None) or end,
        "clean_up_tokenization_spaces": False,
        "split_special_tokens": not words.tokens,
        "model_max_length": settings.get("max_position_embeddings", settings.get("n_positions")),
    }
    if template:
        described["chat_template"] = _with_start(template, tokenizer)
    store.write_json(folder / "tokenizer_config.json", {k: v for k, v in described.items() if v is not None})
    # KerasHub's converters of these families read the files of the first release instead.
    if proto := getattr(tokenizer, "proto", None):
        store.write_bytes(folder / "tokenizer.model", proto)
    else:
        store.write_bytes(folder / "vocab.json", json.dumps(dict(tokenizer.vocabulary), ensure_ascii=False).encode())
        merges = [merge for merge in tokenizer.merges if "#version:" not in merge]
        store.write_bytes(folder / "merges.txt", "\n".join(["#version: 0.2", *merges, ""]).encode())


def _with_start(template: str, tokenizer) -> str:
    """The template with the start token first, which servers do not add to a rendered conversation."""
    start = tokenizer.start_token
    return template if not start or "bos_token" in template or start in template else "{{ bos_token }}" + template


def _write_tensors(folder: Path, named: Iterator[tuple[str, np.ndarray]]):
    """Writes tensors to one file of safetensors, or to several with an index of them where they are many."""
    shards, sizes = [{}], [0]
    for name, value in named:
        if sizes[-1] and sizes[-1] + value.nbytes > SHARD_BYTES:
            _save(shards[-1], folder / f"part-{len(shards)}")
            shards[-1] = dict.fromkeys(shards[-1])
            shards.append({})
            sizes.append(0)
        shards[-1][name] = value
        sizes[-1] += value.nbytes
    _save(shards[-1], folder / f"part-{len(shards)}")
    if len(shards) == 1:
        (folder / "part-1").rename(folder / "model.safetensors")
        return
    places = {}
    for i, shard in enumerate(shards, start=1):
        name = f"model-{i:05}-of-{len(shards):05}.safetensors"
        (folder / f"part-{i}").rename(folder / name)
        places |= dict.fromkeys(shard, name)
    store.write_json(
        folder / "model.safetensors.index.json", {"metadata": {"total_size": sum(sizes)}, "weight_map": places}
    )


def _save(tensors: dict[str, np.ndarray], path: Path):
    try:
        from safetensors.numpy import save_file
    except ImportError as error:
        raise CatKerasError("An export needs the package safetensors. Install it: pip install safetensors") from error
    save_file(tensors, path, {"format": "pt"})
    path.chmod((path.parent / "config.json").stat().st_mode)  # safetensors lets only the owner read
