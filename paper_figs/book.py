"""The whole set: what can be drawn, drawing it, and checking that what is committed is what the results give."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

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
        """Every drawing that can be made; of those named, if any are: a figure, or one drawing as `source/figure`.

        Raises:
            CatKerasError: a name that is neither.
        """
        jobs, only = [job for figure in self.figures for job in figure.jobs(self.sources)], set(only)
        known = {figure.name for figure in self.figures} | {job.name for job in jobs}
        if unknown := sorted(only - known):
            raise unknown_name("figure", unknown[0], known)
        return [job for job in jobs if not only or only & {job.figure.name, job.name}]

    def missing(self) -> list[Figure]:
        """Figures for which no results hold what they want."""
        return [figure for figure in self.figures if not figure.jobs(self.sources)]

    def draw(self, out: Path, only: Iterable[str] = ()) -> Iterator[Job]:
        """Writes the files of each job below `out`, the index last; yields each job when it is done."""
        for job in self.jobs(only):
            for name, content in render.files(job).items():
                store.write_bytes(Path(out) / name, content)
            yield job
        store.write_bytes(Path(out) / INDEX, self.index())

    def check(self, out: Path, only: Iterable[str] = ()) -> Iterator[str]:
        """What is stale below `out`, one sentence each; nothing when every file is what the results give."""
        jobs, only = self.jobs(only), set(only)
        for job in jobs:
            yield from _stale(job, Path(out))
        if only:
            return
        expected = {path for job in jobs for path in job.paths} | {INDEX}
        for path in sorted(Path(out).rglob("*")):
            name = path.relative_to(out).as_posix()
            if path.is_file() and name not in expected:
                yield f"{name}: no figure draws it from these results; delete it, or bring the results back"
        path = Path(out) / INDEX
        if not path.is_file() or path.read_bytes() != self.index():
            yield f"{INDEX}: is not the index of these figures"

    def unlike(self, out: Path, only: Iterable[str] = ()) -> list[str]:
        """Pictures that another version of matplotlib drew: `check` compares their inputs, and not their bytes."""
        ours = version("matplotlib")
        drawn = {job.name: render.embedded(out, job.name) for job in self.jobs(only) if not job.figure.table}
        return [name for name, origin in drawn.items() if origin and origin.get("matplotlib") != ours]

    def index(self) -> bytes:
        """A page that shows every drawing with its caption, and names what is missing."""
        lines = ["# Figures and tables", ""]
        lines += ["Drawn from `results/` by `python -m paper_figs`; `--check` says whether they still are. Every file"]
        lines += ["names its command and the sha256 of its inputs (a CSV file does not: see the table beside it).", ""]
        for figure in self.figures:
            jobs = figure.jobs(self.sources)
            lines += [f"## {figure.name}", "", figure.caption, ""]
            lines += [line for job in jobs for line in _shown(job)]
            lines += [] if jobs else [f"*Not drawn.* It wants {figure.wants}", ""]
        return "\n".join(lines).encode()


def _shown(job: Job) -> list[str]:
    names = ", ".join(f"`{source.name}`" for source in job.sources)
    facts = f"From {names} ({_count(job, 'task')}, {_count(job, 'seed')})"
    links = " · ".join(f"[{Path(path).suffix[1:]}]({path})" for path in job.paths)
    picture = [] if job.figure.table else [f"![{job.name}]({job.name}.png)", ""]
    return [*picture, f"{facts}: {links}", ""]


def _count(job: Job, what: str) -> str:
    """How many tasks or seeds its sources have, the fewest and the most."""
    counts = {len(source.manifest.get(f"{what}s", ())) for source in job.sources}
    span = " to ".join(str(n) for n in sorted({min(counts), max(counts)}))
    return f"{span} {what if counts == {1} else f'{what}s'}"


def _stale(job: Job, out: Path) -> Iterator[str]:
    made = render.files(job)
    if absent := [name for name in made if not (out / name).is_file()]:
        yield f"{job.name}: not drawn yet, {', '.join(Path(name).name for name in absent)} missing"
        return
    then, now = render.embedded(out, job.name), render.provenance(job)
    if then is None:
        yield f"{job.name}: its files do not say what they were drawn from"
    elif changed := _changed(then.get("inputs", {}), now["inputs"]):
        yield f"{job.name}: stale, {'; '.join(changed)}"
    elif not job.figure.table and then.get("matplotlib") != now["matplotlib"]:
        return  # another version draws other bytes, which says nothing about the figure; see `Book.unlike`
    elif differ := [Path(name).name for name, content in made.items() if (out / name).read_bytes() != content]:
        yield f"{job.name}: {', '.join(differ)} differ though no input changed: its code did, or a file was edited"


def _changed(then: dict, now: dict) -> list[str]:
    words = [f"{name} changed" for name in now if name in then and then[name] != now[name]]
    words += [f"{name} is new" for name in now if name not in then]
    return words + [f"{name} is no longer read" for name in then if name not in now]
