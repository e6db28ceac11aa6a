"""Where rows come from, and which of them make a split.

A source yields the rows of a *part* (for a directory: one file). A split is a slice of a part, written as TensorFlow
Datasets writes it: `"train"`, `"train[:-200]"`, `"train[200:400]"`.
"""

import difflib
import json
import random
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

from benchmarks.task import Task
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.records import Example

LAYOUT = "a data folder holds <dataset>/<config, or default>/<split>.jsonl, one JSON object per line"
# Which split keeps a row that two recipes claim. Recipes are written for the full data sets: on a subset, train[:30000]
# and train[-200:] overlap, and a row that is tested on must never be trained on.
PRECEDENCE = ("test", "validation", "train")
_RECIPE = re.compile(r"(\w+)(?:\[(-?\d*):(-?\d*)\])?")


class Source(Protocol):
    """What a task needs of the place its rows come from."""

    def rows(self, part: str, data: str | Path | None) -> Iterable[tuple[str, dict]]:
        """All rows of a part in a fixed order, each with an id unique in the source."""

    def identity(self) -> Any:
        """JSON-able; says which data are meant, not where they lie."""


@dataclass(frozen=True)
class Dataset:
    """A data set of TensorFlow Datasets, read from a local copy in its field names.

    Attributes:
        name: TFDS name with its config, e.g. `"glue/sst2"`. version: the TFDS version the schema is taken from.
        local: folders that may hold the local copy, in order of preference; by default `name`.
    """

    name: str
    version: str
    local: tuple[str, ...] = ()

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        for index, row in read_jsonl(self._file(part, data)):
            yield f"{part}-{index}", row

    def where(self, id: str, data: str | Path | None) -> str:
        """File and line of a row, for messages."""
        part, index = id.rsplit("-", 1)
        return f"{self._file(part, data)}:{int(index) + 1}"

    def identity(self) -> dict:
        return {"tfds": self.name, "version": self.version}

    def _file(self, part: str, data: str | Path | None) -> Path:
        root = data_folder(data)
        folders = [root / (name if "/" in name else f"{name}/default") for name in self.local or (self.name,)]
        return split_file(next((folder for folder in folders if folder.is_dir()), folders[0]), part, root)


def load(
    task: Task,
    split: str,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    template: int = 0,
) -> list[Example]:
    """Reads and renders one split of a task.

    No row is in two splits: a row that several recipes claim goes to test before validation before train.

    Args:
        task: what to read. split: `"train"`, `"validation"` or `"test"`.
        data: folder with local data; tasks that generate their rows need none.
        limit: at most so many rows, a sample without replacement in the order of the source; a sample of the same
            seed with a smaller limit is part of it.
        seed: of that sample. template: index of the prompt template.

    Raises:
        CatKerasError: folder, file, split or field is missing, a line is malformed, a label is out of range, or no row
            is left.
    """
    if split not in task.splits:
        raise unknown_name(f"split of task {task.name}:", split, task.splits)
    if limit is not None and limit < 1:
        raise CatKerasError(f"limit is a number of rows, at least 1, or None for all; received {limit}")
    rows = list(task.source.rows(parse_recipe(task.splits[split])[0], data))
    chosen = own_rows(task.splits, split, len(rows))
    if not chosen:
        raise CatKerasError(
            f"Split {split} of task {task.name} is empty: {task.splits[split]!r} of {len(rows)} rows, less the rows of "
            f"the other splits ({dict(task.splits)}). Provide more rows"
        )
    chosen = _sample(chosen, limit, seed)
    return [_render(task, *rows[index], template, data) for index in chosen]


def parse_recipe(recipe: str) -> tuple[str, slice]:
    """`"train[:-200]"` → `("train", slice(None, -200))`.

    Raises:
        CatKerasError: it is not written that way.
    """
    match = _RECIPE.fullmatch(recipe)
    if not match:
        raise CatKerasError(f"A split recipe is a name or name[start:stop] with row numbers; received {recipe!r}")
    part, start, stop = match.groups()
    return part, slice(int(start) if start else None, int(stop) if stop else None)


def own_rows(splits: Mapping[str, str], split: str, n_rows: int) -> list[int]:
    """Indices of the rows that belong to a split, those of splits that go before it taken away.

    Args:
        splits: recipe per split. split: the one wanted. n_rows: rows in the part its recipe names.
    """
    part, cut = parse_recipe(splits[split])
    before = [other for other in PRECEDENCE if other in splits]
    taken = set()
    for other in before[: before.index(split)] if split in before else before:
        other_part, other_cut = parse_recipe(splits[other])
        if other_part == part:
            taken.update(range(n_rows)[other_cut])
    return [index for index in range(n_rows)[cut] if index not in taken]


def read_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """Index of the line (from 0) and object of every line that is not blank.

    Raises:
        CatKerasError: a line is not a JSON object; file and line are named.
    """
    # Binary, because in text mode a line separator inside a string (U+2028) could end a line.
    with path.open("rb") as lines:
        for index, line in enumerate(lines):
            if line.strip():
                yield index, _object(line, path, index)


def data_folder(data: str | Path | None) -> Path:
    """The data folder as a path.

    Raises:
        CatKerasError: none was named, or it does not exist.
    """
    if data is None:
        raise CatKerasError(f"This task reads local data and no folder was named; pass --data DIR: {LAYOUT}")
    root = Path(data).expanduser()
    if not root.is_dir():
        raise CatKerasError(f"The data folder does not exist; received {str(data)!r}. Pass --data DIR: {LAYOUT}")
    return root


def split_file(folder: Path, part: str, root: Path) -> Path:
    """`folder/part.jsonl`, which lies in the data folder `root`.

    Raises:
        CatKerasError: folder or file is missing; what is there instead is named.
    """
    if not folder.is_dir():
        wanted = folder.relative_to(root).as_posix()
        there = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.is_dir())
        near = difflib.get_close_matches(wanted, there, n=3) or there[:5]
        raise CatKerasError(
            f"The data set {wanted} is missing in {root}, where {', '.join(near) or 'nothing'} is. "
            f"Put it there: {LAYOUT}"
        )
    path = folder / f"{part}.jsonl"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.jsonl"))) or "none"
        raise CatKerasError(f"The split file {path} is missing; {folder} has the splits: {there}")
    return path


def _object(line: bytes, path: Path, index: int) -> dict:
    try:
        row = json.loads(line)
    except ValueError as error:  # malformed JSON, or bytes that are not UTF-8
        raise CatKerasError(f"{path}:{index + 1}: not a line of JSON ({error}). Correct or remove it") from error
    if not isinstance(row, dict):
        raise CatKerasError(f"{path}:{index + 1}: a row is a JSON object; received {type(row).__name__}")
    return row


def _sample(indices: list[int], limit: int | None, seed: int) -> list[int]:
    if limit is None or limit >= len(indices):
        return indices
    # A prefix of one shuffle, so that samples of different size are nested.
    shuffled = random.Random(seed).sample(indices, len(indices))
    return sorted(shuffled[:limit])


def _render(task: Task, id: str, row: dict, template: int, data: str | Path | None) -> Example:
    try:
        return task.example(row, id, template)
    except CatKerasError as error:
        where = getattr(task.source, "where", None)  # rows that are generated have an id and no line
        raise CatKerasError(f"{where(id, data) if where else id}: {error}") from error
