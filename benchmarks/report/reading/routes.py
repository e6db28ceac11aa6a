"""Scores of routers, which kept results have in place of the prompts that they were computed from.

A score is the chance, in thousandths, that the small model does as well as the large one on a prompt. One row of the
file is a model on a task, with a score for each example in the order of the examples.
"""

import io
from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks.report.reading import columns
from cat_keras.errors import CatKerasError

FILE = "routing.parquet"
STEPS = 1000  # of a score, between 0 and 1
Routes = Mapping[tuple[str, int, str], np.ndarray]  # method, seed, task → (n,) int16, in steps


def to_parquet(routes: Routes) -> bytes:
    """The content of `FILE`."""
    keys = sorted(routes)
    table = pyarrow.table(
        {
            "method": [method for method, _, _ in keys],
            "seed": np.array([seed for _, seed, _ in keys], np.int32),
            "task": [name for _, _, name in keys],
            "route": pyarrow.array([routes[key] for key in keys], pyarrow.list_(pyarrow.int16())),
        }
    )
    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd", compression_level=19)
    return buffer.getvalue()


def read(path: Path, content: pyarrow.NativeFile, sizes: Mapping[str, int], remedy: str) -> Routes:
    """The scores in a file.

    Args:
        sizes: task → number of its examples. path, content, remedy: as of `columns.read`.

    Raises:
        CatKerasError: as `columns.read`, or not a score for each example.
    """
    found = {}
    for row in columns.read(path, content, ("method", "seed", "task", "route"), remedy).to_pylist():
        if row["task"] in sizes and len(row["route"]) != sizes[row["task"]]:
            raise CatKerasError(
                f"{path} must have a score for each of the {sizes[row['task']]} examples of {row['task']}; received "
                f"{len(row['route'])} of {row['method']}/{row['seed']}. {remedy}"
            )
        score = np.array(row["route"], np.int64)
        if np.abs(score).max(initial=0) > 2 * STEPS:  # a little beyond 0 and 1 where folds were brought to one mean
            raise CatKerasError(f"{path}: a score is a chance in thousandths; received {np.abs(score).max()}. {remedy}")
        found[row["method"], row["seed"], row["task"]] = score.astype(np.int16)
    return found
