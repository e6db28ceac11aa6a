"""Texts to token ids, without special tokens."""

from collections.abc import Sequence

from cat_keras.errors import check_list


def tokenize(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    """Token ids of each text, without special tokens."""
    texts = list(check_list("texts", texts, str))
    if not texts:
        return []
    ids = tokenizer(texts)
    return ids.to_list() if hasattr(ids, "to_list") else [list(map(int, row)) for row in ids]
