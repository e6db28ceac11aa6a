"""The same losses and training steps on TensorFlow, JAX and torch."""

import importlib.util
import json
import os
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest

pytestmark = [pytest.mark.slow, pytest.mark.long]

SCRIPT = Path(__file__).parent / "backend_steps.py"


def steps(backend, *arguments, **environment):
    if importlib.util.find_spec(backend) is None:
        pytest.skip(f"{backend} is not installed: pip install {backend}")
    done = subprocess.run(
        [sys.executable, SCRIPT, *arguments],
        env=os.environ | {"KERAS_BACKEND": backend, "PYTHONPATH": str(SCRIPT.parents[2])} | environment,
        capture_output=True,
        text=True,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout.splitlines()[-1])


@pytest.fixture(scope="module")
def tensorflow():
    return steps("tensorflow")


def assert_close(ours, theirs, path=""):
    if isinstance(theirs, dict):
        assert ours.keys() == theirs.keys()
        for name in theirs:
            assert_close(ours[name], theirs[name], f"{path}/{name}")
    else:
        np.testing.assert_allclose(ours, theirs, rtol=2e-4, err_msg=path)


@pytest.mark.parametrize("backend", ["jax", "torch"])
def test_backends_take_the_same_steps(tensorflow, backend):
    assert_close(steps(backend), tensorflow)


def test_a_live_teacher_gives_the_steps_of_a_cache_of_all_probabilities(tensorflow):
    assert_close(tensorflow["live"], tensorflow["cat-dist"])


def test_keras_distribution_on_jax_changes_no_loss(tensorflow):
    two = steps("jax", "data-parallel", XLA_FLAGS="--xla_force_host_platform_device_count=2")
    assert_close(two["fit"], tensorflow["fit"])
