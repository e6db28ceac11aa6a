"""Every size of an elastic model is the model that its part of the weights makes, and it shares these weights."""

import keras
import keras_hub
import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs, models
from cat_keras.modeling.elastic import Elastic, Size, families, reorder, sizes
from cat_keras.training.trainer import CascadeAware
from tests.decoding.families import sharpened

LADDER = [{"layers": 2}, Size(layers=2, heads=2, feedforward=10), {"layers": 1, "heads": 1, "feedforward": 10}]
TOKENS = {"token_ids": np.arange(4, 28).reshape(2, 12) % 40, "padding_mask": np.ones((2, 12), np.int32)}
COMMON = {"vocabulary_size": 40, "num_layers": 3, "num_query_heads": 4, "hidden_dim": 32, "intermediate_dim": 24}


def gemma(key_value_heads=1):
    backbone = keras_hub.models.GemmaBackbone(**COMMON, num_key_value_heads=key_value_heads, head_dim=8)
    return sharpened(keras_hub.models.GemmaCausalLM(backbone, preprocessor=None))


def gemma3(key_value_heads=2):
    backbone = keras_hub.models.Gemma3Backbone(
        **COMMON, num_key_value_heads=key_value_heads, head_dim=8, image_size=16, sliding_window_size=4,
        use_sliding_window_attention=True, use_post_ffw_norm=True, use_post_attention_norm=True,
    )  # fmt: skip
    return sharpened(keras_hub.models.Gemma3CausalLM(backbone=backbone, preprocessor=None))


def llama3(key_value_heads=2):
    backbone = keras_hub.models.Llama3Backbone(**COMMON, num_key_value_heads=key_value_heads)
    return sharpened(keras_hub.models.Llama3CausalLM(backbone=backbone, preprocessor=None))


@pytest.fixture
def model(new_model):
    return sharpened(new_model(layers=3, width=16, feedforward=20))


def logits(model) -> np.ndarray:
    return keras.ops.convert_to_numpy(model(TOKENS))


# -- sizes -----------------------------------------------------------------------------------------------------------


def test_a_size_is_the_first_part_of_the_weights(model):
    elastic = Elastic(model, [{"layers": 1, "width": 8, "heads": 1, "feedforward": 5}])
    cut, whole = elastic.extract(0).backbone, model.backbone
    assert cut.num_layers == 1
    block, whole_block = cut.transformer_layers[0], whole.transformer_layers[0]
    for name, part in {
        "attention.query_dense": np.s_[:1, :8], "attention.value_dense": np.s_[:1, :8],
        "attention.output_dense": np.s_[:1, :, :8], "gating_ffw": np.s_[:8, :5], "ffw_linear": np.s_[:5, :8],
    }.items():  # fmt: skip
        kernels = [np.asarray(_part(b, name).kernel.value) for b in (block, whole_block)]
        np.testing.assert_array_equal(kernels[0], kernels[1][part])


def _part(layer, name):
    for part in name.split("."):
        layer = getattr(layer, part)
    return layer


def test_a_size_counts_as_the_model_of_its_shape(model, proto):
    elastic = Elastic(model, [{"layers": 2, "heads": 1, "width": 8, "feedforward": 9}])
    alone = models.build(proto, layers=2, width=8, heads=1, feedforward=9)
    for size in (elastic.at(0), elastic.extract(0)):
        assert costs.count(size) == costs.count(alone)
        assert size.count_params() == alone.count_params()


@pytest.mark.parametrize(
    ("make", "ladder"),
    [
        (gemma, LADDER),
        pytest.param(lambda: gemma(2), LADDER[:2], marks=pytest.mark.long),
        pytest.param(gemma3, LADDER[:2], marks=pytest.mark.long),
        pytest.param(
            llama3, [{"layers": 2}, {"layers": 1, "feedforward": 10, "heads": 2, "width": 16}], marks=pytest.mark.long
        ),
    ],
)
def test_shared_and_extracted_sizes_give_equal_logits(make, ladder):
    model = make()
    elastic = Elastic(model, ladder)
    assert elastic.at(-1) is model and len(elastic.sizes) == len(ladder) + 1
    for size in elastic.sizes:
        np.testing.assert_array_equal(logits(elastic.at(size)), logits(elastic.extract(size)))
    before = logits(elastic.at(0))
    sharpened(model, seed=1)
    assert np.abs(before - logits(elastic.at(0))).max() > 0.1
    np.testing.assert_array_equal(logits(elastic.at(0)), logits(elastic.extract(0)))
    exits, trunk = elastic.trunk(elastic.trunks[0])
    for size, states in zip(exits, trunk(TOKENS), strict=True):
        np.testing.assert_array_equal(states, elastic.at(size).backbone(TOKENS))


def test_a_write_to_a_size_changes_its_part_of_the_whole(model):
    elastic = Elastic(model, [{"layers": 1, "feedforward": 5}])
    kernel, whole = (m.backbone.transformer_layers[0].gating_ffw.kernel for m in (elastic.at(0), model))
    before = np.array(whole.value)
    kernel.assign(np.ones(kernel.shape))
    assert (np.asarray(whole.value)[:, :5] == 1).all()
    np.testing.assert_array_equal(np.asarray(whole.value)[:, 5:], before[:, 5:])


@pytest.fixture
def traces(monkeypatch):
    """A list that gets an entry for every function that TensorFlow compiles."""
    import tensorflow as tf

    made, original = [], tf.Graph.__init__
    monkeypatch.setattr(tf.Graph, "__init__", lambda self, *a, **k: (made.append(self), original(self, *a, **k))[1])
    return made


def check_switching(values, model, traces):
    """Each size compiles at its first call, and never again, although the weights change."""
    first = values()
    assert traces and not np.allclose(first[0], first[1])
    traces.clear()
    for again in (values(), values()):
        np.testing.assert_array_equal(again, first)
    sharpened(model, seed=5)
    assert not np.allclose(values(), first), "the sizes do not follow the whole"
    assert not traces


def test_switching_compiles_nothing_again(model, traces):
    elastic = Elastic(model, LADDER[:1])
    check_switching(lambda: [elastic.at(s).backbone.predict_on_batch(TOKENS) for s in elastic.sizes], model, traces)


@pytest.mark.long
def test_switching_between_predictors_compiles_nothing_again(model, examples, traces):
    from cat_keras.decoding.predictor import Predictor

    elastic = Elastic(model, LADDER[:1])
    predictors = [Predictor(elastic.at(size), max_length=40, max_new_tokens=4) for size in elastic.sizes]
    values = lambda: [[p.option_logprobs for p in predictor(examples[:4])] for predictor in predictors]  # noqa: E731
    check_switching(values, model, traces)


@pytest.mark.slow
def test_an_extracted_size_is_saved_loaded_and_exported(model, tmp_path):
    cut = Elastic(model, LADDER).extract({"layers": 2, "heads": 2, "feedforward": 10})
    models.save(cut, tmp_path / "cut")
    loaded = models.load(tmp_path / "cut")
    np.testing.assert_array_equal(logits(cut), logits(loaded))
    assert models.weights_fingerprint(loaded) == models.weights_fingerprint(cut)
    pytest.importorskip("safetensors")
    models.export(cut, tmp_path / "exported")
    np.testing.assert_allclose(logits(models.load(tmp_path / "exported")), logits(cut), atol=1e-5)


# -- bad input -------------------------------------------------------------------------------------------------------

WHOLE = Size(layers=4, width=32, heads=4, feedforward=24)


@pytest.mark.parametrize(
    ("values", "key_value_heads", "message"),
    [
        ([{"layers": 2}, {"feedforward": 12}], 4, r"are nested.*Received: \(layers=.*\) and \(layers=.*\)\. Leave"),
        ([{"layers": 5}], 4, "has layers=4. Received: layers=5"),
        ([{"heads": 3}], 2, "2 queries to a key-value head. Received: heads=3 .* Take a multiple of 2"),
        ([{"layer": 2}], 4, "Unknown key of a size 'layer'; did you mean layers"),
        ([{"layers": 0}], 4, "layers of a size is a whole number"),
        ([{"layers": True}], 4, "layers of a size is a whole number"),
        ([0.5], 4, "A size is a ck.elastic.Size or a table"),
        ([], 4, "at least one size beside the whole"),
        ({"layers": 2}, 4, "Sizes come as a list"),
    ],
)
def test_sizes_that_no_model_has_are_an_error(values, key_value_heads, message):
    with pytest.raises(CatKerasError, match=message):
        sizes.nested(values, WHOLE, key_value_heads)


def test_sizes_come_in_ascending_order_with_all_numbers():
    ordered = sizes.nested([{"layers": 3}, {"layers": 1, "heads": 3}, {"layers": 3, "heads": 3}, WHOLE], WHOLE, 1)
    assert [size.numbers for size in ordered] == [(1, 32, 3, 24), (3, 32, 3, 24), (3, 32, 4, 24), (4, 32, 4, 24)]


def test_heads_of_llama_shrink_with_the_width():
    with pytest.raises(CatKerasError, match=r"width=32, heads=2\. Give width=16"):
        sizes.nested([{"heads": 2}], WHOLE, 4, tied_head=8)


def test_a_size_that_was_not_named_is_an_error(model):
    elastic = Elastic(model, LADDER[:1])
    for strange in (7, True, {"layers": 1}, "2"):
        with pytest.raises(CatKerasError, match=r"size"):
            elastic.at(strange)


def test_other_models_and_parts_are_refused(model):
    gpt2 = keras_hub.models.GPT2Backbone(20, 1, 1, 8, 8, max_sequence_length=8)
    with pytest.raises(CatKerasError, match=r"of Gemma, Gemma3, Llama3\. Received: GPT2Backbone"):
        Elastic(keras_hub.models.GPT2CausalLM(gpt2, preprocessor=None), LADDER)
    with pytest.raises(CatKerasError, match="sizes of an elastic model are trained together"):
        CascadeAware(Elastic(model, LADDER[:1]).at(0), "xent")
    model.backbone.enable_lora(2)
    with pytest.raises(CatKerasError, match="Merge the LoRA"):
        Elastic(model, LADDER)


# -- reordering ------------------------------------------------------------------------------------------------------


def drawn_importance(model, seed=0):
    whole, rng = families.whole(model.backbone), np.random.default_rng(seed)
    return [{"heads": rng.random(whole.heads), "units": rng.random(whole.feedforward)} for _ in range(whole.layers)]


@pytest.mark.parametrize(
    "make",
    [
        pytest.param(gemma, marks=pytest.mark.long),
        lambda: gemma(2),
        pytest.param(gemma3, marks=pytest.mark.long),
        pytest.param(llama3, marks=pytest.mark.slow),
    ],
)
def test_reordering_changes_no_output_of_the_whole(make):
    model = make()
    elastic, before = Elastic(model, [{"feedforward": 6}]), logits(model)
    small_before = logits(elastic.at(0))
    importance = drawn_importance(model)
    kernel = getattr(model.backbone.transformer_layers[0], families.of(model).down)._kernel
    units = np.array(kernel.value)
    reorder(model, importance)
    np.testing.assert_allclose(logits(model), before, atol=2e-5)
    np.testing.assert_array_equal(kernel.value, units[np.argsort(-importance[0]["units"])])
    assert np.abs(logits(elastic.at(0)) - small_before).max() > 0.01


def test_importance_of_another_model_is_refused(model):
    with pytest.raises(CatKerasError, match=r"3 x 2 and 20\. Received: 2 layers"):
        reorder(model, drawn_importance(model)[:2])
