"""Exports, read back without transformers: names and shapes, KerasHub's own converters, and the `tokenizers` package.

`test_export_peer.py` compares with transformers itself.
"""

import json

import keras_hub
import numpy as np
import pytest
import tokenizers

from cat_keras.data.chat import GEMMA, Chat
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.modeling.hugging_face import folder as hugging_face
from cat_keras.modeling.hugging_face.checks import STRANGE
from cat_keras.modeling.tokens import tokenize
from tests.decoding import families
from tests.modeling import exported

safetensors = pytest.importorskip("safetensors")

# Names within a layer → shapes: width 24, 4 heads of 6 and 2 for keys and values, 40 within the feed-forward block.
NORMS = {"input_layernorm.weight": (24,), "post_attention_layernorm.weight": (24,)}
MLP = {"mlp.gate_proj.weight": (40, 24), "mlp.up_proj.weight": (40, 24), "mlp.down_proj.weight": (24, 40)}


def attention(queries: int, keys: int) -> dict:
    return {f"self_attn.{letter}_proj.weight": (rows, 24) for letter, rows in (("q", queries), ("k", keys), ("v", keys))
            } | {"self_attn.o_proj.weight": (24, queries)}  # fmt: skip


HALF = {name: tuple(20 if n == 40 else n for n in shape) for name, shape in MLP.items()}
BOTH_SIDES = NORMS | {"pre_feedforward_layernorm.weight": (24,), "post_feedforward_layernorm.weight": (24,)}
QK_NORMS = {"self_attn.q_norm.weight": (8,), "self_attn.k_norm.weight": (8,)}
BIASES = {"self_attn.q_proj.bias": (24,), "self_attn.k_proj.bias": (12,), "self_attn.v_proj.bias": (12,)}
LAYERS = {
    "built": (2, NORMS | HALF | attention(24, 24)),
    "gemma": (2, NORMS | HALF | attention(32, 16)),
    "gemma2": (2, BOTH_SIDES | HALF | attention(32, 16)),
    "gemma3": (7, BOTH_SIDES | MLP | QK_NORMS | attention(32, 16)),
    "llama3": (2, NORMS | MLP | attention(24, 12)),
    "mistral": (2, NORMS | MLP | attention(40, 20)),
    "qwen": (2, NORMS | MLP | BIASES | attention(24, 12)),
    "qwen3": (2, NORMS | MLP | QK_NORMS | attention(32, 16)),
}
GPT2_LAYER = {
    "ln_1": (24,), "attn.c_attn": (24, 72), "attn.c_proj": (24, 24), "ln_2": (24,), "mlp.c_fc": (24, 96),
    "mlp.c_proj": (96, 24),
}  # fmt: skip
UNTIED = ("llama3", "mistral")


def shapes(name: str, tokens: int) -> dict[str, tuple]:
    if name == "gpt2":
        weights = {f"transformer.h.{i}.{part}": shape for i in range(2) for part, shape in GPT2_LAYER.items()}
        weights["transformer.ln_f"] = (24,)
        biases = {f"{part}.bias": shape[-1:] for part, shape in weights.items()}
        return {f"{part}.weight": shape for part, shape in weights.items()} | biases | {
            "transformer.wte.weight": (tokens, 24), "transformer.wpe.weight": (64, 24),
        }  # fmt: skip
    count, layer = LAYERS[name]
    outside = {"model.embed_tokens.weight": (tokens, 24), "model.norm.weight": (24,)}
    head = {"lm_head.weight": (tokens, 24)} if name in UNTIED else {}
    return outside | head | {f"model.layers.{i}.{part}": shape for i in range(count) for part, shape in layer.items()}


def tensors(file) -> dict:
    with safetensors.safe_open(file, framework="np") as opened:
        return {name: opened.get_tensor(name) for name in opened.keys()}  # noqa: SIM118


@pytest.fixture(scope="module")
def export(tmp_path_factory):
    """`export("gemma")`: a model of a family, and the folder that it was exported to, once for all tests."""
    done = {}

    def of(name):
        if name not in done:
            model = (exported.FAMILIES | exported.SETTINGS)[name]()
            if name == "mistral":  # KerasHub's converter reads its weights as float16
                model.backbone.set_weights([w.astype("float16") for w in model.backbone.get_weights()])
            folder = tmp_path_factory.mktemp("exports") / "model"
            models.export(model, folder)
            done[name] = model, folder
        return done[name]

    return of


@pytest.mark.parametrize("name", exported.FAMILIES)
def test_tensors_have_the_names_and_shapes_of_transformers(export, name):
    model, folder = export(name)
    found = {key: value.shape for key, value in tensors(folder / "model.safetensors").items()}
    assert found == shapes(name, model.backbone.vocabulary_size)


@pytest.mark.parametrize("name", exported.FAMILIES)
def test_kerashub_reads_the_folder_back(export, name):
    model, folder = export(name)
    back, ids = models.load(folder), exported.some_ids(model)
    assert type(back) is type(model)
    np.testing.assert_allclose(exported.logits(back, ids), exported.logits(model, ids), atol=3e-6)
    assert tokenize(models.tokenizer_of(back), STRANGE) == tokenize(models.tokenizer_of(model), STRANGE)
    assert models.end_ids(back) == models.end_ids(model)


@pytest.mark.parametrize("name", exported.FAMILIES)
def test_tokenizer_json_gives_our_tokens_behind_the_start_token(export, name):
    model, folder = export(name)
    ours = models.tokenizer_of(model)
    theirs = tokenizers.Tokenizer.from_file(str(folder / "tokenizer.json"))
    theirs.encode_special_tokens = json.loads((folder / "tokenizer_config.json").read_text())["split_special_tokens"]
    words = [word for word in families.LLAMA + families.WORDS if word in theirs.get_vocab()]
    texts = [*STRANGE, "x<eos>y</s><bos>", *words, "".join(words)]
    start = [ours.start_token_id] if ours.start_token_id is not None else []
    for text, ids in zip(texts, tokenize(ours, texts), strict=True):
        assert theirs.encode(text).ids == start + ids, text
        assert theirs.decode(ids, skip_special_tokens=False) == (ours.detokenize(ids) if ids else "")


def test_lora_is_merged_into_the_kernels(export):
    model, folder = export("built with LoRA")
    dense = model.backbone.transformer_layers[1].attention.query_dense
    found = tensors(folder / "model.safetensors")["model.layers.1.self_attn.q_proj.weight"]
    merged = np.asarray(dense.kernel)  # Keras adds its adapter to it
    assert np.abs(merged - np.asarray(dense._kernel)).max() > 0.01
    np.testing.assert_allclose(found, merged.transpose(0, 2, 1).reshape(-1, 24), atol=1e-6)


@pytest.mark.parametrize(
    ("policy", "dtype", "stored"),
    [("mixed_bfloat16", None, "float32"), ("bfloat16", None, "bfloat16"), ("float32", "bfloat16", "bfloat16")],
)
def test_weights_keep_their_type_or_get_another(tmp_path, policy, dtype, stored):
    model = exported.built(dtype=policy)
    models.export(model, tmp_path / "model", dtype=dtype)
    assert {str(v.dtype) for v in tensors(tmp_path / "model" / "model.safetensors").values()} == {stored}
    assert json.loads((tmp_path / "model" / "config.json").read_text())["torch_dtype"] == stored


def test_many_weights_are_several_files_with_an_index(tmp_path, export, monkeypatch):
    model, folder = export("built")
    monkeypatch.setattr(hugging_face, "SHARD_BYTES", 20_000)
    models.export(model, tmp_path / "model")
    files = sorted(path.name for path in (tmp_path / "model").glob("*.safetensors"))
    index = json.loads((tmp_path / "model" / "model.safetensors.index.json").read_text())
    assert len(files) > 2
    assert sorted(set(index["weight_map"].values())) == files
    one, ids = tensors(folder / "model.safetensors"), exported.some_ids(model)
    assert index["metadata"]["total_size"] == sum(value.nbytes for value in one.values())
    assert set(index["weight_map"]) == set(one)
    back = models.load(tmp_path / "model")
    np.testing.assert_array_equal(exported.logits(back, ids), exported.logits(model, ids))


# -- chats -----------------------------------------------------------------------------------------------------------


def test_a_chat_template_is_written_behind_the_start_token(tmp_path):
    model = exported.gemma()
    ours = models.tokenizer_of(model)
    models.export(model, tmp_path / "model", chat_template=GEMMA, max_length=512)
    described = json.loads((tmp_path / "model" / "tokenizer_config.json").read_text())
    assert described["chat_template"] == "{{ bos_token }}" + GEMMA
    assert (described["split_special_tokens"], described["model_max_length"]) == (False, 512)
    back = models.load(tmp_path / "model")
    turn, again = (Chat().turn(models.tokenizer_of(m)) for m in (model, back))
    assert (turn.before, turn.tail, turn.end) == (again.before, again.tail, again.end)
    theirs = tokenizers.Tokenizer.from_file(str(tmp_path / "model" / "tokenizer.json"))
    chat = "<bos><start_of_turn>user\nThe heron?<end_of_turn>\n<start_of_turn>model\n"
    assert theirs.encode(chat, add_special_tokens=False).ids == [*turn.before, *turn.ids(["The heron?"])[0], *turn.tail]
    assert theirs.token_to_id("<end_of_turn>") == ours.token_to_id("<end_of_turn>") == turn.end


def test_the_template_of_the_preset_goes_along(tmp_path):
    model = exported.qwen3()
    vars(models.tokenizer_of(model))["chat_template"] = "{{ messages[0].content }}"
    models.export(model, tmp_path / "model")
    assert models.tokenizer_of(models.load(tmp_path / "model")).chat_template == "{{ messages[0].content }}"


# -- refused ---------------------------------------------------------------------------------------------------------


def quantized():
    model = exported.llama3()
    model.backbone.transformer_layers[0]._feedforward_gate_dense.quantize("int8")
    return model


def with_pieces(proto):
    return exported._gemma(keras_hub.models.GemmaTokenizer(proto))


@pytest.mark.parametrize(
    ("make", "reason"),
    [
        (families.opt, "Received: a OPTBackbone"),
        (families.gemma3, "use_post_ffw_norm = False"),
        (lambda: exported.gemma(use_post_ffw_norm=True), "use_post_attention_norm = False"),
        (lambda: exported.gemma(final_logit_soft_cap=30.0), "final_logit_soft_cap = 30.0"),
        (lambda: exported.gemma(layer_norm_epsilon=1e-3), "layer_norm_epsilon = "),
        (lambda: exported.gemma3(use_bidirectional_attention=True), "use_bidirectional_attention = True"),
        (lambda: exported.llama3(rope_position_scaling_factor=2.0), "rope_position_scaling_factor = 2.0"),
        (quantized, "int8"),
        (lambda: with_pieces(exported.pieces(normalization_rule_name="nmt_nfkc")), "nmt_nfkc"),
        (lambda: with_pieces(exported.pieces(remove_extra_whitespaces=True)), "remove_extra_whitespaces"),
        (lambda: with_pieces(exported.pieces("char")), "unigram and bpe"),
        (lambda: keras_hub.models.GemmaCausalLM(exported.gemma().backbone, None), "preprocessor=None"),
    ],
)  # fmt: skip
def test_what_transformers_does_not_compute_is_refused(tmp_path, make, reason):
    with pytest.raises(CatKerasError, match=reason):
        models.export(make(), tmp_path / "model")
    assert not list(tmp_path.iterdir())


def test_an_export_is_written_whole_or_not_at_all(tmp_path, export, monkeypatch):
    model, _ = export("built")
    models.export(model, tmp_path / "model")
    before = {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()}
    monkeypatch.setattr(hugging_face, "tensors", lambda *_: (("a", np.zeros(3) / (1 // i)) for i in (1, 0)))
    with pytest.raises(ZeroDivisionError):
        models.export(model, tmp_path / "model")
    assert {path.name: path.read_bytes() for path in (tmp_path / "model").iterdir()} == before
    assert [path.name for path in tmp_path.iterdir()] == ["model"]


@pytest.mark.parametrize("options", [{"dtype": "int8"}, {"max_length": 0}, {"max_length": 1.5}])
def test_an_option_of_another_kind_is_refused(tmp_path, export, options):
    with pytest.raises(CatKerasError):
        models.export(export("built")[0], tmp_path / "model", **options)


def test_without_safetensors_the_error_says_what_to_install(tmp_path, export, monkeypatch):
    import sys

    monkeypatch.setitem(sys.modules, "safetensors.numpy", None)
    with pytest.raises(CatKerasError, match="pip install safetensors"):
        models.export(export("built")[0], tmp_path / "model")


@pytest.mark.parametrize(
    ("name", "changes", "reason"),
    [
        ("mistral", {"rope_scaling": {"rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
        ("gemma", {"rms_norm_eps": 1e-3}, "rms_norm_eps = 0.001"),
        ("llama3", {"rope_parameters": {"rope_theta": 1e4, "rope_type": "linear", "factor": 2.0}}, "rope_scaling"),
        ("llama3", {"attention_bias": True}, "attention_bias"),
    ],
)  # fmt: skip
def test_a_folder_of_which_kerashub_drops_a_setting_is_refused(tmp_path, export, name, changes, reason):
    import shutil

    folder = shutil.copytree(export(name)[1], tmp_path / "model")
    config = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(config | changes))
    with pytest.raises(CatKerasError, match=reason):
        models.load(folder)


def test_a_llama_with_sentence_pieces_is_not_read_as_one_with_byte_pairs(export):
    with pytest.raises(CatKerasError, match="byte pairs"):
        models.load(export("llama2")[1])


def test_the_epsilon_of_a_llama_is_read(export):
    model, folder = export("llama3 with another epsilon")
    back, ids = models.load(folder), exported.some_ids(model)
    np.testing.assert_allclose(exported.logits(back, ids), exported.logits(model, ids), atol=1e-6)
    assert back.backbone.get_config()["layer_norm_epsilon"] == 1e-2
