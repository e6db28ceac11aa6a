"""What decoding is measured on: models that were trained until they learned when to stop, and prompts of their task."""

import functools
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

import cat_keras as ck
from benchmarks.perf import workload
from benchmarks.tasks import loading, task
from cat_keras import training
from cat_keras.data import encoding
from cat_keras.modeling import models
from cat_keras.storage import store
from cat_keras.training import losses

TASK, CONTEXT, NEW = "web_nlg_en", 256, 64
STEPS, RATES = {"1M": 600, "6M": 400}, {"1M": 3e-3, "6M": 3e-3}  # steps of 32 examples; peak learning rates


@dataclass(frozen=True)
class Writers:
    """Trained models and what they answer.

    Attributes:
        models: name of the shape → a trained `CausalLM`.
        examples: what to answer. prompts: their token ids, the start token first.
        end: id that ends an answer.
    """

    models: dict
    examples: Sequence[ck.Example]
    prompts: list[list[int]]
    end: int


def prepare(cache: Path, data: Path | None = None, count: int = 512) -> Writers:
    """Trains the models, or takes them from the cache of an earlier call.

    Args:
        cache: where trained models lie, by what they were trained on. data: folder of real data, see
            `benchmarks.tasks.prepare`; without one the samples of the task are read.
        count: prompts, fewer where the task has fewer.
    """
    rows = functools.partial(loading.load, task.get(TASK), data=data, source="local" if data else "samples")
    train, examples = rows("train"), rows("test", limit=count)
    results = store.Store(cache)
    key = store.identity(examples=[e.asdict() for e in train], code=1)

    def train_tokenizer(folder):
        texts = [part for e in train for part in (e.prompt, e.target)]
        (folder / "vocabulary.spm").write_bytes(models.train_tokenizer(texts, 4096))

    proto = (results.get("tokenizer", key, train_tokenizer) / "vocabulary.spm").read_bytes()
    trained = {shape: _trained_model(results, key, proto, shape, train) for shape in workload.SHAPES}
    return with_prompts(trained, examples)


def with_prompts(trained: dict, examples: Sequence[ck.Example]) -> Writers:
    """Models of one tokenizer (shape → model) with the examples that they shall answer."""
    tokenizer = models.tokenizer_of(next(iter(trained.values())))
    prompts, _ = encoding.prompts_within([e.prompt for e in examples], tokenizer, CONTEXT - NEW)
    return Writers(trained, examples, prompts, models.special_id(tokenizer, "end"))


def _trained_model(results: store.Store, key: str, proto: bytes, shape: str, train: Sequence[ck.Example]):
    """A model of a shape trained on the examples whose key is given, or the one that an earlier call stored."""
    steps, rate = STEPS[shape], RATES[shape]

    def build(folder):
        model = workload.model(proto, shape)
        data = ck.encode(train, models.tokenizer_of(model), CONTEXT, long_targets="drop")
        trainer = ck.CascadeAware(model, losses.get("xent"))
        trainer.compile(keras.optimizers.AdamW(1e-3, global_clipnorm=1.0), jit_compile=True)
        batches = ck.Batches(data, 32, buckets=3)
        history = training.train(trainer, batches, training.Schedule(rate, steps, steps // 10))
        models.save(model, folder / "preset")
        return {"loss": float(np.mean(history["loss"][-20:]))}

    recipe = store.identity(data=key, shape=workload.SHAPES[shape], steps=steps, rate=rate)
    return models.load(results.get("train", recipe, build) / "preset")


def cut(tokens: Sequence[int], end: int) -> list[int]:
    """An answer up to its end token, of at most `NEW` tokens."""
    tokens = list(tokens)[:NEW]
    return tokens[: tokens.index(end) + 1] if end in tokens else tokens


def lengths(answers: Sequence[Sequence[int]]) -> str:
    """How the lengths of answers are distributed, in words."""
    n = np.array([len(a) for a in answers])
    low, middle, high = np.quantile(n, (0.1, 0.5, 0.9))
    return f"{n.min()} to {n.max()} tokens (10 %: {low:.0f}, median {middle:.0f}, 90 %: {high:.0f})"
