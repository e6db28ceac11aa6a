"""Objectives of retrieval: the softmax over documents, EmbedDistill (arXiv 2301.12005) on top of it, and their mean
over the sizes of an elastic model.

Labels of a batch are (B, C) int8: 1 for the positive of a query, 0 for a negative, −1 for a document that counts
neither way, since it is relevant too or the same as the positive.
"""

import math

from keras import ops

from cat_keras.errors import CatKerasError, check_number

POSITIVE, NEGATIVE, LEFT_OUT = 1, 0, -1
_NEVER = -1e9  # a score that no softmax gives a share to, and that is finite in float32


def contrastive(scores, labels):
    """Cross-entropy of the positive among all documents that count: −log(exp s₊ / Σ exp s), per query.

    Args:
        scores: (B, C) float. labels: (B, C), one 1 in each row.

    Returns:
        (B,) nats.
    """
    logprob = ops.log_softmax(ops.where(labels == LEFT_OUT, _NEVER, scores), axis=-1)
    return -ops.sum(ops.where(labels == POSITIVE, logprob, 0.0), axis=-1)


def score_distillation(scores, teacher_scores, labels):
    """KL(p_T ‖ p_S) between softmaxes of the scores over in-batch and hard negatives, per query.

    The score distillation that EmbedDistill (arXiv 2301.12005) begins with. That the same documents count as for the
    labels is our choice, and so is that both softmaxes have the temperature of their scores.

    Args:
        scores: (B, C) of the student. teacher_scores: (B, C); NaN where the teacher did not score, which leaves the
            document out. labels: (B, C).

    Returns:
        (B,) nats.
    """
    out = ops.logical_or(labels == LEFT_OUT, ops.isnan(teacher_scores))
    teacher = ops.log_softmax(ops.where(out, _NEVER, teacher_scores), axis=-1)
    student = ops.log_softmax(ops.where(out, _NEVER, scores), axis=-1)
    return ops.sum(ops.where(out, 0.0, ops.exp(teacher) * (teacher - student)), axis=-1)


def embedding_matching(vectors, teacher_vectors):
    """‖W e_S(x) − e_T(x)‖, the Euclidean distance of each vector from the teacher's.

    Args:
        vectors: (n, width), W e_S(x). teacher_vectors: (n, width), e_T(x).

    Returns:
        (n,).
    """
    difference = ops.cast(vectors, "float32") - teacher_vectors
    return ops.sqrt(ops.sum(difference * difference, axis=-1) + 1e-12)  # the root has no gradient at 0


class Objective:
    """A weighted sum: `labels` · contrastive + `scores` · score distillation + `queries` · mean distance of queries +
    `documents` · mean distance of documents.

    EmbedDistill (arXiv 2301.12005) adds the last three to the first. Its weights are not attested: those here are the
    caller's choice. The default is the contrastive objective alone.

    Args:
        labels, scores, queries, documents: weights from 0, at least one of them above.

    Raises:
        CatKerasError: a weight outside its range, or all are 0.
    """

    normalize = "queries"

    def __init__(self, labels: float = 1.0, scores: float = 0.0, queries: float = 0.0, documents: float = 0.0):
        self.weights = {"labels": labels, "scores": scores, "queries": queries, "documents": documents}
        for name, value in self.weights.items():
            check_number(f"weight {name}", value, "[0, 1e+06]")
        if not math.fsum(self.weights.values()):
            raise CatKerasError("An objective has at least one weight above 0. Received: all 0. Give labels=1")

    def get_config(self) -> dict:
        return dict(self.weights)

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it reads of a teacher, as `Pairs` delivers it."""
        needs = {"teacher_scores": "scores", "teacher_query": "queries", "teacher_document": "documents"}
        return tuple(column for column, weight in needs.items() if self.weights[weight])

    def __call__(self, outputs: dict, labels, inputs: dict):
        """(loss, share of the queries whose positive has the highest score), scalars.

        Args:
            outputs: scores (B, C), query (B or n, width), document (C, width) of a model. labels: (B, C).
            inputs: the batch, with the columns of the teacher.
        """
        scores, weights = ops.cast(outputs["scores"], "float32"), self.weights
        per_query = weights["labels"] * contrastive(scores, labels) if weights["labels"] else 0.0
        if weights["scores"]:
            per_query += weights["scores"] * score_distillation(scores, inputs["teacher_scores"], labels)
        loss = ops.mean(per_query)
        for name, column in (("queries", "query"), ("documents", "document")):
            if weights[name]:
                distance = embedding_matching(outputs[column], inputs[f"teacher_{column}"])
                loss += weights[name] * ops.mean(distance)
        first = ops.argmax(ops.where(labels == LEFT_OUT, _NEVER, scores), axis=-1)
        right = ops.take_along_axis(labels, first[:, None], axis=-1) == POSITIVE
        return loss, ops.mean(ops.cast(right, "float32"))


class ElasticObjective:
    """The mean over S sizes of objective + `distil` · KL(p_whole ‖ p_size), per query; the whole has the first alone.

    p is the softmax of scores over the documents that count for the labels. That of the whole is constant to the
    gradient. Every size has the same weight. All of this is our choice, as in the training of elastic language models:
    ElasticLM (arXiv 2311.07204) could be read in its abstract alone.

    Args:
        objective: of each size; None for the labels alone.
        distil: weight of the divergence from the whole, from 0.
        sizes: numbers of the sizes, as they count for the identity of a training. documents: of that of documents.

    Raises:
        CatKerasError: distil outside its range.
    """

    normalize = "queries"

    def __init__(self, objective: Objective | None = None, distil: float = 1.0, sizes=(), documents=()):
        self.objective = objective or Objective()
        self.distil = check_number("distil, the weight of the divergence from the whole,", distil, "[0, 1e+06]")
        self.sizes, self.documents = [list(size) for size in sizes], list(documents)

    def get_config(self) -> dict:
        objective = self.objective.get_config()
        return {"objective": objective, "distil": self.distil, "sizes": self.sizes, "documents": self.documents}

    @property
    def columns(self) -> tuple[str, ...]:
        """Names of what it reads of a teacher, as `Pairs` delivers it."""
        return self.objective.columns

    def __call__(self, outputs: list[dict], labels, inputs: dict):
        """(loss, mean share of the queries whose positive has the highest score), scalars.

        Args:
            outputs: of each size what `Objective` reads, the whole last. labels, inputs: see there.
        """
        losses, firsts = zip(*(self.objective(of_size, labels, inputs) for of_size in outputs), strict=True)
        loss = sum(losses)
        if self.distil:
            *smaller, whole = (ops.cast(of_size["scores"], "float32") for of_size in outputs)
            whole = ops.stop_gradient(whole)
            loss += self.distil * sum(ops.mean(score_distillation(scores, whole, labels)) for scores in smaller)
        return loss / len(outputs), sum(firsts) / len(outputs)
