"""The first step of a training in a new process: `python -m benchmarks perf starts`.

A run keeps the code that XLA compiled; a later run with the same shapes finds it there.
"""

import json
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.perf import paired
from cat_keras.storage import compilations


def measure(rounds: int = 3):
    """Writes the table `starts`: in each round one process compiles, and the next finds what it left."""
    rows = []
    for shape in ("1M", "6M"):
        pairs = []
        for number in range(rounds):
            with tempfile.TemporaryDirectory() as folder:
                pairs.append([paired.in_own_process("starts", shape, folder) for _ in ("cold", "warm")])
            print(
                f"{shape}, round {number + 1} of {rounds}: {pairs[-1][0]:.3g} s, then {pairs[-1][1]:.3g} s", flush=True
            )
        cold, warm = np.transpose(pairs)
        rows.append({"model": shape, "s, nothing kept": float(np.median(cold)), "s, code kept": float(np.median(warm)),
                     "kept / nothing kept": float(np.median(warm / cold))})  # fmt: skip
    note = f"The first step of a training as `auto` chooses it, tracing included. Medians of {rounds} rounds."
    paired.keep("starts", pd.DataFrame(rows), note)


def point(shape: str, folder: str) -> float:
    """Seconds that the first step takes, with code of earlier processes in a folder."""
    with compilations.kept(Path(folder)):
        from benchmarks.perf import training, workload  # within, since TensorFlow reads its flags only once
        from cat_keras.training import device

        proto = workload.tokenizer(512)
        data = workload.data(proto, training.BATCH, training.LENGTH, training.TARGET)
        training.STEPS = 1
        step = training.ours(proto, shape, data, "xent", precision=device.best_precision())
        began = time.perf_counter()
        step()
        return time.perf_counter() - began


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", shape, folder]:  # how `measure` starts it
            print(json.dumps(point(shape, folder)))
        case _:
            sys.exit("Measure with: python -m benchmarks perf starts")
