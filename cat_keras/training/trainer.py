"""`CascadeAware`: any `CausalLM` with a cascade objective as its loss, for `compile` and `fit`, and for `train`."""

import keras

from cat_keras.errors import CatKerasError
from cat_keras.modeling import heads, models
from cat_keras.training import distribution, losses, teacher


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
            from cat_keras.training.step import Step

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
        from cat_keras.training import chunks  # late: it brings TensorFlow

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
