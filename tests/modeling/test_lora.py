"""LoRA: what is trained, what is saved, and that the merged model is the adapted one."""

import json

import numpy as np
import pytest
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora, models

LAYERS = {"default": {"query", "value"}, "attention": {"query", "key", "value", "attention_output"}}


def values(variables):
    return [ops.convert_to_numpy(v).copy() for v in variables]


def logits(model):
    ids = np.arange(1, 25).reshape(2, 12)
    return ops.convert_to_numpy(model({"token_ids": ids, "padding_mask": np.ones_like(ids)}))


def changed(model, seed=0):
    """The model with factors that are not 0."""
    rng = np.random.default_rng(seed)
    for layer in lora.adapted(model):
        for factor in lora.factors(layer):
            factor.assign(rng.normal(0, 0.3, factor.shape))
    return model


@pytest.fixture
def adapted(new_model):
    """A function: a large model with LoRA whose factors are not 0."""

    def make(rank=2, **arguments):
        model = new_model("large", seed=3)
        lora.enable(model, rank, **arguments)
        return changed(model)

    return make


@pytest.mark.parametrize("layers", ["all", *(pytest.param(n, marks=pytest.mark.slow) for n in lora.LAYERS[:2])])
def test_the_factors_alone_are_trainable_and_the_model_starts_as_its_base(new_model, layers):
    model = new_model("large", seed=3)
    before, base = logits(model), models.weights_fingerprint(model)
    lora.enable(model, 2, layers=layers)
    np.testing.assert_array_equal(logits(model), before)
    trainable = {v.name for v in model.trainable_variables}
    assert trainable == {"lora_kernel_a", "lora_kernel_b"}
    names = {layer.name for layer in lora.adapted(model)}
    assert names == LAYERS.get(layers, names) and ("ffw_gating" in names) == (layers == "all")
    assert lora.base_fingerprint(model) == base != models.weights_fingerprint(model)


def test_a_is_drawn_by_its_seed_within_its_bounds(new_model):
    drawn = []
    for seed in (0, 0, 1):
        model = new_model("large", seed=3)
        lora.enable(model, 2, seed=seed)
        a, b = zip(*(values(lora.factors(layer)) for layer in lora.adapted(model)), strict=True)
        assert not np.any(np.concatenate([v.ravel() for v in b]))
        drawn.append(a)
    for one, again, other in zip(*drawn, strict=True):
        np.testing.assert_array_equal(one, again)
        assert not np.array_equal(one, other)
        limit = (6 / np.prod(one.shape[:-1])) ** 0.5
        assert 0.5 * limit < np.abs(one).max() <= limit
    assert not np.array_equal(drawn[0][0], drawn[0][1])


@pytest.mark.slow
def test_an_adapted_kernel_by_hand(adapted):
    model = adapted(rank=1, alpha=3.0)
    layer = next(layer for layer in lora.adapted(model) if layer.name == "query")
    (kernel,), (a, b) = values([layer._kernel]), values(lora.factors(layer))
    by_hand = kernel + 3.0 * np.einsum("hwr,rd->hwd", a, b)
    np.testing.assert_allclose(lora.summed(layer), by_hand, atol=1e-6)
    np.testing.assert_allclose(ops.convert_to_numpy(layer.kernel), by_hand, atol=1e-6)


@pytest.mark.parametrize("layers", ["default", *(pytest.param(n, marks=pytest.mark.slow) for n in lora.LAYERS[1:])])
def test_merging_changes_no_logit_and_gives_a_plain_model(adapted, new_model, layers):
    model = adapted(layers=layers, alpha=5)
    expected, plain = logits(model), new_model("large", seed=4)
    assert np.abs(logits(new_model("large", seed=3)) - expected).max() > 0.01
    plain.set_weights(lora.merged(model))
    lora.merge(model)
    np.testing.assert_allclose(logits(model), expected, atol=2e-5)
    np.testing.assert_array_equal(logits(plain), logits(model))
    assert not lora.adapted(model)
    assert {v.path for v in model.trainable_variables} == {v.path for v in plain.trainable_variables}
    assert models.weights_fingerprint(model) == models.weights_fingerprint(plain)
    lora.enable(model, 1)  # and once more
    np.testing.assert_array_equal(logits(model), logits(plain))


def test_a_preset_holds_the_merged_model_and_the_model_stays_adapted(adapted, tmp_path):
    model = adapted()
    before, expected = values(model.weights), logits(model)
    models.save(model, tmp_path / "preset")
    for one, other in zip(values(model.weights), before, strict=True):
        np.testing.assert_array_equal(one, other)
    assert lora.adapted(model)
    again = models.load(tmp_path / "preset")
    assert not lora.adapted(again)
    np.testing.assert_allclose(logits(again), expected, atol=2e-5)
    lora.merge(model)
    assert models.weights_fingerprint(again) == models.weights_fingerprint(model)


def test_a_preset_is_merged_in_the_precision_of_its_weights(new_model, tmp_path):
    model = new_model("small", seed=3, dtype="mixed_bfloat16")
    lora.enable(model, 2)
    models.save(changed(model), tmp_path / "preset")
    again = models.load(tmp_path / "preset")
    for one, other in zip(lora.merged(model), again.get_weights(), strict=True):
        np.testing.assert_array_equal(one, other)


@pytest.mark.slow
def test_weights_of_bfloat16_are_frozen_beside_factors_of_float32(new_model):
    model = new_model("small", seed=3, dtype="bfloat16")
    lora.enable(model, 2)
    assert {v.dtype for v in model.trainable_variables} == {"float32"}
    assert {v.dtype for v in model.non_trainable_weights if "embedding" in v.path or "kernel" in v.path} == {"bfloat16"}
    merged = lora.merged(changed(model))
    lora.merge(model)
    for one, other in zip(merged, values(model.weights), strict=True):
        np.testing.assert_array_equal(one, other)
        assert one.dtype == other.dtype


# -- files of adapters -----------------------------------------------------------------------------------------------


def test_adapters_are_saved_alone_and_loaded_beside_their_base(adapted, new_model, tmp_path):
    model, path = adapted(layers="all", alpha=5), tmp_path / "adapters.npz"
    lora.save(model, path)
    n_factors = sum(int(np.prod(f.shape)) for layer in lora.adapted(model) for f in lora.factors(layer))
    with np.load(path) as arrays:
        assert sum(v.size for name, v in arrays.items() if name != "header") == n_factors < model.count_params() / 3
    base = new_model("large", seed=3)
    lora.load(base, path)
    assert models.weights_fingerprint(base) == models.weights_fingerprint(model)
    np.testing.assert_array_equal(logits(base), logits(model))
    changed(base, seed=1)
    lora.load(base, path)  # in the place of others
    np.testing.assert_array_equal(logits(base), logits(model))


@pytest.mark.slow
def test_adapters_of_kerashubs_own_call_are_known_too(new_model, tmp_path):
    model = new_model("large", seed=3)
    model.backbone.enable_lora(2)
    lora.save(changed(model), tmp_path / "adapters.npz")
    base = new_model("large", seed=3)
    lora.load(base, tmp_path / "adapters.npz")
    np.testing.assert_array_equal(logits(base), logits(model))


def test_initial_weights_are_the_base_and_the_factors_of_the_seed(adapted, new_model):
    model, fresh = adapted(), new_model("large", seed=4)
    base = fresh.get_weights()
    lora.enable(fresh, 2, seed=7)
    model.set_weights(lora.initial(model, base, seed=7))
    assert models.weights_fingerprint(model) == models.weights_fingerprint(fresh)
    with pytest.raises(CatKerasError, match=r"weights\. Received: 1"):
        lora.initial(model, base[:1], 0)


# -- bad input -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"rank": 0}, r"rank is a whole number in \[1, 32\]. Received: 0. Its upper limit is the width"),
        ({"rank": 33}, r"\[1, 32\]. Received: 33"),
        ({"rank": 2.0}, "Received: 2.0"),
        ({"rank": True}, "Received: True"),
        ({"rank": 2, "alpha": 0}, "alpha is a number"),
        ({"rank": 2, "alpha": float("nan")}, "alpha is a number"),
        ({"rank": 2, "layers": "atention"}, "Unknown layers of LoRA 'atention'; did you mean attention"),
        ({"rank": 2, "layers": ["query"]}, "Unknown layers of LoRA"),
        ({"rank": 2, "seed": -1}, "seed is a whole number"),
    ],
)
def test_bad_arguments_are_one_error_and_change_nothing(large, arguments, message):
    with pytest.raises(CatKerasError, match=message):
        lora.enable(large, **arguments)
    assert not lora.adapted(large) and len(large.trainable_variables) > 2


@pytest.mark.slow
@pytest.mark.filterwarnings("ignore")
def test_models_that_cannot_be_adapted_are_refused(adapted, new_model, monkeypatch):
    with pytest.raises(CatKerasError, match=r"has it already. Call ck\.lora\.merge"):
        lora.enable(adapted(), 2)
    quantized = new_model("small")
    quantized.backbone.quantize("int8")
    with pytest.raises(CatKerasError, match=r"quantized to int8\. Load the model from before"):
        lora.enable(quantized, 2)
    other = new_model("small")
    monkeypatch.setattr(type(other.backbone), "default_lora_layer_names", lambda self: ["other"])
    with pytest.raises(CatKerasError, match="GemmaBackbone, which has none for layers='default'"):
        lora.enable(other, 2)


def test_files_that_do_not_fit_are_refused(adapted, new_model, tmp_path):
    model, path = adapted(), tmp_path / "adapters.npz"
    lora.save(model, path)
    with pytest.raises(CatKerasError, match=r"belong to the weights that they were trained beside.*Load the base"):
        lora.load(new_model("large", seed=4), path)
    with pytest.raises(CatKerasError, match="Give the plain base"):
        lora.load(adapted(rank=1), path)
    with pytest.raises(CatKerasError, match=r"ck\.models\.save"):
        lora.save(new_model("large", seed=3), path)
    with pytest.raises(CatKerasError, match="does not exist"):
        lora.load(model, tmp_path / "none.npz")
    header, arrays = lora._read(path)
    for change in ({"version": 2}, {"layers": header["layers"][1:]}, {"layers": [[99, 2, 2.0]] * len(header["layers"])},
                   {"layers": [[place, 3, 2.0] for place, *_ in header["layers"]]}):  # fmt: skip
        np.savez(path, header=json.dumps(header | change), **arrays)
        with pytest.raises(CatKerasError, match="Expected adapters"):
            lora.load(new_model("large", seed=3), path)
    path.write_bytes(b"nothing")
    with pytest.raises(CatKerasError, match="Expected a"):
        lora.load(model, path)
