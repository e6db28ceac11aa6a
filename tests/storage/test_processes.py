"""Processes that write into one folder: files of dead ones are removed, files of live ones stay, readers wait."""

import os
import subprocess
import sys
import threading

import pytest

from cat_keras.storage import processes
from cat_keras.storage.processes import beside, is_running, locked, remove, sweep


@pytest.fixture
def dead():
    """The id of a process that has ended."""
    process = subprocess.Popen([sys.executable, "-c", ""])
    process.wait()
    return process.pid


def left_by(path, process, monkeypatch):
    """The name beside `path` under which a process with that id would write."""
    with monkeypatch.context() as patch:
        patch.setattr(os, "getpid", lambda: process)
        return beside(path)


def test_a_process_runs_or_not(dead):
    assert is_running(os.getpid()) and is_running(1)
    assert not is_running(dead) and not is_running(10**18)


def test_what_a_dead_process_left_is_swept_away(tmp_path, dead, monkeypatch):
    file, folder = (left_by(tmp_path / name, dead, monkeypatch) for name in ("file", "folder"))
    file.write_text("half")
    (folder / "part").mkdir(parents=True)
    sweep(tmp_path)
    assert not list(tmp_path.iterdir())
    sweep(tmp_path / "not there")


def test_what_others_write_or_keep_stays(tmp_path, dead, monkeypatch):
    running = beside(tmp_path / "own")
    old = left_by(tmp_path / "old", dead, monkeypatch).with_suffix(".old")  # may be the only copy
    with monkeypatch.context() as patch:
        patch.setattr(processes.platform, "node", lambda: "another machine")
        elsewhere = left_by(tmp_path / "elsewhere", dead, monkeypatch)
    paths = {running, old, elsewhere, tmp_path / ".mine.tmp", tmp_path / f".x.{dead}.tmp", tmp_path / "file"}
    for path in paths:
        path.write_text("")
    sweep(tmp_path)
    assert set(tmp_path.iterdir()) == paths


def test_removing_what_is_gone_is_no_error(tmp_path):
    remove(tmp_path / "nothing")


def test_a_reader_waits_for_a_writer_and_readers_do_not_wait_for_each_other(tmp_path):
    order, inside = [], threading.Event()

    def read():
        with locked(tmp_path, shared=True):
            order.append("read")

    reader = threading.Thread(target=read)
    with locked(tmp_path):
        reader.start()
        inside.wait(0.05)
        order.append("written")
    reader.join()
    assert order == ["written", "read"]
    with locked(tmp_path, shared=True), locked(tmp_path, shared=True):
        pass


def test_where_there_is_no_folder_or_no_lock_nobody_waits(tmp_path, monkeypatch):
    with locked(tmp_path / "not there"):
        pass

    def refuse(*_):
        raise OSError("no locks available")

    monkeypatch.setattr(processes.fcntl, "flock", refuse)
    with locked(tmp_path), locked(tmp_path):
        pass


def test_a_system_without_fcntl_is_told_so_in_one_sentence():
    code = "import sys; sys.modules['fcntl'] = None; import cat_keras as ck; ck.store"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "ImportError: cat_keras runs on Linux and macOS: it locks files with fcntl, which Windows lacks. Use WSL"
    )
    assert "During handling" not in done.stderr and "ModuleNotFoundError" not in done.stderr
