"""Where the rows of tasks come from: data sets of TensorFlow Datasets, WMT22, and folders that hold copies of them.

A task's `source` says *which* data it reads (a `Dataset`, a `Direction` of WMT22, or code that generates rows). The
argument `source` of `benchmarks.tasks.loading.load` says *where* they are read:

    local     a folder in the layout of `LAYOUT`, such as `python -m benchmarks prepare` writes
    samples   a few rows per task, written for this project, in the same schema; always there
    tfds      TensorFlow Datasets, which downloads what it does not have yet

A source yields the rows of a *part*, which is one file of a folder or one split of TFDS. A split of a task is a slice
of a part, written as TensorFlow Datasets writes it: `"train"`, `"train[:-200]"`, `"train[200:400]"`. Nothing here knows
what a task is.
"""

from benchmarks.sources.dataset import Dataset
from benchmarks.sources.folder import LAYOUT, MANIFEST, data_folder, read_jsonl, split_file
from benchmarks.sources.recipes import PRECEDENCE, own_rows, parse_recipe
from benchmarks.sources.rows import Rows, Source

__all__ = [
    "LAYOUT",
    "MANIFEST",
    "PRECEDENCE",
    "Dataset",
    "Rows",
    "Source",
    "data_folder",
    "own_rows",
    "parse_recipe",
    "read_jsonl",
    "split_file",
]
