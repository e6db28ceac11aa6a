"""How many rows a split has. The answer comes from manifests, the notes of TFDS or line ends; no row is parsed."""

import functools
import json
from collections.abc import Mapping
from pathlib import Path

from benchmarks.sources.folder import entries
from benchmarks.sources.recipes import own_rows, parse_recipe
from benchmarks.sources.tfds import info_file
from benchmarks.tasks import sample_rows
from benchmarks.tasks.task import Task


def count(task: Task, source: str, data: str | Path | None = None) -> dict[str, int]:
    """Rows per split in one of the sources; a split that is not there, or whose rows cannot be counted, is left out.

    These are rows, not examples: rows without label or text, and training pairs with repeated sentences, are counted.

    Args:
        source: `"local"`, `"samples"` or `"tfds"` (what it has prepared in its default folder).
        data: folder with local data.
    """
    if not hasattr(task.source, "open"):
        sizes = getattr(task.source, "sizes", {})
    elif source == "samples":
        n_rows = _lines(sample_rows.path(task))
        return {split: len(sample_rows.own_rows(task.splits, split, n_rows)) for split in task.splits}
    else:
        sizes = _sizes_in_tfds(task) if source == "tfds" else _sizes_in_folder(task, Path(data).expanduser())
    parts = {split: parse_recipe(recipe)[0] for split, recipe in task.splits.items()}
    return {split: len(own_rows(task.splits, split, sizes[part])) for split, part in parts.items() if part in sizes}


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
    """Counted once per process, as long as the file is not written again; the last line may lack its line end."""
    last_block, line_ends = b"\n", 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            last_block, line_ends = block, line_ends + block.count(b"\n")
    return line_ends + (not last_block.endswith(b"\n"))
