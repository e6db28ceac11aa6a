"""How a training step grows with vocabulary, length and batch, and what chunks of logits save.

    python -m benchmarks perf growth

Each point is a process of its own, so that its peak of memory is its own.
"""

import json
import sys
import time

import numpy as np
import pandas as pd

from benchmarks.perf import paired
from cat_keras.storage import processes

BASE = {"vocabulary": 8192, "length": 64, "batch": 16, "chunk": 0}
SWEEPS = {
    "vocabulary": (4096, 16_384, 65_536, 262_144),
    "length": (32, 64, 128, 256),
    "batch": (8, 16, 32, 64),
}
CHUNKED = 128  # tokens


def measure():
    """Writes the tables `growth` and `growth-fit`."""
    rows, fits = [], []
    for name, sizes in SWEEPS.items():
        for chunk in (0, CHUNKED) if name == "vocabulary" else (0,):
            points = [_in_own_process(**BASE | {name: size, "chunk": chunk}) for size in sizes]
            label = f"{name}, chunks of {chunk} tokens" if chunk else name
            for size, p in zip(sizes, points, strict=True):
                rows.append({"of": label, "size": size, "ms per step": 1000 * p["seconds"], "peak MiB": p["MiB"]})
            fits.append({"of": label, "exponent of time": exponent(sizes, [p["seconds"] for p in points]),
                         "exponent of memory": exponent(sizes, [p["MiB"] for p in points])})  # fmt: skip
    note = (
        "Two layers of width 64; vocabulary 8,192, length 64, batch 16 where not varied; loss on half of the tokens. "
        "XLA. Memory: growth of the process from before the model to its peak, compiler included."
    )
    paired.keep("growth", pd.DataFrame(rows), note)
    paired.keep("growth-fit", pd.DataFrame(fits), "Fitted to the points of `growth`: cost = a · size^exponent.")


def exponent(sizes, values) -> float:
    """Slope of a line through the logarithms."""
    return float(np.polyfit(np.log(sizes), np.log(values), 1)[0])


def _in_own_process(**setting: int) -> dict:
    """What `point` gives, measured in a process that does nothing else."""
    return paired.in_own_process("growth", json.dumps(setting))


def point(vocabulary: int, length: int, batch: int, chunk: int) -> dict:
    """Seconds per step (the best of three) and the peak of memory of a small model, loss on half of the tokens."""
    import keras
    import keras_hub

    import cat_keras as ck
    from cat_keras import training

    before = processes.peak_memory()
    backbone = keras_hub.models.GemmaBackbone(
        vocabulary_size=vocabulary, num_layers=2, num_query_heads=2, num_key_value_heads=2, hidden_dim=64,
        intermediate_dim=256, head_dim=32,
    )  # fmt: skip
    trainer = ck.CascadeAware(keras_hub.models.GemmaCausalLM(backbone, preprocessor=None), "xent", chunk=chunk or None)
    trainer.compile(keras.optimizers.AdamW(1e-3), jit_compile=True)
    training.restart(trainer, trainer.model.get_weights())
    rng = np.random.default_rng(0)
    ids, labels = rng.integers(0, vocabulary, (2, batch, length)).astype(np.int32)
    weights = np.zeros((batch, length), np.int32)
    weights[:, length // 2 :] = 1
    data = ({"token_ids": ids, "padding_mask": np.ones_like(ids)}, labels, weights)
    capacity = lambda length, rows: rows * length // 2  # noqa: E731
    seconds = []
    for _ in range(4):
        began = time.perf_counter()
        float(trainer.step(data, 1, capacity)[0])
        seconds.append(time.perf_counter() - began)
    peak = processes.peak_memory()
    return {"seconds": min(seconds[1:]), "MiB": (peak - before) / 2**20}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", setting]:  # how `_in_own_process` starts it
            print(json.dumps(point(**json.loads(setting))))
        case _:
            sys.exit("Measure with: python -m benchmarks perf growth")
