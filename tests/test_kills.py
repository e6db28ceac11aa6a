"""SIGKILL at random instants of teacher cache, training and prediction: the end is the same to the bit."""

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

SCRIPT = Path(__file__).parent / "kill_steps.py"


@pytest.mark.slow
@pytest.mark.parametrize("kills", [4, pytest.param(20, marks=pytest.mark.long)])
def test_a_killed_training_ends_with_the_same_bits(tmp_path, kills):
    done = subprocess.run(
        [sys.executable, SCRIPT, tmp_path, str(kills), "2406"],
        env=os.environ | {"PYTHONPATH": str(SCRIPT.parents[1])}, capture_output=True, text=True,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout.splitlines()[-1])
    assert len(found["reached"]) == kills
    assert sum(0 < step < 150 for step in found["reached"]) >= kills // 4, "hardly a kill fell into the training"
    assert found["ends"] == [found["expected"]] * len(found["ends"])
