"""Processes that write into one folder: files of dead ones are removed, files of live ones stay, readers wait."""

import os
import subprocess
import sys
import threading

import pytest

from cat_keras.storage import processes
from cat_keras.storage.processes import beside, is_running, locked, remove, sweep


def test_the_peak_of_a_process_is_its_own():
    """A process that a large one starts is not large, and a block that was freed again still counts."""
    block = bytearray(400 << 20)
    block[:: 1 << 12] = b"1" * len(block[:: 1 << 12])  # touched, so that it is in memory
    code = "from cat_keras.storage import processes; print(processes.peak_memory())"
    child = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    size = len(block)
    del block
    assert int(child.stdout) < 300 << 20 < size <= processes.peak_memory()


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


SENTENCE = "cat_keras runs on Linux and macOS: it locks files with fcntl, which Windows lacks. Use WSL"


@pytest.mark.parametrize("missing", ["fcntl", "resource"])
def test_a_system_without_fcntl_is_told_so_in_one_sentence(missing):
    code = f"import sys; sys.modules[{missing!r}] = None; import cat_keras as ck; ck.store"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == f"ImportError: {SENTENCE}"
    assert "During handling" not in done.stderr and "ModuleNotFoundError" not in done.stderr


@pytest.mark.slow
def test_every_module_of_the_benchmark_says_so_too():
    """Where the modules of Unix are missing, an import works or ends in that sentence."""
    code = """
import importlib, pkgutil, sys
import benchmarks
sys.modules |= dict.fromkeys(("fcntl", "resource", "pwd", "grp", "termios"))
for module in pkgutil.walk_packages(benchmarks.__path__, "benchmarks.", onerror=lambda name: None):
    if module.name.endswith(("__main__", "conftest", "test_reproduction", "torch_gpt", "transformers_gemma")):
        continue
    try:
        importlib.import_module(module.name)
    except ImportError as error:
        print(module.name, error, sep="|")
"""
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    said = dict(line.split("|", 1) for line in done.stdout.splitlines())
    assert "benchmarks.running.journal" in said and set(said.values()) == {SENTENCE}


def test_the_peak_of_memory_is_in_bytes():
    before = processes.peak_memory()
    block = bytearray(64 * 2**20)
    block[:: 2**12] = b"x" * len(block[:: 2**12])  # touched, so that the system gives the pages
    assert 50 * 2**20 < processes.peak_memory() < 2**40 and processes.peak_memory() >= before
