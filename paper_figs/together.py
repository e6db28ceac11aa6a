"""The whole set drawn or checked by several processes, which share the folders of results among them."""

import os
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path

from paper_figs import book
from paper_figs.book import Book
from paper_figs.figures import FIGURES
from paper_figs.source import PREDICTIONS, Source, sources


def written(results: Path, out: Path, only: Iterable[str] = (), processes: int = 0) -> Iterator[str]:
    """Writes the files of each job below `out`, all but the index; names of the jobs, in the order of the book.

    Args:
        results, out: folders. only: as of `Book.jobs`. processes: at most so many; 0 for one per core.
    """
    return _by_folder(_write, results, out, only, processes)


def stale(results: Path, out: Path, only: Iterable[str] = (), processes: int = 0) -> Iterator[str]:
    """One sentence for each drawing below `out` that is not what the results give; arguments as of `written`."""
    return _by_folder(_check, results, out, only, processes)


def _write(results: Path, out: Path, names: Sequence[str]) -> list[str]:
    drawn = Book(FIGURES, sources(results))
    for job in drawn.jobs(names):
        drawn.write(job, out)
    return list(names)


def _check(results: Path, out: Path, names: Sequence[str]) -> list[str]:
    return [line for job in Book(FIGURES, sources(results)).jobs(names) for line in book.stale(job, Path(out))]


def _by_folder(work, results: Path, out: Path, only: Iterable[str], processes: int) -> Iterator[str]:
    """What `work` returns of all jobs. Those of one folder of results stay together, since they share its numbers."""
    parts: dict[Source, list[str]] = {}
    for job in Book(FIGURES, sources(results)).jobs(only):
        parts.setdefault(job.sources[0], []).append(job.name)
    processes = min(processes or os.cpu_count() or 1, len(parts))
    if processes <= 1:
        for names in parts.values():
            yield from work(results, out, names)
        return
    # Fresh processes: a fork would copy locks that threads of numpy or pyarrow may hold.
    with ProcessPoolExecutor(processes, get_context("spawn")) as pool:
        longest_first = sorted(parts, key=_size, reverse=True)
        futures = {source: pool.submit(work, results, out, parts[source]) for source in longest_first}
        for source in parts:
            yield from futures[source].result()


def _size(source: Source) -> int:
    return sum((source.folder / file).stat().st_size for file in PREDICTIONS if source.has(file))
