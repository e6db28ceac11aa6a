"""What a task needs of its data, and the common case: a data set of TensorFlow Datasets, wherever it is read."""

from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Protocol

from benchmarks.sources import tfds
from benchmarks.sources.folder import data_folder, read_jsonl, split_file


class Source(Protocol):
    """What a task needs of the place its rows come from.

    A source that only generates rows has these two methods. One that reads them has `open` besides, which takes the
    place (`"local"` or `"tfds"`), `files`, and, for `benchmarks.prepare`, `origin` and `export`.
    """

    def rows(self, part: str, data: str | Path | None) -> Iterable[tuple[str, dict]]:
        """All rows of a part in a fixed order, each with an id unique in the source."""

    def identity(self) -> Any:
        """JSON-able; says which data are meant, not where they lie."""


@dataclass(frozen=True)
class Rows:
    """The rows of one part, not yet read.

    Attributes:
        count: how many there are. read: rows with their ids at ascending indices, in that order.
        where: id → the place of a row, for messages.
    """

    count: int
    read: Callable[[Sequence[int]], Iterable[tuple[str, dict]]]
    where: Callable[[str], str] = str

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, dict]], where: Callable[[str], str] = str) -> "Rows":
        """Of rows that are in memory."""
        return cls(len(pairs), lambda indices: [pairs[index] for index in indices], where)

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        return iter(self.read(range(self.count)))


@dataclass(frozen=True)
class Dataset:
    """A data set of TensorFlow Datasets, read from there or from a local copy in its field names.

    Attributes:
        name: TFDS name with its config, e.g. `"glue/sst2"`. version: the TFDS version, pinned.
        local: folders that may hold the local copy, in order of preference; by default `name`.
        renamed: part → what a local copy may call it instead.
        unread: fields that no prompt reads and that are too large to carry along.
    """

    name: str
    version: str
    local: tuple[str, ...] = ()
    renamed: Mapping[str, str] = field(default_factory=dict, hash=False)
    unread: tuple[str, ...] = ()

    def open(self, part: str, data: str | Path | None, place: str = "local") -> Rows:
        """The rows of a part.

        Args:
            part: e.g. `"train"`. place: `"local"` or `"tfds"`.
            data: the data folder; for TFDS the folder where it keeps its data, None for its own default.

        Raises:
            CatKerasError: data are missing or damaged, cannot be downloaded, or have no such part.
        """
        if place == "tfds":
            return tfds.rows(self.name, self.version, part, data, self.unread)
        path = self._file(part, data_folder(data))
        pairs = [(f"{part}-{index}", row) for index, row in read_jsonl(path)]
        return Rows.of(pairs, lambda id: f"{path}:{int(id.rpartition('-')[2]) + 1}")

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        return iter(self.open(part, data))

    def origin(self, part: str) -> dict:
        """What the files of a part hold; tasks with equal origins share them."""
        return {**self.identity(), "part": part}

    def export(self, part: str, data: str | Path | None, place: str) -> Iterator[tuple[str, Rows]]:
        """The part as files of the local layout: path in the data folder, rows."""
        yield f"{_folder(self.name)}/{part}.jsonl", self.open(part, data, place)

    def files(self, part: str, root: Path) -> list[Path]:
        """The files of a data folder that hold the part, none where it is absent; reads nothing."""
        paths = (folder / f"{name}.jsonl" for folder in self._folders(root) for name in self._names(part))
        return [path for path in paths if path.is_file()][:1]

    def identity(self) -> dict:
        return {"tfds": self.name, "version": self.version}

    def _file(self, part: str, root: Path) -> Path:
        folders = self._folders(root)
        folder = next((folder for folder in folders if folder.is_dir()), folders[0])
        there = [name for name in self._names(part) if (folder / f"{name}.jsonl").is_file()]
        return split_file(folder, there[0] if there else part, root)

    def _folders(self, root: Path) -> list[Path]:
        return [root / _folder(name) for name in self.local or (self.name,)]

    def _names(self, part: str) -> tuple[str, ...]:
        return (part, self.renamed[part]) if part in self.renamed else (part,)


def _folder(name: str) -> str:
    return name if "/" in name else f"{name}/default"
