"""Timings that mean something on a machine whose speed drifts: candidates take turns, and ratios are of each turn."""

import io
import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Callable
from importlib.metadata import version
from pathlib import Path

import numpy as np
import pandas as pd

from cat_keras.storage import processor, store

RESULTS = Path(__file__).parents[2] / "results" / "perf"
VECTORS = ("amx_bf16", "avx512_bf16", "avx512f", "avx2")  # what x86 processors multiply by, the fastest first


def rounds(candidates: dict[str, Callable[[], object]], count: int, warm: bool = False) -> pd.DataFrame:
    """Seconds of every candidate in every round, each of which is printed when it ends.

    Args:
        candidates: name → a function that does the work once and waits for its end.
        count: how many rounds. warm: whether the candidates ran before; otherwise one more round, which compiles what
            they need, comes first and is not counted.

    Returns:
        a frame with a column per candidate and a row per round.
    """
    rows = []
    for number in range(int(warm), count + 1):
        order = list(candidates) if number % 2 else list(candidates)[::-1]
        row = {name: seconds_of(candidates[name]) for name in order}
        rows.append({name: row[name] for name in candidates})
        times = ", ".join(f"{name} {seconds:.3g} s" for name, seconds in rows[-1].items())
        print(f"round {number} of {count}: {times}" if number else f"first, not counted: {times}", flush=True)
    return pd.DataFrame(rows[not warm :])


def in_own_process(module: str, *words: str):
    """What a module of this folder measures in a process that does nothing else, printed when it ends.

    Args:
        module: its name. words: what it is called with, behind "point"; its last line is the result as JSON.
    """
    command = [sys.executable, "-m", f"benchmarks.perf.{module}", "point", *words]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        print(done.stderr, file=sys.stderr)
        done.check_returncode()
    found = json.loads(done.stdout.splitlines()[-1])
    print(f"{module} {' '.join(words)}: {found}", flush=True)
    return found


def seconds_of(work: Callable[[], object]) -> float:
    """How long a call takes."""
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def ratio(seconds: pd.DataFrame, name: str, baseline: str) -> float:
    """Median over rounds of the time of `name` relative to `baseline` in the same round."""
    return float(np.median(seconds[name] / seconds[baseline]))


def _processor() -> str:
    """What multiplies here: the architecture, and on Linux the widest of `VECTORS` and the name of the processor."""
    facts = processor.facts()
    flags = facts.get("flags", "").split()
    widest = next((name for name in VECTORS if name in flags), "")
    return " ".join(part for part in (platform.machine(), widest, facts.get("model name", "")) if part)


def keep(name: str, table: pd.DataFrame, note: str):
    """Prints a table and writes it to `results/perf/<name>.md` and `.csv`, with what it was measured on."""
    packages = ", ".join(f"{p} {version(p)}" for p in ("tensorflow", "keras", "keras-hub"))
    load = os.getloadavg()[0]
    machine = f"{_processor()}, {os.cpu_count()} cores, load {load:.1f} at the end; {packages}."
    text = io.StringIO()
    text.write(f"# {name}\n\n{note}\n\n{machine}\n\n")
    columns = list(table.columns)
    text.write("| " + " | ".join(columns) + " |\n|" + "---|" * len(columns) + "\n")
    for row in table.itertuples(index=False):
        text.write("| " + " | ".join(map(_cell_text, row)) + " |\n")
    print(text.getvalue())
    store.write_bytes(RESULTS / f"{name}.md", text.getvalue().encode())
    store.write_bytes(RESULTS / f"{name}.csv", table.to_csv(index=False).encode())


def _cell_text(value) -> str:
    if not isinstance(value, float):
        return str(value)
    return f"{value:,.3g}" if abs(value) < 1000 else f"{value:,.0f}"
