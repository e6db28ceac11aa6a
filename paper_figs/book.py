"""The whole set: what can be drawn, drawing it, and checking that what is committed is what the results give."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks.report.tables import wording
from cat_keras.errors import unknown_name
from cat_keras.storage import store
from paper_figs import render
from paper_figs.figure import Figure, Job
from paper_figs.source import Source

INDEX = "README.md"


@dataclass(frozen=True)
class Book:
    """Figures and the results they are drawn from.

    Attributes:
        figures: the set, in the order of the index. sources: folders of results.
    """

    figures: Sequence[Figure]
    sources: Sequence[Source]

    def jobs(self, only: Iterable[str] = ()) -> list[Job]:
        """Every drawing that the results allow.

        Args:
            only: names to choose by, each of a figure or of one drawing as `source/figure`; all drawings when empty.

        Raises:
            CatKerasError: a name that is neither.
        """
        jobs, requested = [job for figure in self.figures for job in figure.jobs(self.sources)], set(only)
        known = {figure.name for figure in self.figures} | {job.name for job in jobs}
        if unknown := sorted(requested - known):
            raise unknown_name("figure", unknown[0], known)
        return [job for job in jobs if not requested or requested & {job.figure.name, job.name}]

    def missing(self) -> list[Figure]:
        """Figures for which no results hold what they want."""
        return [figure for figure in self.figures if not figure.jobs(self.sources)]

    @property
    def imported(self) -> bool:
        """Whether all results are answers of models from elsewhere; captions then speak of these."""
        return all(source.imported for source in self.sources)

    def draw(self, out: Path, only: Iterable[str] = ()) -> Iterator[Job]:
        """Writes the files of each job below `out`, the index last; yields each job when it is done."""
        for job in self.jobs(only):
            self.write(job, out)
            yield job
        self.write_index(out)

    def write(self, job: Job, out: Path):
        """Writes the files of one job."""
        for name, content in render.files(job).items():
            store.write_bytes(Path(out) / name, content)

    def write_index(self, out: Path):
        store.write_bytes(Path(out) / INDEX, self.index())

    def check(self, out: Path, only: Iterable[str] = ()) -> Iterator[str]:
        """One sentence for each thing below `out` that is not what the results give.

        Files that nothing draws, and the index, are looked at only when no names are given.
        """
        for job in self.jobs(only):
            yield from stale(job, Path(out))
        if not set(only):
            yield from self.foreign(out)

    def foreign(self, out: Path) -> Iterator[str]:
        """Files below `out` that nothing draws, and an index that is not of these figures, a sentence each."""
        expected = {path for job in self.jobs() for path in job.paths} | {INDEX}
        for path in sorted(Path(out).rglob("*")):
            name = path.relative_to(out).as_posix()
            if path.is_file() and name not in expected:
                yield f"{name}: no figure draws it from these results; delete it, or bring the results back"
        path = Path(out) / INDEX
        if not path.is_file() or path.read_bytes() != self.index():
            yield f"{INDEX}: is not the index of these figures"

    def unlike(self, out: Path, only: Iterable[str] = ()) -> list[str]:
        """Pictures that another version of matplotlib drew: `check` compares their inputs, and not their bytes."""
        installed = version("matplotlib")
        origins = {job.name: render.embedded(out, job.name) for job in self.jobs(only) if not job.figure.table}
        return [name for name, origin in origins.items() if origin and origin.get("matplotlib") != installed]

    def index(self) -> bytes:
        """A page that shows every drawing with its caption, and names what is missing."""
        lines = ["# Figures and tables", ""]
        lines += ["Drawn from `results/` by `python -m paper_figs`; `--check` says whether they still are. Every file"]
        lines += ["names its command and the sha256 of its inputs (a CSV file does not: see the table beside it).", ""]
        for figure in self.figures:
            jobs = figure.jobs(self.sources)
            if self.imported and not jobs:
                continue
            caption = wording.caption(figure.caption) if self.imported else figure.caption
            lines += [f"## {figure.name}", "", caption, ""]
            lines += [line for job in jobs for line in _entry(job)]
            lines += [] if jobs else [f"*Not drawn.* It wants {figure.wants}", ""]
        if self.imported and self.missing():
            lines += [f"Not drawn: {self.missing_of_imported()}", ""]
        return "\n".join(lines).encode()

    def missing_of_imported(self) -> str:
        """Which figures answers from elsewhere cannot show, and why."""
        names = ", ".join(figure.name for figure in self.missing())
        return f"{names}, which show how models were trained, or compare several runs."


def _entry(job: Job) -> list[str]:
    """The lines of the index for one drawing."""
    names = ", ".join(f"`{source.name}`" for source in job.sources)
    imported = all(source.imported for source in job.sources)
    facts = f"From {names} ({_count(job, 'task')}, {_count(job, 'seed', called='run' if imported else 'seed')})"
    links = " · ".join(f"[{Path(path).suffix[1:]}]({path})" for path in job.paths)
    picture = [] if job.figure.table else [f"![{job.name}]({job.name}.png)", ""]
    return [*picture, f"{facts}: {links}", ""]


def _count(job: Job, what: str, called: str = "") -> str:
    """How many tasks or seeds its sources have, the fewest and the most."""
    counts = {len(source.manifest.get(f"{what}s", ())) for source in job.sources}
    span = " to ".join(str(n) for n in sorted({min(counts), max(counts)}))
    called = called or what
    return f"{span} {called if counts == {1} else f'{called}s'}"


def stale(job: Job, out: Path) -> Iterator[str]:
    """Draws a job again and says how its files below `out` differ from that."""
    expected = render.files(job)
    if missing := [name for name in expected if not (out / name).is_file()]:
        yield f"{job.name}: not drawn yet, {', '.join(Path(name).name for name in missing)} missing"
        return
    then, now = render.embedded(out, job.name), render.provenance(job)
    if then is None:
        yield f"{job.name}: its files do not say what they were drawn from"
    elif changed := _changed(then.get("inputs", {}), now["inputs"]):
        yield f"{job.name}: stale, {'; '.join(changed)}"
    elif not job.figure.table and then.get("matplotlib") != now["matplotlib"]:
        return  # another version draws other bytes, which says nothing about the figure; see `Book.unlike`
    elif differ := [Path(name).name for name, content in expected.items() if (out / name).read_bytes() != content]:
        yield f"{job.name}: {', '.join(differ)} differ though no input changed: its code did, or a file was edited"


def _changed(then: dict, now: dict) -> list[str]:
    """How the inputs, name → sha256, differ between then and now, in words."""
    words = [f"{name} changed" for name in now if name in then and then[name] != now[name]]
    words += [f"{name} is new" for name in now if name not in then]
    return words + [f"{name} is no longer read" for name in then if name not in now]
