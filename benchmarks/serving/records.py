"""`load.csv` of a run: a row per stream, policy and rate, of all streams that were simulated."""

import csv
import io
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.report.tables.render import csv_bytes
from benchmarks.serving.trial import Trial

FILE = "load.csv"
TEXTS = ("stream", "policy", "knobs")


def of(trial: Trial, stream: str) -> list[dict]:
    """The rows of one trial."""
    return [
        {
            "stream": stream, "policy": p.policy, "knobs": p.knobs, "times": p.times, "rate": p.rate,
            "quality": p.quality, "p50": p.p50, "p99": p.p99, "in_time": p.in_time, "answered": p.answered,
            "large": p.large, "holds": int(p.holds), "minus": p.minus.estimate, "minus_low": p.minus.low,
            "minus_high": p.minus.high, "budget": trial.budget,
        }
        for p in trial.points.values()
    ]  # fmt: skip


def beside(path: Path, rows: Iterable[Mapping]) -> bytes:
    """The content of a file with these rows in place of those of the same stream."""
    rows = list(rows)
    others = []
    if path.is_file():
        known = csv.DictReader(io.StringIO(path.read_text(encoding="utf-8")))
        others = [parsed(row) for row in known if row.get("stream") not in {row["stream"] for row in rows}]
    return csv_bytes([*others, *rows])


def parsed(row: Mapping[str, str]) -> dict:
    """A row of the file with its numbers as such."""
    return {name: value if name in TEXTS else float(value) for name, value in row.items()}
