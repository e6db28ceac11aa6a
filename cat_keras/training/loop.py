"""`train`: a training loop that continues, after a kill, exactly where its last checkpoint is.

`Schedule` says the learning rate of each step, `Progress` is what is reported of each step, `identity` tells one
training from another, and `restart` makes a compiled trainer ready for the next training.
"""

import contextlib
import math
import time
from collections import deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cat_keras.errors import RATE, ROWS, SHARE, CatKerasError, Stopped, check_number
from cat_keras.modeling import lora
from cat_keras.storage import store
from cat_keras.training import checkpoint as checkpoints
from cat_keras.training import device, distribution
from cat_keras.training.batches import Batches
from cat_keras.training.trainer import CascadeAware


@dataclass(frozen=True)
class Schedule:
    """Learning rate as a function of the step: linear warm-up, then cosine decay to `floor` of the peak.

    Args:
        peak: highest learning rate.
        steps: number of steps, after which the decay has ended.
        warmup: steps of warm-up, at most `steps`.
        floor: lowest learning rate, as a share of the peak.

    Raises:
        CatKerasError: a number outside its range.
    """

    peak: float
    steps: int
    warmup: int = 0
    floor: float = 0.1

    def __post_init__(self):
        check_number("peak", self.peak, RATE)
        check_number("steps", self.steps, "[0, 2147483647]", whole=True)
        check_number("warmup", self.warmup, f"[0, {self.steps}]", whole=True)
        check_number("floor", self.floor, SHARE)

    def __call__(self, step: int) -> float:
        check_number("step", step, "[0, inf)")
        if step < self.warmup:
            return self.peak * (step + 1) / self.warmup
        decayed = min((step - self.warmup) / max(self.steps - self.warmup, 1), 1.0)  # share of the decay that is done
        return self.peak * (self.floor + (1 - self.floor) * 0.5 * (1 + math.cos(math.pi * decayed)))


@dataclass(frozen=True)
class Progress:
    """What a training reports after each step.

    Attributes:
        step: how many steps are done.
        steps: how many there are in all.
        loss: of the step, nats per target token.
        live: mean of the mask over the target tokens of the step.
        learning_rate: of the step.
        tokens: model inputs of the step that are not padding.
        targets: target tokens of the step.
        computed: positions of the step, padding included.
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

    Since `batches.batch(step)` is a function of the step, the whole state is the step, the weights, the variables of
    the optimizer and the generators of dropout. A kill loses at most `every_seconds` of work and one step. A trainer
    made in the scope of a `tf.distribute` strategy trains on all its replicas and arrives at the same weights up to
    rounding; only the chief writes files.

    Args:
        trainer: compiled.
        batches: the batches of every step, the same on every worker.
        schedule: learning rate per step, and how many steps in all. The rate is set as a variable, so that no step is
            compiled again.
        checkpoint: file for the state, or None to keep none. Workers on several hosts share its folder.
        accumulate: slices that a replica's part of a batch is computed in; more slices take less memory and give the
            same result.
        every_seconds: time between two checkpoints.
        progress: called for each step, on a GPU or a TPU when the device is up to two steps further.
        stop: asked after each step; True saves the state and raises `Stopped`.

    Returns:
        {"loss": […], "live": […]} per step.

    Raises:
        CatKerasError: the loss is not finite (the message names the step, and the checkpoint keeps the state before
            it), a step does not fit in memory, another worker is gone, the checkpoint belongs to another training, or
            an example is longer than the model has positions.
        Stopped: `stop` returned True.
    """
    check_number("accumulate", accumulate, ROWS, whole=True)
    check_number("every_seconds", every_seconds, "[0, inf]")
    trainer.check_batches(batches)
    device.keep_freed_memory()
    _build_optimizer(trainer)
    writes_files = checkpoint and distribution.is_chief(trainer)
    training = identity(trainer, batches, schedule)
    history = checkpoints.restore(trainer, checkpoint, training) if checkpoint else {"loss": [], "live": []}
    started = last_save = time.monotonic()
    snapshot = None  # a state that is not yet known to be good: the step after it has to give a finite loss first
    owed = deque()  # steps that the device may still be busy with

    def read_losses(but: int):
        """Waits for the losses of all steps but the last few."""
        nonlocal last_save, snapshot
        while len(owed) > but:
            step, batch, *values = owed.popleft()
            with _step_errors_explained(batch, accumulate):
                loss, live = map(float, values)
            _check_finite(loss, step, schedule.steps, checkpoint)
            if snapshot:
                checkpoints.save(checkpoint, snapshot)
                last_save, snapshot = time.monotonic(), None
            history["loss"].append(loss)
            history["live"].append(live)
            if progress:
                progress(_step_progress(step, schedule, loss, live, batch, time.monotonic() - started))

    def prepared(step: int):
        """The batch of a step, and the function that takes the step."""
        batch = batches.batch(step)
        return batch, trainer.prepared(batch, accumulate, batches.capacity, schedule.steps)

    for step, (batch, take) in _read_ahead(prepared, len(history["loss"]), schedule.steps):
        trainer.optimizer.learning_rate = schedule(step)
        with _step_errors_explained(batch, accumulate):
            values = take()
        owed.append((step, batch, *values))
        read_losses(but=device.steps_ahead())
        if stop and stop():
            read_losses(but=0)
            if writes_files:
                checkpoints.save(checkpoint, checkpoints.packed(trainer, history, training))
            raise Stopped
        if writes_files and time.monotonic() - last_save > every_seconds:
            read_losses(but=0)
            snapshot = checkpoints.packed(trainer, history, training)
    read_losses(but=0)
    return history


def identity(trainer, batches: Batches, schedule: Schedule) -> str:
    """sha256 (hex) of everything that decides the final weights of a training, except its initial trainable weights."""
    # The schedule sets the learning rate, and Keras numbers the names of its optimizers.
    no_part = ("learning_rate", "name")
    optimizer = {k: v for k, v in trainer.optimizer.get_config().items() if k not in no_part}
    return store.identity(
        objective=[type(trainer.objective).__name__, trainer.objective.get_config()],
        optimizer=[type(trainer.optimizer).__name__, repr(sorted(optimizer.items()))],
        shapes=[list(v.shape) for v in trainer.model.trainable_variables],
        batches=batches.identity,
        schedule=[schedule.peak, schedule.steps, schedule.warmup, schedule.floor],
        # A checkpoint then holds the factors alone, so that their base has to be the same.
        **({"lora": adapters} if (adapters := lora.identity(trainer.model)) else {}),
    )


def restart(trainer: CascadeAware, weights: list[np.ndarray]):
    """Sets the weights and clears the optimizer, so that a compiled trainer serves another training as it is."""
    _build_optimizer(trainer)
    for variable in trainer.optimizer.variables:
        # The learning rate stays, since `fit` would not set it again.
        if variable is not getattr(trainer.optimizer, "_learning_rate", None):
            variable.assign(keras.ops.zeros_like(variable))
    trainer.model.set_weights(weights)


def _build_optimizer(trainer):
    strategy = getattr(trainer, "distribute_strategy", None)
    with strategy.scope() if strategy else contextlib.nullcontext():
        trainer.optimizer.build(trainer.model.trainable_variables)


def _read_ahead(prepared, first, steps):
    """(step, what is prepared for it) in order; a thread prepares the next step while the device is busy with this."""
    if first >= steps:
        return
    with ThreadPoolExecutor(1, "batches") as reader:
        following = reader.submit(prepared, first)
        for step in range(first, steps):
            ready = following.result()
            if step + 1 < steps:
                following = reader.submit(prepared, step + 1)
            yield step, ready


def _check_finite(loss, step, steps, checkpoint):
    if not np.isfinite(loss):
        hint = f"; {checkpoint} keeps the last good state" if checkpoint and checkpoint.exists() else ""
        raise CatKerasError(
            f"A loss is finite. Received: {loss} at step {step + 1} of {steps}{hint}. Lower the learning rate"
        )


@contextlib.contextmanager
def _step_errors_explained(batch, accumulate):
    """Turns the errors that TensorFlow only hints at, too little memory and a lost worker, into a CatKerasError."""
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


def _step_progress(step, schedule, loss, live, batch, seconds) -> Progress:
    x, _, weights = batch
    return Progress(
        step=step + 1,
        steps=schedule.steps,
        loss=loss,
        live=live,
        learning_rate=schedule(step),
        # A batch of retrieval has several masks, of queries and of documents.
        tokens=sum(int(values.sum()) for name, values in x.items() if name.endswith("padding_mask")),
        targets=int(weights.sum()),
        computed=weights.size,
        seconds=seconds,
    )
