"""The common source: a data set of TensorFlow Datasets, read from there or from a local copy."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from benchmarks.sources import tfds
from benchmarks.sources.folder import data_folder, read_jsonl, split_file
from benchmarks.sources.rows import Rows


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
        path = self._local_file(part, data_folder(data))
        pairs = [(f"{part}-{index}", row) for index, row in read_jsonl(path)]
        return Rows.of(pairs, lambda id: f"{path}:{int(id.rpartition('-')[2]) + 1}")

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        return iter(self.open(part, data))

    def origin(self, part: str) -> dict:
        """Says what the files of a part hold; tasks with equal origins share them."""
        return {**self.identity(), "part": part}

    def export(self, part: str, data: str | Path | None, place: str) -> Iterator[tuple[str, Rows]]:
        """The part as files of the local layout; yields (path in the data folder, rows)."""
        yield f"{_folder(self.name)}/{part}.jsonl", self.open(part, data, place)

    def files(self, part: str, root: Path) -> list[Path]:
        """The files of a data folder that hold the part, none if it is absent; reads nothing."""
        paths = (folder / f"{name}.jsonl" for folder in self._folders(root) for name in self._file_names(part))
        return [path for path in paths if path.is_file()][:1]

    def identity(self) -> dict:
        return {"tfds": self.name, "version": self.version}

    def _local_file(self, part: str, root: Path) -> Path:
        """The file of a part in the first folder that exists, or an error that names the preferred one."""
        folders = self._folders(root)
        folder = next((folder for folder in folders if folder.is_dir()), folders[0])
        names = [name for name in self._file_names(part) if (folder / f"{name}.jsonl").is_file()]
        return split_file(folder, names[0] if names else part, root)

    def _folders(self, root: Path) -> list[Path]:
        return [root / _folder(name) for name in self.local or (self.name,)]

    def _file_names(self, part: str) -> tuple[str, ...]:
        return (part, self.renamed[part]) if part in self.renamed else (part,)


def _folder(name: str) -> str:
    return name if "/" in name else f"{name}/default"
