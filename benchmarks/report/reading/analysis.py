"""Rows of an analysis: a table without texts, whose metadata say what the rows are, in a Parquet file of its own."""

import io
import json
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks.report.reading.columns import open_file
from cat_keras.errors import CatKerasError

KEY = "cat_keras"  # of the metadata
REMEDY = "Make the analysis again"


def described(table: pyarrow.Table, facts: Mapping) -> pyarrow.Table:
    """The table with facts about it, as JSON values, in place of its metadata."""
    return table.replace_schema_metadata({KEY: json.dumps(facts, sort_keys=True)})


def of_resamples(labels: Mapping[str, Sequence], values: Sequence[np.ndarray], name: str) -> pyarrow.Table:
    """A row per series and resample.

    Args:
        labels: column → its value for each series, strings or whole numbers. values: of each series, (1 + R,), on the
            data and in every resample. name: of the column of values.
    """
    count = len(values[0])
    columns = {column: [each for each in of_series for _ in range(count)] for column, of_series in labels.items()}
    types = {column: pyarrow.string() if isinstance(of[0], str) else pyarrow.int32() for column, of in labels.items()}
    return pyarrow.table(
        {column: pyarrow.array(repeated, types[column]) for column, repeated in columns.items()}
        | {"resample": np.tile(np.arange(count, dtype=np.int32), len(values)), name: np.concatenate(values)}
    )


def facts(table: pyarrow.Table) -> dict:
    """What a table says of itself, see `described`."""
    return json.loads(table.schema.metadata[KEY.encode()])


def to_parquet(table: pyarrow.Table) -> bytes:
    """The content of the file of a table."""
    buffer = io.BytesIO()
    floats = [field.name for field in table.schema if pyarrow.types.is_floating(field.type)]
    others = [name for name in table.column_names if name not in floats]
    pyarrow.parquet.write_table(
        table, buffer, compression="zstd", compression_level=19, use_dictionary=others, use_byte_stream_split=floats
    )
    return buffer.getvalue()


def read(path: Path) -> pyarrow.Table:
    """The table of a file.

    Raises:
        CatKerasError: it is missing, cannot be read, or does not say what its rows are.
    """
    try:
        table = pyarrow.parquet.read_table(open_file(path, REMEDY))
    except (pyarrow.ArrowInvalid, OSError) as error:
        raise CatKerasError(
            f"Rows of an analysis are a Parquet file; {path} cannot be read ({error}). {REMEDY}"
        ) from error
    if KEY.encode() not in (table.schema.metadata or {}):
        raise CatKerasError(f"Rows of an analysis say in their metadata what they are; {path} has none. {REMEDY}")
    return table
