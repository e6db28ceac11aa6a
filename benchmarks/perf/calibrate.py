"""What a dry run is to assume of this machine, measured: `python -m benchmarks perf calibrate FILE`.

The rate of training depends on the size of the model more than on anything else that a dry run knows, so it is measured
at several sizes. Then a run takes place, and its time is compared with what the dry run says with the file.
"""

import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from datetime import date
from pathlib import Path

import keras
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired, training, workload
from benchmarks.planning import estimate, hardware, plan, profile
from cat_keras import training as loop
from cat_keras.modeling import costs, models
from cat_keras.storage import store
from cat_keras.training import device, distribution

# From the small model of the embedded profile upwards; what an accelerator alone trains in reasonable time comes after.
SHAPES = (
    {"layers": 2, "width": 48, "heads": 2, "feedforward": 96},
    workload.SHAPES["1M"],
    workload.SHAPES["6M"],
)
ON_ACCELERATORS = (
    {"layers": 12, "width": 768, "heads": 12, "feedforward": 2048},
    {"layers": 16, "width": 2048, "heads": 16, "feedforward": 5632},
)
TOLERANCE = 0.3


def measure(file: Path, name: str = "embedded", precision: str = "float32"):
    """Writes the file of this machine, and the table `calibrate`.

    Args:
        file: TOML, for `--hardware`. name: of the profile that is run; it needs no data. precision: a numeric policy.

    Raises:
        CatKerasError: unknown precision or profile.
    """
    profile.read(name)
    distribution.set_precision(precision)
    precision = keras.config.dtype_policy().name
    print(f"products and copies, {precision}", flush=True)
    on_cpu = device.kind() == "CPU"
    side, size = (2048, 2**26) if on_cpu else (8192, 2**28)
    dtype = keras.DTypePolicy(precision).compute_dtype
    multiply, products = training.ceiling(dtype, side)
    flops = products / _fastest(multiply)
    bandwidth = 2 * 4 * size / _fastest(_copy(size))
    proto, shares, compiled = workload.tokenizer(), [], 0.0
    for shape in (*SHAPES, *(() if on_cpu else ON_ACCELERATORS)):
        per_token, rate, compiled = _trained(proto, shape, precision)
        shares.append([per_token, rate / flops])
        print(f"{per_token / 2e6:.3g} M parameters in products: {shares[-1][1]:.0%} of {flops:.3g} FLOP/s", flush=True)
    found = hardware.Hardware(
        name=f"{device.kind()} of this machine, {os.cpu_count()} cores", kind=device.kind(),
        source=f"measured by perf calibrate on {date.today()}, {precision}",
        devices=1, flops=flops, train=shares[-1][1], bandwidth=bandwidth, memory=_memory(), compile=compiled,
        shares=tuple(map(tuple, shares)),
    )  # fmt: skip
    store.write_bytes(file, hardware.text(found).encode())
    print(f"Written: {file}", flush=True)
    _check(file, name, precision)


def _check(file: Path, name: str, precision: str):
    """Runs a profile, and writes how long it was expected to take and took."""
    with tempfile.TemporaryDirectory() as folder:
        print(f"{name} is run", flush=True)
        command = [sys.executable, "-m", "benchmarks", "run", name, "--precision", precision, "--out", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        took = store.read_manifest(Path(folder) / name / "manifest.json")["seconds"]
        todo = plan.make(profile.read(name), None)
        expected = estimate.Estimate(todo, estimate.bytes_per_token(todo, None)[0])
        machine = hardware.get(str(file))
        computing, compiling = expected.times(expected.stages(), machine)
    row = {
        "run": name,
        "estimate, s": computing + compiling,
        "of which compiling, s": compiling,
        "measured, s": took,
        "estimate to measured": (computing + compiling) / took,
        "promise": f"{1 - TOLERANCE:.1f} to {1 + TOLERANCE:.1f}",
    }
    paired.keep("calibrate", pd.DataFrame([row]), f"{machine.name}; {machine.source}. The whole command is measured.")


def _trained(proto: bytes, shape: dict, precision: str) -> tuple[float, float, float]:
    """FLOPs of a token in the layers of a model, FLOP/s of its training, and seconds to compile one layer."""
    distribution.set_precision(precision)
    trainer = ck.CascadeAware(models.build(proto, **shape), "xent")
    jit = device.best_jit(device.LONG_ELEMENTWISE, trainer.model.backbone.compute_dtype)
    trainer.compile(training.optimizer(), jit_compile=jit)
    data = workload.data(proto, training.BATCH * training.STEPS, training.LENGTH, training.TARGET)
    batches = ck.Batches(data, training.BATCH, buckets=1)

    def steps():
        loop.train(trainer, batches, loop.Schedule(1e-3, training.STEPS))

    first = paired.seconds_of(steps)
    best = _fastest(steps)
    work = training.flops(trainer.model)
    return costs.count(trainer.model).per_token, work / best, max(first - best, 0.0) / shape["layers"]


def _memory() -> float:
    """Bytes of the accelerator that TensorFlow takes; on a CPU those of the machine."""
    from tensorflow.python.client import device_lib

    limits = [d.memory_limit for d in device_lib.list_local_devices() if d.device_type in ("GPU", "TPU")]
    return float(limits[0]) if limits else hardware.main_memory()


def _copy(size: int) -> Callable:
    import tensorflow as tf

    numbers = tf.zeros(size)
    return lambda: (numbers + 1.0)[0].numpy()


def _fastest(work: Callable, count: int = 3) -> float:
    """Seconds of the fastest call, after one that is not counted."""
    work()
    return min(paired.seconds_of(work) for _ in range(count))
