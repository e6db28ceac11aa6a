"""What a task needs of its data: rows of a part, in a fixed order, each with an id."""

from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol


class Source(Protocol):
    """What a task needs of the place its rows come from.

    A source that generates its rows has these two methods. One that reads them also has `open`, which takes the place
    (`"local"` or `"tfds"`), and `files`; and `origin` and `export` for `benchmarks.tasks.prepare`. `Dataset` shows
    what they take and return.
    """

    def rows(self, part: str, data: str | Path | None) -> Iterable[tuple[str, dict]]:
        """All rows of a part in a fixed order, each with an id unique in the source."""

    def identity(self) -> Any:
        """JSON-able values that say which data are meant, not where they are."""


@dataclass(frozen=True)
class Rows:
    """The rows of one part, not yet read.

    Attributes:
        count: how many there are. read: ascending indices → (id, row) at each of them, in that order.
        where: id → the place of that row, for messages.
    """

    count: int
    read: Callable[[Sequence[int]], Iterable[tuple[str, dict]]]
    where: Callable[[str], str] = str

    @classmethod
    def of(cls, pairs: Sequence[tuple[str, dict]], where: Callable[[str], str] = str) -> "Rows":
        """Wraps (id, row) pairs that are in memory."""
        return cls(len(pairs), lambda indices: [pairs[index] for index in indices], where)

    def __iter__(self) -> Iterator[tuple[str, dict]]:
        return iter(self.read(range(self.count)))
