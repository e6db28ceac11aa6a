"""The registry as people and programs read it: which tasks, where their rows are, and how many."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from benchmarks.tasks import counting, loading, task
from benchmarks.tasks.task import Task
from cat_keras.errors import unknown_name

SPLITS = ("train", "validation", "test")
# The columns that a narrow screen cuts off come last.
COLUMNS = ("task", "kind", "metric", "rows: train / validation / test", "here", "suites", "cluster", "licence")


@dataclass(frozen=True)
class Entry:
    """A task and the rows per split of every source that has them on this machine."""

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
    """Looks where the rows of tasks are; parses none.

    Args:
        data: folder with local data.
    """
    return [Entry(t, {s: counting.count(t, s, data) for s in loading.available(t, data)}) for t in tasks]


def choose(words: Iterable[str], kind: str = "", metric: str = "", cluster: str = "", suite: str = "") -> list[Task]:
    """Tasks that the words name (see `task.select`) and that every filter which is not empty lets through.

    Raises:
        CatKerasError: a word or a filter names nothing; the nearest names are given.
    """
    everything, wanted = task.select("all"), {"kind": kind, "metric": metric, "cluster": cluster, "suite": suite}
    for name, value in wanted.items():
        valid = {found for t in everything for found in _values(t, name)}
        if value and value not in valid:
            raise unknown_name(name, value, valid)
    return [t for t in task.select(words) if all(not v or v in _values(t, n) for n, v in wanted.items())]


def _values(t: Task, name: str) -> tuple[str, ...]:
    if name == "suite":
        return t.suites
    if name == "cluster":
        return tuple(group for group in t.groups if group not in ("all", *t.suites))
    return (getattr(t, name),)


def here(found: Iterable[Entry], source: str = "", real: bool = False) -> list[Entry]:
    """Those of whose rows a source has some on this machine; `real`: some source other than samples.

    Raises:
        CatKerasError: there is no such source.
    """
    if source and source not in loading.SOURCES:
        raise unknown_name("source", source, loading.SOURCES)
    return [e for e in found if (not source or source in e.rows) and (not real or e.real)]


def text(found: Sequence[Entry], source: str = "", width: int | None = None) -> str:
    """A table for the eye. No column is squeezed: lines longer than `width` characters are cut off."""
    lines = [COLUMNS, *(_cells(entry, source) for entry in found)]
    widths = [max(map(len, column)) for column in zip(*lines, strict=True)]
    whole = ("  ".join(map(str.ljust, line, widths)).rstrip() for line in lines)
    return "\n".join(line if not width or len(line) <= width else f"{line[: width - 1]}…" for line in whole)


def _cells(entry: Entry, source: str) -> tuple[str, ...]:
    t, sizes = entry.task, entry.sizes(source)
    rows = " / ".join(f"{sizes[split]:,}" if split in sizes else "–" for split in SPLITS) if sizes else ""
    where = ", ".join(entry.rows) if hasattr(t.source, "open") else "generated"
    return (t.name, t.kind, t.metric, rows, where, ", ".join(t.suites), t.cluster, t.license)


def origin(t: Task) -> str:
    """The data of a task in one word: TFDS name, config and version, or a direction of WMT22."""
    described = t.source.identity()
    if "tfds" in described:
        return f"{described['tfds']}:{described['version']}"
    return f"wmt22 {described['wmt22']}" if "wmt22" in described else "generated"


def markdown(found: Iterable[Entry], source: str = "") -> str:
    """A table with a line per task: source, kind, metric and rows per split."""
    lines = ["| task | source | kind | metric | " + " | ".join(SPLITS) + " |", "|---|---|---|---" + "|--:" * 3 + "|"]
    for entry in found:
        sizes, t = entry.sizes(source), entry.task
        rows = (f"{sizes[split]:,}" if split in sizes else "" for split in SPLITS)
        lines.append("| " + " | ".join((t.name, origin(t), t.kind, t.metric, *rows)) + " |")
    return "\n".join(lines)
