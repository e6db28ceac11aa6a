"""A collection: a corpus of documents, queries, and which documents are relevant to each query."""

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.storage import store


@dataclass(frozen=True, eq=False)
class Collection:
    """Documents, queries and relevance, each by id; the order of the mappings is that of all arrays made from them.

    Attributes:
        documents: id → text. queries: id → text.
        relevant: id of a query → ids of the relevant documents, of which the first is its positive in training.

    Raises:
        CatKerasError: there is no document or no query; a document or a query has no text; a query has no relevant
            document, or one that is not in the corpus.
    """

    documents: Mapping[str, str]
    queries: Mapping[str, str]
    relevant: Mapping[str, tuple[str, ...]]

    def __post_init__(self):
        for kind, texts in (("document", self.documents), ("query", self.queries)):
            if not texts:
                raise CatKerasError(
                    f"A collection has at least one {kind}. Received: none. Check where it is read from"
                )
            for name, text in texts.items():
                if not isinstance(text, str) or not text.strip():
                    raise CatKerasError(
                        f"Each {kind} has text. Received: {text!r:.40} in {kind} {name!r}. Leave it out"
                    )
        for name in self.queries:
            named = self.relevant.get(name) or ()
            absent = [document for document in named if document not in self.documents]
            if not named or absent:
                received = f"{absent[0]!r}, which is not in the corpus," if absent else "no document"
                raise CatKerasError(
                    f"Each query has relevant documents that are in the corpus. Received: {received} for query "
                    f"{name!r}. Leave the query out, or add the document"
                )

    @property
    def positives(self) -> np.ndarray:
        """(n,) int64, row in the corpus of the first relevant document of each query."""
        return np.array([rows[0] for rows in self.relevant_rows], np.int64)

    @property
    def relevant_rows(self) -> list[np.ndarray]:
        """Rows in the corpus of the relevant documents of each query, int64."""
        place = {name: row for row, name in enumerate(self.documents)}
        return [np.array([place[name] for name in self.relevant[query]], np.int64) for query in self.queries]

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over ids, texts and relevance, in their order."""
        relevant = [list(self.relevant[name]) for name in self.queries]
        texts = [list(texts.items()) for texts in (self.documents, self.queries)]
        return store.identity(documents=texts[0], queries=texts[1], relevant=relevant)
