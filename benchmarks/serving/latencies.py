"""Latencies of a run's models: a file of measurements in the run folder, or the seconds of imported answers.

    model,batch,seconds,machine,load
    small,1,0.0123,"x86_64, 2 cores",0.4

One row per batch that was measured. The last two columns say where, and how busy the machine was besides.
"""

import csv
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from benchmarks.report.reading.load import Run
from benchmarks.tuning.stages import LARGE, large_name
from cat_keras.errors import CatKerasError
from cat_keras.serving import Latency

FILE = "latency.csv"
COLUMNS = ("model", "batch", "seconds")
SMALL = "small"  # stands for all small models of a run: they have one architecture


def read(path: Path) -> dict[str, Latency]:
    """Model → its latency.

    Raises:
        CatKerasError: a column is missing, or a cell is no number.
    """
    measured: dict[str, dict[int, list[float]]] = {}
    with Path(path).open(encoding="utf-8-sig", newline="") as file:
        rows = csv.DictReader(file)
        if missing := [name for name in COLUMNS if name not in (rows.fieldnames or ())]:
            raise CatKerasError(
                f"A file of latencies has the columns {', '.join(COLUMNS)}. Received: {path} without "
                f"{', '.join(missing)}. `load RUN --measure` writes one"
            )
        for number, row in enumerate(rows, 2):
            try:
                sizes = measured.setdefault(row["model"].strip(), {})
                sizes.setdefault(int(row["batch"]), []).append(float(row["seconds"]))
            except (TypeError, ValueError, AttributeError):
                raise CatKerasError(
                    f"A row of latencies is a model, a whole batch size and seconds. Received: line {number} of "
                    f"{path}: {list(row.values())}"
                ) from None
    return {model: Latency.of(sizes) for model, sizes in measured.items()}


def of_models(run: Run, models: Sequence[str], seed: int, path: Path | None) -> tuple[list[Latency], str]:
    """The latency of each model, and where it comes from.

    Args:
        run: a finished run. models: in the order they are asked. seed: of the small ones. path: a file that the user
            names; by default that of the run folder, or of an imported run the seconds of its answers.

    Raises:
        CatKerasError: there are none, or none of a model.
    """
    file = path or run.folder / FILE
    if file.exists() or path:
        known = read(file)
        return [_of(known, run, model, file) for model in models], str(file)
    if run.imported:
        return [_of_answers(run, model, seed) for model in models], "the seconds of the imported answers, one at a time"
    raise CatKerasError(
        f"A simulation of load needs the latency of every model and batch size. Received: {run.folder} without {FILE}. "
        "Measure the run's models with --measure, or give a file with --latency"
    )


def _of(known: Mapping[str, Latency], run: Run, model: str, file: Path) -> Latency:
    role = LARGE if model in (LARGE, large_name(run)) else SMALL
    if model not in known and role not in known:
        raise CatKerasError(
            f"Latencies are known of every model that is served. Received: none of {model} in {file}, which has "
            f"{', '.join(known) or 'no model'}. Measure again, or add its rows"
        )
    return known[model if model in known else role]


def _of_answers(run: Run, model: str, seed: int) -> Latency:
    large = model in (LARGE, large_name(run))
    cells = [run.large[name] if large else run.small.get((model, seed, name)) for name in run.covered]
    seconds = np.concatenate([np.asarray(cell["seconds"], np.float64) for cell in cells if cell is not None])
    seconds = seconds[np.isfinite(seconds) & (seconds > 0)]
    if not seconds.size:
        raise CatKerasError(
            f"Latencies of imported answers are their seconds. Received: none of {model}. Give a file with --latency"
        )
    return Latency.of({1: seconds})


def to_csv(rows: Sequence[tuple[str, int, float]], machine: str, load: float) -> str:
    """The content of a file of measurements: (model, batch, seconds)."""
    lines = [f'{model},{batch},{seconds:.6g},"{machine}",{load:.2f}' for model, batch, seconds in rows]
    return "\n".join([",".join((*COLUMNS, "machine", "load")), *lines, ""])
