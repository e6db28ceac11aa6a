"""`CascadeAware`: a small language model together with a cascade objective as its loss.

It is a `keras.Model`, so that `compile` and `fit` work on it. `train` (see `loop`) calls `step` instead, which on
TensorFlow gives the exact loss of the global batch on any number of devices.
"""

import contextlib
import functools
from collections.abc import Callable

import keras

from cat_keras.errors import COUNT, CatKerasError, check_number
from cat_keras.modeling import heads, models, tokenizers
from cat_keras.modeling.elastic import shared
from cat_keras.training import device, distribution, losses, teacher


class CascadeAware(keras.Model):
    """Any KerasHub `CausalLM` with one of the cascade objectives as its loss.

    Trains `model` in place: after `fit`, save and serve `model` itself.

    Args:
        model: the small `CausalLM`.
        loss: an objective or its name, see `losses.OBJECTIVES`.
        teacher: the large `CausalLM`, frozen, to run in every step; None when `Batches` delivers its columns from a
            `TeacherCache` (cheaper), or when the objective reads none.
        chunk: how many tokens have their logits in memory at one time in `train`, for large vocabularies; None for all
            target tokens of a slice.
        recompute: whether layers keep their input alone in `train`, see `recomputation`; on TensorFlow only.
    """

    def __init__(self, model, loss="cat-xent", teacher=None, chunk=None, recompute=False, **kwargs):
        super().__init__(**kwargs)
        if shared.is_shared(model):
            raise CatKerasError(
                f"The sizes of an elastic model are trained together. Received: {model.name}, whose weights are a part "
                "of another model's. Give ck.elastic.Trainer the Elastic, or train what its extract returns"
            )
        if teacher is not None:
            models.check_same_tokenizer(model, teacher)
            teacher.trainable = False
            # The teacher is attached before the student: the torch backend keys parameters by path, and there the
            # model that is attached last would replace the first.
            self.teacher = teacher
        self.live_teacher = teacher is not None
        self.model = model
        self.objective = losses.get(loss)
        if isinstance(self.objective, losses.DeferToken):
            tokenizers.check_defer_id(models.tokenizer_of(model), self.objective.token)
            if teacher is not None:
                raise CatKerasError(
                    "DeferToken reads where models are right on whole examples, which caches say. Received: a teacher "
                    "to run in every step. Give Batches its TeacherCache as teacher=, and that of the start as start="
                )
        if chunk is not None:
            check_number("chunk", chunk, COUNT, whole=True)
        self.chunk, self.recompute = chunk, recompute
        if recompute:
            _check_recomputed(model)
        self.output_layer = heads.output_layer(model) if self.objective.tokenwise else None
        self.live_tracker = keras.metrics.Mean(name="live")

    def compile(self, *args, jit_compile="auto", **kwargs):
        """As `keras.Model.compile`, and what XLA compiles of a step of `train`.

        Args:
            jit_compile: True for all of it, also under TensorFlow's op determinism; False for nothing; "elementwise"
                for what lies between its matrix products, see `device`; "auto" for what is fastest on this device in a
                training of so many steps. "elementwise" is for `train` on TensorFlow alone, and nothing to `fit`.

        Raises:
            CatKerasError: there is no such way, or the backend does not have it.
        """
        if jit_compile not in device.JITS:
            raise CatKerasError(f"jit_compile is one of {device.JITS}. Received: {jit_compile!r}")
        on_tensorflow, self._jit = keras.config.backend() == "tensorflow", jit_compile
        if jit_compile == device.ELEMENTWISE and not on_tensorflow:
            raise CatKerasError(
                f"Elementwise compilation is of TensorFlow. Received: jit_compile={jit_compile!r} on "
                f"{keras.config.backend()}. Give True, or set KERAS_BACKEND=tensorflow"
            )
        force_jit = jit_compile is True and on_tensorflow
        if jit_compile == "auto" and not on_tensorflow:
            jit_compile = device.best_jit(1)
        of_fit = {True: "auto" if force_jit else True, device.ELEMENTWISE: False}.get(jit_compile, jit_compile)
        super().compile(*args, jit_compile=of_fit, **kwargs)
        if force_jit:
            distribution.force_jit(self)
        self._steps = {}  # accumulate and jit → Step

    def check_batches(self, batches):
        """Raises CatKerasError if a model reads fewer tokens than the batches are long."""
        for model in (self.model, self.teacher) if self.live_teacher else (self.model,):
            longest, limit = max(batches.edges), models.positions(model)
            models.check_positions(
                model, longest, f"batches of {longest} inputs (the longest example has {batches.data.lengths.max()})",
                f"Encode with max_length={(limit or 0) // 8 * 8 + 1} or less",
            )  # fmt: skip

    def fit(self, x=None, *args, **kwargs):
        """As `keras.Model.fit`."""
        if hasattr(x, "edges"):
            self.check_batches(x)
        return super().fit(x, *args, **kwargs)

    # -- fit: what Keras calls ---------------------------------------------------------------------------------------

    def call(self, inputs, training=None):
        return self.model(self._token_inputs(inputs), training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on a batch of `Batches`: x tokens and columns, y labels, sample_weight the target mask."""
        loss, live = self.objective(y, y_pred, sample_weight, x | self._live_columns(x, y))
        self.live_tracker.update_state(live)
        # `fit` sums the gradients of the replicas, so this makes it their mean, whatever number of target tokens each
        # replica has. The step of `train` weighs them exactly, see `Step`.
        replicas = getattr(getattr(self, "distribute_strategy", None), "num_replicas_in_sync", 1)
        return loss / replicas if replicas > 1 else loss

    # -- train: what the loop and `Step` call ------------------------------------------------------------------------

    def step(self, batch, accumulate=1, capacity=None, steps=1) -> tuple:
        """One optimizer step on a batch of `Batches`: (loss, mean of the mask), scalars that the device may still owe.

        On TensorFlow it is a `Step`, exact under every strategy; on JAX and torch it is `train_on_batch`.

        Args:
            batch: (x, y, weights).
            accumulate: slices that a replica computes one after the other, on TensorFlow only.
            capacity: see `Step`.
            steps: how many the training has, by which `jit_compile="auto"` chooses; it compiles no short one.
        """
        return self.prepared(batch, accumulate, capacity, steps)()

    def prepared(self, batch, accumulate=1, capacity=None, steps=1) -> Callable[[], tuple]:
        """A function that takes a step on a batch, for which all is ready then; arguments as for `step`."""
        if keras.config.backend() == "tensorflow":
            from cat_keras.training.step import Step

            jit = self._best_jit(steps) if self._jit == "auto" else self._jit
            if (accumulate, jit) not in self._steps:
                self._steps[accumulate, jit] = Step(self, accumulate, jit)
            step = self._steps[accumulate, jit]
            return functools.partial(step.take, *step.placed(*batch, capacity))
        return functools.partial(self._on_batch, batch, accumulate)

    def _best_jit(self, steps: int) -> bool | str:
        backbone = self.model.backbone
        return device.best_jit(steps, backbone.compute_dtype, getattr(backbone, "dropout", None) or 0.0)

    def _on_batch(self, batch, accumulate) -> tuple[float, float]:
        """A step by Keras' own `train_on_batch`."""
        if accumulate > 1:
            raise CatKerasError(
                f"Gradient accumulation of `train` needs the TensorFlow backend. Received: accumulate={accumulate} on "
                f"{keras.config.backend()}. Give the optimizer gradient_accumulation_steps there, and use fit"
            )
        self.reset_metrics()
        x, y, weights = batch
        logs = self.train_on_batch(x, y, sample_weight=weights, return_dict=True)
        return float(logs["loss"]), float(logs["live"])

    def recomputation(self):
        """The context of a forward pass of `train`."""
        if not self.recompute:
            return contextlib.nullcontext()
        from cat_keras.training import recomputation  # only here, since it imports TensorFlow

        return recomputation.of(self.model)

    def shares(self, x, y, weights, count, positions=None):
        """The functions without arguments whose values add up to `share`, to be called in order.

        A step has the gradient of each before it calls the next. Here it is one; arguments as in `share`.
        """
        return [functools.partial(self.share, x, y, weights, count, positions)]

    def share(self, x, y, weights, count, positions=None):
        """What a slice adds to the loss and to the mean of the mask of a global batch with `count` target tokens.

        Args:
            x, y, weights: as `Batches` gives them.
            count: scalar.
            positions: (n,) int32 from `heads.target_positions`: logits are computed there alone, `chunk` of them at a
                time; None computes the logits of all positions.
        """
        columns = {name: x[name] for name in x if name not in ("token_ids", "padding_mask")}
        if positions is None:
            logits = self(x, training=True)
            return self.objective.share(y, logits, weights, columns | self._live_columns(x, y), count)
        hidden = self.model.backbone(self._token_inputs(x), training=True)
        hidden, y_target, weights = (heads.gather(values, positions) for values in (hidden, y, weights))
        columns |= self._live_columns(x, y)
        columns = {name: heads.gather(values, positions) for name, values in columns.items()}
        return self._share_from_hidden(hidden, y_target, weights, columns, count)

    def _share_from_hidden(self, hidden, y, weights, columns, count):
        """As `share`, from hidden states (1, n, width) and arrays (1, n, …); in blocks where n is more than `chunk`."""

        def block_share(hidden, arrays):
            y, weights, columns = arrays
            return self.objective.share(y, self.output_layer(hidden), weights, columns, count)

        if not self.chunk or hidden.shape[1] <= self.chunk:
            return block_share(hidden, (y, weights, columns))
        from cat_keras.training import chunks  # only here, since it imports TensorFlow

        return chunks.summed(block_share, hidden, (y, weights, columns), self.chunk, heads.variables(self.output_layer))

    # -- both --------------------------------------------------------------------------------------------------------

    def _live_columns(self, x, y):
        """The teacher columns from a large model that runs in the step; none if they come from a cache."""
        if not self.live_teacher:
            return {}
        temperature, k = getattr(self.objective, "temperature", 1.0), getattr(self.objective, "k", 1)
        return teacher.live_columns(self.teacher, self._token_inputs(x), y, self.objective.columns, temperature, k)

    @staticmethod
    def _token_inputs(x):
        return {"token_ids": x["token_ids"], "padding_mask": x["padding_mask"]}


def _check_recomputed(model):
    """Raises CatKerasError if the layers of a model cannot be recomputed."""
    if keras.config.backend() != "tensorflow":
        raise CatKerasError(
            f"Recomputation needs the TensorFlow backend. Received: recompute=True on {keras.config.backend()}. Leave "
            "it out; gradient_accumulation_steps of the optimizer also save memory"
        )
    from cat_keras.training import recomputation  # only here, since it imports TensorFlow

    recomputation.layers(model)
