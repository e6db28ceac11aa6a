"""Time of a report: `python -m benchmarks perf report`.

The promises: areas of all resamples in one pass, at least 50 times as fast as the plain way, which repeats the drawn
rows and makes a curve of them, with the same result to 12 digits; and the tables of kept results in seconds.
"""

import json
import sys
import time
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.perf import paired
from cat_keras.evaluation.curves import Outcomes
from cat_keras.evaluation.sweep import Sweep, audc

EXAMPLES, RESAMPLES = 250, 2000
LEVELS = {"all scores differ": 0, "20 levels of scores": 20}


def measure(rounds: int, folders: Sequence[Path]):
    """Writes the tables `report-areas` and `report-tables`.

    Args:
        rounds: how often either way of the areas takes its turn. folders: of results, whose tables are computed.
    """
    rows = [{"scores": name} | areas(levels, rounds) for name, levels in LEVELS.items()]
    note = (
        f"Areas under one model's curve in {RESAMPLES:,} resamples of {EXAMPLES} examples with 0/1 quality. Plain: "
        "every resample's rows are repeated and swept by themselves. Time per example and resample."
    )
    paired.keep("report-areas", pd.DataFrame(rows), note)
    rows = [{"folder": str(folder)} | in_own_process(folder) for folder in folders]
    note = "All tables of kept results, computed from their predictions. Processor seconds, start of Python included."
    paired.keep("report-tables", pd.DataFrame(rows), note)


def areas(levels: int, rounds: int) -> dict:
    """Nanoseconds per example and resample of both ways, with `levels` distinct scores (0: all), and their ratio."""
    rng = np.random.default_rng(0)
    small, large = ((rng.random(EXAMPLES) < share).astype(float) for share in (0.5, 0.7))
    score = rng.random(EXAMPLES) + 0.3 * small
    outcomes = Outcomes(np.floor(score * levels) if levels else score, small, large)
    draws = rng.multinomial(EXAMPLES, np.full(EXAMPLES, 1 / EXAMPLES), size=RESAMPLES)
    counts = np.ascontiguousarray(draws.T, dtype=np.float32)

    def one_pass():
        return audc([Sweep(outcomes.score, large - small)], small[:, None], counts)[0]

    def plain():
        return [repeated(outcomes, row).curve().audc for row in draws]

    np.testing.assert_allclose(one_pass(), plain(), rtol=1e-12)
    seconds = paired.rounds({"one pass": one_pass, "plain": plain}, rounds)
    each = {f"{name}, ns": 1e9 * float(seconds[name].median()) / counts.size for name in seconds}
    return each | {"plain / one pass": paired.ratio(seconds, "plain", "one pass"), "promise": "≥ 50"}


def repeated(outcomes: Outcomes, counts: np.ndarray) -> Outcomes:
    """The rows of a resample, each as often as it was drawn."""
    columns = outcomes.score, outcomes.quality_small, outcomes.quality_large
    return Outcomes(*(np.repeat(column, counts) for column in columns))


def in_own_process(folder: Path) -> dict:
    """Seconds and processor seconds of computing the tables of kept results, and the peak of memory in MiB."""
    return paired.in_own_process("report", str(folder))


def tables(folder: Path) -> dict:
    """See `in_own_process`."""
    from benchmarks import report
    from benchmarks.report.reading import load
    from cat_keras.storage import processes

    started, run = time.perf_counter(), load.load(folder)
    count = sum(len(answers["quality"]) for answers in (*run.small.values(), *run.large.values()))
    report.files(run, drawn=False)
    numbers = {"predictions": count, "seconds": time.perf_counter() - started, "CPU seconds": time.process_time()}
    return numbers | {"MiB": processes.peak_memory() / 2**20}


if __name__ == "__main__":
    match sys.argv[1:]:
        case ["point", folder]:  # how `in_own_process` starts it
            print(json.dumps(tables(Path(folder))))
        case _:
            sys.exit("Measure with: python -m benchmarks perf report")
