"""A whole run on two devices: the same answers as on one."""

import json
import subprocess
import sys

import pandas
import pytest

from tests import commands, tiny

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


def test_a_cluster_of_ones_own_is_told_to_use_ray(tmp_path, monkeypatch):
    cluster = {"worker": ["127.0.0.1:1", "127.0.0.1:2"]}
    monkeypatch.setenv("TF_CONFIG", json.dumps({"cluster": cluster, "task": {"type": "worker", "index": 0}}))
    done = commands.benchmarks(*command(tmp_path), status=2)
    assert "TF_CONFIG with 2 workers. Unset TF_CONFIG, and use --on ray --hosts 2" in done


def assert_alike(ours, theirs):
    """The same answers, with log-probabilities up to rounding."""
    ours, theirs = (pandas.read_parquet(f / "runs" / "tiny" / "predictions.parquet") for f in (ours, theirs))
    shared = ours.merge(theirs, on=["model", "method", "seed", "task", "id"], suffixes=("", "_alone"))
    assert len(shared) == len(ours) > 0
    assert (shared["text"] == shared["text_alone"]).mean() > 0.9
    same = shared[shared["text"] == shared["text_alone"]]
    gaps = [abs(sum(a) - sum(b)) for a, b in zip(same["token_logprobs"], same["token_logprobs_alone"], strict=True)]
    assert max(gaps) < 0.05
