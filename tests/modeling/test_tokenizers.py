"""The identity of a tokenizer: equal where the tokens are, also after a round trip; and what files of 0.1 prove."""

import dataclasses
import json
import shutil

import keras_hub
import numpy as np
import pytest
from keras_hub import tokenizers as hub

from benchmarks.planning import plan
from benchmarks.planning.profile import Profile
from cat_keras.cascades import saved
from cat_keras.cascades.cascade import Cascade
from cat_keras.data.encoding import Encoded, encode, tokenize
from cat_keras.decoding.speculative_cascade import SpeculativeCascade
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models, tokenizers
from cat_keras.storage import store
from cat_keras.training import CascadeAware
from cat_keras.training.batches import Batches
from cat_keras.training.teacher import TeacherCache

PIECES = ["<|endoftext|>", *map(chr, range(33, 127)), "Ġ", "Ċ", "th", "he", "the"]
WORDS = ["[UNK]", "the", "##x", "[S]"]


def byte_pairs(merges=("t h", "th e"), **settings):
    return keras_hub.models.GPT2Tokenizer({p: i for i, p in enumerate(PIECES)}, merges=list(merges), **settings)


def gpt2(merges=("t h", "th e"), **settings):
    backbone = keras_hub.models.GPT2Backbone(
        vocabulary_size=len(PIECES), num_layers=1, num_heads=2, hidden_dim=8, intermediate_dim=8, max_sequence_length=48
    )
    preprocessor = keras_hub.models.GPT2CausalLMPreprocessor(byte_pairs(merges, **settings), sequence_length=48)
    return keras_hub.models.GPT2CausalLM(backbone=backbone, preprocessor=preprocessor)


def rescored(proto: bytes, piece: int, **changes) -> bytes:
    """A SentencePiece model in which one piece is another one, of the same text."""
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(proto)
    for name, value in changes.items():
        setattr(model.pieces[piece], name, value)
    return model.SerializeToString()


@pytest.fixture(scope="module")
def other():
    """A model whose tokenizer has the pieces of `gpt2()` and other merges."""
    return gpt2(["h e", "t h"])


# -- equal where the tokens are --------------------------------------------------------------------------------------


def test_other_merges_are_another_tokenizer(other):
    one, two = byte_pairs(), models.tokenizer_of(other)
    assert tokenize(one, ["the"]) != tokenize(two, ["the"])
    assert tokenizers.vocabulary_fingerprint(one) == tokenizers.vocabulary_fingerprint(two)
    assert models.tokenizer_fingerprint(one) != models.tokenizer_fingerprint(two)
    assert tokenizers.differences(one, two) == ["merges"]
    assert tokenizers.differences(byte_pairs(["t h", "h e"]), two) == ["merges"]  # their order decides too


@pytest.mark.parametrize(
    ("make", "changed"),
    [
        (byte_pairs, {"add_prefix_space": True}),
        (byte_pairs, {"unsplittable_tokens": ["<|endoftext|>", "the"]}),
        (byte_pairs, {"sequence_length": 8}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"lowercase": True}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"strip_accents": True}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"split": False}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"split_on_cjk": False}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"suffix_indicator": "@@"}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"oov_token": "the"}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"special_tokens_in_strings": True}),
        (lambda **given: hub.WordPieceTokenizer(WORDS, **given), {"special_tokens": ["[S]"]}),
        (hub.ByteTokenizer, {"lowercase": False}),
        (hub.ByteTokenizer, {"normalization_form": "NFC"}),
        (hub.UnicodeCodepointTokenizer, {"vocabulary_size": 500}),
    ],
)  # fmt: skip
def test_a_setting_that_decides_tokens_is_seen(make, changed):
    assert tokenizers.fingerprint(make()) == tokenizers.fingerprint(make())
    assert tokenizers.fingerprint(make()) != tokenizers.fingerprint(make(**changed))


def test_scores_flags_and_added_tokens_of_sentence_pieces_are_seen(proto):
    make = keras_hub.models.GemmaTokenizer
    plain = make(proto=proto)
    for changed in (
        make(proto=rescored(proto, 300, score=-1.0)),
        make(proto=rescored(proto, 300, type=4)),  # user-defined
        make(proto=proto, add_bos=True),
        make(proto=proto, add_eos=True),
    ):
        assert tokenizers.vocabulary_fingerprint(changed) == tokenizers.vocabulary_fingerprint(plain)
        assert tokenizers.fingerprint(changed) != tokenizers.fingerprint(plain)
    assert tokenizers.fingerprint(make(proto=proto, name="another", dtype="int64")) == tokenizers.fingerprint(plain)


def test_a_family_that_only_names_special_tokens_shares_its_tokens(proto):
    """PaliGemma reads text as Gemma does; a class with its own way to tokenize does not."""

    class Loud(keras_hub.models.GemmaTokenizer):
        def tokenize(self, inputs):
            return super().tokenize([text.upper() for text in inputs])

    gemma, relative = keras_hub.models.GemmaTokenizer(proto=proto), keras_hub.models.PaliGemmaTokenizer(proto=proto)
    assert tokenizers.fingerprint(gemma) == tokenizers.fingerprint(relative)
    assert tokenizers.differences(gemma, Loud(proto=proto)) == ["methods"]


def test_default_tokens_that_are_never_split_have_no_order():
    """KerasHub takes them from a set, whose order is another one in every process."""
    specials = ["<|begin_of_text|>", "<|end_of_text|>", "<|start_header_id|>", "<|end_header_id|>", "<|eot_id|>"]
    pieces = {p: i for i, p in enumerate([*PIECES, *specials])}
    one, two = (keras_hub.models.Llama3Tokenizer(pieces, merges=["t h"]) for _ in range(2))
    two.unsplittable_tokens = one.unsplittable_tokens[::-1]
    assert len(one.unsplittable_tokens) > 2 and not tokenizers.differences(one, two)


@pytest.mark.parametrize("settings", [{}, {"add_prefix_space": True}])
def test_a_tokenizer_is_itself_after_a_round_trip(settings, tmp_path, small):
    for model in (gpt2(**settings), small):
        models.save(model, tmp_path / "preset")
        before, after = models.tokenizer_of(model), models.tokenizer_of(models.load(tmp_path / "preset"))
        assert tokenizers.differences(before, after) == []
        assert tokenizers.fingerprint(before) == tokenizers.fingerprint(after)


def test_a_list_in_a_configuration_is_part_of_the_weights_identity(new_model, monkeypatch):
    model = new_model("small")
    config, seen = model.backbone.get_config(), {models.weights_fingerprint(model)}
    for factors in ([1.0, 1.0], [2.0, 1.0]):
        monkeypatch.setattr(model.backbone, "get_config", lambda f=factors: config | {"rope_factors": f})
        seen.add(models.weights_fingerprint(model))
    assert len(seen) == 3


# -- who relies on it ------------------------------------------------------------------------------------------------


def test_models_of_other_merges_do_not_go_together(other, examples):
    small = gpt2()
    data = encode(examples[20:], models.tokenizer_of(small), 48)
    with pytest.raises(CatKerasError, match="whose tokenizer is not the one that encoded the data"):
        TeacherCache.build(other, data, "none")
    for refused in (
        lambda: models.check_same_tokenizer(small, other),
        lambda: SpeculativeCascade(small, other),
        lambda: CascadeAware(small, "cat-xent", teacher=other),
    ):
        with pytest.raises(CatKerasError, match=r"which differ in merges\. Take two presets"):
            refused()


def as_version_0_1(data: Encoded, tokenizer) -> Encoded:
    return dataclasses.replace(data, tokenizer=tokenizers.vocabulary_fingerprint(tokenizer), named_by="")


@pytest.fixture
def earlier(large, encoded):
    """Data and teacher columns as version 0.1 wrote them."""
    data = as_version_0_1(encoded, models.tokenizer_of(large))
    cache = TeacherCache.build(large, encoded, "none")
    cache.header |= {"format": 2, "tokenizer": data.tokenizer, "data": data.fingerprint}
    return data, cache


def test_data_of_an_earlier_version_do_not_prove_their_tokenizer(earlier, large, examples):
    data, _ = earlier
    assert len(Batches(data, 8, loss="xent"))  # nothing is compared
    with pytest.raises(CatKerasError, match=r"data of version 0\.1.*Encode the data again"):
        TeacherCache.build(large, data, "none")


def test_columns_of_an_earlier_version_do_not_prove_their_tokenizer(earlier):
    data, cache = earlier
    with pytest.raises(CatKerasError, match=r"one of version 0\.1.*Build the cache again"):
        Batches(data, 8, loss="cat-xent", teacher=cache)


def test_a_run_whose_cache_is_named_by_the_files_goes_on_with_it(earlier, large, encoded, tmp_path):
    data, cache = earlier
    data.save(tmp_path / "encoded.npz")
    tokenizer = models.tokenizer_of(large)
    known = Encoded.load(tmp_path / "encoded.npz").known_to_be_of(tokenizer)
    assert known.fingerprint == data.fingerprint  # checkpoints and columns know it by this
    assert known.tokenizer == tokenizers.fingerprint(tokenizer)
    before = Batches(known, 8, loss="cat-xent", teacher=cache).batch(0)
    again = encoded.known_to_be_of(tokenizer)  # data that had to be encoded again are the same data
    for one, two in zip(before, Batches(again, 8, loss="cat-xent", teacher=cache).batch(0), strict=True):
        for name in one if isinstance(one, dict) else ():
            np.testing.assert_array_equal(one[name], two[name])
    built = TeacherCache.build(large, known, "none")
    Batches(again, 8, loss="cat-xent", teacher=built)


def test_saved_cascades_of_an_earlier_version(small, large, tmp_path):
    cascade = Cascade([small, large], thresholds=[0.0], max_length=48, max_new_tokens=3)
    cascade.save(tmp_path / "cascade")

    def write(**changes):
        path = tmp_path / "cascade" / "cascade.json"
        facts = json.loads(path.read_text()) | {"format": 1} | changes
        (tmp_path / "cascade" / "manifest.json").unlink()
        store.write_json(path, facts)
        store.seal(tmp_path / "cascade", {})

    write()
    assert Cascade.load(tmp_path / "cascade").thresholds == [0.0]  # the files are in the folder, with checksums
    name = {"preset": "tiny", "weights": "0" * 64, "tokenizer": "0" * 64}
    write(models=[None, name])
    with pytest.raises(CatKerasError, match=r"of version 0\.1.*'tiny'.*Calibrate again"):
        Cascade.load(tmp_path / "cascade")
    write(format=saved.FORMAT + 1)
    with pytest.raises(CatKerasError, match=f"Received: {saved.FORMAT + 1}"):
        Cascade.load(tmp_path / "cascade")


# -- the keys of a run -----------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def folders(tmp_path_factory, small, large, proto):
    folder = tmp_path_factory.mktemp("presets")
    for name, model in (("small", small), ("large", large)):
        models.save(model, folder / name)
    shutil.copytree(folder / "large", folder / "rescored")
    (folder / "rescored/assets/tokenizer/vocabulary.spm").write_bytes(rescored(proto, 300, score=-1.0))
    return folder


def test_only_presets_of_doubtful_tokenizers_get_new_keys(folders):
    def keys(large):
        data = {"tasks": ["embedded_lookup"], "train": 8, "test": 4, "max_length": 48, "max_new_tokens": 4}
        profile = Profile.model_validate(
            {"name": "p", "methods": ["xent", "cat-xent"], "data": data, "small": {"preset": str(folders / "small")},
             "large": {"preset": str(folders / large)}, "objective": {"epochs": 1, "learning_rate": 1e-3}}
        )  # fmt: skip
        made = plan.make(profile)
        arguments = {"large": made.large_key, "encoded": made.encoded, "precision": profile.precision}
        return made.teacher, plan._key("teacher", **arguments, **profile.teacher.model_dump())

    now, as_before = keys("large")
    assert now == as_before
    now, as_before = keys("rescored")
    assert now != as_before
