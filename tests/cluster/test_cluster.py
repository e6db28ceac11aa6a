"""A run on a Ray cluster on this machine: the same bytes as in one process, also where a node is lost on the way."""

import json
import subprocess
import sys

import pytest

from tests import tiny
from tests.faults.outcome import differences, leftovers, outcome

pytest.importorskip("ray", reason="the extra `ray` is not installed")
pytestmark = pytest.mark.slow

TWO = [{"num_cpus": 1}, {"num_cpus": 1}]


def on_nodes(folder, *arguments, status=0, **setting) -> str:
    """What a run prints on a cluster of some nodes, with its end status."""
    setting = {"nodes": TWO, "log": str(folder / "runs" / "tiny" / "log.txt")} | setting
    command = [sys.executable, "-m", "benchmarks", *tiny.words(folder), *arguments, "--on", "ray"]
    words = [sys.executable, "-m", "tests.cluster.nodes", json.dumps(setting), *command]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=500)
    assert done.returncode == status, done.stdout
    return done.stdout


@pytest.fixture(scope="module")
def each_stage(tmp_path_factory):
    """Where a run of every stage ends in one process."""
    folder = tmp_path_factory.mktemp("each-stage")
    tiny.run(folder, *tiny.EACH_STAGE)
    return outcome(folder / "runs" / "tiny")


def test_two_nodes_of_which_one_is_lost_end_with_the_bytes_of_one_process(each_stage, tmp_path):
    output = on_nodes(tmp_path, *tiny.EACH_STAGE, kill="begin    large tune")
    assert "its worker was lost" in output and "cluster: Ray, 3 nodes, 2 CPUs" in output
    assert differences(each_stage, outcome(tmp_path / "runs" / "tiny")) == []
    # A worker that is idle when the run ends is ended by Ray, a moment later or earlier.
    assert [name for name in leftovers(tmp_path / "runs") if not name.startswith("compiled/")] == []
    assert "nothing to do" in tiny.run(tmp_path, *tiny.EACH_STAGE)  # the run goes on in one process
