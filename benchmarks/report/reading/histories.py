"""How the loss and the live share of each training went, in a Parquet file beside the manifest of a run.

A manifest is read by people and must stay short; the course of a training is a hundred numbers per model. Manifests of
the first version hold it themselves, under `history`, and are still read.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import pyarrow
import pyarrow.parquet

from benchmarks.report.reading import columns

FILE = "training.parquet"
COLUMNS = ("step", "loss", "live")
History = Mapping[str, list[float]]  # column → one value per point


def separate(manifest: Mapping) -> tuple[dict, dict[str, History]]:
    """A manifest without histories, and those that it held: model (`method/seed`) → its history."""
    training = manifest.get("training") or {}
    histories = {model: facts["history"] for model, facts in training.items() if facts.get("history")}
    if not histories:
        return dict(manifest), {}
    without = {model: {k: v for k, v in facts.items() if k != "history"} for model, facts in training.items()}
    return {**manifest, "training": without}, histories


def to_parquet(histories: Mapping[str, History]) -> bytes:
    """The content of `FILE`: one row per point, with the columns model, step, loss and live."""
    values = {"model": [model for model, history in histories.items() for _ in history["step"]]}
    values |= {name: [v for history in histories.values() for v in history.get(name, ())] for name in COLUMNS}
    types = {"model": pyarrow.string(), "step": pyarrow.int32(), "loss": pyarrow.float64(), "live": pyarrow.float64()}
    table = pyarrow.table(values, schema=pyarrow.schema(list(types.items())))
    buffer = io.BytesIO()
    numbers = {"use_dictionary": ["model", "step"], "use_byte_stream_split": ["loss", "live"]}
    pyarrow.parquet.write_table(table, buffer, compression="zstd", compression_level=19, **numbers)
    return buffer.getvalue()


def read(path: Path, content: pyarrow.NativeFile, remedy: str) -> dict[str, History]:
    """The histories in a file, by model; arguments and errors are those of `columns.read`."""
    return from_table(columns.read(path, content, ("model", *COLUMNS), remedy))


def from_table(table: pyarrow.Table) -> dict[str, History]:
    """The histories that `to_parquet` wrote, by model."""
    histories: dict[str, dict[str, list]] = {}
    for row in table.to_pylist():
        history = histories.setdefault(row["model"], {name: [] for name in COLUMNS})
        for name in COLUMNS:
            history[name].append(row[name])
    return histories
