"""Work that is ended at random instants and started again: the end is the same to the bit."""

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.keeping import keep, verify
from cat_keras.errors import CatKerasError
from cat_keras.storage import processes, store
from tests import runs
from tests.faults import cases

ROOT = Path(__file__).parents[2]


def last_line(module: str, *arguments) -> dict:
    command = [sys.executable, "-m", f"tests.faults.{module}", *map(str, arguments)]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.mark.slow
@pytest.mark.parametrize("kills", cases(4, 20))
def test_a_killed_training_ends_with_the_same_bits(tmp_path, kills):
    found = last_line("kill_steps", tmp_path, kills, 2406)
    assert len(found["reached"]) == kills
    assert sum(0 < step < 150 for step in found["reached"]) >= kills // 4, "hardly a kill fell into the training"
    assert found["ends"] == [found["expected"]] * len(found["ends"])


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize(("signals", "share"), [("KILL", 1), ("TERM,INT", 0.5)])
def test_a_run_that_is_ended_anywhere_ends_the_same(tmp_path, signals, share):
    """A hundred take an hour or two; `python -m tests.faults.kill_run FOLDER 100` does them in parts."""
    wanted = max(int(int(os.environ.get("CAT_KERAS_FAULTS", 25)) * share), 1)
    found = last_line("kill_run", tmp_path, wanted, "--signals", signals)
    assert len(found["kills"]) >= wanted and found["rounds"] and not any(found["rounds"])
    stages = {stage for stage, _ in found["kills"]}
    assert wanted < 50 or len(stages) >= len(found["stages"]) - 2, f"hardly a kill fell into some: {stages}"


# -- folders of results, ended at every write ------------------------------------------------------------------------


class Ended(BaseException):
    """Stands for a kill: nothing handles it."""


def ended_at(monkeypatch, number: int, error: BaseException):
    """Lets so many files be written and ends the next, half-way."""
    written = 0
    true = os.fsync

    def fsync(handle):
        nonlocal written
        written += 1
        if written > number:
            raise error
        true(handle)

    monkeypatch.setattr(os, "fsync", fsync)


def contents(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.iterdir()} if folder.is_dir() else {}


@pytest.fixture
def growing(tmp_path, monkeypatch):
    """A run to keep beside the results of another, and these results before and after it."""
    monkeypatch.setattr(report, "files", runs.quick_report)
    whole = runs.full(tmp_path / "whole", ("sst2",), ("xent", "dist"), (0,), n=4, settings={})
    other = runs.full(tmp_path / "other", ("sst2",), ("xent", "dist"), (0,), n=4, settings={}, better=0.3)
    before = keep.keep(whole, tmp_path / "before")
    shutil.copytree(before, tmp_path / "after")
    after = keep.keep(other, tmp_path / "after", add=True)
    return other, before, contents(before), contents(after)


FULL = pytest.param(OSError(28, "No space left on device"), marks=[pytest.mark.slow, pytest.mark.long])


@pytest.mark.parametrize("error", [Ended(), FULL], ids=["killed", "full disk"])
def test_results_that_grow_are_old_new_or_named_and_the_same_call_mends_them(growing, tmp_path, monkeypatch, error):
    run, before, old, new = growing
    states = set()
    for number in range(100):
        to = tmp_path / str(number) / "before"
        shutil.copytree(before, to)
        with monkeypatch.context() as patch, pytest.raises(type(error)) as raised:
            ended_at(patch, number, error)
            keep.keep(run, to, add=True)
            raise type(error)("done")
        if "done" in raised.value.args:
            break
        left = contents(to)
        assert not [name for name in left if name.endswith(".tmp")]
        states.add(left == old)
        if left != old:
            try:
                assert verify.verify(to).problems
            except CatKerasError as found:
                assert "manifest.json" in str(found)
        keep.keep(run, to, add=True)
        assert contents(to) == new
    assert number >= 8 and states == {True, False}


def test_files_of_a_killed_process_are_swept_by_the_next_run(tmp_path):
    child = subprocess.Popen([sys.executable, "-c", ""])
    child.wait()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: child.pid)
        left = [
            processes.beside(tmp_path / "run" / "table.md"),
            processes.beside(tmp_path / "cache/stage" / ("a" * 16)),
        ]
    left[0].parent.mkdir()
    left[0].write_text("half a table")
    (left[1] / "preset").mkdir(parents=True)
    store.write_together(tmp_path / "run", {"predictions.parquet": b"x"}, {})
    store.Store(tmp_path / "cache").get("stage", "b" * 64, lambda folder: {})
    assert not any(path.exists() for path in left)
