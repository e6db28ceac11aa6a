"""Useful tokens among computed ones on a profile's real mixture: `python -m benchmarks perf padding`."""

from pathlib import Path

import numpy as np
import pandas as pd

import cat_keras as ck
from benchmarks.perf import paired
from benchmarks.planning import plan, profile
from cat_keras.modeling import models


def measure(name: str = "nano", data: Path | None = None):
    """Writes the table `padding`.

    Args:
        name: of the profile whose training examples are batched. data: folder of real data.
    """
    study = profile.read(name)
    todo = plan.make(study, data)
    texts = [part for e in todo.train for part in (e.prompt, e.target)]
    proto = models.train_tokenizer(texts, study.data.vocabulary_size)
    tokenizer = models.tokenizer_of(models.build(proto, layers=1, width=8, heads=1, feedforward=8))
    encoded = ck.encode(list(todo.train), tokenizer, study.data.max_length, long_targets="drop")
    rows = []
    for buckets in (1, 2, 3, 4, 6, 8):
        batches = ck.Batches(encoded, study.objective.batch_size, buckets=buckets)
        rows.append(
            {
                "padded lengths": buckets,
                "useful / computed tokens": 1 - batches.padding_share,
                "lengths": " ".join(map(str, batches.edges)),
                "promise": "≥ 0.9",
            }
        )
    lengths = encoded.lengths
    note = (
        f"{len(encoded):,} training examples of the profile {name}, of {lengths.min()} to {lengths.max()} tokens "
        f"(median {np.median(lengths):.0f}), in batches of {study.objective.batch_size}. The profile takes "
        f"{study.buckets} padded lengths; each is one more compilation."
    )
    paired.keep("padding", pd.DataFrame(rows), note)
