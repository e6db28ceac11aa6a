"""The run, top to bottom: train the pair, predict with every model, put the results in one folder, report."""

import io
import json
import os
import platform
import resource
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning import plan, shards
from benchmarks.running import leases
from benchmarks.running.journal import Journal
from benchmarks.running.progress import Progress
from cat_keras.errors import unknown_name
from cat_keras.storage import store

PREDICTIONS = "predictions.parquet"
LOGS = ("csv", "tensorboard")
MEASURED = ("token_entropies", "token_margins", "embedding")


def run(
    profile,
    data,
    out: Path,
    console,
    source: str = "",
    shard: tuple[int, int] | None = None,
    strategy: str = "auto",
    logs: tuple[str, ...] = (),
    done: Path | None = None,
    only: str = "",
    command: Sequence[str] = (),
) -> Path | None:
    """Brings a run folder up to date; everything that exists already is reused.

    Args:
        profile: a `profile.Profile`.
        data: folder of the real data, or None when the tasks need none.
        out: results go to `out/<profile name>`, the cache to `out/cache`.
        console: a rich console.
        source: where rows come from instead of the profile's source, see `sources.load`.
        shard: (i, n) for the i-th of n shares of the models, see `shards`; None for all.
        strategy: how devices train together, see `cat_keras.training.distribution.choose`.
        logs: "csv", "tensorboard" or both: every training's steps go to `out/logs`.
        done: folder of kept results of this profile; models whose predictions it holds are not made again. The run
            folder then has the others alone: `keep(…, add=True)` puts them beside those.
        only: one model, `large` or `method/seed`, instead of a share or all of them.
        command: words that start this run; the log says how to repeat a model that failed with them.

    Returns:
        The run folder; None while models of other shards (or of `done`) are missing, and there is no report yet.
    """
    todo = plan.make(profile, data, source)
    journal = Journal(out / profile.name, command or ("python", "-m", "benchmarks", "run", profile.name), console)
    with journal.run(todo):
        return _run(todo, out, console, journal, shard, strategy, logs, done, only)


def _run(todo, out, console, journal, shard, strategy, logs, done, only) -> Path | None:
    started, profile, progress = time.monotonic(), todo.profile, Progress(console, journal)
    place, cache = _storage(out / "cache", journal.notice, strategy, progress.go_on)
    mine, known = _mine(todo, shard, only), _predictions_of(done)
    with progress:
        keys = {m: todo.prediction_key(todo.model_key(m)) for m in mine}
        missing = [
            m for m, key in keys.items() if not (known & {cache.path("predict", key).name} or cache.has("predict", key))
        ]
        missing = missing if place is None or place.agree(bool(missing)) else []
        damaged = _damaged(todo, cache, place)
        if missing or damaged:
            from benchmarks.running.workbench import Workbench  # late: a run with nothing to do loads no TensorFlow
            from cat_keras.training import distribution

            place = place or distribution.choose(strategy)
            console.print(f"strategy: {place}; {profile.precision}", markup=False, soft_wrap=True)
            bench = Workbench(todo, cache, progress, place, _loggers(out / "logs", logs))
        console.print(
            f"{profile.name}: {len(todo.tasks)} tasks, {len(todo.train):,} training and {len(todo.test):,} test "
            f"examples, {len(mine)} models{' in shard {}/{}'.format(*shard) if shard else ''}; "
            f"{len(missing) or 'nothing'} to do",
            soft_wrap=True,
        )
        journal("plan", f"{len(mine)} models, {len(missing)} to do: {', '.join(map(todo.name, missing))}")
        progress.expect(_remaining(todo, cache, missing))
        for number, model in enumerate(missing):
            journal.making(todo, model)
            if number == 0 or model[0] != missing[number - 1][0]:  # seeds of a method share what is compiled
                bench.keep(missing[number:])
            bench.make(model)
            _predict(todo, cache, bench, model)
            if model == plan.LARGE and (readers := [m for m in missing[1:] if todo.small[m].needs_teacher]):
                journal.making(todo, readers[0])
                bench.teacher()  # while the large model is loaded
        journal.model = ""
        if damaged:
            bench.mend(damaged)
    if place is not None and not place.chief:
        return None
    folder = out / profile.name
    with cache.lease("collect"):  # one after the other, so that the last one sees all
        complete = _collect(todo, cache, folder, time.monotonic() - started, console, known)
    if not complete:
        return None
    from benchmarks import report  # late: it brings pandas and matplotlib

    began = time.monotonic()
    report.build(folder, console)
    journal("done", f"report ({time.monotonic() - began:.1f} s)")
    return folder


def _mine(todo, shard: tuple[int, int] | None, only: str) -> list[plan.Model]:
    """The models to make, in the order to do them."""
    if only:
        return [todo.named(only)]
    return shards.assign(todo, shard[1])[shard[0]] if shard else shards.ordered(todo, todo.models())


def _predictions_of(kept: Path | None) -> set[str]:
    """Names, in the cache, of the predictions that kept results hold."""
    if kept is None or not (kept / "manifest.json").exists():
        return set()
    return set(store.read_manifest(kept / "manifest.json").get("predictions", {}).values())


def _damaged(todo, cache, place) -> list[str]:
    """Keys of entries that are there and not as they were written; what was deleted on purpose stays away."""
    found = {key: cache.path(stage, key).exists() and not cache.has(stage, key) for stage, key in todo.made_from()}
    if place is not None:
        found = {key: place.agree(bad) for key, bad in found.items()} if place.agree(any(found.values())) else {}
    return [key for key, bad in found.items() if bad]


def _storage(root: Path, report: Callable[[str], None], strategy: str, meanwhile):
    """(place, store): the place is chosen here only where several processes have to agree on what is in the store."""
    if strategy == "multi_worker" or (strategy == "auto" and "TF_CONFIG" in os.environ):
        from cat_keras.training import distribution

        place = distribution.choose(strategy)
        if place.workers > 1:
            from benchmarks.running.collective import CollectiveStore

            return place, CollectiveStore(root, report, place, meanwhile)
    return None, leases.SharedStore(root, report, meanwhile)


def _loggers(folder: Path, kinds: tuple[str, ...]):
    """A function: the logs of a training, by its label."""
    if unknown := [kind for kind in kinds if kind not in LOGS]:
        raise unknown_name("log", unknown[0], LOGS)

    def make(label: str):
        from cat_keras.training import log

        name = label.replace(" ", "-")
        makers = {
            "csv": lambda: log.CsvLog(folder / f"{name}.csv"),
            "tensorboard": lambda: log.TensorBoardLog(folder / name),
        }
        return [makers[kind]() for kind in kinds]

    return make


def _remaining(todo, cache, missing) -> int:
    """How many stages will show a bar: trainings and predictions not in the cache, and the teacher cache."""
    cells = [c for c in todo.cells(missing) if not cache.path("train", c.key).exists()]
    teacher = any(c.needs_teacher for c in cells) and not cache.path("teacher", todo.teacher).exists()
    early = sum(not cache.path(s, k).exists() for s, k in (("tokenizer", todo.tokenizer), ("encoded", todo.encoded)))
    return len(cells) + teacher + len(missing) + (early if missing else 0)


def _predict(todo, cache, bench, model):
    """Stores the answers of one model, with the quality of each."""
    import pyarrow

    def build(folder):
        predictions = bench.predict("large" if model == plan.LARGE else "small", todo.last(model), todo.label(model))
        quality = _quality(todo, predictions)
        rows = [_asked_for(p) | {"quality": q} for p, q in zip(predictions, quality, strict=True)]
        store.write_bytes(folder / PREDICTIONS, _parquet(pyarrow.Table.from_pylist(rows)))

    cache.get("predict", todo.prediction_key(todo.model_key(model)), build)


def _asked_for(prediction) -> dict:
    """The fields of a prediction, without measures that nobody asked for."""
    return {k: v for k, v in prediction.asdict().items() if v or k not in MEASURED}


def _quality(todo, predictions) -> list[float]:
    judges = {t.name: metrics.of(t) for t in todo.tasks}
    return [judges[e.task].per_example(p.text, e) for e, p in zip(todo.test, predictions, strict=True)]


def _parquet(table) -> bytes:
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _collect(todo, cache, folder, seconds, console, known: set[str]) -> bool:
    """Writes the run folder from the cache: examples, the predictions that are there, and last the manifest.

    Returns:
        Whether all predictions are there; what is missing is named in the manifest and on the console.
    """
    import pyarrow
    import pyarrow.parquet

    from benchmarks.report.reading import histories  # late, as the report is

    keys = {m: todo.prediction_key(todo.model_key(m)) for m in todo.models()}
    folders = {m: cache.path("predict", key) for m, key in keys.items() if cache.has("predict", key)}
    elsewhere = [m for m, key in keys.items() if m not in folders and cache.path("predict", key).name in known]
    missing = [todo.label(m) for m in todo.models() if m not in folders and m not in elsewhere]
    if elsewhere:
        console.print(f"In the kept results already: {', '.join(map(todo.label, elsewhere))}", soft_wrap=True)
        console.print("`python -m benchmarks keep --add` puts this run beside them, and reports", soft_wrap=True)
    if missing:
        console.print(f"Not there yet: {', '.join(missing)}", markup=False, soft_wrap=True)
        console.print(
            "The last shard to finish reports; so does this command without --shard and --only", soft_wrap=True
        )
    if not folders:
        return False
    contents, tables = {"examples.parquet": _parquet(pyarrow.Table.from_pylist([e.asdict() for e in todo.test]))}, []
    for (method, seed), path in folders.items():
        table = pyarrow.parquet.read_table(path / PREDICTIONS)
        labels = {"model": "small" if method else "large", "method": method}
        for name, value in labels.items():
            table = table.append_column(name, pyarrow.array([value] * len(table)))
        tables.append(table.append_column("seed", pyarrow.array([seed] * len(table), pyarrow.int32())))
    contents[PREDICTIONS] = _parquet(pyarrow.concat_tables(tables, promote_options="permissive"))
    courses = {
        f"{m}/{s}": _course(cache.path("train", c.key)) for (m, s), c in todo.small.items() if cache.has("train", c.key)
    }
    if courses:
        contents[histories.FILE] = histories.to_parquet(courses)
    store.write_together(folder, contents, _manifest(todo, cache, folders, seconds))
    return not missing and not elsewhere


def _missing(todo, folders) -> list[str]:
    """The cells without predictions, as `report.load.Run.missing` names them."""
    absent = [todo.name(m) for m in todo.models() if m not in folders]
    return [f"{name}/{t.name}" for name in absent for t in todo.tasks]


def _manifest(todo, cache, folders, seconds) -> dict:
    profile = todo.profile
    cells = {c.label: _facts_of(cache, "train", c.key) for c in todo.cells() if cache.has("train", c.key)}
    facts = ("steps", "loss", "live", "padding", "seconds")
    return {
        "scheme": store.HASH_SCHEME,
        "profile": profile.name,
        "settings": json.loads(profile.model_dump_json()),
        "methods": list(profile.methods),
        "seeds": list(profile.seeds),
        "rule": profile.rule,
        "tasks": [t.name for t in todo.tasks],
        "task_identities": {t.name: t.identity() for t in todo.tasks},
        "missing": _missing(todo, folders),
        "objectives": {
            m: dict(zip(("objective", "arguments"), profile.objective_of(m), strict=True)) for m in profile.methods
        },
        "bayes_quality": {t.name: getattr(t.source, "bayes_quality", None) for t in todo.tasks},
        "teacher": _facts_of(cache, "teacher", todo.teacher),
        "training": {
            f"{m}/{s}": {k: cells[c.label][k] for k in facts} for (m, s), c in todo.small.items() if c.label in cells
        },
        "cells": {label: {k: cell[k] for k in ("key", *facts)} for label, cell in cells.items()},
        "encoded": _facts_of(cache, "encoded", todo.encoded),
        "predictions": {f"{m or 'large'}/{s}": path.name for (m, s), path in folders.items()},
        "packages": plan.packages(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(seconds, 1),
        "peak_memory_mib": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024,
    }


def _facts_of(cache, stage: str, key: str) -> dict:
    """What the builder of an entry noted; nothing where there is no entry."""
    if not cache.has(stage, key):
        return {}
    noted = store.read_manifest(cache.path(stage, key) / "manifest.json")
    return {k: v for k, v in noted.items() if k not in ("files", "stage")}


def _course(entry: Path, points: int = 100) -> dict[str, list[float]]:
    """Loss and share of live tokens over the steps: means of at most so many bins, each named by its last step."""
    history = store.read_json(entry / "history.json")
    n = len(history["loss"])
    ends = [n * (i + 1) // min(points, n) for i in range(min(points, n))]
    starts = [0, *ends[:-1]]
    means = {k: [sum(v[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)] for k, v in history.items()}
    return {"step": ends, **means}
