"""Measurements of inference run and compare what is equal; how fast it is, is for a quiet machine to say."""

from importlib.util import find_spec

import pytest

from benchmarks.perf import (
    calibrate,
    cascades,
    decoding,
    encoding,
    load,
    memory,
    paired,
    peer,
    scoring,
    workload,
    writers,
)
from benchmarks.planning import hardware
from benchmarks.tasks import loading, task

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module", autouse=True)
def small():
    """What makes a measurement small: tiny shapes, one setting of the peers, few options, drafts and tokens."""
    with pytest.MonkeyPatch.context() as patch:
        for shape, sizes in {"1M": {"layers": 1, "width": 16}, "6M": {"layers": 2, "width": 32}}.items():
            patch.setitem(workload.SHAPES, shape, sizes | {"heads": 2, "feedforward": 16})
            patch.setitem(writers.STEPS, shape, 2)
        for module in (writers, decoding, scoring, cascades):
            patch.setattr(module, "NEW", 8)
        patch.setattr(decoding, "SETTINGS", {"batches of 4, by length": (4, True)})
        patch.setattr(scoring, "COUNTS", (3,))
        patch.setattr(cascades, "GAMMAS", (2,))
        patch.setattr(cascades, "BATCHES", {4: 4})
        yield


@pytest.fixture(scope="module")
def work(proto):
    """Models that have learned nothing."""
    examples = loading.load(task.get(writers.TASK), "train", source="samples")[:4]
    return writers.with_prompts({shape: workload.model(proto, shape) for shape in workload.SHAPES}, examples)


@pytest.mark.long
def test_models_are_trained_once(tmp_path, monkeypatch):
    first = writers.prepare(tmp_path, count=2)
    assert first.prompts[0][0] == first.models["1M"].preprocessor.tokenizer.start_token_id
    monkeypatch.setattr(writers.training, "train", None)
    assert writers.prepare(tmp_path, count=2).prompts == first.prompts


def test_answers_end_at_the_end_token():
    assert writers.cut([7, 5, 1, 5, 1], end=1) == [7, 5, 1]
    assert writers.cut([7] * 100, end=1) == [7] * writers.NEW


@pytest.mark.long
def test_libraries_give_equal_answers(work):
    table, note = decoding.generation(work, 1)
    libraries = {"ours", "KerasHub"} | ({"transformers"} if find_spec("transformers") and find_spec("torch") else set())
    for shape, rows in table.groupby("model"):
        assert {name.split(",")[0] for name in rows["decoding"]} == libraries, shape
        assert (rows["equal answers"] == 1).all(), shape
        assert (rows["promise"] != "").sum() == len(libraries) - 1
    assert "Answers of 6M" in note


def test_shared_prompts_choose_as_whole_strings_do(work):
    table, _ = scoring.scoring(work, 1)
    assert table["options"].tolist() == [3, 3]
    assert (table["equal choices"] == 1).all()
    assert (table["by FLOPs"] > 1).all()


@pytest.mark.long
def test_speculation_is_lossless_and_counted(work):
    table, _ = cascades.speculative(work, 1)
    (row,) = table.to_dict("records")
    assert row["equal answers"] == 1
    assert 0 <= row["a"] <= 1 <= row["tokens per pass"] <= 3
    assert row["expected tokens"] == pytest.approx(1 + row["a"] + row["a"] ** 2)


def test_a_measurement_keeps_the_table_of_a_cascade(work, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr(paired, "RESULTS", tmp_path)
    monkeypatch.setattr(writers, "prepare", lambda *arguments: work)
    decoding.measure(["cascade"], rounds=1)
    text = (tmp_path / "cascade.md").read_text()
    assert "25.0% deferred" in text and "| cascade | 4 |" in text
    assert text in capsys.readouterr().out


def test_a_peer_that_ends_early_is_an_error():
    with pytest.raises(RuntimeError, match="ended with status 1"), peer.started("nowhere", {}):
        pass


@pytest.mark.slow
def test_load_is_measured_of_what_is_planned_trained_and_reported(tmp_path):
    assert load.write(tmp_path, 2000) > 1500
    for name, value in (("plan", 20), ("train", 2), ("report", str(tmp_path))):
        point = load.in_own_process(name, value)
        assert {*point} == {"seconds", "CPU seconds", "MiB"} and point["CPU seconds"] > 0, name


def test_encoding_is_measured_in_a_process_of_its_own(tmp_path, monkeypatch, capsys):
    kept = []
    monkeypatch.setattr(paired, "keep", lambda name, table, note: kept.append((name, table)))
    encoding.measure((90,))
    assert "encoding 90: {" in capsys.readouterr().out  # each point says so when it ends
    [(name, table)] = kept
    assert name == "encoding" and table["examples"].tolist() == [90]
    assert (table[["encoding, µs per example", "ms per step", "peak MiB, encoding"]] > 0).all(axis=None)
    assert len({example.prompt for example in encoding.generated(90)}) == 90


@pytest.mark.long
def test_memory_is_measured_of_a_training_of_a_run_and_estimated():
    tiny = {"layers": 1, "width": 16, "feedforward": 16, "prompt": 16, "target": 12, "batch": 2}
    found = memory.point(memory.SHAPE | tiny)
    assert found["parameters"] > 16 * memory.SHAPE["vocabulary"]
    assert 4 * 4 * found["parameters"] < found["estimate"] < 2**29 and found["measured"] > 0


@pytest.mark.long
def test_a_machine_is_calibrated_and_a_run_compared(tmp_path, monkeypatch):
    kept = []
    monkeypatch.setattr(calibrate, "SHAPES", calibrate.SHAPES[:1] + tuple(workload.SHAPES.values()))
    monkeypatch.setattr(paired, "keep", lambda name, table, note: kept.append((name, table)))
    calibrate.measure(tmp_path / "here.toml", "tiny")
    here = hardware.get(str(tmp_path / "here.toml"))
    assert len(here.shares) == 3 and all(0 < share < 1 for _, share in here.shares)
    [(name, table)] = kept
    assert name == "calibrate" and table["estimate to measured"].item() > 0


@pytest.mark.long
def test_retrieval_prints_every_number(capsys):
    pytest.importorskip("faiss")
    from benchmarks.perf import retrieval

    retrieval.measure(documents=300, queries=20, rounds=1)
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("embedding 300 documents") and "exactly" in lines[2]
    recalls = [float(line.split()[-1]) for line in lines[3:6]]
    assert recalls == sorted(recalls) and recalls[-1] > 0.95  # 64 of 69 cells
    assert lines[-1].startswith("a step that distils")
