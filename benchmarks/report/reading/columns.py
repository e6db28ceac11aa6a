"""Columns of a Parquet file in Arrow's memory: a report needs few of them at a time, and Python objects of none."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute
import pyarrow.parquet

from benchmarks.report.reading import schema
from cat_keras.data.ragged import Ragged
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

BATCH = 1024  # examples that are Python objects at a time
# Wide columns in memory at a time, of all runs together: those of the two runs that are being compared.
WIDE = 6
LARGEST = 16 * 2**30  # bytes of a file, unpacked; a million predictions with their texts take a hundredth


@dataclass(frozen=True, eq=False)
class File:
    """A Parquet file with columns too wide to hold for many runs at once: `wide`, read when they are asked for.

    It stays open: a run that writes its folder anew in the meantime puts another file under this name.
    """

    path: Path
    wide: tuple[str, ...]
    remedy: str
    content: pyarrow.NativeFile


class Columns(Mapping):
    """Answers of one model to one task by column. A column is converted when it is read, and not kept.

    Numbers are (n,) arrays, log-probabilities a `Ragged`, `statistics` (n, k) float64, all else (n,) objects.

    Args:
        table: the narrow columns. file: where the wide ones are. places: (n,) rows of the file.
    """

    def __init__(self, table: pyarrow.Table, file: File, places: np.ndarray):
        self.table, self._file, self._places = table, file, places

    def __getitem__(self, name: str):
        if name in self._file.wide:
            column = rows(_wide(self._file, name), self._places)
        elif name in self.table.column_names:
            column = self.table[name]
        else:
            raise KeyError(name)
        return _converted(_whole(column), matrix=name == "statistics")

    def __iter__(self) -> Iterator[str]:
        yield from (*self.table.column_names, *self._file.wide)

    def __len__(self):
        return self.table.num_columns + len(self._file.wide)


@lru_cache(maxsize=WIDE)
def _wide(file: File, name: str) -> pyarrow.ChunkedArray:
    return read(file.path, file.content, (name,), file.remedy)[name]


class Examples(Sequence):
    """Examples of a task, made when they are asked for.

    Without text, prompt and target are "" and so is every option: only their number is kept.
    """

    def __init__(self, table: pyarrow.Table):
        self.table = table

    def __len__(self):
        return self.table.num_rows

    def __getitem__(self, row):
        if isinstance(row, slice):
            return [self[i] for i in range(*row.indices(len(self)))]
        if not -len(self) <= row < len(self):
            raise IndexError(row)
        return next(iter(Examples(self.table.slice(row % len(self), 1))))

    def __iter__(self) -> Iterator[Example]:
        for batch in self.table.to_batches(BATCH):
            yield from map(_example, batch.to_pylist())

    @property
    def all_have_options(self) -> bool:
        kept = "n_options" in self.table.column_names
        counts = self.table["n_options"] if kept else pyarrow.compute.list_value_length(self.table["options"])
        return bool(pyarrow.compute.all(pyarrow.compute.greater(counts, 0)).as_py())

    @property
    def answers(self) -> np.ndarray | None:
        """(n,) places of the targets among the options, −1 where a target is none of them; None where not known."""
        if "answer" in self.table.column_names:
            return self.table["answer"].to_numpy()
        if "n_options" in self.table.column_names:
            return None
        return np.array([e.answer for e in self], np.int64)

    @property
    def ids(self) -> list[str]:
        return self.table["id"].to_pylist()


def _example(row: dict) -> Example:
    if "n_options" in row:
        row = row | {"prompt": "", "target": "", "options": [""] * row["n_options"]}
    return Example(**{name: value for name, value in row.items() if name not in ("n_options", "answer")})


def _whole(column: pyarrow.ChunkedArray) -> pyarrow.Array:
    return column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()


def _converted(column: pyarrow.Array, matrix: bool):
    if pyarrow.types.is_list(column.type):
        if pyarrow.types.is_null(column.type.value_type):  # all rows are empty
            column = column.cast(pyarrow.list_(pyarrow.float64()))
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy()[offsets[0] : offsets[-1]]
        if matrix and len(set(np.diff(offsets).tolist())) > 1:
            raise CatKerasError(
                "The statistics of a task's answers are equally many; received others. Keep the run again"
            )
        return values.reshape(len(column), -1) if matrix else Ragged(values, offsets - offsets[0])
    if pyarrow.types.is_dictionary(column.type):  # one object per distinct text, not per row
        return column.dictionary.to_numpy(zero_copy_only=False)[column.indices.to_numpy()]
    return column.to_numpy(zero_copy_only=False)


def opened(path: Path, remedy: str) -> pyarrow.NativeFile:
    """A file of a run folder as it is now.

    Raises:
        CatKerasError: it is missing or cannot be read.
    """
    try:
        return pyarrow.OSFile(str(path))
    except OSError as error:
        missing = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise CatKerasError(f"A run folder holds {path.name}; {path} {missing}. {remedy}") from error


def read(
    path: Path,
    content: pyarrow.NativeFile,
    needed: Sequence[str],
    remedy: str,
    optional: Sequence[str] = (),
    later: Sequence[str] = (),
) -> pyarrow.Table:
    """The columns `needed` and, where they are there, `optional` of a Parquet file that must also have those `later`.

    Raises:
        CatKerasError: the file is cut short or otherwise unreadable, lacks a column or has empty cells.
    """
    try:
        there = _described(content).schema.to_arrow_schema().names
        absent = [name for name in (*needed, *later) if name not in there]
        table = pyarrow.parquet.read_table(content, columns=[n for n in (*needed, *optional) if n in there])
        table.validate(full=True)  # or bytes that are no text end in an error of whoever prints them
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise CatKerasError(f"{path} is not a readable Parquet file ({error}). Delete it. {remedy}") from error
    if absent:
        needed = ", ".join((*needed, *later))
        raise CatKerasError(f"{path} must have the columns {needed}; missing: {', '.join(absent)}. {remedy}")
    schema.check_columns(table, path, remedy)
    return table


def _described(content: pyarrow.NativeFile) -> pyarrow.parquet.FileMetaData:
    """What the file says of itself, before any of it is unpacked: a few bytes may declare more than memory holds."""
    found = pyarrow.parquet.read_metadata(content)
    size = sum(found.row_group(i).total_byte_size for i in range(found.num_row_groups))
    if size > LARGEST or found.num_rows > LARGEST // 64:
        raise OSError(f"it declares {found.num_rows:,} rows of {size:,} bytes, of {LARGEST:,} at most")
    return found


def encoded(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    """The table with text columns as numbers into a list of their distinct values."""
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table.unify_dictionaries()


def codes(column: pyarrow.ChunkedArray) -> tuple[np.ndarray, list]:
    """Which of the column's distinct values stands in each row, (n,) integers, and those values."""
    if not pyarrow.types.is_dictionary(column.type):
        values, code = np.unique(column.to_numpy(), return_inverse=True)
        return code, values.tolist()
    if not column.num_chunks:
        return np.zeros(0, np.int64), []
    return np.concatenate([part.indices.to_numpy() for part in column.chunks]), column.chunk(0).dictionary.to_pylist()


def rows(table: pyarrow.Table | pyarrow.ChunkedArray, chosen: np.ndarray):
    """Rows of a table or column in the order of `chosen`; not copied where they stand like that already."""
    if len(chosen) and np.array_equal(chosen, np.arange(chosen[0], chosen[0] + len(chosen))):
        return table.slice(chosen[0], len(chosen))
    return table.take(chosen)
