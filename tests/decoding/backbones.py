"""Small models of ten families without tokenizers, and prompts for them."""

import keras_hub
import numpy as np

VOCABULARY = 60
END = 1
PROMPTS = [np.random.default_rng(i).integers(2, VOCABULARY, 3 + 4 * i % 9).tolist() for i in range(9)]
SIZES = {"vocabulary_size": VOCABULARY, "num_layers": 2, "hidden_dim": 16, "intermediate_dim": 32}
GROUPED = {"num_query_heads": 4, "num_key_value_heads": 2}  # heads, of which two share a key-value head


def built(family: str, **settings):
    """A model of a family, with random weights."""
    backbone = getattr(keras_hub.models, f"{family}Backbone")(**SIZES | settings)
    return getattr(keras_hub.models, f"{family}CausalLM")(backbone=backbone, preprocessor=None)


def gpt2():
    return built("GPT2", num_heads=2, max_sequence_length=64)


def opt():
    return built("OPT", num_heads=2, max_sequence_length=64)


def llama():
    return built("Llama3", **GROUPED)


def llama2():
    return built("Llama", num_query_heads=4, num_key_value_heads=4)


def mistral():
    return built("Mistral", **GROUPED, sliding_window=4)


def qwen():
    return built("Qwen3", num_layers=1, num_query_heads=2, num_key_value_heads=1, head_dim=8)


def qwen2():
    """Without sliding windows, with which its own `generate` fails."""
    return built("Qwen", **GROUPED)


def gemma(**changes):
    return built("Gemma", **GROUPED | {"head_dim": 8} | changes)


def gemma2():
    """Soft-capped logits, a sliding window, norms after each block."""
    return gemma(
        use_sliding_window_attention=True, sliding_window_size=4, attention_logit_soft_cap=5.0,
        final_logit_soft_cap=5.0, use_post_ffw_norm=True, use_post_attention_norm=True,
    )  # fmt: skip


def gemma3():
    return built(
        "Gemma3", image_size=16, num_query_heads=2, num_key_value_heads=1, head_dim=8, vision_encoder=None,
        sliding_window_size=4, use_sliding_window_attention=True,
    )  # fmt: skip
