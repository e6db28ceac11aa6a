"""What is chosen for a device: the precision of products, and what XLA compiles of a training."""

import os
import platform
import subprocess
import sys

import keras
import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.training import CascadeAware, device


@pytest.fixture
def on(monkeypatch):
    """A function that makes this a device of some kind, of a backend, whose processor has some flags."""

    def pretend(kind="CPU", backend="tensorflow", flags=()):
        monkeypatch.setattr(keras.config, "backend", lambda: backend)
        monkeypatch.setattr(device, "kind", lambda: kind)
        monkeypatch.setattr(device, "_cpu_flags", lambda: set(flags))

    return pretend


@pytest.mark.parametrize(
    ("place", "precision"),
    [
        ({"flags": ["avx2", "avx512f"]}, "float32"),
        ({"flags": ["avx512f", "avx512_bf16"]}, "mixed_bfloat16"),
        ({"flags": ["amx_bf16"]}, "mixed_bfloat16"),
        ({"flags": ["amx_bf16"], "backend": "jax"}, "float32"),
        ({"kind": "TPU"}, "mixed_bfloat16"),
        ({"kind": "GPU", "backend": "jax"}, "mixed_bfloat16"),
    ],
)
def test_precision_is_what_the_device_multiplies_fastest(on, place, precision):
    on(**place)
    assert device.best_precision() == precision


def test_old_gpus_stay_with_float32(on, monkeypatch):
    on("GPU")
    monkeypatch.setattr(device, "_gpu_multiplies_bfloat16", lambda: False)
    assert device.best_precision() == "float32"


@pytest.mark.parametrize(
    ("place", "steps", "dtype", "dropout", "jit"),
    [
        ({}, 499, "float32", 0.0, False),
        ({}, 500, "float32", 0.0, True),
        ({}, 2999, "float32", 0.1, False),
        ({}, 3000, "float32", 0.1, device.ELEMENTWISE),
        ({}, 2999, "bfloat16", 0.0, False),
        ({}, 3000, "bfloat16", 0.0, device.ELEMENTWISE),
        ({"kind": "GPU"}, 499, "bfloat16", 0.0, False),
        ({"kind": "GPU"}, 500, "bfloat16", 0.1, True),
        ({"backend": "jax"}, 1, "float32", 0.1, True),
        ({"backend": "torch"}, 1000, "float32", 0.1, False),
    ],
)
def test_long_trainings_are_compiled_as_suits_the_device(on, place, steps, dtype, dropout, jit):
    on(**place)
    assert device.best_jit(steps, dtype, dropout) == jit


@pytest.mark.parametrize("draw", ["uniform", "normal", "truncated_normal"])
def test_random_numbers_are_not_drawn_within_what_is_compiled(draw):
    import tensorflow as tf

    @tf.function
    def doubled():
        with device.elementwise_compiled():
            return 2 * getattr(tf.random, f"stateless_{draw}")((2, 3), [1, 2])

    nodes = doubled.get_concrete_function().graph.as_graph_def().node
    compiled = {node.op for node in nodes if node.attr["_XlaCompile"].b}
    assert "Mul" in compiled and not [op for op in compiled if op.startswith(("StatelessRandom", "StatelessTruncated"))]
    np.testing.assert_array_equal(doubled(), 2 * getattr(tf.random, f"stateless_{draw}")((2, 3), [1, 2]))


def test_a_device_is_described_in_words(on):
    on("GPU")
    assert device.description("mixed_bfloat16") == "mixed_bfloat16; XLA compiles trainings of 500 steps or more"
    on()
    words = "mixed_bfloat16; XLA compiles what lies between the matrix products of trainings of 3,000 steps or more"
    assert device.description("mixed_bfloat16") == words
    dropping = "with dropout, what lies between the matrix products of trainings of 3,000"
    assert device.description("float32") == f"float32; XLA compiles trainings of 500 steps or more ({dropping})"
    on(backend="torch")
    assert device.description("float32") == "float32; without XLA"


def test_this_machine_is_some_device():
    assert device.kind() in ("CPU", "GPU", "TPU")
    assert device.best_precision() in ("float32", "mixed_bfloat16")


def test_an_unknown_way_to_compile_is_an_error(new_model):
    with pytest.raises(CatKerasError, match="Received: 'elementwize'"):
        CascadeAware(new_model("small"), "xent").compile("sgd", jit_compile="elementwize")


def test_elementwise_compilation_is_of_tensorflow(new_model, monkeypatch):
    trainer = CascadeAware(new_model("small"), "xent")
    monkeypatch.setattr(keras.config, "backend", lambda: "jax")
    with pytest.raises(CatKerasError, match="Received: jit_compile='elementwise' on jax"):
        trainer.compile("sgd", jit_compile="elementwise")


# A block that is taken, written and given back ten times, as a step's activations are: how many pages were mapped anew.
FAULTS = """
import resource, numpy as np
from cat_keras.training import device
kept = device.keep_freed_memory()
np.ones(4_000_000)
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
for _ in range(10):
    np.ones(4_000_000)
print(kept, resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="memory is kept by a setting of glibc")
@pytest.mark.parametrize(
    ("environment", "kept"), [({}, True), ({"MALLOC_ARENA_MAX": "4"}, False), ({"GLIBC_TUNABLES": ""}, False)]
)
def test_memory_of_a_step_is_kept_for_the_next_unless_the_environment_says_how(environment, kept):
    inherited = {k: v for k, v in os.environ.items() if not k.startswith(("MALLOC_", "GLIBC_"))}
    command = [sys.executable, "-c", FAULTS]
    run = subprocess.run(command, env=inherited | environment, capture_output=True, text=True, check=True)
    said, faults = run.stdout.split()
    assert said == str(kept)
    assert (int(faults) < 10) == kept


def test_memory_is_left_to_the_c_library_on_other_devices(on):
    on("GPU")
    assert not device.keep_freed_memory.__wrapped__()
