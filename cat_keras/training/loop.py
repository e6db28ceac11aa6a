"""`train`: a training loop that resumes where it stopped, to the bit."""

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cat_keras.errors import CatKerasError, Stopped
from cat_keras.storage import store
from cat_keras.training import checkpoint as checkpoints
from cat_keras.training import distribution
from cat_keras.training.batches import Batches
from cat_keras.training.trainer import CascadeAware


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step: linear warm-up, then cosine decay to `floor` of the peak.

    Args:
        peak: highest learning rate. steps: where the decay ends. warmup: steps of warm-up. floor: share of the peak.
    """

    peak: float
    steps: int
    warmup: int = 0
    floor: float = 0.1

    def __call__(self, step: int) -> float:
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        done = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * done)))


@dataclass(frozen=True)
class Progress:
    """What a training says after each step.

    Attributes:
        step, steps: done and in all. loss: nats per target token. live: share of live tokens. learning_rate: its own.
        tokens: model inputs of the step that are no padding. targets: its target tokens. computed: its positions.
        seconds: since this process began to train.
    """

    step: int
    steps: int
    loss: float
    live: float
    learning_rate: float
    tokens: int
    targets: int
    computed: int
    seconds: float


def train(
    trainer: CascadeAware,
    batches: Batches,
    schedule: Schedule,
    checkpoint: Path | None = None,
    *,
    accumulate: int = 1,
    every_seconds: float = 20.0,
    progress: Callable[[Progress], None] | None = None,
    stop: Callable[[], bool] | None = None,
) -> dict[str, list[float]]:
    """Runs a compiled `CascadeAware` to `schedule.steps`, from its last checkpoint if there is one.

    Since `batches.batch(step)` is a function of the step, weights, optimizer variables, generators of dropout and the
    step are the whole state. A kill loses at most `every_seconds` of work and a step. A trainer made in the scope of a
    `tf.distribute` strategy trains on all its replicas, to the same weights up to rounding; the chief writes.

    Args:
        trainer: compiled.
        batches: where steps read from: the same on every worker.
        schedule: learning rate per step, and how many steps in all. Set as a variable, so no step is recompiled.
        checkpoint: file for the state, or None to keep none. Workers on several hosts share its folder.
        accumulate: slices that a replica's part of a batch is computed in; lowers memory, not the result.
        every_seconds: between two checkpoints.
        progress: called after each step.
        stop: asked after each step; True saves the state and raises `Stopped`.

    Returns:
        {"loss": […], "live": […]} per step.

    Raises:
        CatKerasError: the loss is not finite (names the step; the checkpoint keeps the state before it), a step does
            not fit in memory, another worker is gone, or the checkpoint belongs to another training.
    """
    _build_optimizer(trainer)
    writes = checkpoint and distribution.is_chief(trainer)
    name = identity(trainer, batches, schedule)
    history = checkpoints.restore(trainer, checkpoint, name) if checkpoint else {"loss": [], "live": []}
    began = saved_at = time.monotonic()
    taken = None
    for step, batch in _read_ahead(batches, len(history["loss"]), schedule.steps):
        trainer.optimizer.learning_rate = schedule(step)
        with _understood(batch, accumulate):
            loss, live = trainer.step(batch, accumulate, batches.capacity)
        _check_finite(loss, step, schedule.steps, checkpoint)
        if taken:  # a state is known to be good once it gave a finite loss, a step after it was taken
            checkpoints.save(checkpoint, taken)
            saved_at, taken = time.monotonic(), None
        history["loss"].append(loss)
        history["live"].append(live)
        if progress:
            progress(_said(step, schedule, loss, live, batch, time.monotonic() - began))
        if stop and stop():
            if writes:
                checkpoints.save(checkpoint, checkpoints.packed(trainer, history, name))
            raise Stopped
        if writes and time.monotonic() - saved_at > every_seconds:
            taken = checkpoints.packed(trainer, history, name)
    return history


def _build_optimizer(trainer):
    strategy = getattr(trainer, "distribute_strategy", None)
    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer.optimizer.build(trainer.model.trainable_variables)


def identity(trainer, batches: Batches, schedule: Schedule) -> str:
    """Hash of what decides the weights a training ends with, but for those it starts from (sha256, hex)."""
    varying = ("learning_rate", "name")  # the schedule sets the one, Keras counts with the other
    optimizer = {k: v for k, v in trainer.optimizer.get_config().items() if k not in varying}
    return store.identity(
        objective=[type(trainer.objective).__name__, trainer.objective.get_config()],
        optimizer=[type(trainer.optimizer).__name__, repr(sorted(optimizer.items()))],
        shapes=[list(v.shape) for v in trainer.model.trainable_variables],
        batches=batches.identity,
        schedule=[schedule.peak, schedule.steps, schedule.warmup, schedule.floor],
    )


def _read_ahead(batches, first, steps):
    """(step, batch) in order; a thread makes the next batch while the device is busy with this one."""
    if first >= steps:
        return
    with ThreadPoolExecutor(1, "batches") as reader:
        upcoming = reader.submit(batches.batch, first)
        for step in range(first, steps):
            batch = upcoming.result()
            if step + 1 < steps:
                upcoming = reader.submit(batches.batch, step + 1)
            yield step, batch


def _check_finite(loss, step, steps, checkpoint):
    if not np.isfinite(loss):
        kept = f"; {checkpoint} keeps the last good state" if checkpoint and checkpoint.exists() else ""
        raise CatKerasError(
            f"A loss is finite. Received: {loss} at step {step + 1} of {steps}{kept}. Lower the learning rate"
        )


@contextlib.contextmanager
def _understood(batch, accumulate):
    """Says what TensorFlow's own messages only hint at: no memory, or a worker that is gone."""
    try:
        yield
    except CatKerasError:
        raise
    except Exception as error:
        kind, text = type(error).__name__, str(error)
        if kind == "ResourceExhaustedError" or isinstance(error, MemoryError) or "out of memory" in text.lower():
            rows, length = batch[1].shape
            raise CatKerasError(
                f"A step fits in memory. Received: a batch of {rows} x {length} tokens in {accumulate} slice(s) per "
                "replica, which did not. Lower batch_size or max_length, or raise accumulate"
            ) from error
        if kind in ("UnavailableError", "AbortedError") or "Collective ops is aborted" in text:
            raise CatKerasError(
                "All workers of a cluster step together. Received: no answer from one of them "
                f"({text.splitlines()[0][:200]}). Start all of them again: they continue from the last checkpoint"
            ) from error
        raise


def _said(step, schedule, loss, live, batch, seconds) -> Progress:
    x, _, weights = batch
    tokens, targets = int(x["padding_mask"].sum()), int(weights.sum())
    return Progress(step + 1, schedule.steps, loss, live, schedule(step), tokens, targets, weights.size, seconds)


def restart(trainer: CascadeAware, weights: list[np.ndarray]):
    """Sets weights and clears the optimizer: a compiled trainer serves the next cell without compiling again."""
    _build_optimizer(trainer)
    for variable in trainer.optimizer.variables:
        if variable is not getattr(trainer.optimizer, "_learning_rate", None):  # `fit` does not set it again
            variable.assign(keras.ops.zeros_like(variable))
    trainer.model.set_weights(weights)
