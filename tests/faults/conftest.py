"""A finished run of a tiny profile, made once for all proofs that begin with one."""

import pytest

from tests import tiny
from tests.faults.outcome import outcome


@pytest.fixture(scope="session")
def finished(tmp_path_factory):
    """Its folder, never changed, and where it ended."""
    folder = tmp_path_factory.mktemp("finished")
    tiny.run(folder, *tiny.EACH_STAGE)
    return folder, outcome(folder / "runs" / "tiny")
