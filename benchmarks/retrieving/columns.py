"""The texts of a retrieval run as tokens: the corpus, its sentences, and the queries."""

import re
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.retrieving.profile import Data
from benchmarks.sources import retrieval
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.retrieval import Collection, Texts

SENTENCE = re.compile(r"(?<=[.!?])\s+")
WORDS = range(5, 41)  # of a sentence that is taken for a query


@dataclass(frozen=True, eq=False)
class Tokens:
    """A corpus and its queries.

    Attributes:
        collections: "train" and "test", over one corpus. proto: of the tokenizer.
        documents, train, test: tokens. sentences: of the corpus. sources: (n,) the document of each sentence.
    """

    collections: dict[str, Collection]
    proto: bytes
    documents: Texts
    train: Texts
    test: Texts
    sentences: Texts
    sources: np.ndarray


def read(settings: Data, data: Path | None) -> dict[str, Collection]:
    """The collections that a profile names, cut to its numbers of queries and documents."""
    if settings.collection == retrieval.SQUAD:
        whole = retrieval.squad(data)
    else:
        most = {"train": settings.train, "test": settings.test}
        whole = retrieval.of_ir_datasets(settings.collection, settings.documents, most, settings.train_collection)
    kept = {part: list(whole[part].queries)[: getattr(settings, part) or None] for part in ("train", "test")}
    documents = whole["train"].documents
    if settings.documents:
        needed = {name for part, queries in kept.items() for query in queries for name in whole[part].relevant[query]}
        if len(needed) > settings.documents:
            raise CatKerasError(
                f"The corpus holds every relevant document, here {len(needed)}. Received: "
                f"data.documents={settings.documents}. Raise it, or lower data.train and data.test"
            )
        others = [name for name in documents if name not in needed][: settings.documents - len(needed)]
        chosen = needed | set(others)
        documents = {name: text for name, text in documents.items() if name in chosen}
    return {
        part: Collection(
            documents,
            {query: whole[part].queries[query] for query in queries},
            {query: whole[part].relevant[query] for query in queries},
        )
        for part, queries in kept.items()
    }


def tokens(collections: dict[str, Collection], settings: Data, proto: bytes) -> Tokens:
    """The tokens of all texts of a run."""
    tokenizer = _tokenizer(proto)
    documents = list(collections["train"].documents.values())
    pairs = [(sentence, row) for row, text in enumerate(documents) for sentence in _sentences(text)]
    if not pairs:
        raise CatKerasError(
            f"Pretraining takes sentences of the corpus for queries. Received: none of {WORDS.start} to "
            f"{WORDS.stop - 1} words. Take another corpus"
        )
    queries = {part: list(collections[part].queries.values()) for part in ("train", "test")}
    short = settings.query_length
    return Tokens(
        collections, proto, Texts.encode(documents, tokenizer, settings.document_length),
        Texts.encode(queries["train"], tokenizer, short), Texts.encode(queries["test"], tokenizer, short),
        Texts.encode([sentence for sentence, _ in pairs], tokenizer, short), np.array([row for _, row in pairs]),
    )  # fmt: skip


def train_tokenizer(collections: dict[str, Collection], settings: Data) -> bytes:
    """A tokenizer of the corpus and of the training queries."""
    texts = [*collections["train"].documents.values(), *collections["train"].queries.values()]
    return models.train_tokenizer(texts, settings.vocabulary_size)


def _tokenizer(proto: bytes):
    import keras_hub

    return keras_hub.models.GemmaTokenizer(proto=proto)


def _sentences(text: str) -> list[str]:
    return [part for part in SENTENCE.split(text) if len(part.split()) in WORDS]
