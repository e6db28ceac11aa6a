"""Speed and size of the teacher cache: `python -m benchmarks perf teacher`.

Building it against the plain forward pass of the same model on the same batches; reading it against a training step.
"""

import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired, workload
from benchmarks.perf.training import BATCH, LENGTH, STEPS, TARGET, ours
from cat_keras.data import padding

EXAMPLES = 1024


def measure(rounds: int = 5):
    """Writes the tables `teacher-build`, of so many rounds, and `teacher-read`."""
    proto = workload.tokenizer()
    note = f"{EXAMPLES:,} examples of {LENGTH} tokens, {TARGET} of them target; large model 6M, small model 1M. "
    paired.keep("teacher-build", building(proto, rounds), note + f"Medians of {rounds} rounds.")
    paired.keep("teacher-read", reading(proto), note + "Cache in four shards on disk.")


def building(proto: bytes, count: int) -> pd.DataFrame:
    """Examples per second of `count` rounds: a plain forward pass, and each kind of cache."""
    import keras

    data, large = workload.data(proto, EXAMPLES, LENGTH, TARGET), workload.model(proto, "6M")
    plain = keras.Model(large.input, large.output)
    plain.compile(jit_compile=False)
    kinds = {"bits": ("none", 1), "top 32": ("topk", 32), "12 draws": ("sampled", 12)}
    passes = {"plain forward": _plain_forward(plain, data)}
    sizes = {"plain forward": float("nan")}
    for name, (kind, k) in kinds.items():
        passes[name] = _builder(large, data, kind, k)
        sizes[name] = sum(passes[name]().bytes_per_token.values())
    seconds = paired.rounds(passes, count)
    return pd.DataFrame(
        {
            "pass over the data": name,
            "examples/s": EXAMPLES / float(seconds[name].median()),
            "rate relative to plain forward": paired.ratio(seconds, "plain forward", name),
            "bytes per target token": sizes[name],
            "promise": "≥ 0.9" if name != "plain forward" else "",
        }
        for name in passes
    )


def _plain_forward(model, data: ck.Encoded):
    """A function that computes the logits of every position, batch by batch, and keeps none."""

    def run():
        for _, arrays in padding.windows(data, BATCH, np.array([LENGTH])):
            model.predict_on_batch({k: arrays[k] for k in ("token_ids", "padding_mask")})

    return run


def _builder(large, data: ck.Encoded, kind: str, k: int):
    return lambda: ck.TeacherCache.build(large, data, kind, k=k, batch_size=BATCH)


def reading(proto: bytes) -> pd.DataFrame:
    """Seconds that `batch` takes with and without columns from files, against a step."""
    data = workload.data(proto, EXAMPLES, LENGTH, TARGET)
    large, rows = workload.model(proto, "6M"), []
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, objective in (("bits", "none", "cat-xent"), ("top 32", "topk", "cat-dist")):
            cache = ck.TeacherCache.build(large, data, kind, k=32, directory=Path(folder) / kind, shard=256)
            bare = ck.Batches(data, BATCH, buckets=1)
            with_columns = ck.Batches(data, BATCH, buckets=1, loss=objective, teacher=cache)
            steps = ours(proto, "1M", data, objective, cache)
            steps()  # compiles
            began = time.perf_counter()
            steps()
            per_step = (time.perf_counter() - began) / STEPS
            extra = _seconds_per_batch(with_columns) - _seconds_per_batch(bare)
            rows.append({"columns": name, "ms to read": 1000 * extra, "ms per step": 1000 * per_step,
                         "share of the step": extra / per_step,
                         "promise": "≤ 0.02" if kind == "none" else ""})  # fmt: skip
    return pd.DataFrame(rows)


def _seconds_per_batch(batches: ck.Batches) -> float:
    began = time.perf_counter()
    for step in range(len(batches)):
        batches.batch(step)
    return (time.perf_counter() - began) / len(batches)
