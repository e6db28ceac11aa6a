"""A corpus of invented sentences, and what a tiny bi-encoder reads of it."""

import numpy as np
import pytest

from tests.conftest import ANIMALS, NUMBERS


@pytest.fixture(scope="session")
def collection():
    from cat_keras.retrieval import Collection

    documents = {f"d{i}": f"The {ANIMALS[i % 10]} has {NUMBERS[i]} legs." for i in range(8)}
    queries = {f"q{i}": f"{ANIMALS[i % 10]}?" for i in range(8)}
    return Collection(documents, queries, {f"q{i}": (f"d{i}",) for i in range(8)})


@pytest.fixture(scope="session")
def documents(collection, tokenizer):
    from cat_keras.retrieval import Texts

    return Texts.encode(list(collection.documents.values()), tokenizer, 24)


@pytest.fixture(scope="session")
def queries(collection, tokenizer):
    from cat_keras.retrieval import Texts

    return Texts.encode(list(collection.queries.values()), tokenizer, 16)


@pytest.fixture(scope="session")
def negatives():
    """Two hard negatives of each query: the documents behind its own."""
    return np.stack([(np.arange(8) + 1) % 8, (np.arange(8) + 2) % 8], axis=1)
