"""Starts the other side of a comparison in a process of its own: PyTorch and TensorFlow do not share one."""

import json
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import numpy as np


@contextmanager
def started(module: str, spec: dict, **arrays: np.ndarray) -> Iterator[tuple[Callable[[str], str], str]]:
    """Runs `python -m benchmarks.perf.<module> FILE SPEC`, which prints a line, and one more for every line it reads.

    Args:
        spec: handed over as JSON. arrays: handed over in a file.

    Yields:
        a function that sends a line and waits for the answer, and the first line.

    Raises:
        RuntimeError: the process ends early.
    """
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "arrays.npz"
        np.savez(path, **arrays)
        process = subprocess.Popen(
            [sys.executable, "-m", f"benchmarks.perf.{module}", str(path), json.dumps(spec)],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1,
        )  # fmt: skip

        def ask(line: str) -> str:
            process.stdin.write(line + "\n")
            return _next_line(process)

        try:
            first = _next_line(process)
            yield ask, first
        finally:
            process.communicate()  # closes its standard input, and so it ends


def _next_line(process) -> str:
    line = process.stdout.readline()
    if not line:
        raise RuntimeError(f"The process of PyTorch ended with status {process.wait()}")
    return line.rstrip("\n")
