"""A run on a Ray cluster on this machine: the same bytes as in one process, also where a node is lost on the way."""

import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tests import commands, object_store, tiny
from tests.cluster import nodes
from tests.faults.outcome import differences, leftovers, outcome
from tests.running.test_run_devices import SMALLER, assert_alike

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

TWO = [{"num_cpus": 1}, {"num_cpus": 1}]


def on_nodes(folder, *arguments, status=0, **setting) -> str:
    """What a run prints on a cluster of some nodes, with its end status."""
    folder.mkdir(exist_ok=True)
    setting = {"nodes": TWO, "log": str(folder / "runs" / "tiny" / "log.txt")} | setting
    command = [sys.executable, "-m", "benchmarks", *tiny.words(folder), *arguments, "--on", "ray"]
    words = [sys.executable, "-m", "tests.cluster.nodes", json.dumps(setting), *command]
    try:
        done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    except subprocess.TimeoutExpired as error:
        noted = nodes.said(Path(setting["log"]))
        pytest.fail(f"no end after 500 s; it printed\n{(error.output or b'').decode()}\nand noted\n{noted}")
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def each_stage(tmp_path_factory):
    """Where a run of every stage ends in one process."""
    folder = tmp_path_factory.mktemp("each-stage")
    tiny.run(folder, *tiny.EACH_STAGE)
    return outcome(folder / "runs" / "tiny")


@pytest.fixture(scope="module")
def whole(tmp_path_factory):
    """Where a run of two methods ends in one process."""
    folder = tmp_path_factory.mktemp("whole")
    tiny.run(folder)
    return outcome(folder / "runs" / "tiny")


def test_two_nodes_of_which_one_is_lost_end_with_the_bytes_of_one_process(each_stage, tmp_path):
    output = on_nodes(tmp_path, *tiny.EACH_STAGE, kill="begin    large tune")
    assert "its worker was lost" in output and "cluster: Ray, 3 nodes, 2 CPUs" in output
    assert differences(each_stage, outcome(tmp_path / "runs" / "tiny")) == []
    # A worker that is idle when the run ends is ended by Ray, a moment later or earlier.
    assert [name for name in leftovers(tmp_path / "runs") if not name.startswith("compiled/")] == []
    assert "nothing to do" in tiny.run(tmp_path, *tiny.EACH_STAGE)  # the run goes on in one process


@pytest.mark.long  # the plain run of all stages is in CI
@pytest.mark.parametrize("event", [None, "begin    small xent", "begin    predict large", "begin    teacher cache"])
def test_the_whole_run_on_two_nodes_also_where_one_is_lost(whole, tmp_path, event):
    on_nodes(tmp_path, **{"kill": event} if event else {})
    assert differences(whole, outcome(tmp_path / "runs" / "tiny")) == []


@pytest.mark.long
@pytest.mark.parametrize(("number", "status"), [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGKILL, 247)])
def test_a_run_that_is_stopped_goes_on_in_one_process(each_stage, tmp_path, number, status):
    output = on_nodes(tmp_path, *tiny.EACH_STAGE, status=status, signal="begin    large tune", number=int(number))
    assert "Traceback" not in output
    assert ("the same command continues from there" in output) == (number != signal.SIGKILL)
    tiny.run(tmp_path, *tiny.EACH_STAGE)
    assert differences(each_stage, outcome(tmp_path / "runs" / "tiny")) == []


@pytest.mark.long
@pytest.mark.allow_hosts(["127.0.0.1"])
def test_nodes_without_a_common_folder_share_an_address(whole, tmp_path, monkeypatch):
    pytest.importorskip("s3fs")
    own = [tmp_path / name for name in ("one", "two")]
    nodes = [{"num_cpus": 1, "env_vars": {"CAT_KERAS_OUT": str(folder)}} for folder in own]
    with object_store.bucket(monkeypatch) as address:
        on_nodes(tmp_path, "--store", address, nodes=nodes)
    assert differences(whole, outcome(tmp_path / "runs" / "tiny")) == []
    # Two models are pretrained at the same time.
    assert all(list(folder.glob("cache/train/*")) for folder in own)
    assert not list(tmp_path.glob("runs/cache/train/*"))  # the driver needs no weights


TASK = """
from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(Task(
    name="colours", suites=("own",), cluster="own", kind="generation", source=Dataset("colours", "1.0.0"),
    splits={"train": "train[:-10]", "validation": "train[-10:]", "test": "test"},
    templates=("{question}\\nAnswer:\\n",), target=lambda row: row["answer"], metric="exact_match",
))
"""


@pytest.mark.long
def test_tasks_and_paths_of_the_user_are_known_on_workers(tmp_path, monkeypatch):
    (tmp_path / "mine.py").write_text(TASK)
    rows = tmp_path / "rows" / "colours" / "default"
    rows.mkdir(parents=True)
    for split, n in (("train", 40), ("test", 8)):
        lines = [json.dumps({"question": f"Colour {i}?", "answer": ("red", "blue")[i % 2]}) for i in range(n)]
        (rows / f"{split}.jsonl").write_text("\n".join(lines))
    monkeypatch.setenv("PYTHONPATH", os.fspath(Path.cwd()))
    monkeypatch.chdir(tmp_path)
    more = ("--tasks", "colours", "--data", "rows", *tiny.EACH_STAGE)
    for folder, on in (("plain", ()), ("cluster", ("--on", "ray"))):
        words = [*tiny.words(tmp_path), *more, "--out", folder, *on]
        commands.benchmarks("--tasks-file", "mine.py", *words, cwd=tmp_path)
    assert differences(*(outcome(tmp_path / name / "tiny") for name in ("plain", "cluster"))) == []


@pytest.mark.long
def test_a_lost_head_is_one_sentence(tmp_path):
    output = on_nodes(tmp_path, *tiny.EACH_STAGE, status=2, behead="begin    large tune")
    assert "A run goes on as long as its cluster does. Received: " in output
    assert "Traceback" not in output


@pytest.mark.long  # test_needs.py asks the same without a cluster
def test_nodes_without_the_memory_end_the_run_before_anything_is_made(tmp_path):
    output = on_nodes(tmp_path, *tiny.EACH_STAGE, status=2, nodes=[{"num_cpus": 1, "memory": 2**29}])
    assert "Each job fits on a node of the cluster. Received: " in output and "0.5 GiB" in output
    assert not list((tmp_path / "runs" / "cache").glob("train/*"))


@pytest.mark.long
def test_a_training_on_two_hosts_answers_as_on_one(tmp_path):
    (tmp_path / "alone").mkdir()
    tiny.run(tmp_path / "alone", *SMALLER)
    output = on_nodes(tmp_path / "two", *SMALLER, "--hosts", "2")
    assert "cluster: Ray, 3 nodes" in output
    assert_alike(tmp_path / "two", tmp_path / "alone")


@pytest.mark.long
def test_more_hosts_than_nodes_are_one_sentence(tmp_path):
    output = on_nodes(tmp_path, *SMALLER, "--hosts", "3", status=2)
    assert "A training spans as many nodes as --hosts says. Received: 3, and 2 with 1 CPU" in output
