"""Vectors of texts, scores of pairs, and rankings made of them."""

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import numpy as np

from cat_keras.data.padding import bucket_lengths
from cat_keras.errors import COUNT, ROWS, CatKerasError, check_number
from cat_keras.modeling import models
from cat_keras.retrieval.texts import Texts, pad, pad_pairs
from cat_keras.retrieval.towers import Ranker, Tower


def embed(tower: Tower, texts: Texts, batch_size: int = 64, progress: Callable[[int], None] | None = None,
          buckets: int = 6) -> np.ndarray:  # fmt: skip
    """Vectors of texts, in their order.

    Texts of similar length are computed together, padded to one of a few lengths. A thread pads the next batch
    meanwhile.

    Args:
        tower: of queries or of documents. texts: n of them, of its tokenizer.
        batch_size: texts at a time. progress: gets the number of texts newly done. buckets: how many padded lengths.

    Returns:
        (n, dim) float32.

    Raises:
        CatKerasError: the texts are of another tokenizer, or longer than the model has positions.
    """
    check_number("batch_size", batch_size, ROWS, whole=True)
    check_number("buckets", buckets, COUNT, whole=True)
    _check_texts(tower.model, texts)
    vectors = np.zeros((len(texts), tower.dim), np.float32)

    def made(rows, length):
        return pad(texts, rows, length, batch_size)

    for rows, arrays in _windows(texts.lengths, batch_size, buckets, made):
        vectors[rows] = np.asarray(tower.predict_on_batch(arrays))[: len(rows)]
        if progress:
            progress(len(rows))
    return vectors


def rank(scores: np.ndarray, depth: int) -> np.ndarray:
    """(n, depth) int64: columns of (n, N) scores from the highest on; of equals the first."""
    scores = np.asarray(scores)
    check_number("depth", depth, f"[0, {scores.shape[1]}]", whole=True)
    return np.argsort(-scores, axis=1, kind="stable")[:, :depth].astype(np.int64)


def score_pairs(ranker: Ranker, queries: Texts, documents: Texts, pairs: np.ndarray, batch_size: int = 64,
                progress: Callable[[int], None] | None = None, buckets: int = 6) -> dict[str, np.ndarray]:  # fmt: skip
    """What a ranker says of pairs of a query and a document.

    Args:
        pairs: (n, 2) int, row of the query and row of the document.
        batch_size: pairs at a time. progress: gets the number of pairs newly done. buckets: how many padded lengths.

    Returns:
        scores (n,), query (n, width) and document (n, width), float32. The query's vector is the same whatever document
        stands behind it.
    """
    check_number("batch_size", batch_size, ROWS, whole=True)
    check_number("buckets", buckets, COUNT, whole=True)
    for texts in (queries, documents):
        _check_texts(ranker.model, texts)
    pairs = np.asarray(pairs)
    lengths = queries.lengths[pairs[:, 0]] + documents.lengths[pairs[:, 1]]
    shapes = {"scores": (), "query": (ranker.dim,), "document": (ranker.dim,)}
    values = {name: np.zeros((len(pairs), *shape), np.float32) for name, shape in shapes.items()}

    def made(rows, length):
        arrays = pad_pairs(queries, documents, pairs[rows], length, batch_size)
        return {f"pair_{name}": array for name, array in arrays.items()}

    for rows, arrays in _windows(lengths, batch_size, buckets, made):
        for name, output in ranker.predict_on_batch(arrays).items():
            values[name][rows] = np.asarray(output)[: len(rows)]
        if progress:
            progress(len(rows))
    return values


def rerank(scores: np.ndarray, candidates: np.ndarray, depth: int) -> np.ndarray:
    """Rankings whose first `depth` documents are put in the order of a ranker's scores; the others stay behind them.

    Args:
        scores: (n, at least depth) of the candidates. candidates: (n, k) rows of documents, best first. depth: 0 to k.

    Returns:
        (n, k) int64.
    """
    check_number("depth", depth, f"[0, {candidates.shape[1]}]", whole=True)
    head = np.take_along_axis(candidates[:, :depth], rank(scores[:, :depth], depth), axis=1)
    return np.concatenate([head, candidates[:, depth:]], axis=1).astype(np.int64)


def _windows(lengths, batch_size, buckets, made) -> Iterator[tuple[np.ndarray, dict]]:
    """(rows, arrays) of every batch, in the order of the lengths; the arrays of the next one are made meanwhile."""
    if not len(lengths):
        return
    plan: list[tuple[np.ndarray, int]] = []
    edges = bucket_lengths(lengths, buckets)
    bucket, order = np.searchsorted(edges, lengths), np.argsort(lengths, kind="stable")
    for place, edge in enumerate(edges):
        members = order[bucket[order] == place]
        plan += [(members[i : i + batch_size], int(edge)) for i in range(0, len(members), batch_size)]
    with ThreadPoolExecutor(1, "padding") as pool:
        upcoming = pool.submit(made, *plan[0])
        for i, (rows, _) in enumerate(plan):
            arrays = upcoming.result()
            if i + 1 < len(plan):
                upcoming = pool.submit(made, *plan[i + 1])
            yield rows, arrays


def _check_texts(model, texts: Texts):
    if texts.tokenizer != models.tokenizer_fingerprint(models.tokenizer_of(model)):
        raise CatKerasError(
            f"Texts are encoded by the tokenizer of the model that reads them. Received: those of another for "
            f"{model.name}. Encode them with models.tokenizer_of(model)"
        )
    models.check_positions(model, int(texts.lengths.max(initial=0)), "texts", "Encode with max_length={} or less")
