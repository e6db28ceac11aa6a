"""Training the small model: `CascadeAware` for `compile` / `fit`, and `train`, a loop that resumes where it stopped."""

import contextlib
import math
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cat_keras import checkpoint as checkpoints
from cat_keras import distribution, heads, losses, models, store, teacher
from cat_keras.encoding import Batches
from cat_keras.errors import CatKerasError, Stopped


class CascadeAware(keras.Model):
    """Any KerasHub `CausalLM` with one of the cascade objectives as its loss.

    Trains `model` in place: after `fit`, save and serve `model` itself.

    Args:
        model: the small `CausalLM`.
        loss: an objective or its name, see `losses.OBJECTIVES`.
        teacher: the large `CausalLM`, frozen, to run live in every step; None when `Batches` delivers its columns
            from a `TeacherCache` (cheaper), or when the objective reads none.
        chunk: tokens whose logits exist at one time in `train`, for large vocabularies; None for all target tokens of
            a slice.
    """

    def __init__(self, model, loss="cat-xent", teacher=None, chunk=None, **kwargs):
        super().__init__(**kwargs)
        if teacher is not None:
            models.check_same_tokenizer(model, teacher)
            teacher.trainable = False
            # First attached, first keyed: on the torch backend parameters are keyed by path, and a teacher attached
            # after the student would take the student's place.
            self.teacher = teacher
        self.live_teacher = teacher is not None
        self.model = model
        self.objective = losses.get(loss)
        if chunk is not None and chunk < 1:
            raise CatKerasError(f"chunk counts tokens, at least 1. Received: {chunk}")
        self.chunk = chunk
        self.output_layer = heads.output_layer(model) if self.objective.tokenwise else None
        self.live_tracker = keras.metrics.Mean(name="live")

    def compile(self, *args, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`; an explicit `jit_compile=True` also holds under TensorFlow's op determinism."""
        forced = jit_compile is True and keras.config.backend() == "tensorflow"
        super().compile(*args, jit_compile="auto" if forced else jit_compile, **kwargs)
        if forced:
            distribution.force_jit(self)
        self._steps = {}

    def step(self, batch, accumulate=1, capacity=None) -> tuple[float, float]:
        """One optimizer step on a batch of `Batches`: (loss, mean of the mask); `capacity` see `Step`.

        On TensorFlow through `Step`, exact under every strategy; on JAX and torch through `train_on_batch`.
        """
        if keras.config.backend() == "tensorflow":
            from cat_keras.step import Step

            if accumulate not in self._steps:
                self._steps[accumulate] = Step(self, accumulate)
            return self._steps[accumulate](*batch, capacity)
        if accumulate > 1:
            raise CatKerasError(
                f"Gradient accumulation of `train` needs the TensorFlow backend. Received: accumulate={accumulate} on "
                f"{keras.config.backend()}. Give the optimizer gradient_accumulation_steps there, and use fit"
            )
        self.reset_metrics()
        x, y, weights = batch
        logs = self.train_on_batch(x, y, sample_weight=weights, return_dict=True)
        return float(logs["loss"]), float(logs["live"])

    def call(self, inputs, training=None):
        return self.model(self._tokens(inputs), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on a batch of `Batches`: x tokens and columns, y labels, sample_weight the target mask."""
        loss, live = self.objective(y, y_pred, sample_weight, x | self._live(x, y))
        self.live_tracker.update_state(live)
        # `fit` sums the gradients of replicas; here their mean is taken, unweighted. `train` is exact: see `Step`.
        replicas = getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1)
        return loss / replicas if replicas > 1 else loss

    def share(self, x, y, weights, count, positions=None):
        """What a slice adds to the loss and to the mean of the mask of a global batch with `count` target tokens.

        Args:
            x, y, weights: as `Batches` gives them.
            positions: (n,) int32 from `heads.target_positions`: logits are made there alone, `chunk` of them at a time.
        """
        columns = {name: x[name] for name in x if name not in ("token_ids", "padding_mask")}
        if positions is None:
            return self.objective.share(y, self(x, training=True), weights, columns | self._live(x, y), count)
        hidden = self.model.backbone(self._tokens(x), training=True)
        parts = [heads.gather(v, positions) for v in (hidden, y, weights)]
        columns = {name: heads.gather(v, positions) for name, v in (columns | self._live(x, y)).items()}
        return self._chunked(parts, columns, count)

    def _chunked(self, parts, columns, count):
        """Sums `share` over blocks of `chunk` tokens where the logits of all would be too many."""

        def block(hidden, others):
            y, weights, columns = others
            return self.objective.share(y, self.output_layer(hidden), weights, columns, count)

        hidden, *others = parts
        if not self.chunk or hidden.shape[1] <= self.chunk:
            return block(hidden, (*others, columns))
        from cat_keras import chunks  # late: it brings TensorFlow

        return chunks.summed(block, hidden, (*others, columns), self.chunk, heads.variables(self.output_layer))

    def _live(self, x, y):
        """The columns of a large model that runs in the step; none with a cached one."""
        if not self.live_teacher:
            return {}
        temperature, k = getattr(self.objective, "temperature", 1.0), getattr(self.objective, "k", 1)
        return teacher.live_columns(self.teacher, self._tokens(x), y, self.objective.columns, temperature, k)

    @staticmethod
    def _tokens(x):
        return {"token_ids": x["token_ids"], "padding_mask": x["padding_mask"]}


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
