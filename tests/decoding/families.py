"""Small models of several families with tokenizers of their own: byte pairs, or SentencePiece."""

import keras_hub
import numpy as np
import sentencepiece
from keras_hub.src.tokenizers.byte_pair_tokenizer import bytes_to_unicode

TEXT = ["The heron has two legs.", "Say nought, one or two.", "<b>system</b> user\nassistant\n\nmodel."]
SIZES = {"num_layers": 1, "hidden_dim": 16, "intermediate_dim": 32}
WORDS = ("<start_of_turn>", "<end_of_turn>")
MERGES = ["t h", "th e", "\u010a \u010a"]
LLAMA = ("<|begin_of_text|>", "<|end_of_text|>", "<|eot_id|>", "<|start_header_id|>", "<|end_header_id|>")


def vocabulary(*words) -> dict[str, int]:
    """All bytes, whole words, and what a few merges make."""
    return {piece: i for i, piece in enumerate([*words, *bytes_to_unicode()[1], *(m.replace(" ", "") for m in MERGES)])}


def proto(*words) -> bytes:
    import io

    writer = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(TEXT), model_writer=writer, vocab_size=400, hard_vocab_limit=False, byte_fallback=True,
        normalization_rule_name="identity", remove_extra_whitespaces=False, add_dummy_prefix=False, pad_id=0, eos_id=1,
        bos_id=2, unk_id=3, pad_piece="<pad>", eos_piece="<eos>", bos_piece="<bos>", unk_piece="<unk>",
        user_defined_symbols=["\n", *words], minloglevel=2,
    )  # fmt: skip
    return writer.getvalue()


def sharpened(model, seed=0):
    """Random weights large enough that arg-max tokens differ from place to place."""
    rng = np.random.default_rng(seed)
    for weight in model.weights:
        if len(weight.shape) > 1:
            weight.assign(rng.normal(0, 1.5 / np.sqrt(weight.shape[-1]), weight.shape))
    return model


def llama3(layers=1):
    tokenizer = keras_hub.models.Llama3Tokenizer(vocabulary(*LLAMA), MERGES)
    backbone = keras_hub.models.Llama3Backbone(
        tokenizer.vocabulary_size(), num_query_heads=2, num_key_value_heads=1, **SIZES | {"num_layers": layers}
    )
    preprocessor = keras_hub.models.Llama3CausalLMPreprocessor(tokenizer)
    return sharpened(keras_hub.models.Llama3CausalLM(backbone, preprocessor), layers)


def qwen3(layers=1):
    tokenizer = keras_hub.models.Qwen3Tokenizer(vocabulary("<|im_start|>", "<|im_end|>", "<|endoftext|>"), MERGES)
    backbone = keras_hub.models.Qwen3Backbone(
        tokenizer.vocabulary_size(), num_query_heads=2, num_key_value_heads=1, head_dim=8,
        **SIZES | {"num_layers": layers},
    )  # fmt: skip
    return sharpened(keras_hub.models.Qwen3CausalLM(backbone, keras_hub.models.Qwen3CausalLMPreprocessor(tokenizer)))


def gemma(layers=1, words=WORDS):
    tokenizer = keras_hub.models.GemmaTokenizer(proto(*words))
    backbone = keras_hub.models.GemmaBackbone(
        tokenizer.vocabulary_size(), num_query_heads=2, num_key_value_heads=1, head_dim=8,
        **SIZES | {"num_layers": layers},
    )  # fmt: skip
    return sharpened(keras_hub.models.GemmaCausalLM(backbone, keras_hub.models.GemmaCausalLMPreprocessor(tokenizer)))


def gemma3(layers=1):
    tokenizer = keras_hub.models.Gemma3Tokenizer(proto(*WORDS), has_vision_tokens=False)
    backbone = keras_hub.models.Gemma3Backbone(
        tokenizer.vocabulary_size(), image_size=16, num_query_heads=2, num_key_value_heads=1, head_dim=8,
        vision_encoder=None, sliding_window_size=4, use_sliding_window_attention=True, **SIZES | {"num_layers": layers},
    )  # fmt: skip
    preprocessor = keras_hub.models.Gemma3CausalLMPreprocessor(tokenizer, image_converter=None)
    return sharpened(keras_hub.models.Gemma3CausalLM(preprocessor=preprocessor, backbone=backbone))


def gpt2(positions=64):
    tokenizer = keras_hub.models.GPT2Tokenizer(vocabulary("<|endoftext|>"), MERGES)
    backbone = keras_hub.models.GPT2Backbone(
        tokenizer.vocabulary_size(), num_heads=2, max_sequence_length=positions, **SIZES
    )
    return sharpened(keras_hub.models.GPT2CausalLM(backbone, keras_hub.models.GPT2CausalLMPreprocessor(tokenizer)))


def opt(positions=64):
    tokenizer = keras_hub.models.OPTTokenizer(vocabulary("<pad>", "</s>"), MERGES)
    backbone = keras_hub.models.OPTBackbone(
        tokenizer.vocabulary_size(), num_heads=2, max_sequence_length=positions, **SIZES
    )
    return sharpened(keras_hub.models.OPTCausalLM(backbone, keras_hub.models.OPTCausalLMPreprocessor(tokenizer)))


def exchanged(model, one: int, other: int):
    """The model with two tokens in each other's place, so that it says the one where it said the other."""
    for weight in model.backbone.weights:
        if "embedding" in weight.path and len(weight.shape) == 2 and "position" not in weight.path:
            values = np.array(weight)
            axis = values.shape.index(model.backbone.vocabulary_size)
            order = np.arange(values.shape[axis])
            order[[one, other]] = order[[other, one]]
            weight.assign(np.take(values, order, axis=axis))
    return model
