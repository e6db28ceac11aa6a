"""Several processes at one folder: each sees what was there before or what comes after, and all end with the same."""

import random
import subprocess
import sys
import threading
import time

import pytest

from benchmarks import report
from benchmarks.keeping import keep
from benchmarks.report.reading import load
from benchmarks.running import locks
from cat_keras.errors import Stopped
from cat_keras.storage import store
from tests import runs, tiny
from tests.faults import cases
from tests.faults.outcome import differences, leftovers, outcome

READERS = 8


class Together:
    """Threads that go on until the work in the block is done; what one of them raises is raised at its end."""

    def __init__(self, work, count=READERS):
        self._done, self._problems = threading.Event(), []
        self._threads = [threading.Thread(target=self._run, args=(work,)) for _ in range(count)]

    def _run(self, work):
        try:
            while not self._done.is_set():
                work()
        except BaseException as error:
            self._problems.append(error)

    def __enter__(self):
        for thread in self._threads:
            thread.start()

    def __exit__(self, *_):
        self._done.set()
        for thread in self._threads:
            thread.join()
        if self._problems:
            raise self._problems[0]


def seen(folder):
    """What a report reads at once, and what it reads later."""
    run = load.load(folder)
    cell = run.small["xent", 0, "sst2"]
    return tuple(cell["quality"].tolist()), tuple(map(tuple, cell["token_logprobs"]))


@pytest.fixture
def versions(tmp_path):
    """Two runs under one name, with different answers to the same examples."""
    return [runs.full(tmp_path / name / "run", ("sst2",), ("xent",), (0,), n=8, seed=i) for i, name in enumerate("ab")]


def rewrites(folder, sources, times):
    for number in range(times):
        source = sources[number % 2]
        contents = {name: (source / name).read_bytes() for name in ("examples.parquet", "predictions.parquet")}
        store.write_together(folder, contents, store.read_json(source / "manifest.json"))


@pytest.mark.parametrize("n", cases(12, 400))
def test_readers_of_a_run_that_is_written_anew_see_old_or_new(versions, tmp_path, n):
    expected, found = {seen(folder) for folder in versions}, []
    rewrites(tmp_path / "run", versions, 1)
    with Together(lambda: found.append(seen(tmp_path / "run"))):
        rewrites(tmp_path / "run", versions, n)
    assert len(expected) == 2 and set(found) == expected


def test_a_report_that_is_under_way_reads_the_run_it_began_with(versions, tmp_path):
    rewrites(tmp_path / "run", versions, 1)
    run = load.load(tmp_path / "run")
    rewrites(tmp_path / "run", versions[::-1], 1)
    later = run.small["xent", 0, "sst2"]["token_logprobs"]
    assert tuple(map(tuple, later)) == seen(versions[0])[1] != seen(tmp_path / "run")[1]


@pytest.mark.parametrize("n", cases(3, 30))
def test_readers_of_results_that_are_kept_meanwhile_see_old_or_new(versions, tmp_path, monkeypatch, n):
    monkeypatch.setattr(report, "files", runs.quick_report)
    to = keep.keep(versions[0], tmp_path / "kept")
    expected, found = {seen(folder) for folder in versions}, []
    with Together(lambda: found.append(seen(to))):
        for number in range(1, n + 1):
            keep.keep(versions[number % 2], to)
    assert set(found) <= expected and len(set(found)) == 2


@pytest.mark.parametrize("n", cases(10, 200))
def test_readers_of_a_store_see_an_entry_whole_or_not_at_all(tmp_path, n):
    keys = [store.identity(number=number) for number in range(n)]
    counts = {False: 0, True: 0}

    def build(folder):
        for name in "abc":
            (folder / name).write_bytes(random.randbytes(20_000))

    def read():
        opened, key = store.Store(tmp_path, report=pytest.fail), random.choice(keys)
        there = opened.has("stage", key)
        counts[there] += 1
        if there:
            path = opened.path("stage", key)
            assert store.damage(path) is None and all(len((path / name).read_bytes()) == 20_000 for name in "abc")

    with Together(read):
        for key in keys:
            locks.SharedStore(tmp_path, report=pytest.fail).get("stage", key, build)
    assert min(counts.values()) > READERS and not leftovers(tmp_path)


def test_all_that_find_an_entry_damaged_at_once_go_on_with_one_new_one(tmp_path, monkeypatch):
    monkeypatch.setattr(locks, "POLL", 0.01)
    key, built, said, barrier = store.identity(a=1), [], [], threading.Barrier(READERS)

    def build(folder):
        built.append(folder)
        (folder / "file").write_text("whole")

    def go():
        barrier.wait()
        found = locks.SharedStore(tmp_path, said.append).get("stage", key, build)
        assert (found / "file").read_text() == "whole"

    path = store.Store(tmp_path).get("stage", key, build)
    for _ in range(5):
        (path / "file").write_text("part")
        threads = [threading.Thread(target=go) for _ in range(READERS)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    assert len(built) == 6 and store.damage(path) is None and not leftovers(tmp_path)
    assert sum("building it again" in line for line in said) == 5


# -- locks -----------------------------------------------------------------------------------------------------------


@pytest.fixture
def shared(tmp_path, monkeypatch):
    """`shared(said)`: a store that looks often whether a lock is free."""
    monkeypatch.setattr(locks, "POLL", 0.01)
    return lambda said=None: locks.SharedStore(tmp_path, (said if said is not None else []).append)


def test_three_that_need_an_entry_build_it_once(shared):
    built, said = [], []

    def build(folder):
        built.append(folder)
        time.sleep(0.3)
        (folder / "content").write_text("x")

    threads = [threading.Thread(target=lambda: shared(said).get("stage", "a" * 64, build)) for _ in range(3)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(built) == 1 and any("waiting for stage-aaaa" in line for line in said)
    assert not list(shared().root.glob("locks/*"))


def test_one_at_a_time_holds_a_lock(shared):
    inside, most = [], []

    def hold():
        with shared().lock("collect"):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.005)
            inside.pop()

    threads = [threading.Thread(target=hold) for _ in range(20)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert most == [1] * 20 and not list(shared().root.glob("locks/*"))


def test_the_lock_of_a_process_that_was_killed_is_free_at_once(shared, tmp_path):
    code = f"from benchmarks.running import locks\nwith locks.SharedStore({str(tmp_path)!r}).lock('x'): input()"
    holder = subprocess.Popen([sys.executable, "-c", code], stdin=subprocess.PIPE)
    while not (tmp_path / "locks" / "x").exists():
        time.sleep(0.01)
    holder.kill()
    holder.wait()
    holder.stdin.close()
    with shared().lock("x"):
        assert (tmp_path / "locks" / "x").exists()


def test_a_failed_build_gives_its_lock_back(shared):
    with pytest.raises(ZeroDivisionError):
        shared().get("stage", "a" * 64, lambda folder: 1 / 0)
    assert not list(shared().root.glob("locks/*"))


def test_who_waits_for_another_can_be_asked_to_end(shared, tmp_path):
    asked = []

    def meanwhile():
        asked.append(1)
        if len(asked) > 3:
            raise Stopped

    with shared().lock("stage"), pytest.raises(Stopped):
        locks.SharedStore(tmp_path, [].append, meanwhile).lock("stage").__enter__()
    assert len(asked) == 4


def test_where_a_file_system_has_no_locks_nobody_waits(shared, monkeypatch):
    def refuse(*_):
        raise OSError(95, "Operation not supported")

    monkeypatch.setattr("fcntl.flock", refuse)
    with shared().lock("x"), shared().lock("x"):
        pass


# -- whole runs ------------------------------------------------------------------------------------------------------


@pytest.mark.slow
@pytest.mark.long
def test_two_runs_at_once_leave_what_one_leaves(finished, tmp_path):
    expected, results = finished[1], tmp_path / "runs" / "tiny"
    twins = [tiny.start(tmp_path, *tiny.EACH_STAGE) for _ in range(2)]
    while any(process.poll() is None for process in twins):
        if (results / "manifest.json").exists():
            load.load(results)  # whole, whenever it is there
        time.sleep(0.2)
    outputs = [process.communicate()[0] for process in twins]
    assert [process.returncode for process in twins] == [0, 0], outputs
    assert differences(expected, outcome(results)) == [] and leftovers(tmp_path / "runs") == []
    lines = [line for output in outputs for line in output.splitlines()]
    for stage in ("tokenizer", "encode", "large tune", "teacher cache", "small cat-dist seed 0", "predict large"):
        assert sum(f"{stage}: " in line for line in lines) == 1, (stage, outputs)
