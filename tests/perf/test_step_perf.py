"""Measurements of training steps run at a tiny size; how fast steps are, is for a quiet machine to say."""

import numpy as np
import pytest

from benchmarks.perf import training, workload
from benchmarks.perf.plain_step import PlainStep

SIZES = {"layers": 1, "width": 16, "heads": 2, "feedforward": 16}


@pytest.fixture
def tiny(monkeypatch):
    """One shape of one layer, one step, small batches, no PyTorch."""
    monkeypatch.setattr(workload, "SHAPES", {"6M": SIZES})
    for name, value in {"BATCH": 2, "LENGTH": 8, "TARGET": 4, "STEPS": 1}.items():
        monkeypatch.setattr(training, name, value)
    monkeypatch.setattr(training.device, "best_jit", lambda *_: False)
    plain = {name: way for name, way in training.WAYS.items() if way[1] is False}  # the others take seconds to compile
    monkeypatch.setattr(training, "WAYS", plain)
    monkeypatch.setattr(training, "find_spec", lambda name: None)


def batches(count):
    rng = np.random.default_rng(0)
    ids = rng.integers(0, 20, (count, 2, 8)).astype(np.int32)
    weights = np.zeros((2, 8), np.int32)
    weights[:, 4:] = 1
    return [(x, np.roll(x, -1, axis=1), weights) for x in ids]


def test_the_step_by_hand_learns():
    (batch,) = batches(1)
    step = PlainStep(batch, **SIZES, vocabulary=20)
    values = [step(*batch) for _ in range(30)]
    assert values[-1] < 0.8 * values[0] and np.isfinite(values).all()


def test_the_step_by_hand_is_the_same_in_every_way():
    data = batches(3)
    plain = PlainStep(data[0], **SIZES, vocabulary=20)
    losses = [plain(*batch) for batch in data]
    for settings, tolerance in (({"jit": True}, 1e-5), ({"bfloat16": True}, 0.05)):
        other = PlainStep(data[0], **SIZES, vocabulary=20, **settings)
        assert [other(*batch) for batch in data] == pytest.approx(losses, rel=tolerance), settings


@pytest.mark.slow
def test_what_auto_chooses_stands_beside_the_other_ways(tiny, proto):
    table = training.ways(proto, 1)
    assert table["step"].tolist() == ["float32, nothing compiled", "bfloat16, nothing compiled"]
    assert (table["auto"] == "chosen").sum() == 1
    assert table["promise"].tolist().count("≥ 1.7") == 1
    assert (table["tokens/s"] > 0).all()


@pytest.mark.slow
@pytest.mark.parametrize("part", ["peer", "peer-bfloat16"])
def test_peers_have_a_row_for_each_kind_of_target(tiny, proto, part):
    table = training.peers(proto, 1, part)
    assert table["loss on"].nunique() == 2
    assert (table["ours / by hand"] > 0).all() and (table["promise (by hand)"] == "≥ 0.97").all()


@pytest.mark.slow
def test_the_overhead_of_a_tiny_step_is_a_ratio(tiny, proto):
    (row,) = training.overhead(proto, 1, steps=3).to_dict("records")
    assert row["ratio"] > 0 and row["promise"] == "≤ 1.2"
