"""Many cells and many predictions: time grows with them and not with their square, memory hardly at all."""

import time
import tracemalloc
from pathlib import Path

import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.perf import load as measuring
from benchmarks.planning import graph, plan, profile
from benchmarks.report.numbers import summary
from benchmarks.report.reading import columns, load
from tests.faults import cases, stand_in


@pytest.fixture
def study(tmp_path):
    """`study(n)`: a profile of n small models."""
    path = tmp_path / "many.toml"
    path.write_text(stand_in.PROFILE)
    return lambda n: profile.read(str(path), {"seeds": list(range(n // 3))})


def planned(study) -> float:
    """Processor seconds to name every result and what it needs."""
    began = time.process_time()
    todo = plan.make(study)
    assert len({todo.prediction_key(todo.model_key(model)) for model in todo.models()}) == len(todo.models())
    assert len(todo.cells()) == len(todo.models())
    assert len(graph.make(todo, todo.models(), lambda *_: False)) == 2 + len(todo.cells()) + len(todo.models())
    return time.process_time() - began


@pytest.mark.slow
def test_two_thousand_cells_are_planned_in_twice_the_time_of_a_thousand(study):
    planned(study(30))  # imports and versions
    half, whole = (min(planned(study(n)) for _ in range(2)) for n in (999, 1998))
    assert whole < 3 * half + 0.1, "twice the cells take more than twice the time"


def test_a_plan_of_two_thousand_cells_is_small(study):
    plan.make(study(30))
    tracemalloc.start()
    todo = plan.make(study(1998))
    held, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert len(todo.small) == 1998 and held < 4000 * 1998


def memory() -> float:
    """MiB of this process that are in memory."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096 / 2**20


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="needs Linux to tell its memory")
@pytest.mark.parametrize("n", cases(90, 2001))
def test_a_run_of_many_cells(tmp_path, monkeypatch, study, n):
    """Store, locks, log and collection of n models, without their trainings."""
    bench, seen = stand_in.install(monkeypatch), []
    bench.watch = staticmethod(lambda: seen.append((time.process_time(), memory())))
    study(3)
    command = f"python -m benchmarks run {tmp_path / 'many.toml'} --out {tmp_path / 'runs'} --seeds {n // 3}"
    assert stand_in.call(monkeypatch, command)[0] == 0
    assert len(bench.made) == len(set(bench.made)) == n + 1
    manifest = stand_in.manifest(tmp_path / "runs" / "many")
    assert manifest["missing"] == [] and len(manifest["cells"]) == n + 1
    assert pyarrow.parquet.read_metadata(tmp_path / "runs" / "many" / "predictions.parquet").num_rows == 2 * (n + 1)
    quarter = len(seen) // 4
    assert seen[-1][1] - seen[quarter][1] < 32
    per_quarter = [seen[4 * quarter - 1 if i == 4 else i * quarter][0] for i in range(5)]
    second, last = per_quarter[2] - per_quarter[1], per_quarter[4] - per_quarter[3]
    assert last < 2 * second + 0.2, "later cells take longer than earlier ones"
    bench.made.clear()
    assert stand_in.call(monkeypatch, command)[0] == 0 and not bench.made


def held(folder: Path) -> float:
    """Bytes that a run takes in memory after it was read and curves were computed."""
    columns._wide.cache_clear()
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    run = load.load(folder)
    for name in run.tasks:
        assert 0 <= summary.Cell(run, "xent", 0, name).curve(run.rule).audc <= 1
    columns._wide.cache_clear()
    used = tracemalloc.get_traced_memory()[0] + pyarrow.total_allocated_bytes() - before
    tracemalloc.stop()
    assert len(run.small) == 15 * 12
    return used


@pytest.mark.parametrize("n", cases(20_000, 1_000_000))
def test_a_store_of_many_predictions(tmp_path, n):
    small, large = tmp_path / "small", tmp_path / "large"
    few, many = measuring.write(small, n // 4), measuring.write(large, n)
    assert pyarrow.parquet.read_metadata(large / "predictions.parquet").num_rows == many > 0.9 * n
    held(small)  # imports
    assert (held(large) - held(small)) / (many - few) < 200
