"""What a workbench chooses for a training by itself."""

import keras
import pytest

from benchmarks.running import workbench


@pytest.mark.parametrize(
    ("backend", "steps", "compiled"),
    [("tensorflow", 99, False), ("tensorflow", 100, True), ("jax", 1, True), ("torch", 1000, False)],
)
def test_long_trainings_are_compiled(backend, steps, compiled, monkeypatch):
    monkeypatch.setattr(keras.config, "backend", lambda: backend)
    assert workbench.compiles(steps) == compiled
