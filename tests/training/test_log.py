"""The log of a training: every step once, also over a restart."""

import csv
import os
import sys

import pytest

from cat_keras.errors import CatKerasError
from cat_keras.training.log import COLUMNS, CsvLog, TensorBoardLog
from cat_keras.training.loop import Progress


def progress(step, loss=1.0):
    return Progress(step, 9, loss, 0.5, 1e-3, 40, 10, 64, 2.0)


def rows(path):
    with path.open(newline="") as stream:
        return list(csv.DictReader(stream))


def test_steps_after_a_restart_replace_those_that_were_lost(tmp_path):
    path = tmp_path / "logs" / "log.csv"
    first = CsvLog(path)
    for step in range(1, 6):
        first(progress(step, loss=1.0))
    first.close()
    path.write_text(path.read_text() + "6,9,0.")  # a kill within a row
    second = CsvLog(path)
    for step in range(4, 8):
        second(progress(step, loss=2.0))
    second.close()
    table = rows(path)
    assert tuple(table[0]) == COLUMNS
    assert [int(row["step"]) for row in table] == list(range(1, 8))
    assert [float(row["loss"]) for row in table] == [1.0] * 3 + [2.0] * 4
    assert [row["tokens"] for row in table] == ["40"] * 7


def test_a_kill_while_the_log_is_begun_anew_loses_no_row(tmp_path, monkeypatch):
    path = tmp_path / "log.csv"
    CsvLog(path)(progress(1))
    before = path.read_bytes()

    def kill(_):
        raise KeyboardInterrupt

    monkeypatch.setattr(os, "fsync", kill)
    with pytest.raises(KeyboardInterrupt):
        CsvLog(path)(progress(2))
    assert path.read_bytes() == before


def test_rows_that_a_disk_has_spoilt_are_left_out(tmp_path):
    path = tmp_path / "log.csv"
    for step in (1, 2):
        CsvLog(path)(progress(step))
    whole = path.read_bytes()
    path.write_bytes(whole + whole.splitlines()[-1].replace(b"2", b"x", 1) + b"\r\n\xff,\xfe\r\n" + b"\0" * 50)
    CsvLog(path)(progress(3))
    assert [row["step"] for row in rows(path)] == ["1", "2", "3"]


def test_tensorboard_is_asked_for_when_it_is_not_there(tmp_path, monkeypatch):
    monkeypatch.setitem(sys.modules, "tensorboard", None)
    with pytest.raises(CatKerasError, match="pip install tensorboard"):
        TensorBoardLog(tmp_path)


def test_tensorboard_needs_the_tensorflow_backend(tmp_path, monkeypatch):
    monkeypatch.setattr("keras.config.backend", lambda: "jax")
    with pytest.raises(CatKerasError, match=r"TensorFlow backend\. Received: jax"):
        TensorBoardLog(tmp_path / "log")
    assert not (tmp_path / "log").exists()


def test_tensorboard_holds_the_scalars_of_every_step(tmp_path):
    pytest.importorskip("tensorboard", reason="TensorBoard is not installed")
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    log = TensorBoardLog(tmp_path)
    for step in (1, 2):
        log(progress(step, loss=float(step)))
    log.close()
    events = EventAccumulator(str(tmp_path), size_guidance={"tensors": 0})
    events.Reload()
    assert set(events.Tags()["tensors"]) == {"loss", "live", "learning_rate", "tokens_per_second"}
    assert [e.step for e in events.Tensors("loss")] == [1, 2]
