"""How many rows a split has, told from manifests, the notes of TFDS and line ends: no row is parsed."""

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
    """Rows per split in one of the sources; a split that cannot be told, or is not there, is left out.

    Rows, not examples: those without label or text, and sentences that training pairs repeat, are still among them.

    Args:
        source: `"local"`, `"samples"` or `"tfds"` (what it has prepared in its default folder).
        data: folder with local data.
    """
    if not hasattr(task.source, "open"):
        sizes = getattr(task.source, "sizes", {})
    elif source == "samples":
        rows = _lines(sample_rows.path(task))
        return {split: len(sample_rows.own_rows(task.splits, split, rows)) for split in task.splits}
    else:
        sizes = _of_tfds(task) if source == "tfds" else _of_folder(task, Path(data).expanduser())
    parts = {split: parse_recipe(recipe)[0] for split, recipe in task.splits.items()}
    return {split: len(own_rows(task.splits, split, sizes[part])) for split, part in parts.items() if part in sizes}


def _of_folder(task: Task, root: Path) -> Mapping[str, int]:
    parts = {parse_recipe(recipe)[0] for recipe in task.splits.values()}
    files = {part: task.source.files(part, root) for part in parts}
    return {part: sum(_rows(path, root) for path in paths) for part, paths in files.items() if paths}


def _rows(path: Path, root: Path) -> int:
    """As the manifest of the folder says; without one the lines are counted."""
    rows = entries(root).get(path.relative_to(root).as_posix(), {}).get("rows")
    # A row has bytes of its own: more rows than that would be an error of the manifest, and as slow to split as rows.
    return rows if isinstance(rows, int) and 0 <= rows <= path.stat().st_size else _lines(path)


def _lines(path: Path) -> int:
    return _line_ends(path, path.stat().st_mtime_ns)


@functools.cache
def _line_ends(path: Path, modified: int) -> int:
    last, total = b"\n", 0
    with path.open("rb") as file:
        while block := file.read(1 << 20):
            last, total = block, total + block.count(b"\n")
    return total + (not last.endswith(b"\n"))


def _of_tfds(task: Task) -> Mapping[str, int]:
    noted = info_file(task.source.identity())
    splits = json.loads(noted.read_text(encoding="utf-8")).get("splits", []) if noted else []
    return {split["name"]: sum(map(int, split["shardLengths"])) for split in splits}
