"""Run by test_backends.py under one Keras backend: losses and training steps as numbers, in JSON on standard output."""

import json
import sys

import keras
import numpy as np

from cat_keras.data.encoding import encode
from cat_keras.modeling import lora, models
from cat_keras.training import losses
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware
from tests.conftest import invented_examples

OBJECTIVES = ("cat-dist",)


def model(proto, layers, seed):
    """A small model with weights that numpy drew: backends draw different ones from one seed."""
    language_model = models.build(proto, layers=layers, width=16, heads=2, feedforward=16)
    rng = np.random.default_rng(seed)
    for variable in language_model.weights:
        variable.assign(rng.normal(0, 0.1, variable.shape))
    return language_model


def trained(proto, data, cache, objective, live_teacher=None):
    small = model(proto, 1, 7)
    trainer = CascadeAware(small, objective, teacher=live_teacher)
    trainer.compile(keras.optimizers.SGD(0.5), jit_compile=False if keras.config.backend() == "torch" else "auto")
    batches = Batches(data, 8, seed=1, loss=objective, teacher=None if live_teacher else cache, buckets=2)
    history = train(trainer, batches, Schedule(0.5, 3))
    return history | {"weights": [float(np.abs(keras.ops.convert_to_numpy(w)).sum()) for w in small.weights]}


def fitted(proto, data, cache, rank=0):
    """Two epochs of `fit`, on every device that `keras.distribution` gives; with a rank, of LoRA."""
    small = model(proto, 1, 7)
    if rank:
        lora.enable(small, rank)
    trainer = CascadeAware(small, "cat-xent")
    trainer.compile(keras.optimizers.SGD(0.5), jit_compile=False if keras.config.backend() == "torch" else "auto")
    batches = Batches(data, 8, seed=1, loss="cat-xent", teacher=cache, buckets=1)
    return trainer.fit(batches, epochs=2, verbose=0).history


def main():
    if "data-parallel" in sys.argv:
        keras.distribution.set_distribution(keras.distribution.DataParallel())
    examples = invented_examples()
    proto = models.train_tokenizer([part for e in examples for part in (e.prompt, e.target)], 320)
    data = encode(examples, models.tokenizer_of(model(proto, 1, 0)), 40)
    large = model(proto, 2, 3)
    cache = TeacherCache.build(large, data, k=400)
    out = {
        "fit": fitted(proto, data, cache),
        "lora": fitted(proto, data, cache, rank=2),
        "right": np.asarray(cache.right).tolist(),
    }
    if "data-parallel" not in sys.argv:
        out |= {name: trained(proto, data, cache, name) for name in OBJECTIVES}
        out["live"] = trained(proto, data, None, losses.get("cat-dist"), live_teacher=large)
    print(json.dumps(out))


main()
