"""What a run meets when things go wrong: bad input, damaged files, kills, attacks, load.

Every proof has a short draw, which CI runs, and the full one, marked `long`: `pytest tests/faults -m long`. With
`CAT_KERAS_FAULTS=1000` in the environment each draws so many cases instead.
"""

import os

import pytest


def cases(default: int, full: int) -> list:
    """Numbers of cases to parametrize a test with: the draw of CI, and the full one."""
    asked = os.environ.get("CAT_KERAS_FAULTS")
    return [int(asked)] if asked else [default, pytest.param(full, marks=[pytest.mark.slow, pytest.mark.long])]
