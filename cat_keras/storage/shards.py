"""Arrays in pieces on disk, read as one: what is asked for is read, the rest stays where it is."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np


class Column:
    """Pieces of an array, one after the other along the first axis, behind one index.

    Args:
        pieces: arrays of equal dtype and equal other dimensions, usually memory-mapped.
    """

    def __init__(self, pieces: Sequence[np.ndarray]):
        self.pieces, self.dtype = list(pieces), pieces[0].dtype
        self._ends = np.cumsum([len(p) for p in self.pieces])
        self.shape = (int(self._ends[-1]), *pieces[0].shape[1:])

    def __len__(self):
        return self.shape[0]

    def __getitem__(self, index):
        """Rows at (n,) integer positions, in their order; any other index is taken of the whole in memory."""
        index = np.asarray(index) if not isinstance(index, slice) else np.arange(len(self))[index]
        out = np.empty((len(index), *self.shape[1:]), self.dtype)
        piece = np.searchsorted(self._ends, index, side="right")
        for number in np.unique(piece):
            here = piece == number
            before = self._ends[number - 1] if number else 0
            out[here] = self._rows(self.pieces[number], index[here] - before)
        return out

    @staticmethod
    def _rows(piece, rows):
        return piece[rows]

    def __array__(self, dtype=None, copy=None):
        return self[:].astype(dtype or self.dtype, copy=False)


class Bits(Column):
    """A column of booleans, eight to a byte.

    Args:
        pieces: uint8 arrays from `numpy.packbits`. counts: how many bits of each are used.
    """

    def __init__(self, pieces: Sequence[np.ndarray], counts: Sequence[int]):
        self.pieces, self.dtype = list(pieces), np.dtype(bool)
        self._ends = np.cumsum(counts)
        self.shape = (int(self._ends[-1]),)

    @staticmethod
    def _rows(piece, rows):
        return (piece[rows >> 3] >> (7 - (rows & 7)) & 1).astype(bool)


def write(folder: Path, columns: dict[str, np.ndarray]):
    """One `.npy` file per column; booleans are packed."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", np.packbits(values) if values.dtype == bool else values)


def read(folders: Sequence[Path], counts: Sequence[int], bits: Sequence[str] = ("right",)) -> dict[str, Column]:
    """The columns of some shards, memory-mapped."""
    names = sorted(p.stem for p in folders[0].glob("*.npy"))
    pieces = {name: [np.load(f / f"{name}.npy", mmap_mode="r") for f in folders] for name in names}
    return {name: Bits(p, counts) if name in bits else Column(p) for name, p in pieces.items()}
