"""Columns of a Parquet file in Arrow's memory. A report needs few of them at a time."""

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
from cat_keras.evaluation.grid import on_grid

BATCH = 1024  # examples that are Python objects at a time
# Wide columns in memory at a time, of all runs together. Six are enough for the two runs that are being compared.
WIDE = 6
LARGEST = 16 * 2**30  # bytes of an unpacked file; a million predictions with their texts take a hundredth of it


@dataclass(frozen=True, eq=False)
class File:
    """A Parquet file some of whose columns, `wide`, are too wide to be held for many runs: they are read on demand.

    The file stays open: when a run writes its folder anew in the meantime, another file gets this name, and the columns
    still come from the one that was checked.
    """

    path: Path
    wide: tuple[str, ...]
    remedy: str
    content: pyarrow.NativeFile


class Columns(Mapping):
    """One model's answers to one task, by column. A column is converted whenever it is read; only numbers are kept.

    Columns of numbers are (n,) arrays, log-probabilities a `Ragged` on the grid of `evaluation.grid` (what is kept of a
    run is on it, and gives the same report as the run itself), `statistics` (n, k) float64; all others are (n,)
    arrays of objects.

    Args:
        table: the narrow columns. file: holds the wide ones. places: (n,) rows of the file.
    """

    def __init__(self, table: pyarrow.Table, file: File, places: np.ndarray):
        self.table, self._file, self._places = table, file, places
        self._numbers: dict[str, np.ndarray] = {}  # views of the table's memory

    def __getitem__(self, name: str):
        if name in self._numbers:
            return self._numbers[name]
        if name in self._file.wide:
            column = rows(_wide(self._file, name), self._places)
        elif name in self.table.column_names:
            column = self.table[name]
        else:
            raise KeyError(name)
        array = column.chunk(0) if column.num_chunks == 1 else column.combine_chunks()
        values = _to_numpy(array, matrix=name == "statistics")
        if name not in self._file.wide and pyarrow.types.is_primitive(column.type):
            self._numbers[name] = values
        return values

    def __iter__(self) -> Iterator[str]:
        yield from (*self.table.column_names, *self._file.wide)

    def __len__(self):
        return self.table.num_columns + len(self._file.wide)


class Held(Mapping):
    """The same columns, each kept once it was read: for who reads them several times and then lets go of them."""

    def __init__(self, columns: Mapping):
        self._columns, self._read = columns, {}

    def __getitem__(self, name: str):
        if name not in self._read:
            self._read[name] = self._columns[name]
        return self._read[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._columns)

    def __len__(self):
        return len(self._columns)


class Same:
    """Stands for an object as a key, itself and not what it is equal to."""

    def __init__(self, thing):
        self.thing = thing

    def __eq__(self, other):
        return self.thing is other.thing

    def __hash__(self):
        return id(self.thing)


@lru_cache(maxsize=WIDE)
def _wide(file: File, name: str) -> pyarrow.ChunkedArray:
    return read(file.path, file.content, (name,), file.remedy)[name]


def _to_numpy(column: pyarrow.Array, matrix: bool):
    """The column in the form that `Columns` promises; lists become rows of a matrix if `matrix`, otherwise a Ragged."""
    if pyarrow.types.is_list(column.type):
        if pyarrow.types.is_null(column.type.value_type):  # all rows are empty
            column = column.cast(pyarrow.list_(pyarrow.float64()))
        offsets = column.offsets.to_numpy()
        values = column.values.to_numpy()[offsets[0] : offsets[-1]]
        if matrix and len(set(np.diff(offsets).tolist())) > 1:
            raise CatKerasError(
                "The statistics of a task's answers are equally many; received others. Keep the run again"
            )
        return values.reshape(len(column), -1) if matrix else Ragged(on_grid(values), offsets - offsets[0])
    if pyarrow.types.is_dictionary(column.type):  # one object per distinct text, not per row
        return column.dictionary.to_numpy(zero_copy_only=False)[column.indices.to_numpy()]
    return column.to_numpy(zero_copy_only=False)


class Examples(Sequence):
    """Examples of a task. An `Example` is made when it is asked for, and is not kept.

    Where a table has no texts, prompt, target and every option are "": only the number of options is known.
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
        if "n_options" in self.table.column_names:
            counts = self.table["n_options"]
        else:
            counts = pyarrow.compute.list_value_length(self.table["options"])
        return bool(pyarrow.compute.all(pyarrow.compute.greater(counts, 0)).as_py())

    @property
    def answers(self) -> np.ndarray | None:
        """(n,) places of the targets among the options, −1 where a target is none of them; None where not known."""
        if "answer" in self.table.column_names:
            return self.table["answer"].to_numpy()
        if "n_options" in self.table.column_names:
            return None
        return np.array([example.answer for example in self], np.int64)

    @property
    def ids(self) -> list[str]:
        return self.table["id"].to_pylist()


def _example(row: dict) -> Example:
    if "n_options" in row:
        row = row | {"prompt": "", "target": "", "options": [""] * row["n_options"]}
    return Example(**{name: value for name, value in row.items() if name not in ("n_options", "answer")})


def open_file(path: Path, remedy: str) -> pyarrow.NativeFile:
    """A file of a run folder as it is now.

    Raises:
        CatKerasError: it is missing or cannot be read.
    """
    try:
        return pyarrow.OSFile(str(path))
    except OSError as error:
        reason = "is missing" if isinstance(error, FileNotFoundError) else f"cannot be read ({error})"
        raise CatKerasError(f"A run folder holds {path.name}; {path} {reason}. {remedy}") from error


def read(
    path: Path,
    content: pyarrow.NativeFile,
    needed: Sequence[str],
    remedy: str,
    optional: Sequence[str] = (),
    later: Sequence[str] = (),
) -> pyarrow.Table:
    """Reads columns of a Parquet file.

    Args:
        path: of the file, for error messages. content: the file. needed: columns that are read.
        remedy: the end of error messages. optional: columns that are read if the file has them.
        later: columns that the file must have although they are not read now.

    Raises:
        CatKerasError: the file is cut short or otherwise unreadable, lacks a column or has empty cells.
    """
    has = names(path, content, remedy)
    missing = [name for name in (*needed, *later) if name not in has]
    chosen = [name for name in (*needed, *optional) if name in has]
    try:
        # `read_table` would import pandas with pyarrow's datasets, which takes longer than a small report.
        table = pyarrow.parquet.ParquetFile(content).read(chosen).select(chosen)
        table.validate(full=True)  # or bytes that are no text end in an error of whoever prints them
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error, remedy) from error
    if missing:
        needed = ", ".join((*needed, *later))
        raise CatKerasError(f"{path} must have the columns {needed}; missing: {', '.join(missing)}. {remedy}")
    schema.check_columns(table, path, remedy)
    return table


def names(path: Path, content: pyarrow.NativeFile, remedy: str) -> list[str]:
    """Names of the columns of a Parquet file; arguments and errors as for `read`."""
    try:
        return _metadata(content).schema.to_arrow_schema().names
    except (pyarrow.ArrowException, OSError, ValueError) as error:
        raise _unreadable(path, error, remedy) from error


def _unreadable(path: Path, error: Exception, remedy: str) -> CatKerasError:
    return CatKerasError(f"{path} is not a readable Parquet file ({error}). Delete it. {remedy}")


def _metadata(content: pyarrow.NativeFile) -> pyarrow.parquet.FileMetaData:
    """What the file declares. A few bytes may declare more than memory holds: that is an OSError before unpacking."""
    metadata = pyarrow.parquet.read_metadata(content)
    size = sum(metadata.row_group(i).total_byte_size for i in range(metadata.num_row_groups))
    if size > LARGEST or metadata.num_rows > LARGEST // 64:
        raise OSError(f"it declares {metadata.num_rows:,} rows of {size:,} bytes, of {LARGEST:,} at most")
    return metadata


def dictionary_encoded(table: pyarrow.Table, names: Sequence[str]) -> pyarrow.Table:
    """The table with text columns as numbers into a list of their distinct values."""
    for name in names:
        table = table.set_column(table.column_names.index(name), name, table[name].dictionary_encode())
    return table.unify_dictionaries()


def codes(column: pyarrow.ChunkedArray) -> tuple[np.ndarray, list]:
    """The column as numbers, (n,) integers, into its distinct values, and these values."""
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
