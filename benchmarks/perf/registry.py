"""Processor seconds to list the registry, and to read and render rows: `python -m benchmarks perf registry`.

The promise: under 0.5 s to list all tasks, without TensorFlow; under 3 s for 20,000 rows. Rows are made for it, the
samples over and over. With a data folder `list --data DIR`, which counts its rows, is measured too.
"""

import json
import os
import subprocess
import sys
import tempfile
import time
from pathlib import Path

from benchmarks.tasks import loading, sample_rows, task

ROWS = 20_000
FILES = {
    "sst2": "glue/sst2/validation",
    "bool_q": "bool_q/default/validation",
    "record": "super_glue/record/validation",
    "xsum": "gem/xsum/test",
    "web_nlg_en": "gem/web_nlg_en/validation",
    "wmt22_ende": "wmt22/en-de/test",
}


def measure(data: Path | None = None):
    """Prints a line per measurement; with a folder of real data, also how long listing it takes."""
    print(f"{'list':<40}{listing():6.2f} s")
    if data:
        print(f"{'list --data':<40}{listing('--data', str(data)):6.2f} s")
    for name in FILES:
        with tempfile.TemporaryDirectory() as folder:
            seconds, size = rendering(name, Path(folder))
        print(f"{f'{ROWS:,} rows of {name}, {size / 1e6:.1f} MB':<40}{seconds:6.2f} s")


def listing(*words: str) -> float:
    """Processor seconds that `python -m benchmarks list` takes, start of Python included."""
    before = os.times()
    subprocess.run([sys.executable, "-m", "benchmarks", "list", *words], check=True, capture_output=True)
    after = os.times()
    return after.children_user - before.children_user + after.children_system - before.children_system


def rendering(name: str, root: Path) -> tuple[float, int]:
    """Processor seconds to read and render `ROWS` rows of a task, and the bytes of its file."""
    declared, path = task.get(name), root / f"{FILES[name]}.jsonl"
    rows = [json.dumps(row) + "\n" for _, row in sample_rows.rows(declared)]
    path.parent.mkdir(parents=True)
    path.write_text("".join(rows[i % len(rows)] for i in range(ROWS)), encoding="utf-8")
    started = time.process_time()
    examples = loading.load(declared, "test", root, template=loading.MIXTURE)
    seconds = time.process_time() - started
    assert len(examples) == ROWS
    return seconds, path.stat().st_size
