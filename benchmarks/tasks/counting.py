"""How many examples a split has. Rows are read only where their number alone does not tell."""

import contextlib
import functools
import json
from collections.abc import Iterable, Mapping
from pathlib import Path

from benchmarks.sources.folder import entries
from benchmarks.sources.recipes import own_rows, parse_recipe
from benchmarks.sources.tfds import info_file
from benchmarks.tasks import loading
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError


def count(task: Task, source: str, data: str | Path | None = None) -> dict[str, int]:
    """Examples per split in one of the sources, as many as `loading.load` returns without a limit.

    A split is left out if it is not there, if its rows cannot be read, or if TFDS has it and its number depends on the
    rows, since reading them would load TensorFlow.

    Args:
        source: `"local"`, `"samples"` or `"tfds"` (what it has prepared in its default folder).
        data: folder with local data.
    """
    if not hasattr(task.source, "open"):
        sizes = getattr(task.source, "sizes", {})
    elif source == "samples":
        return _numbers(task, task.splits, source, data)
    else:
        sizes = _sizes_in_tfds(task) if source == "tfds" else _sizes_in_folder(task, Path(data).expanduser())
    parts = {split: parse_recipe(recipe)[0] for split, recipe in task.splits.items()}
    depends = [split for split, part in parts.items() if part in sizes and _depends_on_rows(task, split, part)]
    counts = {
        split: len(own_rows(task.splits, split, sizes[part]))
        for split, part in parts.items()
        if part in sizes and split not in depends
    }
    return counts | (_numbers(task, depends, source, data) if source != "tfds" else {})


def _depends_on_rows(task: Task, split: str, part: str) -> bool:
    return loading.reads_rows(task, split) or not getattr(task.source, "row_per_line", lambda part: True)(part)


def _numbers(task: Task, splits: Iterable[str], source: str, data: str | Path | None) -> dict[str, int]:
    """Examples of the splits that can be read; a damaged file is named by whoever uses it, and not by a listing."""
    numbers = {}
    for split in splits:
        with contextlib.suppress(CatKerasError):
            numbers[split] = loading.number(task, split, data, source)
    return numbers


def _sizes_in_folder(task: Task, root: Path) -> Mapping[str, int]:
    """Rows per part that the data folder holds."""
    parts = {parse_recipe(recipe)[0] for recipe in task.splits.values()}
    files = {part: task.source.files(part, root) for part in parts}
    return {part: sum(_rows(path, root) for path in paths) for part, paths in files.items() if paths}


def _rows(path: Path, root: Path) -> int:
    """Rows of a file as the manifest of the folder says; without an entry there the lines are counted."""
    n_rows = entries(root).get(path.relative_to(root).as_posix(), {}).get("rows")
    # Every row takes at least one byte. A manifest that says more rows than bytes is wrong, and a split of so many
    # rows could take very long to compute.
    return n_rows if isinstance(n_rows, int) and 0 <= n_rows <= path.stat().st_size else _lines(path)


def _sizes_in_tfds(task: Task) -> Mapping[str, int]:
    """Rows per part that TFDS has prepared in its default folder."""
    path = info_file(task.source.identity())
    splits = json.loads(path.read_text(encoding="utf-8")).get("splits", []) if path else []
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in splits}


def _lines(path: Path) -> int:
    return _count_lines(path, path.stat().st_mtime_ns)


@functools.cache
def _count_lines(path: Path, modified: int) -> int:
    """Lines that are not blank, counted once per process, as long as the file is not written again."""
    with path.open("rb") as file:
        return sum(1 for line in file if not line.isspace())
