"""Language models as KerasHub presets: build a small one, load and save any, hash its weights and its tokenizer."""

import hashlib
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from cat_keras.errors import CatKerasError, check_number
from cat_keras.modeling import tokenizers
from cat_keras.modeling.tokenizers import fingerprint as tokenizer_fingerprint
from cat_keras.modeling.tokenizers import special_id
from cat_keras.storage import store, untrusted

__all__ = [
    "build",
    "check_same_tokenizer",
    "load",
    "save",
    "special_id",
    "tokenizer_fingerprint",
    "tokenizer_of",
    "train_tokenizer",
    "weights_fingerprint",
]


def train_tokenizer(texts: Iterable[str], vocabulary_size: int, seed_characters: Iterable[str] = ()) -> bytes:
    """Trains a lossless SentencePiece unigram model and returns its proto.

    It is lossless (byte fallback, no normalisation, no dummy prefix), so that decoding gives back exactly the text, and
    tokens(prompt) + tokens(target) is the sequence that generation produces. The same texts give the same bytes.

    Args:
        texts: the training text of the run, and nothing else.
        vocabulary_size: an upper limit; a small corpus may support fewer pieces. At least 300 (256 bytes + specials).
        seed_characters: characters that become tokens of their own although the text may lack them; all others that
            are rare are spelled in bytes.

    Raises:
        CatKerasError: the vocabulary is too small for the bytes, or there is no text.
    """
    import sentencepiece

    check_number("vocabulary_size (256 bytes, specials and more)", vocabulary_size, "[300, 16777216]", whole=True)
    texts = [line for text in texts for line in text.splitlines() if line]
    if not texts:
        raise CatKerasError("A tokenizer is trained on text. Received: no non-empty line")
    # Without the argument the proto is the same as ever: an empty text would be written into it.
    required = {"required_chars": characters} if (characters := "".join(sorted(set("".join(seed_characters))))) else {}
    proto = io.BytesIO()
    sentencepiece.SentencePieceTrainer.train(
        sentence_iterator=iter(texts),
        model_writer=proto,
        vocab_size=vocabulary_size,
        hard_vocab_limit=False,
        model_type="unigram",
        character_coverage=0.9995,
        **required,
        byte_fallback=True,
        normalization_rule_name="identity",
        remove_extra_whitespaces=False,
        add_dummy_prefix=False,
        max_sentence_length=100_000,
        pad_id=0,
        eos_id=1,
        bos_id=2,
        unk_id=3,
        pad_piece="<pad>",
        eos_piece="<eos>",
        bos_piece="<bos>",
        unk_piece="<unk>",
        user_defined_symbols=["\n"],
        num_threads=1,
        minloglevel=2,
    )
    return proto.getvalue()


def build(tokenizer_proto: bytes, *, layers: int, width: int, heads: int, feedforward: int, dropout: float = 0.0,
          seed: int = 0, dtype=None):  # fmt: skip
    """A new decoder-only LM of the Gemma architecture (tied embeddings), with random weights.

    Args:
        tokenizer_proto: from `train_tokenizer`.
        layers, width, heads: depth, residual width, attention heads (head size = width / heads).
        feedforward: inner width of the gated feed-forward block.
        dropout: share of activations dropped in training.
        seed: of the initial weights.
        dtype: numeric type or policy of the backbone; None for the global policy.

    Returns:
        A `keras_hub.models.GemmaCausalLM` with its preprocessor.
    """
    import keras
    import keras_hub

    shape = {"layers": layers, "width": width, "heads": heads, "feedforward": feedforward}
    for name, value in shape.items():
        check_number(name, value, "[1, 1000]" if name == "layers" else "[1, 1048576]", whole=True)
    check_number("dropout", dropout, "[0, 1)")
    check_number("seed", seed, "[0, 4294967295]", whole=True)
    if width % heads:
        raise CatKerasError(f"width is a multiple of heads. Received: width={width}, heads={heads}")
    tokenizer = keras_hub.models.GemmaTokenizer(proto=tokenizer_proto)
    keras.utils.set_random_seed(seed)
    backbone = keras_hub.models.GemmaBackbone(
        vocabulary_size=tokenizer.vocabulary_size(),
        num_layers=layers,
        num_query_heads=heads,
        num_key_value_heads=heads,
        head_dim=width // heads,
        hidden_dim=width,
        intermediate_dim=2 * feedforward,  # KerasHub counts both halves of the gate
        dropout=dropout,
        dtype=dtype,
    )
    # KerasHub expects to load a checkpoint, and gives new embeddings a variance for which the tied output layer starts
    # with logits of the order of sqrt(width). Training from scratch would spend its first epochs on shrinking them.
    embeddings = backbone.token_embedding.embeddings
    embeddings.assign(keras.random.normal(embeddings.shape, stddev=width**-0.5, seed=seed))
    return keras_hub.models.GemmaCausalLM(
        backbone=backbone, preprocessor=keras_hub.models.GemmaCausalLMPreprocessor(tokenizer)
    )


def load(preset: str | Path, dtype=None):
    """Any KerasHub `CausalLM` from a preset name or a directory.

    Args:
        preset: a `Path` is always a directory; a string is a directory if there is one of that name.
        dtype: numeric type or policy; None for the one that suits the stored weights, see `_loading_policy`.

    Raises:
        CatKerasError: the directory holds no preset, or one that `untrusted.check_preset` refuses, or the name cannot
            be resolved.
    """
    if isinstance(preset, Path) and not (preset / "config.json").exists():
        raise CatKerasError(f"A preset directory holds config.json. Received: {preset}")
    if Path(preset).is_dir():
        untrusted.check_preset(Path(preset))
    import keras_hub

    try:
        return keras_hub.models.CausalLM.from_preset(str(preset), dtype=dtype or _loading_policy(preset))
    except Exception as error:  # damage has as many exceptions as there are bytes
        raise CatKerasError(f"Expected a KerasHub CausalLM preset. Received: {preset} ({error})") from error


def _loading_policy(preset):
    """The numeric policy to load a preset with; None where KerasHub finds it by itself.

    KerasHub mistakes the name of a mixed policy, stored or current, for the name of a type.
    """
    import keras

    current, config = keras.config.dtype_policy(), Path(preset) / "config.json"
    stored = json.loads(config.read_text())["config"].get("dtype") if config.exists() else None
    stored_is_mixed = isinstance(stored, dict) and "mixed" in stored.get("config", {}).get("name", "")
    return current if stored_is_mixed or "mixed" in current.name else None


def save(model, directory: Path):
    """Writes a `CausalLM` as a KerasHub preset, whole or not at all; replaces what was there.

    Raises:
        CatKerasError: the disk has no room for it.
    """
    with store.replaced(directory) as temporary:
        _check_room(temporary, 4 * model.count_params())
        model.save_to_preset(str(temporary))


def _check_room(folder: Path, weight_bytes: int):
    """Raises CatKerasError on a disk without room for the weights, where HDF5 would die of a segmentation fault."""
    needed, free = weight_bytes * 11 // 10 + 2**20, shutil.disk_usage(folder).free
    if needed > free:
        raise CatKerasError(
            f"A model is saved where there is room for it, {needed:,} bytes. Received: {folder.parent} with {free:,} "
            "bytes free. Free some, and call again"
        )


def tokenizer_of(model):
    """The tokenizer of a `CausalLM`.

    Raises:
        CatKerasError: the model was built without a preprocessor.
    """
    preprocessor = getattr(model, "preprocessor", None)
    if preprocessor is None:
        raise CatKerasError(
            f"A model of a cascade carries its tokenizer. Received: {model.name} with preprocessor=None"
        )
    return preprocessor.tokenizer


def weights_fingerprint(model) -> str:
    """sha256 (hex) of a model's configuration and weights, the same on every backend."""
    settings = {
        name: value if isinstance(value, int | float | str | bool) else json.dumps(value)
        for name, value in model.backbone.get_config().items()
        if _is_setting(value) and name not in ("name", "trainable")  # frozen is the same model
    }
    digest = hashlib.sha256(repr(sorted(settings.items())).encode())
    for weight in model.backbone.weights:
        value = weight.numpy() if hasattr(weight, "numpy") else weight
        digest.update(f"{value.shape}{value.dtype}".encode())
        digest.update(value.tobytes())
    return digest.hexdigest()


def _is_setting(value) -> bool:
    """Whether a value of a configuration is a number or a text, or a list of them, and not a part with weights."""
    if isinstance(value, list | tuple):
        return all(map(_is_setting, value))
    return isinstance(value, int | float | str | bool)


def check_same_tokenizer(small, large):
    """Raises CatKerasError, naming both models and what differs, unless they map text to the same ids."""
    one, other = tokenizer_of(small), tokenizer_of(large)
    if tokenizer_fingerprint(one) != tokenizer_fingerprint(other):
        raise CatKerasError(
            "Small and large model share one tokenizer, since the large model's bits and probabilities are per token. "
            f"Received: {one.name} of {one.vocabulary_size()} pieces (small model {small.name}) and {other.name} of "
            f"{other.vocabulary_size()} pieces (large model {large.name}), which differ in "
            f"{', '.join(tokenizers.differences(one, other))}. Take two presets of one family"
        )
