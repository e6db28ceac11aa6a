"""A sweep from top to bottom: every point of a grid of profiles is run, and what its numbers follow from is kept.

A point is run twice, on test data and, with the methods that others are compared with, on validation data, where
headroom and confidence are measured. All points share one cache, so that what two of them have in common is made once.
"""

import gc
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute

from benchmarks.planning import plan
from benchmarks.planning.sweep import Point, Sweep
from benchmarks.report.reading import analysis, load
from benchmarks.running.run import run
from cat_keras.cascades import deferral
from cat_keras.storage import store

ROWS, MANIFEST = "sweep.parquet", "manifest.json"
SPLITS = ("test", "validation")
SCHEME = 2  # raised when what is kept of a point changes


def make(sweep: Sweep, out: Path, console, data: Path | None = None, hours: float = 0.0,
         share: tuple[int, int] = (0, 1), strategy: str = "auto") -> int:  # fmt: skip
    """Runs the points that are not there yet.

    Args:
        out: points go to `out/<name of the sweep>/<point>`, the cache to `out/cache`.
        data: folder of the real data, where tasks need it.
        hours: no point begins after so many; 0 for no limit. share: (i, n), see `Sweep.share`.

    Returns:
        how many points of the sweep are not there, of all shares.
    """
    began = time.monotonic()
    for number in sweep.share(*share):
        point = sweep.points[number]
        if is_there(sweep, point, out):
            continue
        if hours and time.monotonic() - began > hours * 3600:
            break
        console.print(f"point {number + 1} of {len(sweep.points)}: {point.name}", markup=False, highlight=False)
        _make(sweep, point, out, console, data, strategy)
    return len(missing(sweep, out))


def missing(sweep: Sweep, out: Path) -> list[Point]:
    """The points that are not there, or were made by other code or with other settings."""
    return [point for point in sweep.points if not is_there(sweep, point, out)]


def is_there(sweep: Sweep, point: Point, out: Path) -> bool:
    path = _folder(sweep, point, out) / MANIFEST
    return path.is_file() and store.read_manifest(path).get("point") == _identity(sweep, point)


def rows(sweep: Sweep, out: Path) -> pyarrow.Table:
    """The rows of all points that are there; answers that several share stand once.

    In the metadata each point has its place on the axes, the share of live tokens, which answers are its own, and what
    they depend on.
    """
    parts, seen, points = [], set(), []
    for point in sweep.points:
        if not is_there(sweep, point, out):
            continue
        table = analysis.read(_folder(sweep, point, out) / ROWS)
        points.append(analysis.facts(table))
        parts += [_of(key, table) for key in _keys(points[-1]) if key not in seen]
        seen |= {*_keys(points[-1])}
    facts = {
        "name": sweep.name,
        "axes": list(sweep.points[0].axes),
        "points": points,
        "missing": [point.name for point in missing(sweep, out)],
        "differences": sweep.differences,
        "regression": sweep.regression,
    }
    return analysis.described(pyarrow.concat_tables(parts) if parts else pyarrow.table({}), facts)


def restore(sweep: Sweep, kept: pyarrow.Table, out: Path):
    """Gives `out` the points of a sweep that were kept, see `rows`, so that none of them is made again."""
    held = {facts["name"]: facts for facts in analysis.facts(kept)["points"]}
    for point in missing(sweep, out):
        facts = held.get(point.name)
        if facts and facts["identity"] == _identity(sweep, point):
            _write(_folder(sweep, point, out), [_of(key, kept) for key in _keys(facts)], facts)


def _keys(facts: Mapping) -> list[str]:
    """The answers that a point consists of."""
    models = [facts["answers"][split] for split in SPLITS]
    return list(dict.fromkeys(of[model] for of in models for model in sorted(of)))


def _of(key: str, table: pyarrow.Table) -> pyarrow.Table:
    """The rows of some answers."""
    return table.filter(pyarrow.compute.equal(table["answers"], key)).replace_schema_metadata()


def _write(folder: Path, parts: Sequence[pyarrow.Table], facts: Mapping):
    content = analysis.to_parquet(analysis.described(pyarrow.concat_tables(parts), facts))
    store.write_together(folder, {ROWS: content}, {"point": facts["identity"]})


def _folder(sweep: Sweep, point: Point, out: Path) -> Path:
    return out / sweep.name / point.name


def _identity(sweep: Sweep, point: Point) -> str:
    """Of everything that the rows of a point depend on."""
    return store.identity(
        stage="sweep", scheme=SCHEME, settings=point.profile.model_dump(mode="json"),
        validation=sweep.validation(point).model_dump(mode="json"), stages=plan.STAGE_VERSION, packages=plan.packages(),
    )  # fmt: skip


def _make(sweep: Sweep, point: Point, out: Path, console, data: Path | None, strategy: str):
    here, runs = _folder(sweep, point, out), {}
    for split, chosen in zip(SPLITS, (point.profile, sweep.validation(point)), strict=True):
        named = chosen.model_copy(update={"name": split})
        folder = run(named, data, here, console, strategy=strategy, beside=out, reporting=False)
        runs[split] = load.load(folder)
        _free()
    parts, answers = [], {}
    for split, made in runs.items():
        answers[split] = {}
        for model, key, table in _answers(made):
            answers[split][model] = key
            parts.append(table)
    test = runs["test"]
    facts = {
        "name": point.name,
        "identity": _identity(sweep, point),
        "axes": point.axes,
        "parameters": point.parameters,
        "seeds": list(point.profile.seeds),
        "methods": list(point.profile.methods),
        "tasks": list(test.covered),
        "live": {method: float(np.mean(test.live(method))) for method in test.methods if test.live(method)},
        "bytes_per_token": test.manifest.get("teacher", {}).get("bytes_per_token", {}),
        "answers": answers,
    }
    _write(here, parts, facts)


def _answers(made: load.Run) -> Iterator[tuple[str, str, pyarrow.Table]]:
    """(model, key of its answers, a row for each of them), with the score that they are deferred by."""
    keys, score = made.manifest["predictions"], deferral.get(made.rule).compared
    yield "large", keys["large/-1"], _table(keys["large/-1"], made, made.large.__getitem__, None)
    for method in made.methods:
        for seed in made.seeds:
            model = f"{method}/{seed}"
            yield model, keys[model], _table(keys[model], made, _small(made, method, seed), score)


def _small(made: load.Run, method: str, seed: int) -> Callable:
    return lambda task: made.small[method, seed, task]


def _table(key: str, made: load.Run, cell_of: Callable, score: Callable | None) -> pyarrow.Table:
    """Qualities and scores by task, the examples in the order of their ids; ids are their numbers."""
    tables = []
    for task in made.covered:
        cell, order = cell_of(task), np.argsort(made.examples[task].ids)
        n = len(order)
        scores = score(cell)[order] if score else np.full(n, np.nan)
        tables.append(
            pyarrow.table(
                {
                    "answers": pyarrow.array([key] * n, pyarrow.string()),
                    "task": pyarrow.array([task] * n, pyarrow.string()),
                    "id": np.arange(n, dtype=np.int32),
                    "quality": cell["quality"][order].astype(np.float64),
                    "score": np.asarray(scores, np.float64),
                }
            )
        )
    return pyarrow.concat_tables(tables)


def _free():
    """Lets go of the models of a run before the next one builds its own."""
    if "keras" in sys.modules:
        sys.modules["keras"].utils.clear_session()
    gc.collect()
