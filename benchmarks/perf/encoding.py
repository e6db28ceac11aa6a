"""Data larger than memory: time and memory of encoding examples into files, and of training from them.

    python -m benchmarks perf encoding

Each point is a process of its own, so that its peak of memory is its own.
"""

import itertools
import json
import shutil
import statistics
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

import pandas as pd

from benchmarks.perf import paired
from cat_keras.storage import processes

COUNTS = (100_000, 1_000_000, 10_000_000)
STEPS = 20
MOST = 2048  # MiB


def measure(counts=COUNTS):
    """Writes the table `encoding`.

    Args:
        counts: numbers of examples, ascending.
    """
    rows = []
    for count in counts:
        point = paired.in_own_process("encoding", str(count))
        rows.append(
            {
                "examples": count,
                "GB of tokens": point["bytes"] / 1e9,
                "encoding, µs per example": 1e6 * point["encoded"] / count,
                "opened and ready, s": point["ready"],
                "ms per step": 1000 * point["step"],
                "peak MiB, encoding": point["MiB encoding"],
                "peak MiB, training": point["MiB training"],
                "promise (peak MiB)": f"≤ {MOST}",
            }
        )
        print(f"{count:,} examples: {point['encoded']:,.0f} s", flush=True)
    note = (
        f"Generated examples of a prompt of eight words and a target of two. Steps of 32 examples and a model of one "
        f"layer and width 16, the median of {STEPS}. Memory is that of the whole process, TensorFlow included."
    )
    paired.keep("encoding", pd.DataFrame(rows), note)


def generated(count: int) -> Iterator:
    """Examples whose words follow from their number."""
    from cat_keras import Example

    words = "heron otter badger newt stoat vole finch adder hare wren lynx mole shrew toad robin".split()
    n = len(words)
    for i in range(count):
        prompt = " ".join(words[(i // n**place + place) % n] for place in range(8))
        yield Example(str(i), prompt, f"{words[i % n]} {words[i // n % n]}", "generated")


def point(count: int) -> dict:
    """Seconds to encode and to be ready to train, seconds of a step, and both peaks of memory."""
    import keras_hub

    from cat_keras import streaming
    from cat_keras.modeling import models

    folder = Path(tempfile.mkdtemp(prefix="encoding"))
    try:
        proto = models.train_tokenizer([e.prompt for e in generated(2000)], 300)
        tokenizer = keras_hub.models.GemmaTokenizer(proto=proto)
        began = time.perf_counter()
        data = streaming.encode_to(folder / "data", generated(count), tokenizer, 64)
        encoded, peak = time.perf_counter() - began, processes.peak_memory()
        ready, step = _trained(data, models.build(proto, layers=1, width=16, heads=2, feedforward=16))
        return {
            "bytes": data.tokens.nbytes,
            "encoded": encoded,
            "ready": ready,
            "step": step,
            "MiB encoding": peak / 2**20,
            "MiB training": processes.peak_memory() / 2**20,
        }
    finally:
        shutil.rmtree(folder)


def _trained(data, model) -> tuple[float, float]:
    """Seconds until the first step can be taken, and of a step."""
    import keras

    import cat_keras as ck
    from cat_keras import training

    began = time.perf_counter()
    trainer = ck.CascadeAware(model, "xent")
    trainer.compile(keras.optimizers.AdamW(1e-3))
    batches = ck.Batches(data, 32, buckets=1)
    batches.batch(0)
    ready, ends = time.perf_counter() - began, []
    training.train(
        trainer, batches, training.Schedule(1e-3, STEPS), progress=lambda p: ends.append(time.perf_counter())
    )
    return ready, statistics.median(b - a for a, b in itertools.pairwise(ends))


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", count]:  # how `measure` starts it
            print(json.dumps(point(int(count))))
        case _:
            sys.exit("Measure with: python -m benchmarks perf encoding")
