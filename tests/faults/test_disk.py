"""Disks that are full or read-only, clocks that jump, folders that move."""

import contextlib
import shutil
import subprocess
import sys

import pytest

from benchmarks import cli, report
from benchmarks.keeping import keep
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from tests import runs, tiny
from tests.faults.outcome import differences, leftovers, outcome

# Each look at a clock finds it somewhere else, as no machine that sleeps, wakes and corrects itself would.
JUMPING = """
import queue, random, sys, threading, time  # waits of Python itself keep a clock that does not jump
jump = random.Random(0)
for name in ("time", "monotonic"):
    setattr(time, name, lambda true=getattr(time, name): true() + jump.uniform(-1e6, 1e6))
time.time_ns = lambda: jump.randrange(2**60)
from benchmarks import cli
cli.main()
"""


@contextlib.contextmanager
def mounted(folder, options):
    """A small file system of its own; skips the test where there is no right to mount one."""
    folder.mkdir(exist_ok=True)
    done = subprocess.run(["mount", "-t", "tmpfs", "-o", options, "tmpfs", folder], capture_output=True, text=True)
    if done.returncode:
        pytest.skip(f"no file system can be mounted: {done.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "--lazy", folder], check=True)


def remount(folder, options):
    subprocess.run(["mount", "-o", f"remount,{options}", folder], check=True)


def refused(capsys, monkeypatch, *words):
    """What the command line says of a call that ends with one error."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", *map(str, words)])
    with pytest.raises(SystemExit) as end:
        cli.main()
    said = capsys.readouterr().err
    assert end.value.code == 2 and said.startswith("error: ") and said.count("\n") == 1, said
    return said


@pytest.mark.parametrize("command", ["run", "keep", pytest.param("report", marks=[pytest.mark.slow, pytest.mark.long])])
def test_a_folder_that_is_read_only_is_one_error_and_stays_as_it_was(tmp_path, capsys, monkeypatch, command):
    monkeypatch.setattr(report, "files", runs.quick_report)
    with mounted(tmp_path / "disk", "size=4m") as disk:
        run, kept = disk / "invented", disk / "kept"
        keep.keep(runs.full(run, ("sst2",), ("xent",), (0,), n=8), kept)
        before = {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()}
        remount(disk, "ro")
        words = {
            "run": [*tiny.words(tmp_path)[:2], "--out", disk],
            "keep": ["keep", run, "--to", kept],
            "report": ["report", run],
        }
        assert "Read-only file system" in refused(capsys, monkeypatch, *words[command])
        assert {path: path.read_bytes() for path in disk.rglob("*") if path.is_file()} == before


def test_results_on_a_disk_that_is_read_only_can_be_read(tmp_path, capsys, monkeypatch):
    monkeypatch.setattr(report, "files", runs.quick_report)
    with mounted(tmp_path / "disk", "size=4m") as disk:
        keep.keep(runs.full(tmp_path / "invented", ("sst2",), ("xent",), (0,), n=8), disk / "kept")
        remount(disk, "ro")
        monkeypatch.setattr(sys, "argv", ["benchmarks", "verify", str(disk / "kept")])
        with pytest.raises(SystemExit) as end:
            cli.main()
        assert end.value.code == 0 and "all as committed" in capsys.readouterr().out


def test_a_model_that_does_not_fit_is_one_error_and_leaves_nothing(tmp_path, small, monkeypatch):
    models.save(small, tmp_path / "preset")
    before = {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()}
    usage = shutil.disk_usage(tmp_path)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage._replace(free=10_000))
    with pytest.raises(CatKerasError, match=r"room for it, .* with 10,000 bytes free"):
        models.save(small, tmp_path / "preset")
    assert {path: path.read_bytes() for path in tmp_path.rglob("*") if path.is_file()} == before


# -- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_a_run_on_a_disk_that_fills_up_goes_on_where_there_is_room(finished, tmp_path):
    with mounted(tmp_path / "disk", "size=16k") as disk:
        said, sizes = [], [40, 160, 640, 1100]  # KiB; all of a run takes more
        for size in sizes:
            remount(disk, f"size={size}k")
            process = tiny.start(tmp_path, *tiny.EACH_STAGE, "--out", str(disk / "runs"))
            output, _ = process.communicate()
            said.append(output)
            assert process.returncode == 2, output
            last = output.strip().splitlines()[-1]
            assert last.startswith("error: ") and "Traceback" not in output, output
            assert not list(disk.rglob(".*.tmp"))
        assert all("No space left" in output or "bytes free" in output for output in said), said
        remount(disk, "size=64m")
        tiny.run(tmp_path, *tiny.EACH_STAGE, "--out", str(disk / "runs"))
        assert differences(finished[1], outcome(disk / "runs" / "tiny")) == [] and leftovers(disk / "runs") == []


@pytest.mark.slow
@pytest.mark.long
def test_a_run_under_clocks_that_jump_ends_the_same(finished, tmp_path):
    command = [sys.executable, "-c", JUMPING, *tiny.words(tmp_path), *tiny.EACH_STAGE, "--log", "csv"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout + done.stderr
    assert differences(finished[1], outcome(tmp_path / "runs" / "tiny")) == [] and leftovers(tmp_path / "runs") == []


@pytest.mark.slow
@pytest.mark.long
def test_a_folder_that_moved_has_everything(finished, tmp_path):
    shutil.copytree(finished[0], tmp_path / "another place" / "für später")
    assert "nothing to do" in tiny.run(tmp_path / "another place" / "für später", *tiny.EACH_STAGE)
    assert differences(finished[1], outcome(tmp_path / "another place" / "für später" / "runs" / "tiny")) == []
