"""Queries and documents as token ids: one ragged array, of which batches are padded."""

import hashlib
from collections.abc import Iterable
from dataclasses import dataclass

import numpy as np

from cat_keras.errors import TOKENS, CatKerasError, check_list, check_number
from cat_keras.modeling import models, tokenizers
from cat_keras.modeling.tokens import tokenize


@dataclass(frozen=True, eq=False)
class Texts:
    """Texts as one ragged int32 array; a text that is too long loses its end.

    Attributes:
        tokens: (total,) int32. offsets: (n + 1,) int64, where each text begins.
        max_length: tokens that a text may have, the start token included.
        cut: how many texts lost their end. tokenizer: fingerprint of the tokenizer.
    """

    tokens: np.ndarray
    offsets: np.ndarray
    max_length: int
    cut: int
    tokenizer: str

    @classmethod
    def encode(cls, texts: Iterable[str], tokenizer, max_length: int) -> "Texts":
        """Start token (where the tokenizer has one) and tokens of each text.

        Raises:
            CatKerasError: no list of texts, a text without tokens, or max_length outside its range.
        """
        check_number("max_length", max_length, TOKENS, whole=True)
        rows = tokenize(tokenizer, list(check_list("texts", texts, str)))
        start = models.special_id(tokenizer, "start")
        before = [] if start is None else [start]
        if empty := [i for i, row in enumerate(rows) if not row]:
            raise CatKerasError(f"Each text has at least one token. Received: none at place {empty[0]}. Leave it out")
        cut = sum(len(before) + len(row) > max_length for row in rows)
        rows = [(before + row)[:max_length] for row in rows]
        tokens = np.concatenate([np.asarray(row, np.int32) for row in rows]) if rows else np.zeros(0, np.int32)
        offsets = np.concatenate([[0], np.cumsum([len(row) for row in rows])]).astype(np.int64)
        return cls(tokens, offsets, max_length, cut, tokenizers.fingerprint(tokenizer))

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row) -> np.ndarray:
        return self.tokens[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) tokens of each text."""
        return np.diff(self.offsets)

    @property
    def fingerprint(self) -> str:
        """sha256 (hex) over tokens, boundaries and tokenizer."""
        digest = hashlib.sha256(self.tokenizer.encode())
        for array in (self.tokens, self.offsets):
            digest.update(np.ascontiguousarray(array).tobytes())
        return digest.hexdigest()

    def joined(self, other: "Texts") -> "Texts":
        """These texts and, after them, those of another of the same tokenizer and limit."""
        if (self.tokenizer, self.max_length) != (other.tokenizer, other.max_length):
            raise CatKerasError(
                "Texts that are joined have one tokenizer and one max_length. Received: "
                f"max_length={self.max_length} and {other.max_length}. Encode both alike"
            )
        offsets = np.concatenate([self.offsets, self.offsets[-1] + other.offsets[1:]])
        tokens = np.concatenate([self.tokens, other.tokens])
        return Texts(tokens, offsets, self.max_length, self.cut + other.cut, self.tokenizer)


def pad(texts: Texts, rows: np.ndarray, length: int, count: int | None = None) -> dict[str, np.ndarray]:
    """token_ids and padding_mask of some texts, (count, length) int32 each.

    Args:
        rows: numbers of the texts. length: at least that of the longest of them.
        count: rows of the arrays; those beyond the texts hold one token, as a row of padding alone has no mean.
    """
    count = len(rows) if count is None else count
    ids, mask = np.zeros((count, length), np.int32), np.zeros((count, length), np.int32)
    for i, row in enumerate(rows):
        sequence = texts[row]
        ids[i, : len(sequence)], mask[i, : len(sequence)] = sequence, 1
    mask[len(rows) :, 0] = 1
    return {"token_ids": ids, "padding_mask": mask}


def pad_pairs(queries: Texts, documents: Texts, pairs: np.ndarray, length: int,
              count: int | None = None) -> dict[str, np.ndarray]:  # fmt: skip
    """Queries, each followed by a document, as a ranker reads them: arrays of (count, length) int32.

    Args:
        pairs: (n, 2) int, numbers of a query and of a document. length: at least that of the longest pair.
        count: rows of the arrays; those beyond the pairs hold two tokens.

    Returns:
        token_ids, padding_mask, and query_mask (1 on the tokens of the query).
    """
    count = len(pairs) if count is None else count
    ids, mask, query = (np.zeros((count, length), np.int32) for _ in range(3))
    for i, (q, d) in enumerate(pairs):
        first, second = queries[q], documents[d]
        n = len(first) + len(second)
        ids[i, : len(first)], ids[i, len(first) : n] = first, second
        mask[i, :n], query[i, : len(first)] = 1, 1
    mask[len(pairs) :, :2], query[len(pairs) :, 0] = 1, 1
    return {"token_ids": ids, "padding_mask": mask, "query_mask": query}
