"""Rows of equal content under different ids: what a model was trained or calibrated on is no test of it."""

import functools
import hashlib
import re
import sys
import unicodedata
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from cat_keras.data.records import Example

KEPT = "%&*/@#\\-"  # of the punctuation: signs that a sum or an address consists of
_APOSTROPHES = "'\u2019\u02bc`\u00b4"
_HYPHEN = re.compile(r"-(?!\d)")  # a hyphen before a digit may be a minus sign


def content(example: Example) -> str:
    """What a model reads of an example: its prompt and its options. Its id, task, target and group are none."""
    return "\x1f".join((example.prompt, *example.options))


def normalised(text: str) -> str:
    """A text in one case and form of Unicode, without punctuation, and with one blank between two words.

    Signs that carry meaning in sums and addresses stay: `KEPT`, a hyphen only before a digit. A full stop between two
    digits becomes a blank like any other.
    """
    text = text if text.isascii() else unicodedata.normalize("NFKC", text)
    return " ".join(_HYPHEN.sub(" ", text.casefold().translate(_punctuation())).split())


@functools.cache
def _punctuation() -> dict[int, str]:
    """What `str.translate` makes of punctuation: a blank, but nothing of an apostrophe."""
    signs = (c for c in range(sys.maxunicode) if unicodedata.category(chr(c))[0] == "P" and chr(c) not in KEPT)
    return dict.fromkeys(signs, " ") | {ord(sign): "" for sign in _APOSTROPHES}


class Overlap(NamedTuple):
    """How many of some rows are in other rows too.

    Attributes:
        rows: how many were looked at. exact: of equal content. normalised: of equal content up to case, blanks and
            punctuation, the exact ones included.
    """

    rows: int
    exact: int
    normalised: int


@dataclass(frozen=True, eq=False)
class Contents:
    """The content of rows as hashes of 8 bytes, which hold no text.

    Attributes:
        exact, normalised: (n,) uint64.
    """

    exact: np.ndarray
    normalised: np.ndarray

    @classmethod
    def of(cls, examples: Iterable[Example]) -> "Contents":
        pairs = [_hashes(example) for example in examples]
        return cls(*np.array(pairs, np.uint64).reshape(-1, 2).T)

    def within(self, others: Iterable["Contents"]) -> Overlap:
        """How many of these rows are among the others."""
        others = list(others)
        counts = []
        for name in ("exact", "normalised"):
            known = np.unique(np.concatenate([np.zeros(0, np.uint64), *(getattr(other, name) for other in others)]))
            counts.append(int(np.isin(getattr(self, name), known).sum()))
        return Overlap(len(self.exact), *counts)


def _hashes(example: Example) -> tuple[int, int]:
    text = content(example)
    # The options are normalised one by one, since their separator is a blank to `str.split`.
    return _hash(text), _hash("\x1f".join(map(normalised, text.split("\x1f"))))


def _hash(text: str) -> int:
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest())
