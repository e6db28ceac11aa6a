"""Training batches of queries and documents; the batch of a step is a function of the data, the seed and the step."""

import hashlib
from collections.abc import Sequence

import numpy as np

from cat_keras.data.padding import bucket_lengths
from cat_keras.errors import COUNT, ROWS, SEED, CatKerasError, check_number
from cat_keras.retrieval.losses import LEFT_OUT, POSITIVE, Objective
from cat_keras.retrieval.teaching import Candidates, EncoderTeaching, RankerTeaching
from cat_keras.retrieval.texts import Texts, pad, pad_pairs


class Pairs:
    """Batches for `cat_keras.train` with a `Retriever`.

    A batch has B queries, their positives, and `hard` hard negatives of each, drawn anew in every step. A bi-encoder
    compares every query with all of these documents (in-batch negatives), a ranker reads each query with its own alone.

    Args:
        queries, documents: tokens.
        positives: (n,) int, row of the document that each query is to find.
        batch_size: B.
        relevant: per query the rows of all relevant documents; those that come as another query's document, or a hard
            negative that is one of them, count neither way. By default the positives.
        negatives: (n, k) int, rows of hard negatives; None for in-batch negatives alone.
        hard: h, how many of the k a batch has.
        objective: which columns of the teacher to deliver. teaching: the teacher's.
        frozen: (N, width) float32, vectors of the documents, in place of their tokens, for a tower of documents that
            is not trained.
        joint: whether to deliver queries followed by documents, for a `Ranker`.
        seed: of the order and of the draws. buckets: padded lengths of documents, or of pairs.

    Attributes:
        edges: the padded lengths.

    Raises:
        CatKerasError: no query; rows outside the corpus; an objective without its teacher, or a teacher of other data;
            more hard negatives than there are.
    """

    capacity = None  # the logits of a language model have one; a batch of pairs is computed as it is

    def __init__(self, queries: Texts, documents: Texts, positives, batch_size: int, *,
                 relevant: Sequence[np.ndarray] | None = None, negatives=None, hard: int = 1,
                 objective: Objective | None = None, teaching: EncoderTeaching | RankerTeaching | None = None,
                 frozen: np.ndarray | None = None, joint: bool = False, seed: int = 0, buckets: int = 4):  # fmt: skip
        check_number("batch_size", batch_size, ROWS, whole=True)
        check_number("seed", seed, SEED, whole=True)
        check_number("buckets", buckets, COUNT, whole=True)
        self.queries, self.documents, self.batch_size, self.seed = queries, documents, batch_size, seed
        self.positives = _rows("positives", positives, (len(queries),), len(documents))
        if not len(queries):
            raise CatKerasError("Training has at least one query. Received: none")
        self.negatives = (
            None if negatives is None else _rows("negatives", negatives, (len(queries), -1), len(documents))
        )
        most = 0 if self.negatives is None else self.negatives.shape[1]
        self.hard = check_number("hard", hard, f"[0, {most}]", whole=True) if self.negatives is not None else 0
        self.relevant = relevant if relevant is not None else [np.array([row]) for row in self.positives]
        self.columns = (objective or Objective()).columns
        self.teaching = teaching if self.columns else None
        if self.columns and teaching is None:
            raise CatKerasError(
                f"An objective that distils has a teacher. Received: none for {', '.join(self.columns)}. "
                "Give teaching=EncoderTeaching(…) or RankerTeaching(…)"
            )
        if self.teaching is not None:
            self.teaching.check(len(queries), len(documents), 1 + most)
        if frozen is not None and len(frozen) != len(documents):
            raise CatKerasError(f"frozen has a vector per document, {len(documents)}. Received: {len(frozen)}")
        self.frozen, self.joint = frozen, joint
        longest = documents.lengths + (queries.lengths.max() if joint else 0)
        self.edges = bucket_lengths(longest, buckets)
        self._query_length = int(-(-queries.lengths.max() // 8) * 8)
        self._order = (-1, None)  # the epoch whose order was drawn last, and that order

    def batch(self, step: int):
        """(x, y, weights) of a step: the inputs by name, labels (B, C) int8 as in `losses`, and ones (B,) float32."""
        check_number("step", step, SEED, whole=True)
        batch = self._candidates(step)
        x = self._joint_inputs(batch) if self.joint else self._apart_inputs(batch)
        sources = {"teacher_scores": "scores", "teacher_query": "query_vectors", "teacher_document": "document_vectors"}
        for name in self.columns:
            x[name] = getattr(self.teaching, sources[name])(batch)
        return x, self._labels(batch), np.ones(self.batch_size, np.float32)

    def _candidates(self, step) -> Candidates:
        """Batches follow one another through epochs without a gap, so that all have B queries."""
        places = step * self.batch_size + np.arange(self.batch_size)
        epochs, places = np.divmod(places, len(self.queries))
        rows = np.array([self._shuffled(int(epoch))[i] for epoch, i in zip(epochs, places, strict=True)])
        own = np.zeros((self.batch_size, 1 + self.hard), np.int64)
        documents = self.positives[rows][:, None]
        if self.hard:
            draws = np.random.default_rng([self.seed, step, 1]).random((self.batch_size, self.negatives.shape[1]))
            own[:, 1:] = 1 + np.argsort(draws, axis=1)[:, : self.hard]
            documents = np.concatenate([documents, self.negatives[rows[:, None], own[:, 1:] - 1]], axis=1)
        if self.joint:
            return Candidates(rows, documents.ravel(), own, np.arange(documents.size).reshape(own.shape), joint=True)
        # The positives come first, then the hard negatives query by query.
        first, rest = np.arange(self.batch_size)[:, None], np.arange(self.batch_size * self.hard)
        columns = np.concatenate([first, self.batch_size + rest.reshape(self.batch_size, self.hard)], axis=1)
        return Candidates(rows, np.concatenate([documents[:, 0], documents[:, 1:].ravel()]), own, columns)

    def _shuffled(self, epoch):
        if self._order[0] != epoch:
            self._order = epoch, np.random.default_rng([self.seed, epoch]).permutation(len(self.queries))
        return self._order[1]

    def _apart_inputs(self, batch):
        query = pad(self.queries, batch.queries, self._query_length)
        x = {f"query_{name}": array for name, array in query.items()}
        if self.frozen is not None:
            return x | {"document_embeddings": self.frozen[batch.documents]}
        document = pad(self.documents, batch.documents, self._fitting(self.documents.lengths[batch.documents].max()))
        return x | {f"document_{name}": array for name, array in document.items()}

    def _joint_inputs(self, batch):
        pairs = np.stack([np.repeat(batch.queries, 1 + self.hard), batch.documents], axis=1)
        lengths = self.queries.lengths[pairs[:, 0]] + self.documents.lengths[pairs[:, 1]]
        return {f"pair_{name}": array for name, array in
                pad_pairs(self.queries, self.documents, pairs, self._fitting(lengths.max())).items()}  # fmt: skip

    def _fitting(self, length) -> int:
        return int(self.edges[np.searchsorted(self.edges, length)])

    def _labels(self, batch):
        if self.joint:
            documents = batch.documents.reshape(batch.own.shape)
            own = np.zeros(self.batch_size, np.int64)
        else:
            documents = np.broadcast_to(batch.documents, (self.batch_size, len(batch.documents)))
            own = np.arange(self.batch_size)
        labels = np.zeros(documents.shape, np.int8)
        for i, row in enumerate(batch.queries):
            labels[i, np.isin(documents[i], self.relevant[row])] = LEFT_OUT
        labels[np.arange(self.batch_size), own] = POSITIVE
        return labels

    @property
    def identity(self) -> list:
        """Everything that decides the content of the batches, as JSON values."""
        digest = hashlib.sha256()
        for array in (self.positives, self.negatives, self.frozen, np.concatenate(self.relevant)):
            digest.update(b"-" if array is None else np.ascontiguousarray(array).tobytes())
        return [
            *(self.queries.fingerprint, self.documents.fingerprint, digest.hexdigest(), self.batch_size, self.seed),
            *(self.hard, self.joint, list(self.edges), list(self.columns)),
            self.teaching.fingerprint if self.teaching is not None else None,
        ]


def _rows(name: str, values, shape: tuple, documents: int) -> np.ndarray:
    """Rows of the corpus as an array of a shape, of which −1 is any length."""
    array = np.asarray(values)
    fits = array.ndim == len(shape) and all(
        n in (size, -1) or size == -1 for n, size in zip(array.shape, shape, strict=True)
    )
    if not fits or array.dtype.kind not in "iu" or (array.size and not 0 <= array.min() <= array.max() < documents):
        raise CatKerasError(
            f"{name} are rows of documents, from 0 to {documents - 1}, one per query. Received: {array!r:.80} of shape "
            f"{array.shape}. Count rows in the order of the corpus"
        )
    return array.astype(np.int64)
