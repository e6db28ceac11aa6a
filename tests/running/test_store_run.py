"""A run whose results lie at an address too: what one machine began, another ends, which has nothing else of it."""

import time

import pytest

from tests import tiny
from tests.faults.outcome import differences, outcome

pytestmark = pytest.mark.slow


def test_a_run_that_is_stopped_goes_on_on_another_machine(tmp_path):
    for name in ("alone", "first", "second"):
        (tmp_path / name).mkdir()
    tiny.run(tmp_path / "alone", *tiny.EACH_STAGE)
    shared = tmp_path / "shared"
    more = (*tiny.EACH_STAGE, "--store", f"file://{shared}")
    process = tiny.start(tmp_path / "first", *more)
    log = tmp_path / "first" / "runs" / "tiny" / "log.txt"
    while process.poll() is None and "begin    small cat-dist" not in (log.read_text() if log.exists() else ""):
        time.sleep(0.05)
    process.terminate()
    said = process.communicate()[0]
    assert process.returncode == 143 and "the same command continues" in said
    assert [path.name for path in shared.glob("unfinished/train-*/*")] == ["state.npz"]
    said = tiny.run(tmp_path / "second", *more)
    assert "small cat-dist" in said and "large tune" not in said
    alone, second = (outcome(tmp_path / name / "runs" / "tiny") for name in ("alone", "second"))
    assert differences(alone, second) == []
    assert not list(shared.glob("unfinished/*/*"))
    assert "nothing to do" in tiny.run(tmp_path / "first", *more)
