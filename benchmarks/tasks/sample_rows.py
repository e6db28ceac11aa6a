"""The samples source: a few rows per task, written for this project in the exact schema of the data.

With them every task runs end to end without a download. No number that is measured on them means anything.
"""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.sources.folder import read_jsonl
from benchmarks.sources.rows import Rows
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError

FOLDER = Path(__file__).parent / "samples"


def path(task: Task) -> Path:
    """The file with the sample rows of a task, which need not exist."""
    return FOLDER / f"{task.name}.jsonl"


def rows(task: Task) -> Rows:
    """All sample rows of a task.

    Raises:
        CatKerasError: it has none, or a line is malformed.
    """
    file = path(task)
    if not file.is_file():
        raise CatKerasError(
            f"Task {task.name} has no samples; expected {file}. Write some rows in the schema of its data, or pass "
            "--source local or tfds"
        )
    # A direction of WMT22 completes its rows with references; rows of other sources are complete.
    complete = getattr(task.source, "complete", dict)
    pairs = [(f"sample-{index}", complete(row)) for index, row in read_jsonl(file)]
    return Rows.of(pairs, lambda id: f"{file}:{int(id.rpartition('-')[2]) + 1}")


def own_rows(splits: Mapping[str, str], split: str, n_rows: int) -> list[int]:
    """Indices of the sample rows that make a split; no row is in two splits.

    The recipes of the task are not followed, because they are meant for whole data sets. Instead, even rows are for
    training. Odd rows are for testing, but every second one of them is for validation if the task has that split. A
    task without training rows tests on all.
    """
    even, odd = list(range(0, n_rows, 2)), list(range(1, n_rows, 2))
    if "train" not in splits:
        return list(range(n_rows)) if split == "test" else []
    if split == "train":
        return even
    if "validation" not in splits:
        return odd
    return odd[1::2] if split == "validation" else odd[0::2]
