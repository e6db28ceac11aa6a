"""Draws figures in a process of its own, while this one computes tables: matplotlib keeps a core busy for seconds."""

import os
import pickle
import subprocess
import sys
from collections.abc import Collection, Mapping
from concurrent.futures import Future, ThreadPoolExecutor

from matplotlib.figure import Figure

from benchmarks.report.plots import canvas
from cat_keras.errors import CatKerasError


def rendered(figures: Mapping[str, Figure], vector: Collection[str] = ()) -> Future[dict[str, bytes]]:
    """`canvas.rendered` of the same arguments, to the same bytes, at some later time.

    Raises:
        CatKerasError: from `result()`, if the process ended without an answer.
    """
    command = [sys.executable, "-m", __name__]
    environment = os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)}
    question = pickle.dumps((figures, vector))

    def answer() -> dict[str, bytes]:
        done = subprocess.run(command, input=question, stdout=subprocess.PIPE, env=environment)
        if done.returncode:
            raise CatKerasError(
                f"Plots of a large report are drawn by a process of their own. It ended with code {done.returncode}; "
                "what it said stands above, and −9 says that it was killed. Free memory, and compute the report again"
            )
        return pickle.loads(done.stdout)

    pool = ThreadPoolExecutor(1)
    future = pool.submit(answer)
    pool.shutdown(wait=False)  # the thread ends with the process
    return future


if __name__ == "__main__":
    pickle.dump(canvas.rendered(*pickle.load(sys.stdin.buffer)), sys.stdout.buffer)
