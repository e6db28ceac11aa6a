"""Where rows come from, and which of them make a split.

A task's `source` says *which* data it reads (a `Dataset`, a `Direction` of WMT22, or code that generates rows); the
source named in `load` says *where* they are read:

    local     a folder in the layout of `LAYOUT`, such as `benchmarks.prepare` writes
    samples   a few rows per task, written for this project, in the same schema; always there
    tfds      TensorFlow Datasets, which downloads what it does not have yet

A source yields the rows of a *part* (for a folder: one file). A split is a slice of a part, written as TensorFlow
Datasets writes it: `"train"`, `"train[:-200]"`, `"train[200:400]"`.
"""

from benchmarks.sources.counting import count
from benchmarks.sources.dataset import Dataset, Rows, Source
from benchmarks.sources.folder import LAYOUT, MANIFEST, data_folder, read_jsonl, split_file
from benchmarks.sources.loading import MIXTURE, SOURCES, available, drawn_template, load
from benchmarks.sources.recipes import PRECEDENCE, own_rows, parse_recipe

__all__ = [
    "LAYOUT",
    "MANIFEST",
    "MIXTURE",
    "PRECEDENCE",
    "SOURCES",
    "Dataset",
    "Rows",
    "Source",
    "available",
    "count",
    "data_folder",
    "drawn_template",
    "load",
    "own_rows",
    "parse_recipe",
    "read_jsonl",
    "split_file",
]
