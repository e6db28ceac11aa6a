"""Analyses that are kept as the rows that they are computed from, beside a run or in a folder of their own.

Each has one Parquet file of rows without texts, whose metadata say what the rows are, and tables that follow from it.
"""

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pyarrow

from benchmarks.report.numbers import best_rules, comparison, forecasting, pairs, rejecting, retrieval, sweep
from benchmarks.report.reading import analysis
from benchmarks.report.tables import (
    best_rules_table,
    comparison_table,
    forecast_table,
    pairs_table,
    rejection_table,
    render,
    retrieval_table,
    sweep_table,
)
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

MEASURED = ("latency.csv", "load.csv", "load-real.csv")  # beside a run; measured here and now, so kept as they are


@dataclass(frozen=True)
class Analysis:
    """rows: the name of its file. tables: what follows from the rows, file name → content."""

    rows: str
    tables: Callable[[pyarrow.Table], dict[str, bytes]]


def _best_rules(table: pyarrow.Table) -> dict[str, bytes]:
    return best_rules_table.files(best_rules.standings(table), analysis.facts(table))


def _comparison(table: pyarrow.Table) -> dict[str, bytes]:
    found = comparison.compared(table)
    return {
        "comparison.csv": render.csv_bytes(comparison_table.records(found)),
        "table.md": render.text(comparison_table.tables(found)),
    }


def _rejection(table: pyarrow.Table) -> dict[str, bytes]:
    standings = rejecting.standings(table)
    return {
        "rejection.csv": render.csv_bytes(rejection_table.records(standings)),
        "rejection.md": render.text(rejection_table.tables(standings, analysis.facts(table))),
    }


def _retrieval(table: pyarrow.Table) -> dict[str, bytes]:
    return retrieval_table.files(retrieval.standings(table), analysis.facts(table))


def _pairs(table: pyarrow.Table) -> dict[str, bytes]:
    standings = pairs.standings(table)
    return pairs_table.files(standings, pairs.correlations(standings))


def _sweep(table: pyarrow.Table) -> dict[str, bytes]:
    return sweep_table.files(sweep.standings(table), analysis.facts(table))


def _forecast(table: pyarrow.Table) -> dict[str, bytes]:
    return forecast_table.files(forecasting.judge(table), analysis.facts(table))


ANALYSES = {
    "best-rules": Analysis("best-rules.parquet", _best_rules),
    "comparison": Analysis("comparison.parquet", _comparison),
    "forecast": Analysis("forecast.parquet", _forecast),
    "pairs": Analysis("pairs.parquet", _pairs),
    "rejection": Analysis("rejection.parquet", _rejection),
    "retrieval": Analysis("retrieval.parquet", _retrieval),
    "sweep": Analysis("sweep.parquet", _sweep),
}


def of(folder: Path) -> str:
    """Which analysis a folder holds by itself; empty for that of a run.

    Raises:
        CatKerasError: its manifest cannot be read, or names an analysis that this code does not know.
    """
    path = Path(folder) / "manifest.json"
    name = store.read_manifest(path).get("kind", "") if path.is_file() else ""
    if name and name not in ANALYSES:
        raise unknown_name("kind of results", name, ANALYSES)
    return name


def beside(folder: Path) -> dict[str, bytes]:
    """What is kept of the analyses that lie in a run folder: their rows, their tables and what was measured."""
    contents = {name: (folder / name).read_bytes() for name in MEASURED if (folder / name).is_file()}
    for each, table in _held(folder):
        contents |= {each.rows: analysis.to_parquet(table)} | each.tables(table)
    return contents


def computed(folder: Path) -> dict[str, bytes]:
    """The tables of all analyses whose rows lie in a folder.

    Raises:
        CatKerasError: a file that cannot be read.
    """
    return {name: content for each, table in _held(folder) for name, content in each.tables(table).items()}


def _held(folder: Path) -> Iterator[tuple[Analysis, pyarrow.Table]]:
    """The analyses whose rows lie in a folder, with these."""
    for each in ANALYSES.values():
        if (folder / each.rows).is_file():
            yield each, analysis.read(folder / each.rows)


def keep(table: pyarrow.Table, name: str, to: Path) -> Path:
    """Writes the rows of an analysis and its tables into a folder of their own.

    Args:
        table: rows with their metadata. name: of `ANALYSES`. to: the folder, made where there is none.

    Raises:
        CatKerasError: the folder holds something else.
    """
    to, each = Path(to), ANALYSES[name]
    if (to / "manifest.json").exists():
        _check_held(name, to)
    table = _numbered(table)
    store.write_together(to, {each.rows: analysis.to_parquet(table)} | each.tables(table), {"kind": name})
    return to


def keep_folder(source: Path, to: Path) -> Path:
    """`keep` of a folder that holds an analysis by itself; with the same folder twice, writes its tables again."""
    return keep(read(source), of(source), to)


def read(folder: Path) -> pyarrow.Table:
    """The rows of a folder that holds an analysis by itself."""
    return analysis.read(Path(folder) / ANALYSES[of(folder)].rows)


def read_as(name: str, folder: Path) -> pyarrow.Table:
    """`read` of what `keep` wrote under a name of `ANALYSES`, to which more is to come.

    Raises:
        CatKerasError: the folder holds something else, or cannot be read.
    """
    _check_held(name, folder)
    return read(folder)


def _check_held(name: str, folder: Path):
    if (held := of(folder)) != name:
        raise CatKerasError(
            f"A folder is written again by what wrote it. Received: {folder}, which holds a {held or 'run'}. "
            "Give another folder"
        )


def _numbered(table: pyarrow.Table) -> pyarrow.Table:
    """With queries as numbers, in the order of their names, by which resampling sorts them; names may be text."""
    if "query" not in table.column_names:
        return table
    names = table["query"].to_pylist()
    rank = {name: i for i, name in enumerate(sorted(set(names)))}
    numbers = pyarrow.array([f"{rank[name]:06}" for name in names])
    return table.set_column(table.column_names.index("query"), "query", numbers)
