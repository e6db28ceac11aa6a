"""Lists the registry for people and programs: which tasks there are, where their rows are, and how many."""

import itertools
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from benchmarks.tasks import counting, loading, task
from benchmarks.tasks.task import Task
from cat_keras.errors import unknown_name

if TYPE_CHECKING:
    from cat_keras.data.overlap import Overlap

SPLITS = ("train", "validation", "test")
# A narrow screen cuts off the last columns, so the least important ones stand there.
COLUMNS = ("task", "kind", "metric", "rows: train / validation / test", "here", "suites", "cluster", "licence")


@dataclass(frozen=True)
class Entry:
    """A task and the examples per split of every source that has some on this machine."""

    task: Task
    rows: Mapping[str, Mapping[str, int]]

    @property
    def real(self) -> list[str]:
        """Sources with rows that a number may be measured on."""
        return [source for source in self.rows if source != "samples"]

    def record(self) -> dict:
        """The whole declaration and where its rows are, as JSON-able values."""
        return {**self.task.declaration(), "here": list(self.rows), "rows": {s: dict(r) for s, r in self.rows.items()}}

    def sizes(self, source: str = "") -> dict[str, int]:
        """Rows per split of a source; by default of the first one with real rows."""
        source = source or next(iter(self.real), "")
        return dict(self.rows.get(source, {}))


def entries(tasks: Iterable[Task], data: str | Path | None = None) -> list[Entry]:
    """Finds out where the rows of tasks are and how many examples they make; see `counting.count` for what is read.

    Args:
        data: folder with local data.
    """
    return [Entry(t, {source: counting.count(t, source, data) for source in _sources(t, data)}) for t in tasks]


def _sources(t: Task, data: str | Path | None) -> list[str]:
    """Sources that have any split of a task on this machine."""
    sources = {source for split in t.splits for source in loading.available(t, data, split)}
    return [source for source in loading.SOURCES if source in sources]


def choose(words: Iterable[str], kind: str = "", metric: str = "", cluster: str = "", suite: str = "") -> list[Task]:
    """Tasks that the words name (see `task.select`) and that pass every filter which is not empty.

    Raises:
        CatKerasError: a word or a filter names nothing; the nearest names are given.
    """
    all_tasks = task.select("all")
    filters = {"kind": kind, "metric": metric, "cluster": cluster, "suite": suite}
    for name, value in filters.items():
        valid = {valid_value for t in all_tasks for valid_value in _values(t, name)}
        if value and value not in valid:
            raise unknown_name(name, value, valid)
    return [
        t for t in task.select(words) if all(not value or value in _values(t, name) for name, value in filters.items())
    ]


def _values(t: Task, name: str) -> tuple[str, ...]:
    """The values of a filter that let the task through."""
    if name == "suite":
        return t.suites
    if name == "cluster":
        return tuple(group for group in t.groups if group not in ("all", *t.suites))
    return (getattr(t, name),)


def here(found: Iterable[Entry], source: str = "", real: bool = False) -> list[Entry]:
    """The entries that have rows on this machine.

    Args:
        found: entries to choose from. source: the source that must have the rows; "" for any task.
        real: whether to leave out tasks of which there are only samples.

    Raises:
        CatKerasError: there is no such source.
    """
    if source and source not in loading.SOURCES:
        raise unknown_name("source", source, loading.SOURCES)
    return [entry for entry in found if (not source or source in entry.rows) and (not real or entry.real)]


def overlaps(entry: Entry, source: str = "", data: str | Path | None = None) -> dict[str, "Overlap"]:
    """How many rows of a split are in another split too, by the two names, e.g. `"test/train"`. Reads all rows.

    Args:
        source: whose rows; by default of the first source with real rows, else of the first one.

    Raises:
        CatKerasError: a row cannot be read.
    """
    from cat_keras.data.overlap import Contents  # late, since it brings numpy and a list is quick

    source = source or next(iter(entry.real), next(iter(entry.rows), ""))
    splits = [split for split in reversed(SPLITS) if split in entry.rows.get(source, {})]
    contents = {s: Contents.of(loading.load(entry.task, s, data, source=source)) for s in splits}
    pairs = itertools.combinations(splits, 2)
    return {f"{one}/{other}": contents[one].within([contents[other]]) for one, other in pairs}


def overlap_text(entry: Entry, found: Mapping[str, "Overlap"]) -> str:
    """The overlaps of a task in a line."""
    parts = [
        f"{pair} {overlap.exact:,} of {overlap.rows:,}, {overlap.normalised:,} up to case, blanks and punctuation"
        for pair, overlap in found.items()
    ]
    return f"{entry.task.name}: {'; '.join(parts) or 'no two splits here'}"


def text(found: Sequence[Entry], source: str = "", width: int | None = None) -> str:
    """A table to read on a screen. No column is squeezed; lines longer than `width` characters are cut off.

    Args:
        found: the entries to show. source: whose rows are counted; by default the first source with real rows.
    """
    table = [COLUMNS, *(_cells(entry, source) for entry in found)]
    widths = [max(map(len, column)) for column in zip(*table, strict=True)]
    lines = ("  ".join(map(str.ljust, cells, widths)).rstrip() for cells in table)
    return "\n".join(line if not width or len(line) <= width else f"{line[: width - 1]}…" for line in lines)


def _cells(entry: Entry, source: str) -> tuple[str, ...]:
    t, sizes = entry.task, entry.sizes(source)
    rows = " / ".join(f"{sizes[split]:,}" if split in sizes else "–" for split in SPLITS) if sizes else ""
    places = ", ".join(entry.rows) if hasattr(t.source, "open") else "generated"
    return (t.name, t.kind, t.metric, rows, places, ", ".join(t.suites), t.cluster, t.license)


def origin(t: Task) -> str:
    """The data of a task in one word: TFDS name, config and version, or a direction of WMT22."""
    identity = t.source.identity()
    if "tfds" in identity:
        return f"{identity['tfds']}:{identity['version']}"
    return f"wmt22 {identity['wmt22']}" if "wmt22" in identity else "generated"


def markdown(found: Iterable[Entry], source: str = "") -> str:
    """A table with a line per task: source, kind, metric and rows per split."""
    lines = ["| task | source | kind | metric | " + " | ".join(SPLITS) + " |", "|---|---|---|---" + "|--:" * 3 + "|"]
    for entry in found:
        sizes, t = entry.sizes(source), entry.task
        rows = (f"{sizes[split]:,}" if split in sizes else "" for split in SPLITS)
        lines.append("| " + " | ".join((t.name, origin(t), t.kind, t.metric, *rows)) + " |")
    return "\n".join(lines)
