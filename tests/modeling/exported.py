"""Models of every family that an export knows, with each setting that its form in transformers has to carry."""

import io
import json

import keras_hub
import numpy as np
import sentencepiece

from cat_keras.modeling import models
from cat_keras.modeling.hugging_face.checks import STRANGE
from tests.decoding import families

TEXT = [
    "The heron has two legs.", "Say nought, one or two.", "It's 12345 o'clock: 3.14, isn't IT?", "naïve café",
    "日本語のテキスト", "Привет, мир", "🙂 👩‍👩‍👧", "def f(x):\n\treturn [x, -x]\n", "<b>  two  blanks </b>",
]  # fmt: skip
SIZES = {"num_layers": 2, "hidden_dim": 24, "intermediate_dim": 40, "num_query_heads": 4, "num_key_value_heads": 2}
SCALED = {
    "rope_frequency_adjustment_factor": 8.0, "rope_low_freq_factor": 1.0, "rope_high_freq_factor": 4.0,
    "rope_pretraining_sequence_length": 16,
}  # fmt: skip
WORDS = families.WORDS


def pieces(kind="unigram", bos="<bos>", eos="<eos>", **settings) -> bytes:
    """A SentencePiece model without normalisation."""
    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(**{
        "sentence_iterator": iter(TEXT * 3), "model_writer": writer, "vocab_size": 440, "hard_vocab_limit": False,
        "model_type": kind, "byte_fallback": True, "normalization_rule_name": "identity", "add_dummy_prefix": False,
        "remove_extra_whitespaces": False, "pad_id": 0, "eos_id": 1, "bos_id": 2, "unk_id": 3, "pad_piece": "<pad>",
        "eos_piece": eos, "bos_piece": bos, "unk_piece": "<unk>", "minloglevel": 2,
    } | settings)  # fmt: skip
    return writer.getvalue()


def randomized(model, seed=0):
    """All weights are random, norms and biases too; logits differ from place to place."""
    rng = np.random.default_rng(seed)
    for weight in model.backbone.weights:
        spread = 0.8 / np.sqrt(weight.shape[-1]) if len(weight.shape) > 1 else 0.1
        start = 1.0 if weight.name in ("gamma",) or (weight.name == "scale" and "gemma" not in model.name) else 0.0
        weight.assign(start + rng.normal(0, spread, weight.shape))
    return model


def built(**changes):
    proto = models.train_tokenizer(TEXT, 400)
    return randomized(models.build(proto, layers=2, width=24, heads=4, feedforward=20, **changes))


def _gemma(tokenizer, **changes):
    sizes = SIZES | {"head_dim": 8} | changes  # 4 · 8 is more than the width
    backbone = keras_hub.models.GemmaBackbone(tokenizer.vocabulary_size(), **sizes)
    return randomized(keras_hub.models.GemmaCausalLM(backbone, keras_hub.models.GemmaCausalLMPreprocessor(tokenizer)))


def gemma(**changes):
    return _gemma(keras_hub.models.GemmaTokenizer(pieces("bpe", user_defined_symbols=["\n", *WORDS])), **changes)


def gemma2():
    return gemma(
        use_post_ffw_norm=True, use_post_attention_norm=True, attention_logit_soft_cap=5.0, final_logit_soft_cap=3.0,
        use_sliding_window_attention=True, sliding_window_size=4,
    )  # fmt: skip


def gemma3(**changes):
    proto = pieces("bpe", user_defined_symbols=["\n", "\n\n", *WORDS])
    tokenizer = keras_hub.models.Gemma3Tokenizer(proto, has_vision_tokens=False)
    sizes = SIZES | {"num_layers": 7, "head_dim": 8, "image_size": 16, "vision_encoder": None} | {
        "use_post_ffw_norm": True, "use_post_attention_norm": True, "sliding_window_size": 4,
        "use_sliding_window_attention": True, "global_rope_scaling_factor": 8.0,
    }  # fmt: skip
    backbone = keras_hub.models.Gemma3Backbone(tokenizer.vocabulary_size(), **sizes | changes)
    preprocessor = keras_hub.models.Gemma3CausalLMPreprocessor(tokenizer, image_converter=None)
    return randomized(keras_hub.models.Gemma3CausalLM(preprocessor=preprocessor, backbone=backbone))


def llama3(**changes):
    tokenizer = keras_hub.models.Llama3Tokenizer(families.vocabulary(*families.LLAMA), families.MERGES)
    backbone = keras_hub.models.Llama3Backbone(tokenizer.vocabulary_size(), **SIZES | changes)
    preprocessor = keras_hub.models.Llama3CausalLMPreprocessor(tokenizer)
    return randomized(keras_hub.models.Llama3CausalLM(backbone, preprocessor))


def llama2(**changes):
    tokenizer = keras_hub.models.LlamaTokenizer(pieces("bpe", "<s>", "</s>", add_dummy_prefix=True))
    backbone = keras_hub.models.LlamaBackbone(tokenizer.vocabulary_size(), **SIZES | changes)
    return randomized(keras_hub.models.LlamaCausalLM(backbone, keras_hub.models.LlamaCausalLMPreprocessor(tokenizer)))


def mistral(**changes):
    proto = pieces("bpe", "<s>", "</s>", add_dummy_prefix=True)
    tokenizer = keras_hub.models.MistralTokenizer(proto)
    sizes = SIZES | {"head_dim": 10, "sliding_window": 4} | changes
    backbone = keras_hub.models.MistralBackbone(tokenizer.vocabulary_size(), **sizes)
    preprocessor = keras_hub.models.MistralCausalLMPreprocessor(tokenizer)
    return randomized(keras_hub.models.MistralCausalLM(backbone, preprocessor))


def qwen(**changes):
    words = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
    tokenizer = keras_hub.models.QwenTokenizer(
        families.vocabulary(*words), families.MERGES, unsplittable_tokens=list(words)
    )
    backbone = keras_hub.models.QwenBackbone(tokenizer.vocabulary_size(), **SIZES | changes)
    return randomized(keras_hub.models.QwenCausalLM(backbone, keras_hub.models.QwenCausalLMPreprocessor(tokenizer)))


def qwen3(**changes):
    words = ("<|im_start|>", "<|im_end|>", "<|endoftext|>")
    tokenizer = keras_hub.models.Qwen3Tokenizer(families.vocabulary(*words), families.MERGES)
    backbone = keras_hub.models.Qwen3Backbone(tokenizer.vocabulary_size(), **SIZES | {"head_dim": 8} | changes)
    return randomized(keras_hub.models.Qwen3CausalLM(backbone, keras_hub.models.Qwen3CausalLMPreprocessor(tokenizer)))


def gpt2():
    tokenizer = keras_hub.models.GPT2Tokenizer(families.vocabulary("<|endoftext|>"), families.MERGES)
    backbone = keras_hub.models.GPT2Backbone(
        tokenizer.vocabulary_size(), num_layers=2, num_heads=4, hidden_dim=24, intermediate_dim=96,
        max_sequence_length=64,
    )  # fmt: skip
    return randomized(keras_hub.models.GPT2CausalLM(backbone, keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)))


def adapted(make):
    """A model with LoRA on all of its dense layers that have it, of random values."""

    def build():
        model = make()
        names = {layer.name for layer in model.backbone._flatten_layers() if hasattr(layer, "enable_lora")}
        model.backbone.enable_lora(2, target_layer_names=[*names])
        rng = np.random.default_rng(1)
        for weight in model.backbone.weights:
            if weight.name.startswith("lora_"):
                weight.assign(rng.normal(0, 0.3, weight.shape))
        return model

    return build


FAMILIES = {
    "built": built, "gemma": gemma, "gemma2": gemma2, "gemma3": gemma3, "llama3": llama3, "mistral": mistral,
    "qwen": qwen, "qwen3": qwen3, "gpt2": gpt2,
}  # fmt: skip
SETTINGS = {
    "one key-value head": lambda: gemma(num_key_value_heads=1),
    "gemma without positions scaled": lambda: gemma3(global_rope_scaling_factor=1.0),
    "gemma3 with both positions scaled": lambda: gemma3(local_rope_scaling_factor=2.0),
    "gemma3 without windows": lambda: gemma3(use_sliding_window_attention=False),
    "gemma3 with other queries": lambda: gemma3(query_head_dim_normalize=False),
    "llama2": llama2,
    "llama3.1": lambda: llama3(tie_word_embeddings=True, **SCALED),
    "llama3 in other positions": lambda: llama3(rope_max_wavelength=500.0),
    "llama3 with another epsilon": lambda: llama3(layer_norm_epsilon=1e-2),
    "mistral without a window": lambda: mistral(sliding_window=None, head_dim=None, rope_scaling_factor=2.0),
    "qwen untied, with windows": lambda: qwen(
        tie_word_embeddings=False, use_sliding_window_attention=True, sliding_window_size=4
    ),
    "qwen3 with windows": lambda: qwen3(tie_word_embeddings=False, sliding_window_size=4, rope_scaling_factor=2.0),
    **{f"{name} with LoRA": adapted(make) for name, make in FAMILIES.items()},
    "mixed": lambda: built(dtype="mixed_bfloat16"),
}


def asked(folder, model, chats=()) -> list[str]:
    """Writes into a folder what `peer.py` is asked of its model; returns the texts."""
    np.save(folder / "ids.npy", some_ids(model))
    (folder / "asked.json").write_text(json.dumps({"texts": STRANGE, "chats": chats}))
    return list(STRANGE)


def logits(model, ids: np.ndarray) -> np.ndarray:
    """(rows, length, tokens) float32."""
    out = model({"token_ids": ids, "padding_mask": np.ones_like(ids)})
    return np.asarray(out, "float32")


def some_ids(model, seed=0) -> np.ndarray:
    return np.random.default_rng(seed).integers(0, model.backbone.vocabulary_size, (2, 20)).astype("int32")
