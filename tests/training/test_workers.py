"""Two processes that train as one: `TF_CONFIG` on this machine."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.enable_socket]  # to find two free ports

SCRIPT = Path(__file__).parent / "worker_steps.py"


def free_ports(count):
    sockets = [socket.socket() for _ in range(count)]
    for s in sockets:
        s.bind(("127.0.0.1", 0))
    ports = [s.getsockname()[1] for s in sockets]
    for s in sockets:
        s.close()
    return ports


def start(folder, steps, task=None, ports=()):
    cluster = {"cluster": {"worker": [f"127.0.0.1:{p}" for p in ports]}, "task": {"type": "worker", "index": task}}
    environment = os.environ | {"PYTHONPATH": str(SCRIPT.parents[2])}
    if task is not None:
        environment["TF_CONFIG"] = json.dumps(cluster)
    return subprocess.Popen(
        [sys.executable, SCRIPT, folder / "state.npz", str(steps)],
        env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def finished(process):
    out, problems = process.communicate(timeout=300)
    assert process.returncode == 0, problems
    return json.loads(out.splitlines()[-1])


def test_two_workers_end_where_one_process_ends(tmp_path):
    ports = free_ports(2)
    workers = [start(tmp_path, 6, task, ports) for task in (0, 1)]
    chief, other = map(finished, workers)
    alone = finished(start(tmp_path / "alone", 6))
    assert "2 replicas on 2 workers (this is 1)" in other["place"]
    assert chief["chief"] and not other["chief"]
    for both in (chief, other):
        np.testing.assert_allclose(both["loss"], alone["loss"], rtol=1e-5)
        for ours, theirs in zip(both["weights"], alone["weights"], strict=True):
            np.testing.assert_allclose(ours, theirs, atol=2e-5)


@pytest.mark.long
def test_a_worker_that_dies_ends_the_others_with_a_message_and_they_go_on_together(tmp_path):
    ports = free_ports(2)
    chief, other = (start(tmp_path, 100_000, task, ports) for task in (0, 1))
    while json.loads(chief.stdout.readline()).get("step", 0) < 20:
        pass
    other.kill()
    _, problems = chief.communicate(timeout=120)
    other.communicate()
    assert chief.returncode == 1
    assert "no answer from one of them" in problems
    assert (tmp_path / "state.npz").exists()
