"""A plan of 100,000 jobs is made and given out in a minute; the driver's memory does not grow with what is done."""

import json
import subprocess
import sys

import pytest

pytest.importorskip("ray", reason="the extra `ray` is not installed")


@pytest.mark.slow
@pytest.mark.long  # test_graph.py shows in CI that what is done is forgotten
def test_a_hundred_thousand_jobs():
    words = [sys.executable, "-m", "tests.cluster.nothing", "9090"]
    done = subprocess.run(words, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    found = json.loads(done.stdout)
    assert found["jobs"] > 99_000 and found["left"] == 0
    assert found["tasks"] < found["jobs"] / 20  # many at a time, while many are ready
    assert found["busy"] < 60  # seconds of this processor, whatever else runs on it
    assert max(found["memory"]) < found["memory"][0] + 32
