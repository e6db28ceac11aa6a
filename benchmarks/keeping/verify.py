"""Whether kept results still say what their predictions say: every number, table and figure computed again."""

import csv
import io
import multiprocessing
import os
from collections.abc import Iterator, Mapping, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path

from benchmarks import report
from benchmarks.keeping import analyses
from benchmarks.keeping.keep import PREDICTIONS, packages, redraw, shown
from benchmarks.report.reading import load
from benchmarks.report.reading.folder import manifest as read_manifest
from benchmarks.tasks import embedded, imported, task
from cat_keras.errors import CatKerasError
from cat_keras.storage import store


@dataclass(frozen=True)
class Verdict:
    """What was found in one folder.

    Attributes:
        folder: it. problems: what differs, by name, a line each; none when all is as committed.
        notices: what a reader should know and no file is wrong about. compared: files computed again.
    """

    folder: Path
    problems: tuple[str, ...]
    notices: tuple[str, ...] = ()
    compared: int = 0


def folders(root: Path) -> list[Path]:
    """Every folder of results under `root`, at any depth.

    Raises:
        CatKerasError: there is none.
    """
    found = [path.parent for path in sorted(Path(root).rglob("manifest.json"))]
    if not found:
        raise CatKerasError(
            f"Results lie in folders with a manifest.json; {Path(root).absolute()} has none. "
            "Name the folders, or call from the root of the repository"
        )
    return found


def verify(folder: Path) -> Verdict:
    """Computes the report of a folder again and compares it with the files that lie there.

    A task that was changed after the run is a notice: its numbers are those of the task as it was.

    Raises:
        CatKerasError: it has no manifest, or one that this code cannot read.
    """
    folder = Path(folder)
    path, analysis = folder / "manifest.json", analyses.of(folder)
    manifest = store.read_manifest(path) if analysis else read_manifest(path)
    sources = (analyses.ANALYSES[analysis].rows,) if analysis else PREDICTIONS
    problems = list(_damaged(folder, manifest, sources))
    notices = list(_stale(manifest))
    if any(line.startswith((*sources, "manifest.json")) for line in problems):  # nothing to compute from
        return Verdict(folder, tuple(problems), tuple(notices))
    computed = analyses.computed(folder) if analysis else _of_run(folder)
    differences = dict(_differences(folder, computed))
    # A file changed by hand has another checksum too; where it differs says more.
    problems = [line for line in problems if line.partition(":")[0] not in differences]
    problems += [f"{name}: {what}" for name, what in differences.items()]
    if differences and (others := _changed_packages(manifest, packages())):
        notices.append(f"computed with other versions than recorded: {others}")
    return Verdict(folder, tuple(problems), tuple(notices), len(computed))


def _of_run(folder: Path) -> dict[str, bytes]:
    run = load.load(folder)
    return report.files(run) if run.has_text else shown(run) | analyses.computed(folder)


def verify_all(folders: Sequence[Path], jobs: int = 0, write: bool = False) -> Iterator[Verdict]:
    """Verdicts on several folders, in their order, each as soon as it and those before it are known.

    Args:
        folders: of results. jobs: how many processes share them; 0 for one per core. The folders with the most
            predictions are begun first, so that none of them is left to a single process at the end.
        write: first writes every report as this code computes it.

    Raises:
        CatKerasError: as `verify`.
    """
    work = _written if write else verify
    jobs = min(jobs or os.cpu_count() or 1, len(folders))
    if jobs <= 1:
        yield from map(work, folders)
        return
    # Fresh processes: a fork would copy locks that threads of numpy or pyarrow may hold.
    with ProcessPoolExecutor(jobs, multiprocessing.get_context("spawn")) as pool:
        verdicts = {folder: pool.submit(work, folder) for folder in sorted(folders, key=_size, reverse=True)}
        for folder in folders:
            yield verdicts[folder].result()


def _written(folder: Path) -> Verdict:
    redraw(folder)
    return verify(folder)


def _size(folder: Path) -> int:
    predictions = Path(folder) / PREDICTIONS[1]
    return predictions.stat().st_size if predictions.is_file() else 0  # analyses are quick


def _damaged(folder: Path, manifest: Mapping, sources: Sequence[str] = PREDICTIONS) -> Iterator[str]:
    listed = manifest.get("files")
    if ("kept" in manifest or manifest.get("kind")) and not listed:
        yield "manifest.json: lists no files; `keep` did not finish, call it again"
    for name in sorted({*sources, *(listed or ())}):
        if not (folder / name).is_file():
            yield f"{name}: missing"
        elif listed and name in listed and store.sha256_file(folder / name) != listed[name]:
            yield f"{name}: has another checksum than manifest.json says"


def _stale(manifest: Mapping) -> Iterator[str]:
    """Tasks that are not what they were, those that changed alike in one line."""
    then = manifest.get("task_identities") or {}
    known = {name: task.get(name) for name in (*task.names(), *filter(imported.is_one, then)) if name in then}
    changes = {}
    noise = manifest.get("settings", {}).get("data", {}).get("noise")
    if noise is not None:
        known = {t.name: t for t in embedded.with_noise(known.values(), noise)}
    for name, identity in then.items():
        fields = changed_fields(identity, known[name].identity()) if name in known else ["removed"]
        if fields:
            changes.setdefault(", ".join(fields), []).append(name)
    for fields, names in changes.items():
        yield f"changed since the run ({fields}): {', '.join(names)}. The numbers are of the tasks as they were"


def changed_fields(one: Mapping, other: Mapping) -> list[str]:
    """Fields in which two identities of a task differ; a field that only one has counts when it says something."""
    return [name for name in sorted({*one, *other}) if (one.get(name) or None) != (other.get(name) or None)]


def _changed_packages(manifest: Mapping, names) -> str:
    recorded, here = manifest.get("kept", {}).get("packages", {}), packages()
    other = [f"{n} {recorded[n]} recorded, {here[n]} here" for n in names if n in recorded and recorded[n] != here[n]]
    return "; ".join(other)


def _differences(folder: Path, computed: Mapping[str, bytes]) -> Iterator[tuple[str, str]]:
    for name, content in computed.items():
        path = folder / name
        if not path.is_file():
            yield name, "missing; the report has it"
        elif (committed := path.read_bytes()) != content:
            yield name, _difference(name, committed, content)


def _difference(name: str, committed: bytes, computed: bytes) -> str:
    """The first place where two files differ, in words."""
    if name.endswith(".csv"):
        return _first_cell(
            *(list(csv.reader(io.StringIO(text.decode(errors="replace")))) for text in (committed, computed))
        )
    if name.endswith(".md"):
        return _first_line(*(text.decode(errors="replace").splitlines() for text in (committed, computed)))
    return f"other bytes than computed ({len(committed):,} committed, {len(computed):,} computed)"


def _first_cell(committed: list[list[str]], computed: list[list[str]]) -> str:
    header = computed[0]
    if committed[:1] != [header]:
        only = sorted({*header} ^ {*(committed or [[]])[0]})
        return f"other columns than computed: {', '.join(only) or 'in another order'}"
    cells = [
        (number, row, column, one, other)
        for number, (row, new) in enumerate(zip_longest(committed[1:], computed[1:], fillvalue=[]), 1)
        for column, one, other in zip_longest(header, row, new, fillvalue="")
        if one != other
    ]
    if not cells:
        return "the same cells, written otherwise"
    number, row, column, one, other = cells[0]
    more = f" ({len(cells)} cells differ)" if len(cells) > 1 else ""
    return f"row {number} ({', '.join(row[:3])}), column {column}: committed {one!r}, computed {other!r}{more}"


def _first_line(committed: list[str], computed: list[str]) -> str:
    lines = [
        (number, one, other)
        for number, (one, other) in enumerate(zip_longest(committed, computed, fillvalue=""), 1)
        if one != other
    ]
    if not lines:
        return "the same lines, ended otherwise"
    number, one, other = lines[0]
    start = max(
        0, next((i for i, (a, b) in enumerate(zip(one, other, strict=False)) if a != b), min(len(one), len(other))) - 20
    )
    more = f" ({len(lines)} lines differ)" if len(lines) > 1 else ""
    return f"line {number}: committed {one[start : start + 60]!r}, computed {other[start : start + 60]!r}{more}"
