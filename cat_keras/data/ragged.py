"""Rows of different length in one vector, so that a list column of a Parquet file needs no Python object per row."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np


@dataclass(frozen=True, eq=False)
class Ragged(Sequence):
    """A read-only sequence of vectors.

    Attributes:
        values: (total,) numbers, row after row.
        offsets: (n + 1,) integers from 0 to total; row i is `values[offsets[i]:offsets[i + 1]]`.
    """

    values: np.ndarray
    offsets: np.ndarray

    def __len__(self):
        return len(self.offsets) - 1

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        row %= len(self)
        return self.values[self.offsets[row] : self.offsets[row + 1]]

    @property
    def lengths(self) -> np.ndarray:
        """(n,) int64, the length of each row."""
        return np.diff(self.offsets).astype(np.int64)
