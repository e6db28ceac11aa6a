"""A table as a file: its headers, and the columns that are wanted of it."""

import csv
import json
from collections.abc import Mapping
from pathlib import Path

import pandas as pd
import pyarrow
import pyarrow.csv
import pyarrow.json
import pyarrow.parquet

from benchmarks.importing.roles import ROLES, guess
from cat_keras.errors import CatKerasError

BLOCK = 32 * 2**20  # bytes of JSON lines that Arrow parses at a time; no line is longer
LARGEST = 16 * 2**30  # bytes of a file, unpacked


def opened(path: Path):
    """(headers, a function that reads some of the columns into a frame)."""
    if path.suffix in (".csv", ".tsv"):
        delimiter = "\t" if path.suffix == ".tsv" else ","
        try:
            with path.open(encoding="utf-8-sig", newline="") as stream:
                headers = next(csv.reader(stream, delimiter=delimiter), [])
        except UnicodeDecodeError as error:
            raise _unreadable(path, error) from None
        return headers, lambda chosen: _csv(path, delimiter, chosen)
    if path.suffix == ".parquet":
        try:
            described = pyarrow.parquet.read_metadata(path)
        except (pyarrow.ArrowException, OSError) as error:
            raise _unreadable(path, error) from None
        if sum(described.row_group(i).total_byte_size for i in range(described.num_row_groups)) > LARGEST:
            raise _unreadable(path, f"it declares more than {LARGEST:,} bytes")
        headers = described.schema.to_arrow_schema().names
        return headers, lambda chosen: pyarrow.parquet.read_table(path, columns=list(chosen)).to_pandas()
    frame = _json_lines(path) if path.suffix != ".json" else _json(path)
    return list(frame.columns), lambda chosen: frame[list(chosen)]


def _unreadable(path: Path, error) -> CatKerasError:
    return CatKerasError(f"An import reads CSV, JSON lines or Parquet. Received: {path}, which is none ({error})")


def _csv(path: Path, delimiter: str, chosen: Mapping[str, str]) -> pd.DataFrame:
    """Ids stay as they are written: 007 is not 7."""
    texts = {header: pyarrow.string() for header, role in chosen.items() if role and ROLES[role].kind == "text"}
    convert = pyarrow.csv.ConvertOptions(
        column_types=texts, include_columns=list(chosen), null_values=["", "NA", "NaN", "nan", "null", "None"]
    )
    try:
        table = pyarrow.csv.read_csv(
            path,
            parse_options=pyarrow.csv.ParseOptions(delimiter=delimiter, newlines_in_values=True),
            convert_options=convert,
        )
    except (pyarrow.ArrowException, KeyError) as error:
        raise _unreadable(path, error) from None
    return table.to_pandas()


def _json_lines(path: Path) -> pd.DataFrame:
    """By Arrow, which is several times as fast; what it cannot read in columns of one kind each, by Python."""
    try:
        with path.open(encoding="utf-8") as stream:
            first = json.loads(stream.readline())
        texts = [header for role, header in guess(first).items() if ROLES[role].kind == "text"]
        # Arrow would take some texts for dates.
        schema = pyarrow.schema([(header, pyarrow.string()) for header in texts if isinstance(first[header], str)])
        return pyarrow.json.read_json(
            path,
            read_options=pyarrow.json.ReadOptions(block_size=BLOCK),
            parse_options=pyarrow.json.ParseOptions(explicit_schema=schema),
        ).to_pandas()
    except (pyarrow.ArrowException, ValueError, TypeError, AttributeError, CatKerasError):
        return _json(path)


def _json(path: Path) -> pd.DataFrame:
    try:
        if path.suffix == ".json":
            found = json.loads(path.read_text(encoding="utf-8"))
            records = found if isinstance(found, list) else found.get("rows", found.get("data"))
        else:
            with path.open(encoding="utf-8") as stream:
                records = [json.loads(line) for line in stream if line.strip()]
        if not records or not all(isinstance(record, dict) for record in records):
            raise ValueError("no list of objects")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _unreadable(path, error) from None
    return pd.DataFrame.from_records(records)
