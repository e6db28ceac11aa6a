"""Time and memory of the paired bootstrap: `python -m benchmarks perf bootstrap`.

The promise: 10,000 resamples of 100,000 predictions × 10 methods in under 60 s on 2 cores.
"""

import time

import numpy as np

from cat_keras.evaluation.bootstrap import bootstrap_audc
from cat_keras.evaluation.curves import Outcomes
from cat_keras.storage import processes


def measure(
    rows: int = 100_000,
    tasks: int = 1,
    methods: int = 10,
    resamples: int = 10_000,
    levels: int = 0,
    threads: int | None = None,
):
    """Prints seconds and peak of memory.

    Args:
        rows: predictions of one method, over all tasks. tasks, methods, resamples: how many.
        levels: distinct scores; 0 for as many as rows. threads: of the bootstrap; None for its default.
    """
    data = outcomes(rows, tasks, methods, levels)
    start, busy = time.perf_counter(), time.process_time()
    bootstrap_audc(data, np.random.default_rng(0), resamples, threads)
    wall, cpu = time.perf_counter() - start, time.process_time() - busy
    peak = processes.peak_memory() / 2**20
    print(
        f"{resamples:,} resamples of {rows:,} rows in {tasks} tasks × {methods} methods: "
        f"{wall:.1f} s, {cpu:.1f} s of CPU, peak {peak:,.0f} MiB"
    )


def outcomes(rows: int, tasks: int, methods: int, levels: int) -> dict[str, dict[str, Outcomes]]:
    """Task → method → 0/1 qualities, and scores that know a little of them; `levels` distinct scores."""
    rng, n = np.random.default_rng(1), rows // tasks
    return {f"task{t}": {f"method{m}": _method(rng, n, levels) for m in range(methods)} for t in range(tasks)}


def _method(rng: np.random.Generator, n: int, levels: int) -> Outcomes:
    small, large = (rng.random(n) < share for share in (0.5, 0.7))
    score = rng.random(n) + 0.3 * small
    return Outcomes(np.floor(score * levels) if levels else score, small, large, ids=np.arange(n))
