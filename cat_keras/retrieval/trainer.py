"""Bi-encoders and rankers with their objective, for `cat_keras.train`: `Retriever`, `ElasticRetriever` at all sizes."""

import functools
from collections.abc import Callable

import keras
import numpy as np
from keras import ops

from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.modeling.elastic import shared
from cat_keras.retrieval.elastic import ElasticDenser, ElasticRanker
from cat_keras.retrieval.losses import ElasticObjective, Objective
from cat_keras.retrieval.pairs import Pairs
from cat_keras.retrieval.towers import BiEncoder, Ranker


class Retriever(keras.Model):
    """Trains a `BiEncoder` or a `Ranker` in place, on batches of `Pairs`.

    `cat_keras.train` runs it with checkpoints and a schedule, and continues after a kill to the same bits. One device
    computes a step: the softmax is over all documents of a batch, so a batch is not cut into slices.

    Args:
        model: what is trained. objective: see `losses.Objective`; by default the labels alone.

    Raises:
        CatKerasError: the model is elastic, or one size of an elastic model.
    """

    def __init__(self, model: BiEncoder | Ranker, objective: Objective | None = None, **kwargs):
        super().__init__(**kwargs)
        self._check(model)
        self.model, self.objective = model, objective or Objective()
        self.live_tracker = keras.metrics.Mean(name="live")

    @staticmethod
    def _check(model):
        sizes = isinstance(model, BiEncoder | Ranker) and any(
            shared.is_shared(tower.model) for tower in _towers(model) if tower.trainable
        )
        if sizes or isinstance(model, ElasticDenser | ElasticRanker):
            raise CatKerasError(
                f"The sizes of an elastic retriever are trained together. Received: {type(model).__name__}"
                f"{' of one size' * sizes}. Give ElasticRetriever the ElasticDenser or ElasticRanker, or train what "
                "its extract returns"
            )

    def call(self, inputs, training=None):
        return self.model(inputs, training=training)

    def compute_loss(self, x=None, y=None, y_pred=None, sample_weight=None, training=True):
        """The objective on a batch of `Pairs`. The share of queries whose positive comes first is reported as live."""
        loss, first = self.objective(_shaped(y_pred, y), y, x)
        self.live_tracker.update_state(first)
        return loss

    def check_batches(self, batches: Pairs):
        """Raises CatKerasError unless these batches suit the model."""
        is_ranker = isinstance(self.model, Ranker | ElasticRanker)
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
        for tower in _towers(self.model):
            longest = int(max(batches.edges))
            models.check_positions(
                tower.model, longest, f"texts of {longest} tokens", "Encode with max_length={} or less"
            )

    def prepared(self, batch, *how) -> Callable[[], tuple[float, float]]:
        """A function that takes a step on a batch, as `train` asks for it."""
        return functools.partial(self.step, batch, *how)

    def step(self, batch, accumulate=1, capacity=None, steps=1) -> tuple[float, float]:
        """One optimizer step on a batch: (loss, share of the queries whose positive comes first)."""
        if accumulate > 1:
            raise CatKerasError(
                f"A batch of pairs is computed at once. Received: accumulate={accumulate}. Lower batch_size"
            )
        self.reset_metrics()
        x, y, weights = batch
        logs = self.train_on_batch(x, y, sample_weight=weights, return_dict=True)
        return float(logs["loss"]), float(logs["live"])


class ElasticRetriever(Retriever):
    """Trains an `ElasticDenser` or an `ElasticRanker` in place, all sizes in one step, on batches of `Pairs`.

    The loss is that of `losses.ElasticObjective`. All sizes are computed in one pass forward and one back, with the
    activations of all of them in memory.

    Args:
        model: what is trained.
        objective: of each size; by default the labels alone. distil: weight of the divergence from the whole's scores.

    Raises:
        CatKerasError: the model is not elastic, or distil is outside its range.
    """

    def __init__(self, model: ElasticDenser | ElasticRanker, objective: Objective | None = None, distil: float = 1.0,
                 **kwargs):  # fmt: skip
        self._check(model)
        documents = model.documents.numbers if isinstance(model, ElasticDenser) else ()
        sizes = [size.numbers for size in model.elastic.sizes]
        super().__init__(model, ElasticObjective(objective, distil, sizes, documents), **kwargs)

    @staticmethod
    def _check(model):
        if not isinstance(model, ElasticDenser | ElasticRanker):
            raise CatKerasError(
                f"This trains an ElasticDenser or an ElasticRanker. Received: {type(model).__name__}. Give a BiEncoder "
                "or a Ranker to Retriever"
            )

    def check_batches(self, batches: Pairs):
        """As of `Retriever`; vectors that are matched or inherited have the width of all sizes."""
        super().check_batches(batches)
        matched = {"teacher_query", "teacher_document"} & set(batches.columns)
        given = [batches.frozen, batches.teaching.query if matched else None]
        widths = [np.shape(vectors)[1] for vectors in given if vectors is not None]
        if other := [width for width in widths if width != self.model.elastic.whole.width]:
            raise CatKerasError(
                "An elastic retriever has no matrix to vectors of another width. Received: vectors of "
                f"{other[0]} for {self.model.elastic.whole.width}. Distil scores alone, or take a teacher of its width"
            )


def _towers(model) -> tuple:
    """What has a `CausalLM` in it: both towers of a bi-encoder, any other as it is."""
    return (model.query, model.document) if isinstance(model, BiEncoder) else (model,)


def _shaped(outputs, labels):
    """Outputs with their scores in the shape of the labels, since a ranker scores a list of pairs."""
    if isinstance(outputs, list):
        return [_shaped(of_size, labels) for of_size in outputs]
    return outputs | {"scores": ops.reshape(outputs["scores"], ops.shape(labels))}
