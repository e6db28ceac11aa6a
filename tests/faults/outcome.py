"""What a run ends with, to be compared between runs: everything but how long it took."""

import hashlib
import tempfile
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from benchmarks import report
from benchmarks.report.reading import load
from cat_keras.storage import store

TIMES = ("seconds", "peak_memory_mib")
TIMED = ("table.md", "report.html", "costs.png", "costs.svg")  # what shows measured seconds


def outcome(folder: Path) -> dict[str, str]:
    """Hashes of what a run folder holds, and of the report of its predictions as if all had taken no time."""
    manifest = _untimed(store.read_manifest(folder / "manifest.json"))
    predictions = timeless(pyarrow.parquet.read_table(folder / "predictions.parquet"))
    kept = [path for pattern in ("*.csv", "*.png", "*.svg", "examples.parquet") for path in folder.glob(pattern)]
    found = {path.name: path.read_bytes() for path in kept if path.name not in TIMED}
    with tempfile.TemporaryDirectory() as place:
        copy = Path(place) / folder.name
        copy.mkdir()
        (copy / "examples.parquet").write_bytes(found["examples.parquet"])
        pyarrow.parquet.write_table(predictions, copy / "predictions.parquet")
        store.write_json(copy / "manifest.json", manifest)
        found |= {f"{name} without times": content for name, content in report.files(load.load(copy)).items()}
        found |= {f"{path.name} without times": path.read_bytes() for path in copy.iterdir()}
    return {name: hashlib.sha256(content).hexdigest() for name, content in sorted(found.items())}


def timeless(predictions: pyarrow.Table) -> pyarrow.Table:
    """The table with zero seconds everywhere."""
    place = predictions.column_names.index("seconds")
    return predictions.set_column(place, "seconds", pyarrow.array([0.0] * len(predictions)))


def _untimed(value):
    if isinstance(value, dict):
        dropped = (*TIMES, "files", "checksum")
        return {name: _untimed(each) for name, each in value.items() if name not in dropped}
    return [_untimed(each) for each in value] if isinstance(value, list) else value


def differences(one: dict[str, str], other: dict[str, str]) -> list[str]:
    return sorted(name for name in one.keys() | other.keys() if one.get(name) != other.get(name))


def leftovers(out: Path) -> list[str]:
    """What a run should have cleared away: half-written files, states of unfinished trainings.

    The lease of a process that was killed just after its work was done may stay: nobody needs it any more.
    """
    found = [*out.rglob(".*.tmp"), *out.rglob(".*.old"), *(out / "cache").glob("unfinished/*")]
    return sorted(str(path.relative_to(out)) for path in found)
