"""Training: it learns, it resumes to the bit, and it stops at a loss that is not finite."""

import itertools
import math

import keras
import numpy as np
import pytest

from cat_keras import errors, training
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.training import distribution, losses
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware

STEPS = 6


@pytest.fixture(autouse=True)
def deterministic():
    distribution.make_deterministic(0)


@pytest.fixture(scope="module")
def cache(trained, encoded):
    return TeacherCache.build(trained, encoded, k=16)


@pytest.fixture
def new_trainer(new_model):
    """A function: a compiled trainer of a fresh small model, always the same one."""

    def make(loss="xent", teacher=None, optimizer="adam", jit=False, **changes):
        trainer = CascadeAware(new_model("small", seed=7, **changes), loss, teacher=teacher)
        trainer.compile(optimizer, jit_compile=jit)
        return trainer

    return make


@pytest.fixture(scope="module")
def compiled(new_model):
    trainer = CascadeAware(new_model("small", seed=7), "xent")
    trainer.compile("adam", jit_compile=False)
    return trainer, weights(trainer)


@pytest.fixture
def restarted(compiled):
    """A function: what `new_trainer()` gives (a test below holds that), without compiling again."""

    def restart():
        training.restart(*compiled)
        return compiled[0]

    return restart


@pytest.fixture
def batches(encoded):
    return Batches(encoded, 8, seed=1, buckets=1)


def weights(trainer):
    return [keras.ops.convert_to_numpy(w) for w in trainer.model.weights]


def assert_same(ours, theirs):
    for a, b in zip(ours, theirs, strict=True):
        np.testing.assert_array_equal(a, b)


# -- compile and fit -------------------------------------------------------------------------------------------------


QUICK = {"xent": (), "cat-dist": pytest.mark.slow}  # the objectives that CI trains here


@pytest.mark.parametrize("name", [pytest.param(n, marks=QUICK.get(n, pytest.mark.long)) for n in losses.OBJECTIVES])
def test_fit_lowers_every_objective(new_trainer, encoded, cache, name):
    # Gatekeeper's own optimum is near the start (unsure where wrong), and moves with every token that becomes right.
    rate = 1e-3 if name == "gatekeeper" else 1e-2
    trainer = new_trainer(name, optimizer=keras.optimizers.Adam(rate))
    data = Batches(encoded, 20, loss=name, teacher=cache, start=cache, buckets=1)
    history = trainer.fit(data, epochs=12, verbose=0).history
    assert history["loss"][-1] < 0.9 * history["loss"][0]
    assert all(0 <= live <= 1 for live in history["live"])
    if name in ("xent", "dist", "gatekeeper"):
        assert history["live"] == [1.0] * 12


@pytest.mark.slow
def test_fit_takes_batches_of_any_lengths_in_any_order(new_trainer, encoded):
    """Keras fixes the shapes of a `PyDataset` by its first two batches; these must not be of one length by chance."""

    def lengths(data):
        return [data.batch(i)[1].shape[1] for i in range(len(data))]

    several = (Batches(encoded, 8, seed=seed, buckets=3) for seed in itertools.count())
    data = next(d for d in several if len(set(lengths(d)[:2])) == 1 < len(set(lengths(d))))
    read, seen = data.batch, set()
    data.batch = lambda step: seen.add(step) or read(step)
    new_trainer().fit(data, epochs=2, verbose=0)
    assert seen == set(range(2 * len(data)))  # two epochs from the first on, no step left out


def test_fit_reports_the_share_of_live_tokens(new_trainer, encoded, cache):
    trainer = new_trainer("cat-xent", optimizer=keras.optimizers.SGD(0.0))
    data = Batches(encoded, 40, loss="cat-xent", teacher=cache, buckets=1)
    live = trainer.fit(data, verbose=0).history["live"][0]
    x, y, weight = data.batch(0)
    logits = np.asarray(trainer(x))
    right = (logits.argmax(-1) == y) | (x["teacher_right"] == 1)
    assert live == pytest.approx(right[weight == 1].mean(), abs=1e-6)


def test_an_objective_without_its_columns_says_what_to_do(new_trainer, batches):
    x, y, weight = batches.batch(0)
    with pytest.raises(CatKerasError, match="Give Batches a teacher=TeacherCache"):
        new_trainer("cat-xent").train_on_batch(x, y, sample_weight=weight)


# -- a live teacher --------------------------------------------------------------------------------------------------


@pytest.mark.slow
def test_a_live_teacher_is_first_frozen_and_unchanged(new_trainer, new_model, encoded):
    teacher = new_model("large", seed=8)
    before = models.weights_fingerprint(teacher)
    trainer = new_trainer("dist", teacher=teacher, optimizer=keras.optimizers.AdamW(1e-2, weight_decay=0.1))
    start = weights(trainer)
    x, y, weight = Batches(encoded, 20, loss="dist", buckets=1).batch(0)
    for _ in range(3):
        trainer.train_on_batch(x, y, sample_weight=weight)
    assert models.weights_fingerprint(teacher) == before
    assert all(not np.array_equal(a, b) for a, b in zip(start, weights(trainer), strict=True))
    # On torch, parameters are keyed by path: whoever is attached last would replace whoever came first.
    attached = [layer for layer in trainer.layers if layer in (teacher, trainer.model)]
    assert attached == [teacher, trainer.model]
    assert {id(v) for v in trainer.trainable_variables} == {id(v) for v in trainer.model.trainable_variables}


@pytest.mark.slow
def test_live_and_cached_bits_train_alike(new_trainer, trained, encoded, cache):
    live = new_trainer("cat-xent", teacher=trained)
    cached = new_trainer("cat-xent")
    for trainer, data in (
        (live, Batches(encoded, 8, loss="cat-xent", buckets=1)),
        (cached, Batches(encoded, 8, loss="cat-xent", buckets=1, teacher=cache)),
    ):
        train(trainer, data, Schedule(1e-2, 3))
    for a, b in zip(weights(live), weights(cached), strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-5)


# -- the schedule ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("schedule", "step", "rate"),
    [
        (Schedule(2.0, 12, warmup=2), 0, 1.0),
        (Schedule(2.0, 12, warmup=2), 1, 2.0),
        (Schedule(2.0, 12, warmup=2), 2, 2.0),
        (Schedule(2.0, 12, warmup=2), 7, 2 * (0.1 + 0.9 / 2)),  # half way: cos(π/2) = 0
        (Schedule(2.0, 12, warmup=2, floor=0.5), 7, 1.5),
        (Schedule(2.0, 12, warmup=2), 12, 0.2),
        (Schedule(2.0, 12, warmup=2), 99, 0.2),
        (Schedule(1.0, 3), 0, 1.0),
        (Schedule(1.0, 3, floor=0.0), 1, (1 + math.cos(math.pi / 3)) / 2),
        (Schedule(1.0, 2, warmup=2), 2, 1.0),
    ],
)
def test_schedule_by_hand(schedule, step, rate):
    assert schedule(step) == pytest.approx(rate)


def test_train_follows_the_schedule_and_reports_each_step(restarted, batches):
    trainer, schedule, reports = restarted(), Schedule(1e-2, STEPS, warmup=2), []

    def progress(p):
        rate = float(keras.ops.convert_to_numpy(trainer.optimizer.learning_rate))
        assert rate == pytest.approx(schedule(p.step - 1), rel=1e-6)
        reports.append(p)

    history = train(trainer, batches, schedule, progress=progress)
    assert [p.step for p in reports] == list(range(1, STEPS + 1))
    assert [p.loss for p in reports] == history["loss"] and [p.live for p in reports] == history["live"]
    assert [p.targets for p in reports] == [int(batches.batch(i)[2].sum()) for i in range(STEPS)]
    assert [p.tokens for p in reports] == [int(batches.batch(i)[0]["padding_mask"].sum()) for i in range(STEPS)]
    assert history["loss"][-1] < history["loss"][0]


# -- resume ----------------------------------------------------------------------------------------------------------


class Killed(BaseException):
    """Like a KeyboardInterrupt: no `except Exception` may swallow it."""


def interrupted(trainer, batches, checkpoint, step):
    def progress(p):
        if p.step == step:
            raise Killed

    with pytest.raises(Killed):
        train(trainer, batches, Schedule(1e-2, STEPS, 2), checkpoint, every_seconds=0, progress=progress)


def completed(trainer, batches, checkpoint=None):
    """(weights, history, numbers of the steps that were run)."""
    done = []
    history = train(trainer, batches, Schedule(1e-2, STEPS, 2), checkpoint, progress=lambda p: done.append(p.step))
    return weights(trainer), history, done


@pytest.fixture
def uninterrupted(restarted, batches):
    return completed(restarted(), batches)[:2]


@pytest.mark.parametrize("kills", [(1,), (4,), (3, 5), (3, 4, 5, 6)])
def test_a_resumed_run_equals_an_uninterrupted_one(restarted, batches, uninterrupted, tmp_path, kills):
    for step in kills:
        interrupted(restarted(), batches, tmp_path / "state.npz", step)
    values, history, done = completed(restarted(), batches, tmp_path / "state.npz")
    assert_same(values, uninterrupted[0])
    assert history == uninterrupted[1]
    assert kills == (1,) or done[0] > 1, "nothing was resumed"


@pytest.mark.parametrize(
    "jit",
    [
        pytest.param(False, marks=pytest.mark.slow),
        *(pytest.param(jit, marks=pytest.mark.long) for jit in (True, "elementwise")),
    ],
)
def test_a_run_resumed_by_another_process_at_another_length_is_the_same_too(new_trainer, encoded, tmp_path, jit):
    """A function compiled for the lengths met so far rounds by their order: what resumes meets another length first."""
    batches = Batches(encoded, 8, seed=1, buckets=2)
    lengths = [batches.batch(i)[1].shape[1] for i in range(STEPS)]
    first_other = next(i for i, n in enumerate(lengths) if n != lengths[0])
    expected = completed(new_trainer(jit=jit), batches)
    interrupted(new_trainer(jit=jit), batches, tmp_path / "state.npz", first_other + 1)
    values, history, done = completed(new_trainer(jit=jit), batches, tmp_path / "state.npz")
    assert done[0] == first_other + 1
    assert_same(values, expected[0])
    assert history == expected[1]


@pytest.fixture
def ahead(monkeypatch):
    """A training is two steps ahead of its losses, as on a GPU."""
    monkeypatch.setattr(training.device, "steps_ahead", lambda: 2)


@pytest.mark.parametrize("kills", [(1,), (4,), (3, 5)])
def test_a_training_ahead_of_its_losses_resumes_the_same(restarted, batches, uninterrupted, tmp_path, kills, ahead):
    for step in kills:
        interrupted(restarted(), batches, tmp_path / "state.npz", step)
    values, history, _ = completed(restarted(), batches, tmp_path / "state.npz")
    assert_same(values, uninterrupted[0])
    assert history == uninterrupted[1]


def test_a_stop_of_a_training_ahead_of_its_losses_saves_all_its_steps(
    restarted, batches, uninterrupted, tmp_path, ahead
):
    steps = []
    with pytest.raises(errors.Stopped):
        train(restarted(), batches, Schedule(1e-2, STEPS, 2), tmp_path / "state.npz",
              progress=lambda p: steps.append(p.step), stop=lambda: len(steps) >= 2)  # fmt: skip
    assert steps == [1, 2, 3, 4]  # the losses of two steps were owed
    values, _, done = completed(restarted(), batches, tmp_path / "state.npz")
    assert done == [5, 6]
    assert_same(values, uninterrupted[0])


def test_a_training_ahead_of_a_loss_that_is_no_number_keeps_the_last_good_state(restarted, batches, tmp_path, ahead):
    with pytest.raises(CatKerasError, match=r"at step \d of 6.*Lower the learning rate"):
        train(restarted(), batches, Schedule(1e30, STEPS), tmp_path / "state.npz", every_seconds=0)
    with np.load(tmp_path / "state.npz") as z:
        assert all(np.isfinite(z[name]).all() for name in z.files if name != "identity")


def test_a_finished_run_trains_no_further(restarted, batches, tmp_path):
    checkpoint = tmp_path / "state.npz"
    first = train(restarted(), batches, Schedule(1e-2, STEPS, 2), checkpoint, every_seconds=0)
    _, again, done = completed(restarted(), batches, checkpoint)
    assert again == first and len(done) <= 1


def damage(checkpoint, how):
    content = bytearray(checkpoint.read_bytes())
    if how == "flipped":
        content[content.index(b"v3.npy") + 200] ^= 1  # inside the numbers of an array
    damaged = {"emptied": b"", "half": content[: len(content) // 2], "flipped": content, "text": b"no archive"}[how]
    checkpoint.write_bytes(damaged)


@pytest.mark.parametrize("how", ["emptied", "half", "flipped", "text"])
def test_a_damaged_checkpoint_is_said_and_the_one_before_it_is_used(
    restarted, batches, uninterrupted, tmp_path, capsys, how
):
    checkpoint = tmp_path / "state.npz"
    interrupted(restarted(), batches, checkpoint, 4)
    damage(checkpoint, how)
    values, history, done = completed(restarted(), batches, checkpoint)
    assert done[0] == 3
    assert_same(values, uninterrupted[0])
    assert history == uninterrupted[1]
    assert f"{checkpoint} is not readable" in capsys.readouterr().out


def test_with_both_checkpoints_damaged_the_training_starts_over(restarted, batches, uninterrupted, tmp_path, capsys):
    interrupted(restarted(), batches, tmp_path / "state.npz", 4)
    for checkpoint in (tmp_path / "state.npz", tmp_path / "state.previous.npz"):
        damage(checkpoint, "half")
    values, _, done = completed(restarted(), batches, tmp_path / "state.npz")
    assert done == list(range(1, STEPS + 1))
    assert_same(values, uninterrupted[0])
    assert "training from the start" in capsys.readouterr().out


def test_a_kill_between_the_two_renames_of_a_checkpoint_loses_one(restarted, batches, uninterrupted, tmp_path):
    interrupted(restarted(), batches, tmp_path / "state.npz", 4)
    (tmp_path / "state.npz").unlink()
    values, _, done = completed(restarted(), batches, tmp_path / "state.npz")
    assert done[0] == 3
    assert_same(values, uninterrupted[0])


def test_a_stop_saves_the_state_of_its_step(restarted, batches, uninterrupted, tmp_path):
    steps = []
    with pytest.raises(errors.Stopped):
        train(restarted(), batches, Schedule(1e-2, STEPS, 2), tmp_path / "state.npz",
              progress=lambda p: steps.append(p.step), stop=lambda: len(steps) == 3)  # fmt: skip
    values, _, done = completed(restarted(), batches, tmp_path / "state.npz")
    assert done[0] == 4
    assert_same(values, uninterrupted[0])


@pytest.mark.slow
def test_dropout_resumes_to_the_bit(new_trainer, batches, tmp_path):
    expected = completed(new_trainer(dropout=0.3), batches)
    assert expected[1] != completed(new_trainer(), batches)[1], "nothing is dropped"
    interrupted(new_trainer(dropout=0.3), batches, tmp_path / "state.npz", 4)
    values, history, done = completed(new_trainer(dropout=0.3), batches, tmp_path / "state.npz")
    assert done[0] == 4
    assert_same(values, expected[0])
    assert history == expected[1]


@pytest.mark.parametrize("change", ["seed", "schedule", "objective"])
def test_a_checkpoint_of_another_configuration_is_refused(restarted, new_trainer, encoded, tmp_path, change):
    checkpoint = tmp_path / "state.npz"
    interrupted(restarted(), Batches(encoded, 8, seed=1, buckets=1), checkpoint, 4)
    trainer = new_trainer("gatekeeper") if change == "objective" else restarted()
    data = Batches(encoded, 8, seed=2 if change == "seed" else 1, buckets=1)
    schedule = Schedule(1e-2, STEPS + (change == "schedule"), 2)
    with pytest.raises(CatKerasError, match=r"continued by the training that wrote it.*Delete it"):
        train(trainer, data, schedule, checkpoint)


@pytest.mark.parametrize("changes", [{"width": 32}, {"layers": 2}], ids=str)
def test_a_checkpoint_of_another_model_is_not_loaded(restarted, new_trainer, batches, tmp_path, changes):
    checkpoint = tmp_path / "state.npz"
    interrupted(restarted(), batches, checkpoint, 4)
    content = checkpoint.read_bytes()
    other = new_trainer(**changes)
    before = weights(other)
    with pytest.raises(CatKerasError, match=r"state\.npz"):
        train(other, batches, Schedule(1e-2, STEPS, 2), checkpoint)
    assert_same(weights(other), before)
    assert checkpoint.read_bytes() == content


# -- what is no number -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("poison", [float("nan"), float("inf"), 3e38])  # 3e38 is finite: its loss is not
def test_a_loss_that_is_no_number_stops_the_run_at_its_step(restarted, batches, tmp_path, poison):
    trainer, checkpoint = restarted(), tmp_path / "state.npz"

    def progress(p):
        if p.step == 4:
            table = trainer.model.backbone.token_embedding.embeddings
            table.assign(keras.ops.full_like(table, poison))

    with pytest.raises(CatKerasError, match=r"Received: nan at step 5 of 6.*state\.npz keeps.*Lower the learning rate"):
        train(trainer, batches, Schedule(1e-2, STEPS, 2), checkpoint, every_seconds=0, progress=progress)
    _, history, done = completed(restarted(), batches, checkpoint)
    assert 1 < done[0] <= 4
    assert np.isfinite(history["loss"]).all()


def test_a_learning_rate_too_high_is_named_and_its_checkpoint_is_finite(restarted, batches, tmp_path):
    with pytest.raises(CatKerasError, match=r"at step \d of 6.*Lower the learning rate"):
        train(restarted(), batches, Schedule(1e30, STEPS), tmp_path / "state.npz", every_seconds=0)
    with np.load(tmp_path / "state.npz") as z:
        assert all(np.isfinite(z[name]).all() for name in z.files if name != "identity")


def test_without_a_checkpoint_the_error_promises_none(restarted, batches):
    with pytest.raises(CatKerasError, match=r"at step \d of 6\. Lower the learning rate"):
        train(restarted(), batches, Schedule(1e30, STEPS))


# -- one trainer for several cells -----------------------------------------------------------------------------------


def test_a_restarted_trainer_equals_a_fresh_one(new_trainer, restarted, batches, uninterrupted):
    fresh = new_trainer()
    assert_same(weights(restarted()), weights(fresh))
    values, history, _ = completed(fresh, batches)
    assert_same(uninterrupted[0], values)
    assert uninterrupted[1] == history


def test_a_restarted_trainer_keeps_its_learning_rate_for_fit(new_trainer, batches):
    trainer = new_trainer(optimizer=keras.optimizers.Adam(5e-3))
    start = weights(trainer)
    training.restart(trainer, start)
    assert float(keras.ops.convert_to_numpy(trainer.optimizer.learning_rate)) == pytest.approx(5e-3)
    x, y, weight = batches.batch(0)
    trainer.train_on_batch(x, y, sample_weight=weight)
    assert not np.array_equal(weights(trainer)[0], start[0])


def test_lora_trains_its_factors_alone(batches, new_model):
    model = new_model("small", seed=7)
    model.backbone.enable_lora(2)
    trainer = CascadeAware(model, "xent")
    trainer.compile(keras.optimizers.Adam(1e-2), jit_compile=False)
    before = {w.path: keras.ops.convert_to_numpy(w) for w in model.weights}
    train(trainer, batches, Schedule(1e-2, 3))
    changed = {w.path for w in model.weights if (keras.ops.convert_to_numpy(w) != before[w.path]).any()}
    assert changed and all("lora" in path for path in changed)
