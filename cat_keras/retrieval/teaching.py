"""What a teacher says of queries and documents, computed once and read by every step of a student."""

import hashlib
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import TEMPERATURE, CatKerasError, check_number
from cat_keras.retrieval.embedding import embed, score_pairs
from cat_keras.retrieval.texts import Texts
from cat_keras.retrieval.towers import BiEncoder, Ranker


@dataclass(frozen=True, eq=False)
class Candidates:
    """Which documents the queries of a batch are compared with.

    Attributes:
        queries: (B,) rows of the queries. documents: (C,) rows of the documents, in the order of the columns.
        own: (B, 1 + h) int, which of its candidates a query brings: 0 is its positive, i its i-th hard negative.
        columns: (B, 1 + h) int, where in `documents` its own are.
        joint: whether each query has columns of its own alone, as a ranker reads them; C is then B · (1 + h).
    """

    queries: np.ndarray
    documents: np.ndarray
    own: np.ndarray
    columns: np.ndarray
    joint: bool = False


@dataclass(frozen=True, eq=False)
class EncoderTeaching:
    """A bi-encoder as a teacher: its vectors of all queries and documents.

    Attributes:
        query: (n, width) float32. document: (N, width) float32. temperature: τ of its scores.
    """

    query: np.ndarray
    document: np.ndarray
    temperature: float = 0.05

    def __post_init__(self):
        check_number("temperature", self.temperature, TEMPERATURE)
        _check(self.query.ndim == 2 and self.query.shape[1:] == self.document.shape[1:], self.query, self.document)

    @classmethod
    def of(cls, teacher: BiEncoder, queries: Texts, documents: Texts, batch_size: int = 64) -> "EncoderTeaching":
        """Computes the vectors of all queries and documents of a training."""
        vectors = embed(teacher.query, queries, batch_size), embed(teacher.document, documents, batch_size)
        return cls(*vectors, teacher.temperature)

    @property
    def fingerprint(self) -> str:
        return _digest(self.query, self.document, self.temperature)

    def check(self, queries: int, documents: int, candidates: int):
        """Raises CatKerasError unless it is of so many queries and documents."""
        shape = len(self.query), len(self.document)
        _check_size(shape, (queries, documents))

    def scores(self, batch: Candidates) -> np.ndarray:
        """(B, C) float32; (B, 1 + h) of a joint batch."""
        query, document = self.query[batch.queries], self.document[batch.documents]
        if batch.joint:
            products = np.einsum("bd,bhd->bh", query, document.reshape(*batch.own.shape, -1))
        else:
            products = query @ document.T
        return (products / self.temperature).astype(np.float32)

    def query_vectors(self, batch: Candidates) -> np.ndarray:
        """(B, width), or (B · (1 + h), width) of a joint batch."""
        vectors = self.query[batch.queries]
        return np.repeat(vectors, batch.own.shape[1], axis=0) if batch.joint else vectors

    def document_vectors(self, batch: Candidates) -> np.ndarray:
        """(C, width)."""
        return self.document[batch.documents]


@dataclass(frozen=True, eq=False)
class RankerTeaching:
    """A ranker as a teacher: its scores and vectors of each query with its own candidates, and of no other pair.

    A document's vector depends on the query that it is read with, so there is one for each candidate of each query.

    Attributes:
        query: (n, width) float32. pair_scores: (n, 1 + k) float32, of the positive and the hard negatives of each.
        pair_vectors: (n, 1 + k, width) float32.
    """

    query: np.ndarray
    pair_scores: np.ndarray
    pair_vectors: np.ndarray

    def __post_init__(self):
        expected = (*self.pair_scores.shape, self.query.shape[-1])
        _check(len(self.query) == len(self.pair_scores) and self.pair_vectors.shape == expected, self.query,
               self.pair_vectors)  # fmt: skip

    @classmethod
    def of(cls, teacher: Ranker, queries: Texts, documents: Texts, candidates: np.ndarray, batch_size: int = 64,
           progress=None) -> "RankerTeaching":  # fmt: skip
        """Scores the candidates of every query.

        Args:
            candidates: (n, 1 + k) rows of documents, of each query its positive and then its hard negatives.
            batch_size, progress: see `embedding.score_pairs`.
        """
        n, count = candidates.shape
        pairs = np.stack([np.repeat(np.arange(n), count), candidates.ravel()], axis=1)
        out = score_pairs(teacher, queries, documents, pairs, batch_size, progress)
        vectors = out["document"].reshape(n, count, -1)
        return cls(out["query"][::count], out["scores"].reshape(n, count), vectors)

    @property
    def fingerprint(self) -> str:
        return _digest(self.query, self.pair_scores, self.pair_vectors)

    def check(self, queries: int, documents: int, candidates: int):
        """Raises CatKerasError unless it is of so many queries, each with so many candidates."""
        _check_size(self.pair_scores.shape, (queries, candidates))

    def scores(self, batch: Candidates) -> np.ndarray:
        """(B, C) float32, NaN for pairs that it did not read; (B, 1 + h) of a joint batch."""
        known = self.pair_scores[batch.queries[:, None], batch.own]
        if batch.joint:
            return known
        scores = np.full((len(batch.queries), len(batch.documents)), np.nan, np.float32)
        np.put_along_axis(scores, batch.columns, known, axis=1)
        return scores

    def query_vectors(self, batch: Candidates) -> np.ndarray:
        """(B, width), or (B · (1 + h), width) of a joint batch."""
        vectors = self.query[batch.queries]
        return np.repeat(vectors, batch.own.shape[1], axis=0) if batch.joint else vectors

    def document_vectors(self, batch: Candidates) -> np.ndarray:
        """(C, width), each read with the query that brings the document."""
        vectors = np.zeros((len(batch.documents), self.query.shape[1]), np.float32)
        vectors[batch.columns.ravel()] = self.pair_vectors[batch.queries[:, None], batch.own].reshape(
            -1, vectors.shape[1]
        )
        return vectors


def _check(fits: bool, first: np.ndarray, second: np.ndarray):
    if not fits:
        raise CatKerasError(
            f"The arrays of a teacher have one width and a row per query. Received: {first.shape} and {second.shape}. "
            "Compute them with one teacher over the same queries"
        )


def _check_size(received: tuple, expected: tuple):
    if tuple(received) != tuple(expected):
        raise CatKerasError(
            f"A teacher has said something of all queries and documents of a training. Received: {tuple(received)}, "
            f"expected {tuple(expected)}. Compute it over the same queries, documents and hard negatives"
        )


def _digest(*values) -> str:
    digest = hashlib.sha256()
    for value in values:
        digest.update(np.ascontiguousarray(value).tobytes())
    return digest.hexdigest()
