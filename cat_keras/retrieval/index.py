"""An index of document vectors that FAISS searches: exactly, or by cells of similar vectors.

An index remembers the model and the size that made its vectors, and refuses the queries of another.
"""

from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cat_keras.errors import COUNT, CatKerasError, check_number
from cat_keras.retrieval.embedding import embed
from cat_keras.retrieval.texts import Texts
from cat_keras.retrieval.towers import BiEncoder, Tower
from cat_keras.storage import store

FORMAT = 1


@dataclass(eq=False)
class Index:
    """Vectors of documents and how to search them.

    Attributes:
        vectors: (N, dim) float32. ids: (N,) names of the documents.
        fingerprint: of the tower that made the vectors. size: its size, "" for a whole model.
        max_length: tokens that a document could have.
        cells: 0 searches all vectors; else the vectors are divided into so many cells, of which a search looks into
            `probes` (FAISS: IndexIVFFlat), which is faster and may miss some.

    Raises:
        CatKerasError: no vector, ids of another number, or a number outside its range.
    """

    vectors: np.ndarray
    ids: Sequence[str]
    fingerprint: str
    size: str = ""
    max_length: int = 0
    cells: int = 0
    probes: int = 8
    _faiss: object = field(default=None, init=False, repr=False)

    def __post_init__(self):
        self.vectors = np.ascontiguousarray(self.vectors, np.float32)
        if not len(self.vectors) or len(self.ids) != len(self.vectors):
            raise CatKerasError(
                f"An index has at least one document, and an id for each. Received: {len(self.vectors)} vectors, "
                f"{len(self.ids)} ids. Embed the documents of a collection"
            )
        check_number("max_length", self.max_length, "[0, 16777216]", whole=True)
        check_number("cells", self.cells, f"[0, {len(self.vectors)}]", whole=True)
        check_number("probes", self.probes, COUNT, whole=True)

    @classmethod
    def build(cls, tower: Tower, documents: Texts, ids: Sequence[str], *, cells: int = 0, probes: int = 8,
              batch_size: int = 64, progress=None) -> "Index":  # fmt: skip
        """Embeds documents and makes an index of them.

        Args:
            tower: of documents. documents, ids: n of them. cells, probes: see the attributes.
            batch_size, progress: see `embed`.
        """
        check_number("cells", cells, f"[0, {len(documents)}]", whole=True)
        check_number("probes", probes, COUNT, whole=True)
        vectors = embed(tower, documents, batch_size, progress)
        return cls(vectors, list(ids), tower.fingerprint, tower.size, documents.max_length, cells, probes)

    def approximate(self, cells: int, probes: int = 8) -> "Index":
        """The same vectors in cells."""
        return Index(self.vectors, self.ids, self.fingerprint, self.size, self.max_length, cells, probes)

    def check(self, tower: Tower):
        """Raises CatKerasError unless this tower, at this size, made the vectors."""
        made_by = f"{self.fingerprint[:12]}{f' of size {self.size}' if self.size else ''}"
        other = f"{tower.fingerprint[:12]}{f' of size {tower.size}' if tower.size else ''}"
        if (tower.fingerprint, tower.size) != (self.fingerprint, self.size):
            raise CatKerasError(
                f"An index is searched with the model and the size that made it. Received: an index made by {made_by} "
                f"for documents of {other}. Build the index anew, or load the model that made it"
            )

    def search(self, encoder: BiEncoder, queries: Texts, k: int, batch_size: int = 64):
        """The k best documents of each query, by the encoder's tower of queries.

        Args:
            encoder: whose tower of documents made the index. queries: n of them. k: at most N.

        Returns:
            rows (n, k) int64 and products (n, k) float32, best first; −1 where cells held fewer.

        Raises:
            CatKerasError: another tower of documents, or the same at another size, made the index.
        """
        self.check(encoder.document)
        self._check_k(k)
        return self.nearest(embed(encoder.query, queries, batch_size), k)

    def nearest(self, vectors: np.ndarray, k: int):
        """As `search`, of query vectors (n, dim) float32."""
        self._check_k(k)
        products, rows = self._searcher().search(np.ascontiguousarray(vectors, np.float32), k)
        return rows, products

    def _check_k(self, k):
        check_number("k", k, f"[1, {len(self.vectors)}]", whole=True)

    def _searcher(self):
        if self._faiss is None:
            faiss, dim = _faiss(), self.vectors.shape[1]
            index = faiss.IndexFlatIP(dim)
            if self.cells:
                index = faiss.IndexIVFFlat(index, dim, self.cells, faiss.METRIC_INNER_PRODUCT)
                index.nprobe = min(self.probes, self.cells)
                # FAISS warns of fewer than 39 vectors a cell; who asks for many cells has read that they are few.
                index.cp.min_points_per_centroid = 1
                index.train(self.vectors)
            index.add(self.vectors)
            self._faiss = index
        return self._faiss

    def save(self, folder: Path):
        """Writes a folder, whole or not at all; what FAISS made of the vectors is made again after loading."""
        with store.replaced(Path(folder)) as temporary:
            np.save(temporary / "vectors.npy", self.vectors)
            store.write_json(temporary / "ids.json", list(self.ids))
            facts = {name: getattr(self, name) for name in ("fingerprint", "size", "max_length", "cells", "probes")}
            store.seal(temporary, {"format": FORMAT} | facts)

    @classmethod
    def load(cls, folder: Path) -> "Index":
        """Reads what `save` wrote.

        Raises:
            CatKerasError: it is damaged, or of another format.
        """
        folder = Path(folder)
        if problem := store.damage(folder):
            raise CatKerasError(f"An index is a whole folder. Received: {folder}: {problem}. Build it anew")
        facts = store.read_manifest(folder / "manifest.json")
        if facts.get("format") != FORMAT:
            raise CatKerasError(f"An index has format {FORMAT}. Received: {facts.get('format')!r}. Build it anew")
        facts = {name: facts[name] for name in ("fingerprint", "size", "max_length", "cells", "probes")}
        vectors = np.load(folder / "vectors.npy", allow_pickle=False, mmap_mode="r")
        return cls(vectors, store.read_json(folder / "ids.json"), **facts)


def recall(approximate: np.ndarray, exact: np.ndarray) -> float:
    """Share of the exact k best, (n, k) rows, that an approximate search found as well."""
    return float(np.mean([np.isin(rows, near).mean() for rows, near in zip(exact, approximate, strict=True)]))


def _faiss():
    try:
        import faiss
    except ImportError as error:
        raise CatKerasError(
            f"An index is searched by FAISS. Received: {error}. pip install 'cat-keras[retrieval]'"
        ) from None
    return faiss
