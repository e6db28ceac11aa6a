"""`Retriever`: a bi-encoder or a ranker with its objective, for `cat_keras.train`."""

import keras
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.retrieval.losses import Objective
from cat_keras.retrieval.pairs import Pairs
from cat_keras.retrieval.towers import BiEncoder, Ranker


class Retriever(keras.Model):
    """Trains a `BiEncoder` or a `Ranker` in place, on batches of `Pairs`.

    `cat_keras.train` runs it with checkpoints and a schedule, and continues after a kill to the same bits. One device
    computes a step: the softmax is over all documents of a batch, so a batch is not cut into slices.

    Args:
        model: what is trained. objective: see `losses.Objective`; by default the labels alone.
    """

    def __init__(self, model: BiEncoder | Ranker, objective: Objective | None = None, **kwargs):
        super().__init__(**kwargs)
        self.model, self.objective = model, objective or Objective()
        self.live_tracker = keras.metrics.Mean(name="live")

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on a batch of `Pairs`. The share of queries whose positive comes first is reported as live."""
        scores = ops.reshape(y_pred["scores"], ops.shape(y))  # a ranker scores a list of pairs
        loss, first = self.objective(y_pred | {"scores": scores}, y, x)
        self.live_tracker.update_state(first)
        return loss

    def check_batches(self, batches: Pairs):
        """Raises CatKerasError unless these batches suit the model."""
        is_ranker = isinstance(self.model, Ranker)
        if is_ranker != batches.joint:
            raise CatKerasError(
                f"A ranker reads pairs and a bi-encoder reads both apart. Received: {type(self.model).__name__} with "
                f"joint={batches.joint}. Give Pairs(joint={is_ranker})"
            )
        if set(self.objective.columns) - set(batches.columns):
            raise CatKerasError(
                f"Batches deliver what the objective reads. Received: {list(batches.columns)} for "
                f"{list(self.objective.columns)}. Give Pairs the same objective"
            )
        towers = (self.model,) if is_ranker else (self.model.query, self.model.document)
        for tower in towers:
            longest = int(max(batches.edges))
            models.check_positions(
                tower.model, longest, f"texts of {longest} tokens", "Encode with max_length={} or less"
            )

    def step(self, batch, accumulate=1, capacity=None) -> tuple[float, float]:
        """One optimizer step on a batch: (loss, share of the queries whose positive comes first)."""
        if accumulate > 1:
            raise CatKerasError(
                f"A batch of pairs is computed at once. Received: accumulate={accumulate}. Lower batch_size"
            )
        self.reset_metrics()
        x, y, weights = batch
        logs = self.train_on_batch(x, y, sample_weight=weights, return_dict=True)
        return float(logs["loss"]), float(logs["live"])
