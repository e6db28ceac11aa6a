"""Writes data into a local folder once, so that everything afterwards works offline.

The folder has the layout that `sources` reads, and a `manifest.json` with size and sha256 of every file, which reading
compares. A file is written whole or not at all, and enters the manifest after that: killed at any point, the same
command continues where it was.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.sources import MANIFEST, Rows, folder, parse_recipe
from benchmarks.tasks import task as registry
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

# Samples are part of the project and make no data folder: recipes mean whole data sets.
FROM = ("tfds", "local")


def prepare(
    tasks: Iterable[Task],
    source: str,
    out: str | Path,
    data: str | Path | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Reads all rows that the tasks' splits use and writes them into `out`; returns the path of its manifest.

    A part of which recipes use the beginning and the end only is written without the middle, and holds the same rows
    for every task of the registry that reads it, whichever of them are prepared.

    Args:
        tasks: what to prepare; tasks that generate their rows need nothing.
        source: `"tfds"`, or `"local"` to copy from another data folder. data: see `sources.load`.
        out: the folder; other files in it stay.
        report: called with one line per file.

    Raises:
        CatKerasError: after everything else is done, if some data could not be had; each with its reason.
    """
    if source not in FROM:
        raise unknown_name("source to prepare from:", source, FROM)
    out, failed = Path(out).expanduser(), []
    for task, part, recipes in _parts(list(tasks)):
        try:
            _write_part(task, part, recipes, source, data, out, report)
        except CatKerasError as error:
            failed.append(f"{task.name}, {part}: {error}")
            report(f"failed: {failed[-1]}")
    if failed:
        raise CatKerasError(
            f"{len(failed)} of the data could not be prepared; the rest is in {out}. First: {failed[0]}"
        )
    return out / MANIFEST


def _parts(tasks: Sequence[Task]) -> Iterator[tuple[Task, str, list[str]]]:
    """Every part the tasks read, once, with the recipes of all tasks of the registry that read it too."""
    known = [*tasks, *(registry.get(name) for name in registry.names())]
    stored = [task for task in known if hasattr(task.source, "export")]
    seen = []
    for task in (task for task in tasks if task in stored):
        for part in dict.fromkeys(parse_recipe(recipe)[0] for recipe in task.splits.values()):
            origin = task.source.origin(part)
            if origin not in seen:
                seen.append(origin)
                readers = [other for other in stored if other.source.origin(part) == origin]
                recipes = {recipe for reader in readers for recipe in reader.splits.values()}
                yield task, part, sorted(recipe for recipe in recipes if parse_recipe(recipe)[0] == part)


def _write_part(task, part, recipes, source, data, out: Path, report) -> None:
    origin = {"source": source, "part": task.source.origin(part), "recipes": recipes}
    if _is_there(out, origin):
        report(f"already there: {task.name}, {part}")
        return
    for name, rows in task.source.export(part, data, source):
        indices = needed(recipes, rows.count)
        content = _lines(rows, indices)
        store.write_bytes(out / name, content)
        _enter(out, name, {"rows": len(indices), "of": rows.count, "origin": origin})
        report(f"{out / name}: {len(indices):,} of {rows.count:,} rows, {len(content) / 1e6:.1f} MB")


def needed(recipes: Iterable[str], n_rows: int) -> Sequence[int]:
    """Rows of a part that the recipes reach, such that the same recipes find the same rows in what is left.

    That is so for a beginning and an end: `train[:30000]` and `train[-200:]` of a file of 30,200 rows are the rows that
    they are of the whole part.
    """
    beginning = end = 0
    for recipe in recipes:
        cut = parse_recipe(recipe)[1]
        start, stop = cut.start or 0, cut.stop
        if start < 0:
            end = max(end, -start)
        elif stop is None or stop < 0:
            return range(n_rows)
        else:
            beginning = max(beginning, stop)
    if beginning + end >= n_rows:
        return range(n_rows)
    return [*range(beginning), *range(n_rows - end, n_rows)]


def _lines(rows: Rows, indices: Sequence[int]) -> bytes:
    return b"".join(json.dumps(row, ensure_ascii=False).encode() + b"\n" for _, row in rows.read(indices))


def _files(out: Path) -> dict[str, dict]:
    manifest = out / MANIFEST
    return folder.read_entries(manifest) if manifest.is_file() else {}


def _is_there(out: Path, origin: dict) -> bool:
    """Whether the manifest lists files of this origin and they are on disk as it says."""
    entries = {name: entry for name, entry in _files(out).items() if entry.get("origin") == origin}
    return bool(entries) and all(
        (out / name).is_file()
        and (out / name).stat().st_size == entry["bytes"]
        and store.sha256_file(out / name) == entry["sha256"]
        for name, entry in entries.items()
    )


def _enter(out: Path, name: str, facts: dict) -> None:
    path = out / name
    entry = {"bytes": path.stat().st_size, "sha256": store.sha256_file(path), **facts}
    store.write_json(out / MANIFEST, {"files": {**_files(out), name: entry}})
