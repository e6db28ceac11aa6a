"""How a step is computed on the device that is here: the precision of its products, and what of it XLA compiles.

On CPUs with TensorFlow, XLA compiles elementwise work into few passes over memory, but its own matrix products are
slower than oneDNN's, in bfloat16 on processors with `BFLOAT16_FLAGS` up to four times. So there a third way stands
between all and nothing: `ELEMENTWISE`. It is the fastest in bfloat16 and with dropout, as XLA draws random numbers
slowly on a CPU; otherwise it is hardly faster than compiling all (measured by `python -m benchmarks perf training auto
dropout`).
"""

import contextlib
import ctypes
import functools
import os
import platform

import keras

from cat_keras.storage import processor
from cat_keras.storage.compilations import LONG_TRAINING

ELEMENTWISE = "elementwise"  # XLA compiles what lies between the products, which are left to TensorFlow
JITS = ("auto", True, False, ELEMENTWISE)
# Steps from which on ELEMENTWISE wins back its time, with about six lengths. It takes twice as long to compile, many
# parts for each length, and saves a tenth of a step that TensorFlow computes alone.
LONG_ELEMENTWISE = 3000

# Products of bfloat16 numbers in hardware: what Linux calls the instructions of x86 processors.
BFLOAT16_FLAGS = {"avx512_bf16", "amx_bf16"}

# Operations that ELEMENTWISE leaves to TensorFlow: products; what reads or adds rows by index, searches, or draws
# random numbers (`_RANDOM`), which XLA does slowly on a CPU; and calls of functions, within which are products too.
_LEFT_OUT = frozenset(
    "MatMul BatchMatMul BatchMatMulV2 BatchMatMulV3 Einsum Gather GatherV2 GatherNd ResourceGather ScatterNd "
    "TensorScatterAdd TensorScatterUpdate UnsortedSegmentSum ArgMax TopKV2 Sort If StatelessIf While StatelessWhile "
    "Case StatelessCase PartitionedCall StatefulPartitionedCall".split()
)
_RANDOM = ("StatelessRandom", "StatelessTruncated")  # what names of operations that draw begin with

# Of glibc's <malloc.h>, M_MMAP_MAX: no block is mapped by itself; M_TRIM_THRESHOLD: nothing is given back;
# M_ARENA_MAX: threads share one heap, as a heap of a thread's own takes no blocks above 64 MiB.
_KEEPING_MEMORY = {-4: 0, -1: -1, -8: 1}


def best_precision() -> str:
    """The numeric policy that "auto" stands for on this device: "mixed_bfloat16" where that is faster, or "float32".

    bfloat16 it is on a TPU, on a GPU of compute capability 8.0 or more, and with TensorFlow on a CPU that multiplies
    it in hardware.
    """
    here = kind()
    if here == "CPU":
        faster = keras.config.backend() == "tensorflow" and bool(BFLOAT16_FLAGS & _cpu_flags())
    else:
        faster = here == "TPU" or _gpu_multiplies_bfloat16()
    return "mixed_bfloat16" if faster else "float32"


def best_jit(steps: int, dtype: str = "float32", dropout: float = 0.0) -> bool | str:
    """What XLA is to compile of a training: True for all of a step, False for nothing, or `ELEMENTWISE`.

    It follows from the training and the device, so that a training that was stopped goes on as it began.

    Args:
        steps: of the training. TensorFlow ends a short one sooner without compilation; JAX is slow without it.
        dtype: in which products are computed. dropout: share of activations that the model drops.
    """
    if keras.config.backend() != "tensorflow":
        return keras.config.backend() == "jax"
    if kind() == "CPU" and (dtype == "bfloat16" or dropout > 0):
        return ELEMENTWISE if steps >= LONG_ELEMENTWISE else False
    return steps >= LONG_TRAINING


def description(precision: str) -> str:
    """How trainings with this numeric policy are computed here, in words, e.g. "mixed_bfloat16; XLA compiles …"."""
    dtype = keras.DTypePolicy(precision).compute_dtype
    plain, dropping = (best_jit(LONG_ELEMENTWISE, dtype, rate) for rate in (0.0, 0.1))
    compiled = {True: "trainings", ELEMENTWISE: "what lies between the matrix products of trainings"}
    steps = {True: LONG_TRAINING, ELEMENTWISE: LONG_ELEMENTWISE}
    long = f" of {steps[plain]:,} steps or more" if plain and keras.config.backend() == "tensorflow" else ""
    less = f" (with dropout, {compiled[dropping]} of {steps[dropping]:,})" if dropping != plain else ""
    return f"{precision}; XLA compiles {compiled[plain]}{long}{less}" if plain else f"{precision}; without XLA"


def steps_ahead() -> int:
    """How many steps a training may be ahead of the losses that it has read.

    A CPU has taken a step when the call returns. Any other device is given its next steps meanwhile, so that it does
    not wait for Python.
    """
    return 0 if kind() == "CPU" else 2


@contextlib.contextmanager
def elementwise_compiled():
    """What is traced within it is compiled as `ELEMENTWISE` says; only within a `tf.function`."""
    import tensorflow as tf
    from tensorflow.python.client import pywrap_tf_session

    # Else a shape would be computed by TensorFlow's own kernels until it has come twice, and with other last digits.
    pywrap_tf_session.TF_SetXlaEnableLazyCompilation(False)
    with tf.xla.experimental.jit_scope(compile_ops=_is_elementwise):
        yield


def _is_elementwise(node) -> bool:
    return node.op not in _LEFT_OUT and not node.op.startswith(_RANDOM)


@functools.cache
def keep_freed_memory() -> bool:
    """Lets the C library keep what a step gives back, for the next one. Only on a CPU with glibc; else nothing is done.

    glibc gives each large tensor back to the operating system, which maps every page of it anew a step later. From now
    on the process keeps what it ever held at once, and between blocks of unequal sizes some more. An environment that
    sets `GLIBC_TUNABLES` or one of glibc's `MALLOC_…` variables is left as it is.

    Returns:
        Whether it is done.
    """
    chosen = "GLIBC_TUNABLES" in os.environ or any(name.startswith("MALLOC_") for name in os.environ)
    if chosen or kind() != "CPU" or platform.libc_ver()[0] != "glibc":
        return False
    settings = ctypes.CDLL(None).mallopt
    return all(settings(name, value) for name, value in _KEEPING_MEMORY.items())


@functools.cache
def kind() -> str:
    """ "CPU", "GPU" or "TPU"."""
    if keras.config.backend() == "jax":
        import jax

        return {"cpu": "CPU", "tpu": "TPU"}.get(jax.default_backend(), "GPU")
    if keras.config.backend() == "torch":
        import torch

        return "GPU" if torch.cuda.is_available() else "CPU"
    import tensorflow as tf

    # Logical devices would start TensorFlow, which a strategy of several workers has to do itself.
    return next((kind for kind in ("TPU", "GPU") if tf.config.list_physical_devices(kind)), "CPU")


def _gpu_multiplies_bfloat16() -> bool:
    if keras.config.backend() != "tensorflow":
        return True
    import tensorflow as tf

    details = map(tf.config.experimental.get_device_details, tf.config.list_physical_devices("GPU"))
    return all(d.get("compute_capability", (0, 0)) >= (8, 0) for d in details)


def _cpu_flags() -> set[str]:
    """What Linux says that the processor can do; nothing elsewhere."""
    return set(processor.facts().get("flags", "").split())
