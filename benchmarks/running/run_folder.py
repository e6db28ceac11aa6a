"""The folder that a run leaves: examples, predictions, histories and manifest, put together from the cache."""

import io
import json
import os
import platform
from pathlib import Path

from benchmarks.planning import plan
from cat_keras.storage import processes, store

PREDICTIONS = "predictions.parquet"
STATISTICS = "statistics"  # what the official numbers of a task follow from, per answer
ASKS = "defer_logprob"
TRAINING_FACTS = ("steps", "loss", "live", "padding", "seconds")


def write(todo: plan.Plan, cache: store.Store, folder: Path, seconds: float, console, kept_entries: set[str]) -> bool:
    """Writes the run folder: examples, what the cache holds of predictions and trainings, and last the manifest.

    Args:
        todo: the plan of the run. cache: where its results lie. folder: what to write.
        seconds: how long the run took. console: where missing models are named.
        kept_entries: names of cache entries whose predictions are in kept results and need not be here.

    Returns:
        Whether all predictions are there; what is missing is named in the manifest and on the console.
    """
    import pyarrow

    from benchmarks.report.reading import histories  # late, as all of the report: it brings pandas

    keys = {m: todo.prediction_key(todo.model_key(m)) for m in todo.models()}
    entries = {m: cache.path("predict", key) for m, key in keys.items() if cache.has("predict", key)}
    elsewhere = [m for m, key in keys.items() if m not in entries and cache.path("predict", key).name in kept_entries]
    missing = [todo.label(m) for m in todo.models() if m not in entries and m not in elsewhere]
    if elsewhere:
        console.print(f"In the kept results already: {', '.join(map(todo.label, elsewhere))}", soft_wrap=True)
        console.print("`python -m benchmarks keep --add` puts this run beside them, and reports", soft_wrap=True)
    if missing:
        console.print(f"Not there yet: {', '.join(missing)}", markup=False, soft_wrap=True)
        console.print("This command without --only makes them, and reports", soft_wrap=True)
    if not entries:
        return False
    # Arrow takes the columns from the first row, so every row has `cut` where one has it.
    has_cut = any(example.cut for example in todo.test)
    examples = pyarrow.Table.from_pylist([e.asdict() | ({"cut": e.cut} if has_cut else {}) for e in todo.test])
    contents = {"examples.parquet": parquet(examples), PREDICTIONS: parquet(_predictions(todo, entries))}
    courses = {todo.name(m): _history(cache, c.key) for m, c in _last_cells(todo).items()}
    if courses := {name: course for name, course in courses.items() if course}:
        contents[histories.FILE] = histories.to_parquet(courses)
    store.write_together(folder, contents, _manifest(todo, cache, entries, seconds))
    return not missing and not elsewhere


def parquet(table) -> bytes:
    """The content of a Parquet file of a pyarrow table."""
    import pyarrow.parquet

    buffer = io.BytesIO()
    pyarrow.parquet.write_table(table, buffer, compression="zstd")
    return buffer.getvalue()


def _last_cells(todo: plan.Plan) -> dict[plan.Model, plan.Cell]:
    """The training that each model but the large one comes from."""
    return {**todo.middle, **todo.small}


def _predictions(todo: plan.Plan, entries: dict[plan.Model, Path]):
    """One table of the predictions of all models, with columns that say which model each row is of."""
    import pyarrow.parquet

    tables = []
    for model, path in entries.items():
        method, seed = model[:2]
        table = pyarrow.parquet.read_table(path / PREDICTIONS)
        for name, value in {"model": todo.role(model), "method": method}.items():
            table = table.append_column(name, pyarrow.array([value] * len(table)))
        tables.append(table.append_column("seed", pyarrow.array([seed] * len(table), pyarrow.int32())))
    table = pyarrow.concat_tables(tables, promote_options="permissive")
    if STATISTICS in table.column_names and table[STATISTICS].null_count:  # a model that answered in an earlier version
        table = table.drop_columns([STATISTICS])
    if ASKS in table.column_names:  # which only some of the models have
        table = table.set_column(table.column_names.index(ASKS), ASKS, table[ASKS].fill_null(float("nan")))
    return table


def _manifest(todo: plan.Plan, cache: store.Store, entries: dict[plan.Model, Path], seconds: float) -> dict:
    profile = todo.profile
    cells = {c.label: facts for c in todo.cells() if (facts := _facts_of(cache, "train", c.key))}
    return {
        "scheme": store.HASH_SCHEME,
        "profile": profile.name,
        "settings": json.loads(profile.model_dump_json()),
        "methods": list(profile.methods),
        "seeds": list(profile.seeds),
        "rule": profile.rule,
        **({"middle": list(profile.middle)} if profile.middle else {}),  # in their order, which settings do not keep
        "tasks": [t.name for t in todo.tasks],
        "task_identities": {t.name: t.identity() for t in todo.tasks},
        # cells without predictions, as `report.reading.load.Run.missing` names them
        "missing": [f"{todo.name(m)}/{t.name}" for m in todo.models() if m not in entries for t in todo.tasks],
        "objectives": {
            m: dict(zip(("objective", "arguments"), profile.objective_of(m), strict=True)) for m in profile.methods
        },
        "bayes_quality": {t.name: getattr(t.source, "bayes_quality", None) for t in todo.tasks},
        "teacher": _facts_of(cache, "teacher", todo.teacher),
        "training": {
            todo.name(m): {k: cells[c.label][k] for k in TRAINING_FACTS}
            for m, c in _last_cells(todo).items()
            if c.label in cells
        },
        "cells": {label: {k: facts[k] for k in ("key", *TRAINING_FACTS)} for label, facts in cells.items()},
        "encoded": _facts_of(cache, "encoded", todo.encoded),
        "left_out": todo.left_out,
        "overlap": {name: overlap._asdict() for name, overlap in todo.overlap.items()},
        "predictions": {"large/-1" if m == plan.LARGE else todo.name(m): path.name for m, path in entries.items()},
        "packages": plan.packages(),
        "hardware": f"{platform.machine()}, {os.cpu_count()} cores, Python {platform.python_version()}",
        "seconds": round(seconds, 1),
        "peak_memory_mib": processes.peak_memory() // 2**20,
    }


def _facts_of(cache: store.Store, stage: str, key: str) -> dict:
    """What the builder of a cache entry noted about it; empty where there is no entry."""
    with cache.glance(stage, key) as entry:
        manifest = store.read_manifest(entry / "manifest.json") if entry else {}
    return {k: v for k, v in manifest.items() if k not in ("files", "stage")}


def _history(cache: store.Store, key: str, points: int = 100) -> dict[str, list[float]]:
    """Loss and share of live tokens over the steps: means of at most so many bins, each named by its last step.

    Empty where there is no such training.
    """
    with cache.glance("train", key, "history.json") as entry:
        history = store.read_json(entry / "history.json") if entry else None
    if history is None:
        return {}
    n = len(history["loss"])
    ends = [n * (i + 1) // min(points, n) for i in range(min(points, n))]
    starts = [0, *ends[:-1]]
    means = {k: [sum(v[a:b]) / (b - a) for a, b in zip(starts, ends, strict=True)] for k, v in history.items()}
    return {"step": ends, **means}
