"""LoRA in a profile: what it renames, what a dry run counts, and what it refuses."""

import pytest

from benchmarks.planning import plan, profile, sizes
from benchmarks.planning.estimate import COPIES, Estimate
from cat_keras.errors import CatKerasError
from cat_keras.modeling import lora, models

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4, "methods": ["xent", "cat-xent"]}
LARGE = {"large.lora.rank": 2}
VARIANT = {"variants.low": {"objective": "cat-xent", "lora": {"rank": 2}}, "methods": ["xent", "cat-xent", "low"]}


def read(**changes):
    return profile.read("embedded", SMALL | changes)


def made(**changes):
    return plan.make(read(**changes), None)


def test_without_lora_all_is_as_it_was_before():
    plain = read()
    assert "lora" not in str(plain.model_dump())
    assert all(cell.lora is None for cell in plan.make(plain, None).cells())
    for changes in (LARGE, {"small.lora": {"rank": 2, "alpha": 4, "layers": "all"}}, VARIANT):
        written = read(**changes)
        assert profile.Profile.model_validate(written.model_dump()) == written


def test_lora_of_the_large_model_renames_its_tuning_and_what_reads_it():
    plain, adapted = made(), made(**LARGE)
    assert plain.large.start.key == adapted.large.start.key and adapted.large.start.lora is None  # pretraining
    assert plain.large_key != adapted.large_key and plain.teacher != adapted.teacher
    assert plain.small["xent", 0].key == adapted.small["xent", 0].key
    assert plain.small["cat-xent", 0].key != adapted.small["cat-xent", 0].key
    for change in ({"rank": 3}, {"rank": 2, "alpha": 3.0}, {"rank": 2, "layers": "all"}):
        assert made(**{"large.lora": change}).large_key != adapted.large_key
    assert made(**{"large.lora": {"rank": 2, "alpha": 2}}).large_key == adapted.large_key  # the default, said


def test_lora_of_the_small_model_is_of_all_that_follows_its_pretraining():
    plain, adapted = made(), made(**{"small.lora.rank": 2})
    assert plain.large_key == adapted.large_key
    for model, cell in adapted.small.items():
        assert cell.lora.rank == 2 and cell.key != plain.small[model].key
        tune = cell.start if cell.start.scope == "target" else None
        assert tune is None or tune.lora.rank == 2
    assert {c.lora for c in adapted.cells() if c.scope == "all"} == {None}


def test_a_variant_alone_may_have_it_and_shares_the_start():
    todo = made(**VARIANT)
    low, full = todo.small["low", 0], todo.small["cat-xent", 0]
    assert low.lora.rank == 2 and full.lora is None and low.key != full.key
    assert low.start == full.start and full.key == made().small["cat-xent", 0].key
    grid = read(**VARIANT, **{"grid.epochs": [1.0, 2.0]})
    assert {name: bool(grid.lora_of("small", name)) for name in grid.methods} == {
        f"{m}@epochs={e}": m == "low" for m in ("xent", "cat-xent", "low") for e in (1, 2)
    }


@pytest.fixture(scope="module")
def preset(new_model, tmp_path_factory):
    """The table of a large model that is a preset, and is fine-tuned."""
    folder = tmp_path_factory.mktemp("models") / "preset"
    models.save(new_model("large"), folder)
    return {"preset": str(folder), "tune": {"epochs": 1.0, "learning_rate": 1e-3}}


def test_a_dry_run_counts_less_memory_disk_and_flops(preset):
    full, adapted = (Estimate(made(large=preset | more)) for more in ({}, {"lora": {"rank": 2}}))
    size = full.size["large"]
    factors, kernels = size.adapted(profile.Lora(rank=2))
    kernel, table = COPIES["CPU"]
    embeddings = size.vocabulary * size.width
    expected = 4 * (kernel * (size.parameters - embeddings - factors) + table * embeddings)
    assert full.memory("large")[0] - adapted.memory("large")[0] == pytest.approx(expected)
    before, after = (next(s for s in e.stages() if s.label == "large tune") for e in (full, adapted))
    assert (before.disk, after.disk) == (4 * size.parameters, 4 * factors)
    forward = before.flops / 3
    assert after.flops == pytest.approx(2 * forward + 2 * kernels * full.train_lengths.sum())
    assert 2 * forward < after.flops < before.flops
    # Where a model is pretrained here, that takes the most memory.
    assert Estimate(made(**LARGE)).memory("large") == Estimate(made()).memory("large")


def test_factors_of_a_model_without_known_shapes_are_not_counted():
    size = sizes.ModelSize(600, sizes.FlopCount(1200.0, 0.0, 0.0))
    assert size.adapted(profile.Lora(rank=2)) == (0, pytest.approx(100))


@pytest.mark.parametrize("layers", lora.LAYERS)
def test_factors_are_counted_as_the_library_makes_them(new_model, preset, layers):
    model = new_model("large")
    shape = profile.Model(layers=2, width=32, heads=2, feedforward=32)
    asked = profile.Lora(rank=3, layers=layers)
    folder = sizes.of(profile.Model(preset=preset["preset"]), 0).adapted(asked)
    assert folder == sizes.of(shape, 320).adapted(asked)
    lora.enable(model, **asked.arguments)
    assert folder[0] == sum(int(v.shape[0] * v.shape[1] * (*v.shape, 1)[2]) for v in model.trainable_variables)
    assert folder[1] == sum(lora.summed(layer).size for layer in lora.adapted(model))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"large.lora.rank": 0}, r"key large\.lora\.rank: .*greater than 0. Received: 0"),
        ({"large.lora.rank": 2.5}, r"key large\.lora\.rank"),
        (
            {"large.lora": {"rank": 2, "rnak": 2}},
            r"Unknown profile key 'large\.lora\.rnak'; did you mean large\.lora\.rank",
        ),
        ({"large.lora": {"rank": 2, "layers": "some"}}, r"key large\.lora\.layers"),
        ({"large.lora": {"rank": 2, "alpha": 0}}, r"key large\.lora\.alpha"),
        ({"large.lora.rank": 10_000}, r"at most the width of the model. Received: large\.lora of rank 10000"),
        (LARGE | {"large.tune": None}, r"large\.lora without large\.tune"),
        (LARGE | {"large.pretrain": None}, "trained already.*Give one of them"),
        ({"small.lora.rank": 2, "small.pretrain": None}, "trained already"),
        ({"small.lora.rank": 2, "elastic.sizes.half": {"layers": 1}}, "Elastic methods train all weights"),
        (
            {"variants.low": {"objective": "xent", "lora": {"rank": 10_000}}},
            r"Received: variants\.low\.lora of rank 10000",
        ),
    ],
)
def test_what_cannot_be_adapted_is_an_error(changes, message):
    with pytest.raises(CatKerasError, match=message):
        read(**changes)


def test_a_rank_above_the_width_of_a_preset_is_an_error_before_anything_is_trained(preset):
    with pytest.raises(CatKerasError, match=r"rank 33 for .*preset, whose width is 32"):
        made(large=preset | {"lora": {"rank": 33}})
    assert made(large=preset | {"lora": {"rank": 32}}).large.lora.rank == 32
