"""Answers in parts are those of the whole, and a part that is done is not made again."""

import pyarrow.parquet
import pytest

from benchmarks import metrics
from benchmarks.planning import plan, profile
from benchmarks.running import answering
from benchmarks.running.run_folder import PREDICTIONS
from cat_keras.data.records import Prediction
from cat_keras.storage.store import Store


class Bench:
    """Answers each example by its id, and notes how many it was asked at once."""

    def __init__(self):
        self.asked = []

    def predict(self, role, cell, label, examples):
        self.asked.append(len(examples))
        return [Prediction(e.id, e.task, e.id, [-0.25, -1.0], (), 5, 2, 1.0, 0.0) for e in examples]


@pytest.fixture
def todo():
    return plan.make(profile.read("tiny", {"data.test": 5, "data.train": 8, "methods": ["xent"]}))


def table(folder, todo, number=None, part=10**6, bench=None):
    store = Store(folder)
    bench = bench or Bench()
    if number is not None:
        answering.predict_part(todo, store, bench, plan.LARGE, number)
        return bench.asked
    answering.predict(todo, store, bench, plan.LARGE)
    path = store.path("predict", todo.prediction_key(todo.large_key)) / PREDICTIONS
    return path.read_bytes(), bench.asked


def test_parts_end_with_the_bytes_of_the_whole(todo, tmp_path, monkeypatch):
    whole, asked = table(tmp_path / "whole", todo)
    assert asked == [20]
    monkeypatch.setattr(answering, "PART", 8)
    assert table(tmp_path / "parts", todo, number=1) == [8]
    assert table(tmp_path / "parts", todo, number=1) == []
    parts, asked = table(tmp_path / "parts", todo)
    assert asked == [8, 4] and parts == whole  # the second of three was there
    assert not list((tmp_path / "parts" / "unfinished").iterdir())
    assert table(tmp_path / "parts", todo, number=0) == []  # the entry is whole


def test_official_numbers_follow_from_what_is_noted_of_each_answer(todo, tmp_path):
    table(tmp_path, todo)
    rows = pyarrow.parquet.read_table(next(tmp_path.glob(f"predict/*/{PREDICTIONS}"))).to_pylist()
    for declared in todo.tasks:
        metric, examples = metrics.of(declared), [e for e in todo.test if e.task == declared.name]
        noted = [row["statistics"] for row in rows if row["task"] == declared.name]
        assert metric.combine(*zip(*noted, strict=True)) == metric.corpus([e.id for e in examples], examples)


def test_parts_of_an_earlier_version_leave_all_without_what_is_noted(todo, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "PART", 8)
    with monkeypatch.context() as earlier:
        earlier.setattr(answering, "_judged", lambda metric_of, examples, texts: [{"quality": 0.0}] * len(texts))
        table(tmp_path, todo, number=0)
    table(tmp_path, todo)
    written = pyarrow.parquet.read_table(next(tmp_path.glob(f"predict/*/{PREDICTIONS}")))
    assert "statistics" not in written.column_names and len(written) == 20


def test_a_damaged_part_is_answered_again(todo, tmp_path, monkeypatch):
    monkeypatch.setattr(answering, "PART", 8)
    table(tmp_path, todo, number=0)
    path = next(tmp_path.glob(f"unfinished/*/*/{PREDICTIONS}"))
    path.write_bytes(path.read_bytes()[:-1])
    _, asked = table(tmp_path, todo)
    assert asked == [8, 8, 4]
    path = next(tmp_path.glob(f"predict/*/{PREDICTIONS}"))
    assert pyarrow.parquet.read_table(path)["text"].to_pylist() == [e.id for e in todo.test]
