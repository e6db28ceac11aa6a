"""Arrays that lie on disk in pieces and are read as one: only the rows asked for are loaded into memory."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np

SHARD = 16_384  # examples whose columns are computed and written at once


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
        """The rows at (n,) integer positions, or of a slice, in the order of the index."""
        positions = np.asarray(index) if not isinstance(index, slice) else np.arange(len(self))[index]
        out = np.empty((len(positions), *self.shape[1:]), self.dtype)
        piece_numbers = np.searchsorted(self._ends, positions, side="right")
        for number in np.unique(piece_numbers):
            in_piece = piece_numbers == number
            start = self._ends[number - 1] if number else 0
            out[in_piece] = self._read_rows(self.pieces[number], positions[in_piece] - start)
        return out

    @staticmethod
    def _read_rows(piece, rows):
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
    def _read_rows(piece, rows):
        return (piece[rows >> 3] >> (7 - (rows & 7)) & 1).astype(bool)


def write(folder: Path, columns: dict[str, np.ndarray]):
    """Writes one shard: one `.npy` file per column, booleans packed eight to a byte."""
    folder.mkdir(parents=True, exist_ok=True)
    for name, values in columns.items():
        np.save(folder / f"{name}.npy", np.packbits(values) if values.dtype == bool else values)


def read(folders: Sequence[Path], counts: Sequence[int], bits: Sequence[str] = ("right",)) -> dict[str, Column]:
    """The columns of several shards by name, memory-mapped.

    Args:
        folders: the shards, in order, from `write`.
        counts: rows of each shard; a file of packed booleans does not say how many of its last bits are used.
        bits: names of the columns that hold packed booleans.
    """
    names = sorted(p.stem for p in folders[0].glob("*.npy"))
    pieces = {name: [np.load(f / f"{name}.npy", mmap_mode="r") for f in folders] for name in names}
    return {name: Bits(p, counts) if name in bits else Column(p) for name, p in pieces.items()}
