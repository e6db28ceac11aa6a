"""Language models as KerasHub presets: build a small one, load and save any, hash its weights and its tokenizer."""

import contextlib
import io
import json
import shutil
from collections.abc import Iterable
from pathlib import Path

from cat_keras.errors import CatKerasError, check_list, check_number
from cat_keras.modeling import lora, tokenizers
from cat_keras.modeling.fingerprints import weights_fingerprint
from cat_keras.modeling.hugging_face import folder as hugging_face
from cat_keras.modeling.hugging_face import reading
from cat_keras.modeling.tokenizers import fingerprint as tokenizer_fingerprint
from cat_keras.modeling.tokenizers import special_id
from cat_keras.storage import store, untrusted

__all__ = [
    "build",
    "check_positions",
    "check_same_tokenizer",
    "end_ids",
    "export",
    "load",
    "positions",
    "save",
    "special_id",
    "token_id",
    "tokenizer_fingerprint",
    "tokenizer_of",
    "train_tokenizer",
    "weights_fingerprint",
]

TEMPLATE = "chat_template.jinja"


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
    texts = [line for text in check_list("texts", texts, str) for line in text.splitlines() if line]
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
    """Any KerasHub `CausalLM` from a preset name or a directory, also of Hugging Face's form.

    Args:
        preset: a `Path` is always a directory; a string is a directory if there is one of that name.
        dtype: numeric type or policy; None for the one that suits the stored weights, see `_loading_policy`.

    Raises:
        CatKerasError: the directory holds no preset, or one that `untrusted.check_preset` refuses, or the name cannot
            be resolved; or it is of Hugging Face's form with a setting that KerasHub's converter leaves out.
    """
    if isinstance(preset, Path) and not (preset / "config.json").exists():
        raise CatKerasError(f"A preset directory holds config.json. Received: {preset}")
    if Path(preset).is_dir():
        untrusted.check_preset(Path(preset))
    import keras_hub

    try:
        model = keras_hub.models.CausalLM.from_preset(str(preset), dtype=dtype or _loading_policy(preset))
        if Path(preset).is_dir():
            reading.check(model, Path(preset))
        if model.preprocessor is not None and (template := _chat_template(Path(preset))):
            vars(model.preprocessor.tokenizer)["chat_template"] = template
        return model
    except CatKerasError:
        raise
    except Exception as error:  # damage has as many exceptions as there are bytes
        raise CatKerasError(f"Expected a KerasHub CausalLM preset. Received: {preset} ({error})") from error


def _loading_policy(preset):
    """The numeric policy to load a preset with; None where KerasHub finds it by itself.

    KerasHub mistakes the name of a mixed policy, stored or current, for the name of a type.
    """
    import keras

    current, config = keras.config.dtype_policy(), Path(preset) / "config.json"
    stored = json.loads(config.read_text()).get("config", {}).get("dtype") if config.exists() else None
    stored_is_mixed = isinstance(stored, dict) and "mixed" in stored.get("config", {}).get("name", "")
    return current if stored_is_mixed or "mixed" in current.name else None


def _chat_template(folder: Path) -> str:
    """The chat template that lies in the folder of a preset, as Hugging Face stores it; "" for none."""
    if (folder / TEMPLATE).is_file():
        return (folder / TEMPLATE).read_text(encoding="utf-8")
    config = folder / "tokenizer_config.json"
    stored = store.read_json(config).get("chat_template") if config.is_file() else None
    if isinstance(stored, list):  # several, by name
        stored = {entry["name"]: entry["template"] for entry in stored}.get("default")
    return stored or ""


def save(model, directory: Path):
    """Writes a `CausalLM` as a KerasHub preset, whole or not at all; replaces what was there.

    A chat template that the model was loaded with is written beside it. LoRA is merged in what is written, and stays
    apart in the model.

    Raises:
        CatKerasError: the disk has no room for it.
    """
    with store.replaced(directory) as temporary:
        _check_room(temporary, 4 * model.count_params())
        with lora.as_plain(model):
            model.save_to_preset(str(temporary))
        if template := getattr(getattr(model.preprocessor, "tokenizer", None), "chat_template", ""):
            (temporary / TEMPLATE).write_text(template, encoding="utf-8")


def export(model, directory: Path, *, dtype: str | None = None, chat_template: str | None = None,
           max_length: int | None = None):  # fmt: skip
    """Writes a `CausalLM` as transformers and vLLM load it, whole or not at all; replaces what was there.

    The logits are those of the model, and `tokenizer.json` gives its tokens. LoRA is merged. `load` reads the folder
    back through KerasHub's converters.

    Args:
        model: of the families Gemma (1, 2, 3 without images), Llama (2, 3, 3.1 …), Mistral, Qwen (2, 2.5, 3) or GPT-2.
        directory: the folder to write.
        dtype: of the weights, "float32", "bfloat16" or "float16"; by default the one they are stored in, which is
            float32 under a mixed policy.
        chat_template: jinja2 text; by default the one that the model was loaded with. With a template, a control word
            in a text becomes its token, as everywhere with such servers. Without one it stays text, as in training.
        max_length: the longest text in tokens that servers accept; by default the usual one of the family.

    Raises:
        CatKerasError: transformers computes nothing equal: another family or setting, a quantized model, a tokenizer
            that cannot be written so that the tokens are the same. Or the disk has no room.
    """
    tokenizer = tokenizer_of(model)
    if chat_template is None:
        chat_template = getattr(tokenizer, "chat_template", "")
    if max_length is not None:
        check_number("max_length", max_length, "[1, 16777216]", whole=True)
    beside = {v.path for v in model.weights} - {v.path for v in model.backbone.weights}
    if beside:
        raise CatKerasError(
            f"An export is of a model whose output layer is its embeddings. Received: {model.name} with weights of its "
            f"own, such as {min(beside)}. Export a CausalLM of KerasHub"
        )
    with store.replaced(directory) as temporary:
        _check_room(temporary, 4 * model.count_params())
        hugging_face.write(temporary, model.backbone, tokenizer, end_ids(model), chat_template, dtype, max_length)


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


def token_id(tokenizer, word: str) -> int | None:
    """Id of the token that is this word; None where there is none."""
    try:
        i = int(tokenizer.token_to_id(word))
        return i if tokenizer.id_to_token(i) == word else None
    except (KeyError, ValueError):
        return None


def positions(model) -> int | None:
    """How many tokens a model can read, by its learned embeddings of positions; None for a model without such."""
    from keras_hub.layers import PositionEmbedding

    layers = getattr(model.backbone, "_flatten_layers", tuple)()
    return min((layer.sequence_length for layer in layers if isinstance(layer, PositionEmbedding)), default=None)


def check_positions(model, tokens: int, received: str, remedy: str):
    """Raises CatKerasError if a model is to read more tokens than it has positions.

    Beyond them TensorFlow stops with an error of its own, and JAX reads the last position again and again.

    Args:
        tokens: to be read. received: what asks for so many. remedy: what to do, with `{}` for the positions.
    """
    limit = positions(model)
    if limit is not None and tokens > limit:
        raise CatKerasError(
            f"A model reads at most as many tokens as it has positions. Received: {received} for {model.name}, which "
            f"has {limit}. {remedy.format(limit)}"
        )


def end_ids(model) -> tuple[int, ...]:
    """Ids of all tokens that end an answer of a `CausalLM`: those at which its own `generate` stops.

    Every family has its own: the end token of the tokenizer, a second one (Llama 3: `<|eot_id|>`), the end of a turn
    (Gemma 3: `<end_of_turn>`). They are named nowhere but in `generate`, so this calls it, up to the point where it
    would run the model.

    Raises:
        CatKerasError: the model has no tokenizer.
    """
    ids = [special_id(tokenizer_of(model), "end")]
    with contextlib.ExitStack() as stack:
        stack.enter_context(replaced(model, "make_generate_function", lambda: _ask))
        stack.enter_context(replaced(model, "_normalize_generate_inputs", lambda inputs: ([inputs], False)))
        stack.enter_context(replaced(model.preprocessor, "generate_preprocess", lambda x, **_: x))
        try:
            model.generate({}, max_length=1)
        except _Asked as asked:
            ids = asked.stop_token_ids or ()
    return tuple(dict.fromkeys(int(i) for i in ids if i is not None))


class _Asked(Exception):
    """Leaves a model's `generate` with the ids that it stops at."""

    def __init__(self, stop_token_ids):
        super().__init__()
        self.stop_token_ids = stop_token_ids


def _ask(inputs, stop_token_ids=None):
    raise _Asked(stop_token_ids)


@contextlib.contextmanager
def replaced(layer, name: str, method):
    """Within the context, the layer has another method of that name."""
    vars(layer)[name] = method  # past Keras, which would track it
    try:
        yield
    finally:
        del vars(layer)[name]


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
