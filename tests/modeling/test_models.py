"""Presets: what is loaded is what was saved, whatever family it is of, and what cannot be loaded is named."""

from pathlib import Path

import keras
import numpy as np
import pytest

from cat_keras.data.encoding import encode
from cat_keras.data.records import Example
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.training.batches import Batches
from cat_keras.training.trainer import CascadeAware


def logits(model):
    tokens = np.arange(12).reshape(2, 6) % 7 + 3
    return np.asarray(model({"token_ids": tokens, "padding_mask": np.ones_like(tokens)}))


@pytest.fixture(scope="module")
def preset(small, tmp_path_factory):
    directory = tmp_path_factory.mktemp("presets") / "small"
    models.save(small, directory)
    return directory


# -- presets ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", [Path, str])
def test_a_preset_is_the_model(small, preset, kind):
    again = models.load(kind(preset))
    assert models.weights_fingerprint(again) == models.weights_fingerprint(small)
    assert models.tokenizer_fingerprint(models.tokenizer_of(again)) == models.tokenizer_fingerprint(
        models.tokenizer_of(small)
    )
    np.testing.assert_array_equal(logits(again), logits(small))


def test_saving_replaces_and_leaves_nothing_else(small, large, tmp_path):
    for model in (small, large):
        models.save(model, tmp_path / "folder" / "preset")
    assert [p.name for p in (tmp_path / "folder").iterdir()] == ["preset"]
    again = models.load(tmp_path / "folder" / "preset")
    assert models.weights_fingerprint(again) == models.weights_fingerprint(large)


@pytest.mark.parametrize("damage", ["missing", "empty", "config", "no weights", "half the weights"])
@pytest.mark.parametrize("kind", [Path, str])
def test_a_directory_that_is_no_preset_is_named(small, tmp_path, damage, kind):
    directory = tmp_path / "preset"
    if damage == "empty":
        directory.mkdir()
    elif damage != "missing":
        models.save(small, directory)
    weights = directory / "model.weights.h5"
    if damage == "config":
        (directory / "config.json").write_text("{")
    elif damage == "no weights":
        weights.unlink()
    elif damage == "half the weights":
        weights.write_bytes(weights.read_bytes()[: weights.stat().st_size // 2])
    with pytest.raises(CatKerasError, match=str(directory)):
        models.load(kind(directory))


def test_an_unknown_preset_name_is_named():
    with pytest.raises(CatKerasError, match="no_such_preset_en"):
        models.load("no_such_preset_en")


# -- fingerprints ----------------------------------------------------------------------------------------------------


def test_a_seed_is_a_model(new_model):
    again, other = new_model("small", seed=1), new_model("small", seed=2)
    assert models.weights_fingerprint(new_model("small", seed=1)) == models.weights_fingerprint(again)
    assert models.weights_fingerprint(again) != models.weights_fingerprint(other)
    np.testing.assert_array_equal(logits(new_model("small", seed=1)), logits(again))


def test_weights_fingerprint_sees_one_changed_number(new_model):
    model = new_model("small")
    before = models.weights_fingerprint(model)
    for weight in (model.backbone.weights[0], model.backbone.weights[-1]):
        old = keras.ops.convert_to_numpy(weight)
        changed = old.copy()
        changed.ravel()[-1] += 1e-3
        weight.assign(changed)
        assert models.weights_fingerprint(model) != before
        weight.assign(old)
        assert models.weights_fingerprint(model) == before


def test_new_embeddings_have_the_scale_of_the_width(new_model):
    table = keras.ops.convert_to_numpy(new_model("small", width=64).backbone.token_embedding.embeddings)
    np.testing.assert_allclose(table.std(), 64**-0.5, rtol=0.05)


def test_width_is_a_multiple_of_heads(proto):
    with pytest.raises(CatKerasError, match="width=16, heads=3"):
        models.build(proto, layers=1, width=16, heads=3, feedforward=16)


# -- tokenizers ------------------------------------------------------------------------------------------------------


def test_training_a_tokenizer_twice_gives_the_same_bytes(proto, examples):
    texts = [part for e in examples for part in (e.prompt, e.target)]
    assert models.train_tokenizer(texts, 320) == proto
    assert models.train_tokenizer(iter(texts), 320) == proto
    assert models.train_tokenizer(texts, 310) != proto


@pytest.mark.parametrize(
    ("texts", "size", "message"),
    [(["some text"], 299, "Received: 299"), ([], 320, "no non-empty"), (["\n"], 320, "no")],
)
def test_a_tokenizer_that_cannot_be_trained(texts, size, message):
    with pytest.raises(CatKerasError, match=message):
        models.train_tokenizer(texts, size)


def test_models_of_two_tokenizers_are_named(small, large):
    models.check_same_tokenizer(small, large)
    foreign = models.build(
        models.train_tokenizer(["quite other words", "and more of them"], 300),
        layers=1,
        width=8,
        heads=1,
        feedforward=8,
    )
    sizes = [models.tokenizer_of(m).vocabulary_size() for m in (small, foreign)]
    with pytest.raises(CatKerasError) as error:
        models.check_same_tokenizer(small, foreign)
    for part in (*map(str, sizes), small.name, foreign.name):
        assert part in str(error.value)
    with pytest.raises(CatKerasError, match="share one tokenizer"):
        CascadeAware(small, "cat-xent", teacher=foreign)


def test_a_model_without_a_tokenizer_is_named(small):
    import keras_hub

    bare = keras_hub.models.GemmaCausalLM(backbone=small.backbone, preprocessor=None)
    with pytest.raises(CatKerasError, match=f"{bare.name} with preprocessor=None"):
        models.tokenizer_of(bare)


# -- another family --------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def gpt2():
    """GPT-2: byte pairs, learned positions, biases, and one id for start, end and padding."""
    import keras_hub

    pieces = ["<|endoftext|>", *map(chr, range(33, 127)), "Ġ", "Ċ", "th", "Ġth"]
    tokenizer = keras_hub.models.GPT2Tokenizer({p: i for i, p in enumerate(pieces)}, merges=["t h", "Ġ th"])
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(pieces),
        num_layers=1,
        num_heads=2,
        hidden_dim=16,
        intermediate_dim=32,
        max_sequence_length=48,
    )
    return keras_hub.models.GPT2CausalLM(
        backbone=backbone, preprocessor=keras_hub.models.GPT2CausalLMPreprocessor(tokenizer, sequence_length=48)
    )


def test_another_family_trains_and_answers(gpt2):
    examples = [
        Example("0", "Is this the one?", "yes", options=("yes", "no")),
        Example("1", "Say that:\n", "that"),
    ]
    data = encode(examples, models.tokenizer_of(gpt2), 40)
    assert data.n_target.sum() == len([*"yes", "end"]) + len(["th", "a", "t", "end"])
    trainer = CascadeAware(gpt2, "xent")
    trainer.compile(keras.optimizers.SGD(0.1), jit_compile=False)
    before = models.weights_fingerprint(gpt2)
    x, y, weight = Batches(data, 2, buckets=1).batch(0)
    losses = [trainer.train_on_batch(x, y, sample_weight=weight, return_dict=True)["loss"] for _ in range(2)]
    assert losses[1] < losses[0]
    assert models.weights_fingerprint(gpt2) != before

    choice, free = Predictor(gpt2, max_length=40, max_new_tokens=3, batch_size=2)(examples)
    assert choice.text in ("yes", "no") and len(choice.option_logprobs) == 2
    assert 1 <= free.n_answer <= 3 and free.n_answer == len(free.token_logprobs)
    assert choice.flops > 0 and free.flops > 0


def test_seed_characters_are_tokens_of_their_own():
    import sentencepiece

    texts = ["the heron has two legs and an otter has four, she said"] * 200

    def pieces(*arguments):
        proto = models.train_tokenizer(texts, 320, *arguments)
        return sentencepiece.SentencePieceProcessor(model_proto=proto).encode("é", out_type=str), proto

    spelled, proto = pieces()
    assert spelled == ["<0xC3>", "<0xA9>"]
    assert pieces("éü")[0] == pieces(["é", "ü", "é"])[0] == ["é"]
    assert pieces("")[1] == proto  # nothing asked for is the tokenizer as it always was
