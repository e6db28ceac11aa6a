"""Speed and size of the teacher cache: python -m benchmarks.perf.teacher [ROUNDS]

Building it against the plain forward pass of the same model on the same batches; reading it against a training step.
"""

import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired, workload
from benchmarks.perf.training import BATCH, LENGTH, TARGET, ours
from cat_keras.data import padding

EXAMPLES = 1024


def plain_forward(model, data):
    """Logits of every position, batch by batch; nothing is kept."""

    def run():
        for _, arrays in padding.windows(data, BATCH, np.array([LENGTH])):
            model.predict_on_batch({k: arrays[k] for k in ("token_ids", "padding_mask")})

    return run


def building(proto, count) -> pd.DataFrame:
    import keras

    data, large = workload.data(proto, EXAMPLES, LENGTH, TARGET), workload.model(proto, "6M")
    plain = keras.Model(large.input, large.output)
    plain.compile(jit_compile=False)
    kinds = {"bits": ("none", 1), "top 32": ("topk", 32), "12 draws": ("sampled", 12)}
    work = {"plain forward": plain_forward(plain, data)}
    sizes = {"plain forward": float("nan")}
    for name, (kind, k) in kinds.items():
        work[name] = _builder(large, data, kind, k)
        sizes[name] = sum(work[name]().bytes_per_token.values())
    seconds = paired.rounds(work, count)
    return pd.DataFrame(
        {
            "pass over the data": name,
            "examples/s": EXAMPLES / float(seconds[name].median()),
            "rate relative to plain forward": paired.ratio(seconds, "plain forward", name),
            "bytes per target token": sizes[name],
            "promise": "≥ 0.9" if name != "plain forward" else "",
        }
        for name in work
    )


def _builder(large, data, kind, k):
    return lambda: ck.TeacherCache.build(large, data, kind, k=k, batch_size=BATCH)


def reading(proto) -> pd.DataFrame:
    """Seconds that `batch` takes with and without columns from files, against a step."""
    data = workload.data(proto, EXAMPLES, LENGTH, TARGET)
    large, rows = workload.model(proto, "6M"), []
    with tempfile.TemporaryDirectory() as folder:
        for name, kind, objective in (("bits", "none", "cat-xent"), ("top 32", "topk", "cat-dist")):
            cache = ck.TeacherCache.build(large, data, kind, k=32, directory=Path(folder) / kind, shard=256)
            bare = ck.Batches(data, BATCH, buckets=1)
            with_columns = ck.Batches(data, BATCH, buckets=1, loss=objective, teacher=cache)
            step = ours(proto, "1M", data, objective, cache)
            step()
            began = time.perf_counter()
            step()
            each = (time.perf_counter() - began) / 8
            extra = _per_batch(with_columns) - _per_batch(bare)
            rows.append({"columns": name, "ms to read": 1000 * extra, "ms per step": 1000 * each,
                         "share of the step": extra / each, "promise": "≤ 0.02" if kind == "none" else ""})  # fmt: skip
    return pd.DataFrame(rows)


def _per_batch(batches) -> float:
    began = time.perf_counter()
    for step in range(len(batches)):
        batches.batch(step)
    return (time.perf_counter() - began) / len(batches)


def main(count: int = 5):
    proto = workload.tokenizer()
    note = f"{EXAMPLES:,} examples of {LENGTH} tokens, {TARGET} of them target; large model 6M, small model 1M. "
    paired.keep("teacher-build", building(proto, count), note + f"Medians of {count} rounds.")
    paired.keep("teacher-read", reading(proto), note + "Cache in four shards on disk.")


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
