"""What trained retrievers and the ranker are worth: rankings of the test queries, and their price in FLOPs."""

import hashlib
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.retrieving.models import TEACHER, Workshop
from cat_keras.modeling import costs
from cat_keras.retrieval import BiEncoder, Index, Ranker, embedding

DEPTHS = (2, 5, 10, 20, 50, 100, 200)  # documents that the ranker reads, up to the profile's number


@dataclass(frozen=True, eq=False)
class Ranked:
    """One retriever's rankings of the test queries.

    Attributes:
        model: its name. seed: of its training. rows: (n, depth) documents, best first. flops: (n,) to embed each query
            and to search the corpus exactly; embedding the documents is done once, and is not counted.
        parameters: of the tower of queries.
    """

    model: str
    seed: int
    rows: np.ndarray
    flops: np.ndarray
    parameters: int


def ranked(shop: Workshop, model: str, seed: int, entry: Path) -> Ranked:
    """Searches the corpus for the test queries; two retrievers with one tower of documents share its index."""
    return ranked_by(shop, model, seed, shop.loaded(entry))


def ranked_by(shop: Workshop, model: str, seed: int, encoder: BiEncoder) -> Ranked:
    """As `ranked`, of a bi-encoder that is loaded already."""
    depth = min(shop.profile.depth, len(shop.tokens.documents))
    rows, _ = index_of(shop, encoder).search(encoder, shop.tokens.test, depth)
    search = 2.0 * len(shop.tokens.documents) * encoder.query.dim
    projection = 0.0 if encoder.query.projection is None else 2.0 * np.prod(encoder.query.projection.kernel.shape)
    embed = costs.count(encoder.query.model).forward(shop.tokens.test.lengths, 0, 0)
    return Ranked(model, seed, rows, embed + projection + search, encoder.query.count_params())


def index_of(shop: Workshop, encoder: BiEncoder) -> Index:
    """An index of the corpus by the encoder's tower of documents, made once per tower."""
    name = encoder.document.fingerprint
    if name not in shop.indexes:
        ids = list(shop.tokens.collections["test"].documents)
        shop.indexes[name] = Index.build(encoder.document, shop.tokens.documents, ids)
    return shop.indexes[name]


def ranker_scores(shop: Workshop, retrieved: Sequence[Ranked], ranker: Ranker,
                  parts: dict) -> list[tuple[np.ndarray, np.ndarray]]:  # fmt: skip
    """What a ranker says of the first documents of several retrievers' rankings; a pair that two share is read once.

    Args:
        parts: which ranker it is, in the identity of its scores.

    Returns:
        for each retriever the scores, (n, rerank) float32, and the FLOPs to read each of these pairs, (n, rerank).
    """
    most = min(shop.profile.rerank, retrieved[0].rows.shape[1])
    n, documents = len(shop.tokens.test), len(shop.tokens.documents)
    heads = [one.rows[:, :most] for one in retrieved]
    pairs = np.unique(np.concatenate([np.arange(n)[:, None] * documents + head for head in heads], axis=None))

    def build():
        lookup = shop.tokens.test, shop.tokens.documents
        out = embedding.score_pairs(ranker, *lookup, np.stack(np.divmod(pairs, documents), axis=1),
                                    progress=shop.progress.advance)  # fmt: skip
        return {"scores": out["scores"]}

    parts = parts | {"pairs": hashlib.sha256(pairs.tobytes()).hexdigest()}
    values = shop.arrays("rerank", parts, build, (len(pairs), "pairs"))["scores"]
    scores = [values[np.searchsorted(pairs, np.arange(n)[:, None] * documents + head)] for head in heads]
    lengths = [shop.tokens.test.lengths[:, None] + shop.tokens.documents.lengths[head] for head in heads]
    price = costs.count(ranker.model)
    return [(own, price.forward(tokens, 0, 0)) for own, tokens in zip(scores, lengths, strict=True)]


def entries(shop: Workshop, names: Sequence[str]) -> list[tuple[str, int, Path]]:
    """(model, seed, folder) of the teacher and of every student, trained where they are not there yet."""
    students = [(name, seed, shop.student(name, seed)) for seed in shop.profile.seeds for name in names]
    return [(TEACHER, 0, shop.teacher()), *students]
