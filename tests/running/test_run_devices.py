"""A whole run on two devices, and on two workers: the same answers as on one."""

import json
import os
import subprocess
import sys

import pandas
import pytest

from tests import commands, tiny
from tests.training.test_workers import free_ports

pytestmark = pytest.mark.long  # training/test_workers.py and test_step.py train on several replicas in CI

# One task, one layer, no pretraining: what is compared is the training of both models, and one objective.
SMALLER = (
    *tiny.EACH_STAGE, "--methods", "cat-xent", "--tasks", "embedded_lookup", "--set", "large.layers=1"
)  # fmt: skip


def command(folder):
    return [*tiny.words(folder), *SMALLER]


@pytest.fixture(scope="module")
def alone(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alone")
    commands.benchmarks(*command(folder))
    return folder


MIRRORED = """
import sys
import tensorflow as tf
tf.config.set_logical_device_configuration(
    tf.config.list_physical_devices("CPU")[0], [tf.config.LogicalDeviceConfiguration()] * 2
)
from benchmarks.cli import main
main()
"""


def test_two_devices_answer_as_one(alone, tmp_path):
    words = [sys.executable, "-c", MIRRORED, *command(tmp_path), "--strategy", "mirrored"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert done.stdout.startswith("strategy: mirrored, 2 replicas")
    assert_alike(tmp_path, alone)


@pytest.mark.enable_socket  # to find two free ports
def test_two_workers_run_as_one(alone, tmp_path):
    ports = free_ports(2)
    cluster = {"worker": [f"127.0.0.1:{port}" for port in ports]}
    words = [sys.executable, "-m", "benchmarks", *command(tmp_path)]
    workers = [
        subprocess.Popen(
            words, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
            env=os.environ | {"TF_CONFIG": json.dumps({"cluster": cluster, "task": {"type": "worker", "index": i}})},
        )
        for i in range(2)
    ]  # fmt: skip
    outputs = [process.communicate(timeout=400) for process in workers]
    assert [process.returncode for process in workers] == [0, 0], outputs
    assert "2 replicas on 2 workers (this is 0)" in outputs[0][0]
    assert_alike(tmp_path, alone)


def assert_alike(ours, theirs):
    """The same answers, with log-probabilities up to rounding."""
    ours, theirs = (pandas.read_parquet(f / "runs" / "tiny" / "predictions.parquet") for f in (ours, theirs))
    shared = ours.merge(theirs, on=["model", "method", "seed", "task", "id"], suffixes=("", "_alone"))
    assert len(shared) == len(ours) > 0
    assert (shared["text"] == shared["text_alone"]).mean() > 0.9
    same = shared[shared["text"] == shared["text_alone"]]
    gaps = [abs(sum(a) - sum(b)) for a, b in zip(same["token_logprobs"], same["token_logprobs_alone"], strict=True)]
    assert max(gaps) < 0.05
