"""Run by test_workers.py, in each process of a cluster: trains a small model and prints where it ended."""

import json
import sys
from pathlib import Path

import keras
import numpy as np

from cat_keras.training import distribution

place = distribution.choose("auto")  # before anything else: collectives start with the process

from cat_keras.data.encoding import encode  # noqa: E402
from cat_keras.errors import CatKerasError  # noqa: E402
from cat_keras.modeling import models  # noqa: E402
from cat_keras.training.batches import Batches  # noqa: E402
from cat_keras.training.loop import Schedule, train  # noqa: E402
from cat_keras.training.trainer import CascadeAware  # noqa: E402
from tests.conftest import invented_examples  # noqa: E402


def main(checkpoint: Path, steps: int):
    examples = invented_examples()
    proto = models.train_tokenizer([part for e in examples for part in (e.prompt, e.target)], 320)
    with place.scope():
        small = models.build(proto, layers=1, width=16, heads=2, feedforward=16, seed=7)
        trainer = CascadeAware(small, "xent")
        trainer.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=0.5), jit_compile=True)
    data = encode(examples, models.tokenizer_of(small), 40)
    batches = Batches(data, 7, seed=1, buckets=1)  # seven rows over two replicas: one is filled up

    def print_step(progress):
        print(json.dumps({"step": progress.step}), flush=True)

    history = train(trainer, batches, Schedule(1e-3, steps), checkpoint, every_seconds=0, progress=print_step)
    weights = [keras.ops.convert_to_numpy(w).astype(float).ravel().tolist() for w in small.weights]
    print(json.dumps({"place": str(place), "chief": place.chief, "loss": history["loss"], "weights": weights}))


try:
    np.seterr(all="raise", under="ignore")
    main(Path(sys.argv[1]), int(sys.argv[2]))
except CatKerasError as error:
    sys.exit(f"error: {error}")
