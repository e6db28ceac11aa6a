"""FLOPs are those of the architecture: whatever stores the weights, for experts in use, and unknown where unknown."""

import math
from types import SimpleNamespace

import keras
import keras_hub
import numpy as np
import pytest

from benchmarks.planning import estimate, plan, profile, sizes
from cat_keras.cascades.cascade import Cascade
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.data.records import Example
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError
from cat_keras.modeling import costs, models

RANK = 3


def gemma(**changes):
    shape = {"vocabulary_size": 50, "num_layers": 2, "num_query_heads": 2, "num_key_value_heads": 1, "head_dim": 8}
    return keras_hub.models.GemmaBackbone(**shape | {"hidden_dim": 16, "intermediate_dim": 32} | changes)


def gpt2():
    return keras_hub.models.GPT2Backbone(
        vocabulary_size=50, num_layers=2, num_heads=2, hidden_dim=16, intermediate_dim=24, max_sequence_length=16
    )


def llama(tied):
    return keras_hub.models.Llama3Backbone(
        vocabulary_size=50, num_layers=2, num_query_heads=2, num_key_value_heads=1, hidden_dim=16, intermediate_dim=24,
        tie_word_embeddings=tied,
    )  # fmt: skip


def count(backbone) -> costs.FlopCount:
    return costs.count(SimpleNamespace(backbone=backbone))


# -- storage ---------------------------------------------------------------------------------------------------------


FAMILIES = {"gemma": gemma, "gpt2": gpt2, "llama tied": lambda: llama(True), "llama": lambda: llama(False)}
IN_CI = {("gemma", "int4"), ("llama tied", "float8")}
QUANTIZED = [
    pytest.param(family, mode, marks=pytest.mark.slow if (family, mode) in IN_CI else pytest.mark.long)
    for family in FAMILIES
    for mode in ("int8", "int4", "float8")
]


@pytest.mark.filterwarnings("ignore")  # of Keras, for layers that a mode does not know
@pytest.mark.parametrize(("family", "mode"), QUANTIZED)
def test_quantized_weights_are_the_products_that_they_stand_for(family, mode):
    backbone = FAMILIES[family]()
    before = count(backbone)
    backbone.quantize(mode)
    assert count(backbone) == before


@pytest.mark.parametrize("mode", ["gptq", "awq"])
def test_calibrated_weights_of_four_bits_are_the_same_products(mode):
    from keras.src.quantizers import awq_config, gptq_config

    given = {"dataset": None, "tokenizer": None}
    config = awq_config.AWQConfig(**given) if mode == "awq" else gptq_config.GPTQConfig(**given, weight_bits=4)
    layers = keras.layers.Dense(12), keras.layers.EinsumDense("abc,cde->abde", output_shape=(None, 2, 8))
    for layer in layers:
        layer.build((None, None, 16))
        before = costs._products(layer)
        layer.quantize(mode, config=config)
        assert costs._products(layer) == before
        for name in ("is_gptq_calibrated", "is_awq_calibrated"):
            setattr(layer, name, True)
        assert costs._products(layer) == before == (16 * layer_width(layer), 0)


def layer_width(layer) -> int:
    return layer.units if isinstance(layer, keras.layers.Dense) else 16


def test_factors_of_lora_are_products_until_they_are_merged(tmp_path, new_model):
    model = new_model("small")
    before, c = costs.count(model), model.backbone.get_config()
    model.backbone.enable_lora(RANK)
    heads, d, w = (c[k] for k in ("num_query_heads", "head_dim", "hidden_dim"))
    factors = RANK * heads * w + RANK * heads * d  # of the query and of the value of one layer
    assert costs.count(model).per_token == before.per_token + 2 * 2 * c["num_layers"] * factors
    assert costs.count(model).per_logit == before.per_logit
    models.save(model, tmp_path / "merged")  # Keras merges what it saves
    assert costs.count(models.load(tmp_path / "merged")) == before


def test_factors_of_a_dense_layer_and_of_the_embedding():
    backbone = gpt2()
    before = count(backbone)
    backbone.token_embedding.enable_lora(RANK)
    after = count(backbone)
    assert after.per_token - before.per_token == 2 * RANK * 16
    assert after.per_logit - before.per_logit == 2 * RANK * (50 + 16)
    dense = keras.layers.Dense(5)
    dense.build((None, 7))
    dense.enable_lora(RANK)
    assert costs._products(dense) == (5 * 7 + RANK * (5 + 7), 0)


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("mode", [None, *(pytest.param(mode, marks=pytest.mark.long) for mode in ("int8", "int4"))])
def test_the_size_of_a_folder_does_not_depend_on_its_storage(mode, tmp_path, new_model):
    model = new_model("large")
    flops, parameters = costs.count(model), model.count_params()
    if mode:
        model.backbone.quantize(mode)
    model.save_to_preset(str(tmp_path))
    told = sizes.of(profile.Model(preset=str(tmp_path)), 0)
    assert (told.flops, told.parameters) == (flops, parameters)


def test_tied_and_separate_embeddings_cost_one_output_layer():
    assert count(llama(True)) == count(llama(False))


# -- experts ---------------------------------------------------------------------------------------------------------

EXPERTS, CHOSEN, WIDTH, INNER = 5, 2, 16, 24
COMMON = {"vocabulary_size": 50, "num_layers": 2, "num_query_heads": 2, "num_key_value_heads": 1, "hidden_dim": WIDTH,
          "num_experts": EXPERTS, "top_k": CHOSEN}  # fmt: skip
MIXTURES = {
    "mixtral": lambda: keras_hub.models.MixtralBackbone(**COMMON, intermediate_dim=INNER),
    "qwen": lambda: keras_hub.models.QwenMoeBackbone(
        **COMMON, intermediate_dim=INNER, moe_intermediate_dim=INNER, shared_expert_intermediate_dim=8
    ),
    "qwen3": lambda: keras_hub.models.Qwen3MoeBackbone(
        **COMMON, head_dim=8, intermediate_dim=INNER, moe_intermediate_dim=INNER
    ),
}


@pytest.mark.parametrize("name", MIXTURES)
def test_experts_are_counted_as_used_and_as_computed(name):
    backbone = MIXTURES[name]()
    flops, expert = count(backbone), 2 * 3 * WIDTH * INNER * 2  # FLOPs of one expert of each of two layers
    assert flops.idle_per_token == pytest.approx((EXPERTS - CHOSEN) * expert)
    assert flops.computed.per_token == pytest.approx(flops.per_token + (EXPERTS - CHOSEN) * expert)
    assert flops.computed.computed == flops.computed
    matrices = [w for w in backbone.weights if len(w.shape) > 1 and "embedding" not in w.path and "bias" not in w.path]
    assert flops.computed.per_token == pytest.approx(2 * sum(math.prod(w.shape) for w in matrices))
    assert flops.forward(4, 2) == pytest.approx(flops.computed.forward(4, 2) - 5 * flops.idle_per_token)


def test_an_estimate_takes_what_is_computed(tmp_path):
    MIXTURES["mixtral"]().save_to_preset(str(tmp_path))
    told = sizes.of(profile.Model(preset=str(tmp_path)), 0)
    assert told.flops == count(MIXTURES["mixtral"]())
    made = SimpleNamespace(_size={"large": told}.get)
    lengths = np.array([3.0])
    expected = 3 * told.flops.computed.per_token + 2 * told.flops.per_logit + 4.5 * told.flops.per_context
    assert estimate.Estimate._forward(made, "large", lengths, 2) == pytest.approx(expected)


def test_answers_of_a_mixture_get_new_keys(tmp_path):
    MIXTURES["mixtral"]().save_to_preset(str(tmp_path / "mixture"))
    gemma().save_to_preset(str(tmp_path / "dense"))
    marked = {name: plan._experts(profile.Model(preset=name)) for name in ("gemma3_270m", "mixtral_8_7b_en")}
    marked |= {name: plan._experts(profile.Model(preset=str(tmp_path / name))) for name in ("mixture", "dense")}
    assert {name for name, part in marked.items() if part} == {"mixtral_8_7b_en", "mixture"}
    assert plan._experts(profile.Model(layers=1, width=8, heads=1, feedforward=8)) == {}


def test_experts_without_a_number_of_chosen_ones_are_not_known():
    backbone = MIXTURES["mixtral"]()
    config = {k: v for k, v in backbone.get_config().items() if k != "top_k"}
    with pytest.raises(CatKerasError, match="of experts from top_k"):
        count(SimpleNamespace(get_config=lambda: config, weights=backbone.weights))


# -- an architecture that is not known -------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def falcon():
    pieces = ["<|endoftext|>", ">>ABSTRACT<<", *map(chr, range(33, 127)), "Ġ", "Ċ", "th"]
    tokenizer = keras_hub.models.FalconTokenizer({p: i for i, p in enumerate(pieces)}, merges=["t h"])
    backbone = keras_hub.models.FalconBackbone(
        vocabulary_size=len(pieces), num_layers=1, num_attention_heads=2, hidden_dim=16, intermediate_dim=32
    )
    return keras_hub.models.FalconCausalLM(
        backbone=backbone, preprocessor=keras_hub.models.FalconCausalLMPreprocessor(tokenizer, sequence_length=48)
    )


EXAMPLES = [
    Example(f"{i}", f"Is {i} it?", "yes" if i % 2 else "no", options=("yes", "no") if i % 3 else ()) for i in range(8)
]
LIMITS = {"max_length": 40, "max_new_tokens": 2, "batch_size": 8}


def test_a_model_of_unknown_flops_answers(falcon):
    with pytest.raises(CatKerasError, match="FalconBackbone"):
        costs.count(falcon)
    assert not costs.count_if_known(falcon).known and not costs.UNKNOWN.computed.known
    predictor = Predictor(falcon, **LIMITS)
    answers = predictor(EXAMPLES)
    assert np.isnan([a.flops for a in answers]).all()
    assert all(a.seconds > 0 for a in answers)  # shared by tokens


@pytest.mark.slow
def test_a_cascade_says_that_its_price_is_unknown(falcon, small, tmp_path):
    cascade = Cascade([small, falcon], **LIMITS)
    for limit in ({"max_cost": 1e6}, {"guarantee": Guarantee(1e6, 0.1, of="cost", bound=1e9)}):
        with pytest.raises(CatKerasError, match=f"needs the price of every model. Received: {falcon.name}, whose"):
            cascade.calibrate(EXAMPLES, **limit)
    for limit in ({"max_deferral": 0.5}, {"min_quality": 0.0}):
        chosen = cascade.calibrate(EXAMPLES, **limit)
        assert chosen.cost is None and chosen.alone_cost[0] > 0 and chosen.alone_cost[1] is None
    assert chosen.deferral == (0.0,)  # the cheapest asks the fewest models
    cascade.save(tmp_path / "cascade")
    assert Cascade.load(tmp_path / "cascade").calibration == chosen
    priced = cascade.calibrate(EXAMPLES, max_cost=1.0, cost=lambda answer, stage: float(stage))
    assert priced.cost <= 1.0
    cascade = Cascade([small, falcon], thresholds=[math.inf], **LIMITS)
    [answer] = cascade.generate(["Is it?"])
    assert answer.stage == 1 and math.isnan(answer.flops) and answer.n_prompt > 0


def test_the_size_of_an_unknown_folder_is_its_parameters(falcon, tmp_path):
    models.save(falcon, tmp_path / "falcon")
    told = sizes.of(profile.Model(preset=str(tmp_path / "falcon")), 0)
    assert told.flops.per_token == 2 * told.parameters == 2 * falcon.count_params()
    assert "2 FLOPs a parameter" in told.known_from
