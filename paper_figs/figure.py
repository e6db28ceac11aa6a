"""What a figure is: a name, a caption, the results it wants, and a function that draws them."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.report.tables.render import Table
from paper_figs.source import PREDICTIONS, Source

PICTURES, TABLES = ("pdf", "svg", "png"), ("tex", "md", "csv")  # the kinds of file of either
Pick = Callable[[Sequence[Source]], list[tuple[Source, ...]]]


@dataclass(frozen=True)
class Figure:
    """One figure or table of the set.

    Attributes:
        name: of its files. caption: what a reader must know; plain text, whole sentences.
        pick: all results → the groups of them that one drawing each is made from; empty when what it wants is missing.
            Looks at manifests and file names alone.
        draw: the sources of a group → a matplotlib `Figure` or a `Sheet`.
        wants: what a run must have for this figure, and the command that makes one.
        files: what `draw` reads of each source. first: what it reads besides of the first source of a group.
        table: whether `draw` gives a `Sheet`.
    """

    name: str
    caption: str
    pick: Pick
    draw: Callable
    wants: str
    files: tuple[str, ...] = PREDICTIONS
    first: tuple[str, ...] = ()
    table: bool = False

    def jobs(self, sources: Sequence[Source]) -> list["Job"]:
        return [Job(self, group) for group in self.pick(sources)]


@dataclass(frozen=True)
class Job:
    """One drawing to make: a figure of certain sources."""

    figure: Figure
    sources: tuple[Source, ...]

    @property
    def name(self) -> str:
        """`<first source>/<figure>`: the path of its files without their endings."""
        return f"{self.sources[0].name}/{self.figure.name}"

    @property
    def paths(self) -> list[str]:
        """Its files below the output folder."""
        return [f"{self.name}.{kind}" for kind in (TABLES if self.figure.table else PICTURES)]

    @property
    def command(self) -> str:
        return f"python -m paper_figs --only {self.name}"

    @property
    def reads(self) -> list[tuple[Source, tuple[str, ...]]]:
        """Each source with the files that are read of it."""
        files = self.figure.files
        of_first = tuple(dict.fromkeys((*files, *self.figure.first)))
        return [(source, files if i else of_first) for i, source in enumerate(self.sources)]

    def inputs(self) -> dict[str, str]:
        """`folder/file` → sha256."""
        return {key: value for source, files in self.reads for key, value in source.hashes(files).items()}


@dataclass(frozen=True)
class Sheet:
    """A table as people read it, and its records for programs."""

    table: Table
    records: Iterable[Mapping[str, object]]


def alone(suits: Callable[[Source], bool] = lambda source: True, files: Sequence[str] = PREDICTIONS) -> Pick:
    """Picks every source that has the files and suits, each for a drawing of its own; none that is aside."""
    return each(lambda source: not source.aside and suits(source), files)


def each(suits: Callable[[Source], bool] = lambda source: True, files: Sequence[str] = PREDICTIONS) -> Pick:
    """As `alone`, also of sources that are aside."""
    return lambda sources: [(s,) for s in sources if s.has(*files) and suits(s)]
