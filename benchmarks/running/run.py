"""The run, top to bottom: train the pair, predict with every model, put the results in one folder, report."""

import time
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

from benchmarks.planning import findings, graph, plan
from benchmarks.running import here, run_folder
from benchmarks.running.cluster import joining
from benchmarks.running.journal import Journal
from benchmarks.running.locks import SharedStore
from benchmarks.running.progress import Progress
from benchmarks.running.request import Request
from cat_keras.errors import CatKerasError, check_number
from cat_keras.storage import processes, store


def run(
    profile,
    data,
    out: Path,
    console,
    source: str = "",
    strategy: str = "auto",
    logs: tuple[str, ...] = (),
    done: Path | None = None,
    only: str = "",
    command: Sequence[str] = (),
    verbose: bool = False,
    beside: Path | None = None,
    reporting: bool = True,
    on: str = "",
    gpu: str = "",
    hosts: int = 1,
    address: str = "",
) -> Path | None:
    """Brings a run folder up to date; everything that exists already is reused.

    Args:
        profile: a `profile.Profile`.
        data: folder of the real data, or None when the tasks need none.
        out: results go to `out/<profile name>`.
        console: a rich console.
        source: where rows come from instead of the profile's source, see `sources.load`.
        strategy: how devices train together, see `cat_keras.training.distribution.choose`.
        logs: "csv", "tensorboard" or both: every training's steps go to `out/logs`.
        done: folder of kept results of this profile; models whose predictions it holds are not made again. The run
            folder then has the others alone: `keep(…, add=True)` puts them beside those.
        only: one model, `large` or `method/seed`, instead of all of them.
        command: words that start this run; the log says how to repeat a model that failed with them.
        verbose: print every table of the report, not one screen.
        beside: where the cache, code that XLA compiled and logs lie; by default `out`.
        reporting: whether the run ends with its report.
        on: "" for this process; a Ray cluster otherwise, see `cluster.joining.joined`.
        gpu: the kind of GPU to ask the cluster for, as Ray names it; "" for any.
        hosts: of the cluster that each training spans.
        address: where entries of the cache are kept for other machines too, see `cat_keras.storage.remote`.

    Returns:
        The run folder; None while other models (or those of `done`) are missing, and there is no report yet.
    """
    check_number("--hosts", hosts, "[1, 10000]", whole=True)
    if on:
        joining.check(on)
    elif hosts > 1:
        raise CatKerasError(f"A training spans hosts of a cluster. Received: --hosts {hosts} without one. Add --on ray")
    if hosts > 1 and address:
        raise CatKerasError(
            f"Hosts that train together share the folder of their checkpoints. Received: --hosts {hosts} with --store "
            f"{address}. Give an --out on a shared file system instead"
        )
    journal = Journal(out / profile.name, command or ("python", "-m", "benchmarks", "run", profile.name), console)
    with findings.printed(console):
        todo = plan.make(profile, data, source)
        with journal.run(todo):
            models = [todo.named(only)] if only else graph.ordered(todo, todo.models())
            kept = _entries_of(done)
            request = Request(todo, tuple(models), beside or out, data, source, kept, strategy, logs, address)
            folder = results(request, out / profile.name, journal, on, gpu, hosts)
            if folder and reporting:
                from benchmarks import report  # late: it brings pandas and matplotlib

                began = time.monotonic()
                report.build(folder, console, verbose=verbose, again=False)
                journal("done", f"report ({time.monotonic() - began:.1f} s)")
            return folder


def results(request: Request, folder: Path, journal: Journal, on: str = "", gpu: str = "",
            hosts: int = 1) -> Path | None:  # fmt: skip
    """Makes what is asked for and puts it into the run folder; None while something of the whole run is missing.

    Args:
        on, gpu, hosts: as for `run`.
    """
    started, progress = time.monotonic(), Progress(journal.console, journal)
    cache = SharedStore(request.out / "cache", journal.notice, progress.go_on, request.remote)
    if cache.remote:
        cache.remote.check()
    if on:
        todo = _on_cluster(request, cache, journal, progress, on, gpu, hosts)
    else:
        with progress:
            todo = here.make(request, cache, journal, progress)
    with cache.lock("collect"):  # one process after the other, so that the last one sees all predictions
        seconds = time.monotonic() - started
        complete = run_folder.write(todo, cache, folder, seconds, journal.console, request.kept)
    return folder if complete else None


def _on_cluster(request, cache, journal, progress, on: str, gpu: str, hosts: int) -> plan.Plan:
    from benchmarks.running.cluster import driver
    from benchmarks.tasks import extensions

    request = replace(request, out=request.out.resolve(), data=request.data and Path(request.data).resolve())
    try:
        with joining.joined(on) as cluster, progress:  # Ray first, since it takes the signals that `progress` needs
            return driver.make(request, cache, journal, progress, cluster, gpu, hosts, extensions.files())
    finally:
        for folder in (*cache.root.glob("*/"), *request.out.glob("compiled/*/")):  # of workers that were killed
            processes.sweep(folder)


def _entries_of(kept: Path | None) -> frozenset[str]:
    """Names of the cache entries whose predictions a folder of kept results holds."""
    if kept is None or not (kept / "manifest.json").exists():
        return frozenset()
    return frozenset(store.read_manifest(kept / "manifest.json").get("predictions", {}).values())
