"""The run, top to bottom: train the pair, predict with every model, put the results in one folder, report."""

import contextlib
import os
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning import findings, plan, shards
from benchmarks.running import leases, preflight, run_folder
from benchmarks.running.journal import Journal
from benchmarks.running.progress import Progress
from cat_keras.errors import unknown_name
from cat_keras.storage import compilations, store

LOGS = ("csv", "tensorboard")
# Columns that are stored only where a prediction of the model has them.
OPTIONAL_MEASURES = ("token_entropies", "token_margins", "embedding", "option_scores")


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
    verbose: bool = False,
    beside: Path | None = None,
    reporting: bool = True,
) -> Path | None:
    """Brings a run folder up to date; everything that exists already is reused.

    Args:
        profile: a `profile.Profile`.
        data: folder of the real data, or None when the tasks need none.
        out: results go to `out/<profile name>`.
        console: a rich console.
        source: where rows come from instead of the profile's source, see `sources.load`.
        shard: (i, n) for the i-th of n shares of the models, see `shards`; None for all.
        strategy: how devices train together, see `cat_keras.training.distribution.choose`.
        logs: "csv", "tensorboard" or both: every training's steps go to `out/logs`.
        done: folder of kept results of this profile; models whose predictions it holds are not made again. The run
            folder then has the others alone: `keep(…, add=True)` puts them beside those.
        only: one model, `large` or `method/seed`, instead of a share or all of them.
        command: words that start this run; the log says how to repeat a model that failed with them.
        verbose: print every table of the report, not one screen.
        beside: where the cache, code that XLA compiled and logs lie; by default `out`.
        reporting: whether the run ends with its report.

    Returns:
        The run folder; None while models of other shards (or of `done`) are missing, and there is no report yet.
    """
    journal = Journal(out / profile.name, command or ("python", "-m", "benchmarks", "run", profile.name), console)
    with findings.printed(console):
        todo = plan.make(profile, data, source)
        with journal.run(todo):
            places = out / profile.name, beside or out
            folder = _run(todo, *places, console, journal, shard, strategy, logs, done, only, data, source)
            if folder and reporting:
                from benchmarks import report  # late: it brings pandas and matplotlib

                began = time.monotonic()
                report.build(folder, console, verbose=verbose, again=False)
                journal("done", f"report ({time.monotonic() - began:.1f} s)")
            return folder


def _run(whole, folder, out, console, journal, shard, strategy, logs, done, only, data, source) -> Path | None:
    started, profile, progress = time.monotonic(), whole.profile, Progress(console, journal)
    place, cache = _place_and_store(out / "cache", journal.notice, strategy, progress.go_on)
    models, kept_entries = _share(whole, shard, only), _entries_of(done)
    with progress, contextlib.ExitStack() as until_done:
        todo, collect = whole, None
        if place is None and profile.data.bad_rows == "leave out":
            todo = whole.without(preflight.rows(whole, cache) or ())  # what an earlier call of this run has found
        missing = _without_predictions(todo, cache, models, kept_entries)
        missing = missing if place is None or place.agree(bool(missing)) else []
        damaged = _damaged(todo, cache, place)
        bench = None
        if missing or damaged:
            collect = until_done.enter_context(compilations.kept(out / "compiled"))
            from benchmarks.running.workbench import Workbench  # late: a run with nothing to do loads no TensorFlow
            from cat_keras.training import device, distribution

            place = place or distribution.choose(strategy)
            how = device.description(profile.precision)
            console.print(f"strategy: {place}; {how}", markup=False, soft_wrap=True)
            bench = Workbench(todo, cache, progress, place, _log_maker(out / "logs", logs))
        if missing:
            bad = preflight.check(whole, bench, missing, logs, preflight.places(whole, data, source))
            todo = bench.plan = whole.without(bad)
            bench.left_out = frozenset((row.task, row.id) for row in bad if row.split == "train")
            missing = _without_predictions(todo, cache, missing, kept_entries) if place is None else missing
        _note_rows(todo, journal)
        console.print(
            f"{profile.name}: {len(todo.tasks)} tasks, {len(todo.train):,} training and {len(todo.test):,} test "
            f"examples, {len(models)} models{' in shard {}/{}'.format(*shard) if shard else ''}; "
            f"{len(missing) or 'nothing'} to do",
            soft_wrap=True,
        )
        journal("plan", f"{len(models)} models, {len(missing)} to do: {', '.join(map(todo.name, missing))}")
        progress.expect(_count_stages(todo, cache, missing))
        _make_models(todo, cache, bench, missing, journal, collect)
        if damaged:
            bench.mend(damaged)
    if place is not None and not place.chief:
        return None
    with cache.lease("collect"):  # one process after the other, so that the last one sees all predictions
        complete = run_folder.write(todo, cache, folder, time.monotonic() - started, console, kept_entries)
    return folder if complete else None


def _note_rows(todo, journal: Journal):
    """Says which rows are left out, and which test rows a model has seen in training."""
    for split, tasks in todo.left_out.items():
        counts = ", ".join(f"{name} {count:,}" for name, count in tasks.items())
        journal.notice(f"left out of {split} as bad rows: {counts}")
    for name, (rows, exact, normalised) in todo.overlap.items():
        journal.notice(
            f"overlap: of {rows:,} test rows of {name}, {exact:,} are training rows too, {normalised:,} up to case, "
            "blanks and punctuation"
        )


def _place_and_store(root: Path, report: Callable[[str], None], strategy: str, meanwhile: Callable[[], None]):
    """The `Distribution` and the store of a run.

    The distribution is chosen here only where several processes have to agree on what is in the store. Otherwise it is
    None and chosen when there is something to train, because choosing it loads TensorFlow.
    """
    if strategy == "multi_worker" or (strategy == "auto" and "TF_CONFIG" in os.environ):
        from cat_keras.training import distribution

        place = distribution.choose(strategy)
        if place.workers > 1:
            from benchmarks.running.collective import CollectiveStore

            return place, CollectiveStore(root, report, place, meanwhile)
    return None, leases.SharedStore(root, report, meanwhile)


def _share(todo, shard: tuple[int, int] | None, only: str) -> list[plan.Model]:
    """The models that this call makes, in the order to make them."""
    if only:
        return [todo.named(only)]
    return shards.assign(todo, shard[1])[shard[0]] if shard else shards.ordered(todo, todo.models())


def _entries_of(kept: Path | None) -> set[str]:
    """Names of the cache entries whose predictions a folder of kept results holds."""
    if kept is None or not (kept / "manifest.json").exists():
        return set()
    return set(store.read_manifest(kept / "manifest.json").get("predictions", {}).values())


def _without_predictions(todo, cache, models, kept_entries: set[str]) -> list[plan.Model]:
    """The models whose predictions are neither among the kept results nor in the cache."""
    missing = []
    for model in models:
        key = todo.prediction_key(todo.model_key(model))
        if cache.path("predict", key).name not in kept_entries and not cache.has("predict", key):
            missing.append(model)
    return missing


def _damaged(todo, cache, place) -> list[str]:
    """Keys of entries that exist and are not as they were written. An entry that somebody deleted stays deleted."""
    damaged = {key: cache.path(stage, key).exists() and not cache.has(stage, key) for stage, key in todo.made_from()}
    if place is not None:
        anything = place.agree(any(damaged.values()))
        damaged = {key: place.agree(flag) for key, flag in damaged.items()} if anything else {}
    return [key for key, flag in damaged.items() if flag]


def _log_maker(folder: Path, kinds: tuple[str, ...]):
    """A function that makes the logs of a training from its label."""
    if unknown := [kind for kind in kinds if kind not in LOGS]:
        raise unknown_name("log", unknown[0], LOGS)

    def logs(label: str):
        from cat_keras.training import log

        name = label.replace(" ", "-")
        makers = {
            "csv": lambda: log.CsvLog(folder / f"{name}.csv"),
            "tensorboard": lambda: log.TensorBoardLog(folder / name),
        }
        return [makers[kind]() for kind in kinds]

    return logs


def _count_stages(todo, cache, missing) -> int:
    """How many stages will show a bar: trainings and predictions not in the cache, and the teacher cache."""
    cells = [c for c in todo.cells(missing) if not cache.path("train", c.key).exists()]
    teaches = sum(not cache.path("teacher", source.key).exists() for source in todo.columns(cells))
    early = sum(not cache.path(s, k).exists() for s, k in (("tokenizer", todo.tokenizer), ("encoded", todo.encoded)))
    teaches += any(c.small_columns and not cache.path("teacher", c.small_columns).exists() for c in cells)
    return len(cells) + teaches + len(missing) + (early if missing else 0)


def _make_models(todo, cache, bench, missing: list[plan.Model], journal: Journal, collect: Callable[[], None]):
    """Trains each model and stores its predictions; `collect` keeps the code that was compiled for it."""
    for number, model in enumerate(missing):
        journal.making(todo, model)
        if number == 0 or model[0] != missing[number - 1][0]:  # seeds of a method share what is compiled
            bench.keep(missing[number:])
        bench.make(model)
        _predict(todo, cache, bench, model)
        collect()
        readers = [m for m in missing[1:] if any(source.role == "large" for source in todo.last(m).teachers)]
        if model == plan.LARGE and readers:
            journal.making(todo, readers[0])
            bench.teacher()  # while the large model is loaded
    journal.model = ""


def _predict(todo, cache, bench, model):
    """Stores the answers of one model, with the quality of each."""
    import pyarrow

    def build(folder):
        predictions = bench.predict(todo.role(model), todo.last(model), todo.label(model))
        metric_of = {t.name: metrics.of(t) for t in todo.tasks}
        absent = [name for name in OPTIONAL_MEASURES if not any(getattr(p, name) for p in predictions)]
        rows = []
        for example, prediction in zip(todo.test, predictions, strict=True):
            row = {k: v for k, v in prediction.asdict().items() if k not in absent}
            rows.append(row | {"quality": metric_of[example.task].per_example(prediction.text, example)})
        store.write_bytes(folder / run_folder.PREDICTIONS, run_folder.parquet(pyarrow.Table.from_pylist(rows)))

    cache.get("predict", todo.prediction_key(todo.model_key(model)), build)
