"""Training the small model: `CascadeAware` for `compile` / `fit`, and `train`, a loop that resumes where it stopped."""

import io
import math
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from cat_keras import distribution, losses, models, store, teacher
from cat_keras.encoding import Batches
from cat_keras.errors import CatKerasError


class CascadeAware(keras.Model):
    """Any KerasHub `CausalLM` with one of the cascade objectives as its loss.

    Trains `model` in place: after `fit`, save and serve `model` itself.

    Args:
        model: the small `CausalLM`.
        loss: an objective or its name, see `losses.OBJECTIVES`.
        teacher: the large `CausalLM`, frozen, to run live in every step; None when `Batches` delivers its columns
            from a `TeacherCache` (cheaper), or when the objective reads none.
    """

    def __init__(self, model, loss="cat-xent", teacher=None, **kwargs):
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
        self.live_tracker = keras.metrics.Mean(name="live")

    def compile(self, *args, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`; an explicit `jit_compile=True` also holds under TensorFlow's op determinism."""
        forced = jit_compile is True and keras.config.backend() == "tensorflow"
        super().compile(*args, jit_compile="auto" if forced else jit_compile, **kwargs)
        if forced:
            distribution.force_jit(self)
        self._compiled_steps = {}

    def step(self, x, y, weights) -> dict:
        """`train_on_batch` with a function that is compiled for batches of this one shape.

        A function that meets several shapes is traced by TensorFlow for the first and then for any; the two round
        differently, so that the last bits of a resumed run would depend on the shape it happened to resume at.
        """
        self.train_function = self._compiled_steps.get(y.shape)
        logs = self.train_on_batch(x, y, sample_weight=weights, return_dict=True)
        self._compiled_steps[y.shape] = self.train_function
        return logs

    def call(self, inputs, training=None):
        tokens = {"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]}
        return self.model(tokens, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on a batch of `Batches`: x tokens and columns, y labels, sample_weight the target mask."""
        columns = x
        if self.live_teacher:
            tokens = {"token_ids": x["token_ids"], "padding_mask": x["padding_mask"]}
            temperature = getattr(self.objective, "temperature", 1.0)
            columns = x | teacher.live_columns(self.teacher, tokens, y, self.objective.columns, temperature)
        loss, live = self.objective(y, y_pred, sample_weight, columns)
        self.live_tracker.update_state(live)
        return loss


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
    """What a training says after each step: step of steps, loss in nats per target token, share of live tokens."""

    step: int
    steps: int
    loss: float
    live: float
    tokens: int


def train(
    trainer: CascadeAware,
    batches: Batches,
    schedule: Schedule,
    checkpoint: Path | None = None,
    every_seconds: float = 20.0,
    progress: Callable[[Progress], None] | None = None,
) -> dict[str, list[float]]:
    """Runs a compiled `CascadeAware` to `schedule.steps`, from its last checkpoint if there is one.

    Since `batches.batch(step)` is a function of the step, weights, optimizer variables and the step are the whole
    state. A kill loses at most `every_seconds` of work and a step.

    Args:
        trainer: compiled.
        batches: where steps read from.
        schedule: learning rate per step, and how many steps in all. Set as a variable, so no step is recompiled.
        checkpoint: file for the state, or None to keep none.
        every_seconds: between two checkpoints.
        progress: called after each step.

    Returns:
        {"loss": […], "live": […]} per step.

    Raises:
        CatKerasError: when the loss is not finite: names the step; the checkpoint keeps the state before it.
    """
    steps = schedule.steps
    trainer.optimizer.build(trainer.model.trainable_variables)
    history = _restore(trainer, checkpoint) if checkpoint else {"loss": [], "live": []}
    saved_at, taken = time.monotonic(), None
    for step in range(len(history["loss"]), steps):
        x, y, weight = batches.batch(step)
        trainer.optimizer.learning_rate = schedule(step)
        trainer.reset_metrics()
        logs = trainer.step(x, y, weight)
        loss, live = float(logs["loss"]), float(logs["live"])
        if not np.isfinite(loss):
            kept = f"; {checkpoint} keeps the last good state" if checkpoint and checkpoint.exists() else ""
            raise CatKerasError(
                f"A loss is finite. Received: {loss} at step {step + 1} of {steps}{kept}. Lower the learning rate"
            )
        if taken:  # a state is known to be good once it gave a finite loss, a step after it was taken
            store.write_bytes(checkpoint, taken)
            saved_at, taken = time.monotonic(), None
        history["loss"].append(loss)
        history["live"].append(live)
        if progress:
            progress(Progress(step + 1, steps, loss, live, int(weight.sum())))
        if checkpoint and time.monotonic() - saved_at > every_seconds:
            taken = _packed(trainer, history)
    return history


def restart(trainer: CascadeAware, weights: list[np.ndarray]):
    """Sets weights and clears the optimizer: a compiled trainer serves the next cell without compiling again."""
    trainer.optimizer.build(trainer.model.trainable_variables)
    for variable in trainer.optimizer.variables:
        if variable is not getattr(trainer.optimizer, "_learning_rate", None):  # `fit` does not set it again
            variable.assign(keras.ops.zeros_like(variable))
    for variable, value in zip(trainer.model.weights, weights, strict=True):
        variable.assign(value)


def _state(trainer):
    return [*trainer.model.trainable_variables, *trainer.optimizer.variables]


def _packed(trainer, history) -> bytes:
    """A checkpoint as an npz file. `write_bytes` renames it into place: a kill leaves the previous one or this one."""
    buffer = io.BytesIO()
    values = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(_state(trainer))}
    np.savez(buffer, **values, **{f"history_{k}": np.asarray(h) for k, h in history.items()})
    return buffer.getvalue()


def _restore(trainer, checkpoint):
    """Loads a checkpoint if there is one; an unreadable one means starting over.

    Raises:
        CatKerasError: a readable checkpoint of another model or optimizer.
    """
    state = _state(trainer)
    try:
        with Path(checkpoint).open("rb") as stream, np.load(stream, allow_pickle=False) as z:
            values = [z[f"v{i}"] for i in range(len(z.files) - 2)]
            history = {"loss": z["history_loss"].tolist(), "live": z["history_live"].tolist()}
    except FileNotFoundError:
        return {"loss": [], "live": []}
    except Exception as error:
        Path(checkpoint).unlink()
        print(f"{checkpoint} is not readable ({error}); training from the start")
        return {"loss": [], "live": []}
    if [v.shape for v in values] != [tuple(v.shape) for v in state]:
        raise CatKerasError(
            f"A checkpoint is read by the training that wrote it. Received: {checkpoint}, whose {len(values)} arrays "
            f"have other shapes than the {len(state)} of this model and optimizer. Delete it, or name another file"
        )
    for variable, value in zip(state, values, strict=True):
        variable.assign(value)
    return history
