"""Writes data into a local folder once, so that everything afterwards works offline.

The folder has the layout that `sources` reads, and a `manifest.json` with size and sha256 of every file, against which
a file is checked when it is read. A file is written whole or not at all, and enters the manifest only after that. So
after a kill at any point the same command continues where it was.
"""

import json
from collections.abc import Callable, Iterable, Iterator, Sequence
from pathlib import Path

from benchmarks.sources import MANIFEST, folder, parse_recipe
from benchmarks.tasks import task as registry
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

# Samples are not among them: they come with the project, and are too few rows for recipes, which mean whole data sets.
FROM = ("tfds", "local")


def prepare(
    tasks: Iterable[Task],
    source: str,
    out: str | Path,
    data: str | Path | None = None,
    report: Callable[[str], None] = print,
) -> Path:
    """Reads all rows that the tasks' splits use and writes them into `out`; returns the path of its manifest.

    Where recipes use only the beginning and the end of a part, its middle is not written. The recipes of every task
    of the registry that reads the part count, so the file is the same whichever tasks are prepared.

    Args:
        tasks: what to prepare; tasks that generate their rows need nothing.
        source: `"tfds"`, or `"local"` to copy from another data folder. data: see `loading.load`.
        out: the folder to write into; other files in it stay.
        report: called with one line per file.

    Raises:
        CatKerasError: some data could not be had. It is raised after everything else is done; `report` has the reasons.
    """
    if source not in FROM:
        raise unknown_name("source to prepare from:", source, FROM)
    out, failures = Path(out).expanduser(), []
    for task, part, recipes in _parts(list(tasks)):
        try:
            _write_part(task, part, recipes, source, data, out, report)
        except CatKerasError as error:
            failures.append(f"{task.name}, {part}: {error}")
            report(f"failed: {failures[-1]}")
    if failures:
        raise CatKerasError(
            f"{len(failures)} of the data could not be prepared; the rest is in {out}. First: {failures[0]}"
        )
    return out / MANIFEST


def _parts(tasks: Sequence[Task]) -> Iterator[tuple[Task, str, list[str]]]:
    """Every part that the tasks read, once, with the recipes of all tasks of the registry that read it too."""
    known_tasks = [*tasks, *(registry.get(name) for name in registry.names())]
    exportable = [task for task in known_tasks if hasattr(task.source, "export")]
    origins = []
    for task in (task for task in tasks if task in exportable):
        for part in dict.fromkeys(parse_recipe(recipe)[0] for recipe in task.splits.values()):
            origin = task.source.origin(part)
            if origin in origins:
                continue
            origins.append(origin)
            readers = [other for other in exportable if other.source.origin(part) == origin]
            recipes = {recipe for reader in readers for recipe in reader.splits.values()}
            yield task, part, sorted(recipe for recipe in recipes if parse_recipe(recipe)[0] == part)


def _write_part(task, part, recipes, source, data, out: Path, report) -> None:
    """Writes the files of a part and enters each into the manifest, unless they are already there."""
    origin = {"source": source, "part": task.source.origin(part), "recipes": recipes}
    if _is_written(out, origin):
        report(f"already there: {task.name}, {part}")
        return
    for name, rows in task.source.export(part, data, source):
        path, indices = out / name, needed(recipes, rows.count)
        lines = (json.dumps(row, ensure_ascii=False).encode() + b"\n" for _, row in rows.read(indices))
        content = b"".join(lines)
        store.write_bytes(path, content)
        entry = {"bytes": path.stat().st_size, "sha256": store.sha256_file(path)}
        entry |= {"rows": len(indices), "of": rows.count, "origin": origin}
        store.write_json(out / MANIFEST, {"files": {**_manifest_entries(out), name: entry}})
        report(f"{path}: {len(indices):,} of {rows.count:,} rows, {len(content) / 1e6:.1f} MB")


def needed(recipes: Iterable[str], n_rows: int) -> Sequence[int]:
    """Indices of the rows to write, so that the recipes mean the same rows in the file as in the whole part.

    That holds for a beginning and an end: `train[:30000]` and `train[-200:]` of a file that has only these 30,200 rows
    are the same rows as in the whole part. A recipe that reaches into the middle needs the whole part.
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


def _manifest_entries(out: Path) -> dict[str, dict]:
    manifest = out / MANIFEST
    return folder.read_entries(manifest) if manifest.is_file() else {}


def _is_written(out: Path, origin: dict) -> bool:
    """Whether the manifest lists files of this origin, and they are on disk as it says."""
    entries = {name: entry for name, entry in _manifest_entries(out).items() if entry.get("origin") == origin}
    return bool(entries) and all(
        (out / name).is_file()
        and (out / name).stat().st_size == entry["bytes"]
        and store.sha256_file(out / name) == entry["sha256"]
        for name, entry in entries.items()
    )
