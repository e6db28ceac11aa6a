"""What saves memory, in a profile: keys of results, what a dry run counts, and what is refused."""

import pytest

from benchmarks.planning import plan, profile
from benchmarks.planning.estimate import COMPILER, COPIES, LOGITS, OUTPUTS, SCORES, Estimate
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models

SMALL = {"data.tasks": ["embedded_classify"], "data.train": 20, "data.test": 4, "methods": ["xent", "cat-xent"]}


def read(**changes):
    return profile.read("embedded", SMALL | changes)


def made(**changes):
    return plan.make(read(**changes), None)


@pytest.fixture(scope="module")
def preset(new_model, tmp_path_factory):
    folder = tmp_path_factory.mktemp("models") / "preset"
    models.save(new_model("large"), folder)
    return str(folder)


def test_without_them_manifests_and_keys_are_as_before():
    text = str(read().model_dump())
    assert "recompute" not in text and "chunk" not in text and "weights" not in text
    assert made(**{"objective.recompute": False}).small == made().small


@pytest.mark.parametrize("change", [{"objective.recompute": True}, {"objective.chunk": 64}])
def test_a_phase_that_saves_memory_is_another_result(change):
    plain, saving = made(), made(**change)
    assert plain.large_key == saving.large_key
    assert plain.small["xent", 0].key != saving.small["xent", 0].key
    assert profile.Profile.model_validate(read(**change).model_dump()) == read(**change)


def test_a_dry_run_counts_what_each_saves():
    def memory(**changes):
        return Estimate(made(**changes)).memory("large")[0]

    estimate, phase = Estimate(made()), read().large.pretrain  # its loss is on all tokens
    size, longest = estimate.size["large"], -(-estimate.train_lengths.max() // 8) * 8
    tokens, heads = phase.batch_size * longest, read().large.layers * read().large.heads
    layers = 4 * tokens * (OUTPUTS * size.outputs + SCORES * heads * longest)
    logits = 4 * tokens * LOGITS * size.vocabulary
    kernel, table = (1 + copies for copies in COPIES["CPU"])
    embeddings = size.vocabulary * size.width
    weights = COMPILER + 4 * (kernel * (size.parameters - embeddings) + table * embeddings)
    assert memory() == pytest.approx(weights + layers + logits)
    both = {f"large.{phase}.{name}": value for phase in ("pretrain", "tune") for name, value in CHANGES.items()}
    boundaries = 4 * tokens * size.layers * size.width
    assert memory(**both) == pytest.approx(
        weights + layers * 2 / size.layers + boundaries + 4 * LOGITS * 32 * size.vocabulary
    )
    halves = {"large.pretrain.accumulate": 2, "large.tune.accumulate": 2}
    assert memory(**halves) == pytest.approx(weights + (layers + logits) / 2)
    assert memory(precision="mixed_bfloat16") == memory()
    on_gpu = [Estimate(made(precision=p)).memory("large", "GPU")[0] for p in ("float32", "mixed_bfloat16")]
    assert on_gpu[0] - on_gpu[1] == pytest.approx(layers / 2)
    assert on_gpu[0] == pytest.approx(16 * size.parameters + layers + logits)


def test_a_loss_on_targets_alone_keeps_the_logits_of_as_many_as_batches_make_room_for():
    estimate = Estimate(made(**{"large.pretrain": None}))
    phase, size, longest = read().large.tune, estimate.size["large"], -(-estimate.train_lengths.max() // 8) * 8
    with_all, _ = Estimate(made()).memory("large")
    tokens, counts = phase.batch_size * longest, estimate.target_lengths
    room = phase.batch_size * counts.mean() + 5 * phase.batch_size**0.5 * counts.std()
    assert room < tokens
    saved = 4 * LOGITS * size.vocabulary * (tokens - room)
    assert with_all - estimate.memory("large")[0] == pytest.approx(saved)


CHANGES = {"recompute": True, "chunk": 32}


def test_frozen_weights_of_16_bits_take_half_and_are_another_base(preset):
    def adapted(**more):
        large = {"preset": preset, "tune": {"epochs": 1.0, "learning_rate": 1e-3}, "lora": {"rank": 2}}
        return made(large=large | more)

    whole, half = adapted(), adapted(weights="bfloat16")
    assert whole.large_key != half.large_key
    (a, _), (b, _) = Estimate(whole).memory("large"), Estimate(half).memory("large")
    assert a - b == 2 * Estimate(whole).size["large"].parameters


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({"large.weights": "bfloat16"}, r"not trained\. Received: large\.weights with a shape\. Give large\.lora"),
        ({"small": {"preset": "small", "weights": "bfloat16"}}, r"small\.weights with methods that train all weights"),
        (
            {"large": {"preset": "large", "tune": {"epochs": 1.0, "learning_rate": 1e-3}, "weights": "bfloat16"}},
            r"large\.weights with large\.tune of all weights\. Give large\.lora, or leave large\.weights out",
        ),
        ({"large.weights": "float8"}, "large.weights"),
    ],
)
def test_bad_input(changes, reason):
    with pytest.raises(CatKerasError, match=reason):
        read(**changes)
