"""A finished run → a folder small enough to commit: numbers per prediction in place of texts, and the report of them.

Texts of models and data are not kept; licences of data forbid it. What the report computes from texts, the official
metrics, it computes from statistics of each answer (`metrics.Metric.statistics`) instead, to the same numbers.
"""

import importlib.metadata
import io
import re
import tempfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet

from benchmarks import report
from benchmarks.keeping import analyses, merge
from benchmarks.metrics.metric import code
from benchmarks.report.numbers import cells, routing
from benchmarks.report.reading import histories, load, routes
from benchmarks.report.reading.columns import Columns, open_file
from benchmarks.report.reading.folder import COUNTS, KEPT, KEPT_SCHEME, LISTS, REMEDY, SCORES
from benchmarks.report.reading.load import Run
from benchmarks.report.reading.schema import ASKED, GIVEN
from benchmarks.tasks import task
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.grid import on_grid
from cat_keras.storage import store
from cat_keras.storage.untrusted import is_plain

# What numbers may depend on, beside this code.
PACKAGES = ("numpy", "pyarrow", "rouge-score", "sacrebleu", "scikit-learn", "scipy")
PREDICTIONS = ("examples.parquet", "predictions.parquet")
# Ids that sources make. Others, such as a URL or a title, may be text of the data.
PLAIN_ID = re.compile(r"[\w-]*\d+", re.ASCII)


def keep(source: Path, to: Path, add: bool = False) -> Path:
    """Writes what is kept of a finished run, and its report computed from that alone.

    The manifest comes last, so that a folder left half-written does not verify; the same call mends it. Files that an
    earlier `keep` wrote and this one does not are removed; files of others stay.

    Args:
        source: a run folder with texts. to: the folder of the kept results, made where there is none.
        add: models that `to` holds and this run does not stay, see `merge`.

    Analyses of the run that lie in its folder (`analyses`) are kept with it.

    Returns:
        `to`.

    Raises:
        CatKerasError: `source` is no finished run or has no texts, or `to` is a run folder with texts.
    """
    run, to = load.load(source), Path(to)
    if not run.has_text:
        raise CatKerasError(f"Results are kept of a run with its texts; {source} has none. Give the run's own folder")
    before = _files_of(to)
    manifest, tables, courses, scored = _manifest(run), _predictions(run), run.histories, routing.scores(run)
    if add and (to / "manifest.json").exists():
        manifest, tables = merge.beside(to, manifest, tables)
        courses = _courses_of(to) | courses
        scored = _routes_of(to, run) | scored
    contents = dict(zip(PREDICTIONS, (_examples(run), _parquet(tables)), strict=True)) | _training(courses)
    contents |= _routing(scored)
    contents |= _computed(contents, manifest, to.name)
    contents |= (analyses.beside(to) if add else {}) | analyses.beside(Path(source))
    _write(to, contents, manifest, before)
    return to


def redraw(folder: Path):
    """Writes the report of kept results again, as this code computes it from the same predictions.

    Raises:
        CatKerasError: it holds no kept results, or other predictions than its manifest lists.
    """
    folder = Path(folder)
    if analyses.of(folder):
        analyses.keep_folder(folder, folder)
        return
    run = load.load(folder)
    examples, predictions = (folder / name for name in PREDICTIONS)
    before, contents = _files_of(folder), {examples.name: examples.read_bytes(), predictions.name: _again(predictions)}
    contents |= _training(run.histories) | _routing(run.routes) | shown(run)
    contents |= analyses.beside(folder)
    _write(folder, contents, run.manifest | {"kept": run.manifest["kept"] | {"packages": packages()}}, before)


def _write(to: Path, contents: dict[str, bytes], manifest: dict, before: set[str]):
    store.write_together(to, contents, manifest)
    for name in before - contents.keys():
        (to / name).unlink(missing_ok=True)


def _courses_of(to: Path) -> dict[str, histories.History]:
    """The histories of kept results, also where a killed `keep` left files that its manifest does not know yet."""
    path = to / histories.FILE
    if not path.is_file():
        return histories.separate(store.read_manifest(to / "manifest.json"))[1]
    return histories.read(path, open_file(path, REMEDY), REMEDY)


def _routes_of(to: Path, run: Run) -> routes.Routes:
    """The scores of routers in kept results, likewise."""
    path = to / routes.FILE
    sizes = {name: len(run.examples[name]) for name in run.tasks}
    return routes.read(path, open_file(path, REMEDY), sizes, REMEDY) if path.is_file() else {}


def _training(courses: dict[str, histories.History]) -> dict[str, bytes]:
    return {histories.FILE: histories.to_parquet(courses)} if courses else {}


def _routing(scored: routes.Routes) -> dict[str, bytes]:
    return {routes.FILE: routes.to_parquet(scored)} if scored else {}


def _computed(contents: dict[str, bytes], manifest: dict, name: str) -> dict[str, bytes]:
    """The report of what will be kept, from a copy: the folder itself changes once all is there."""
    with tempfile.TemporaryDirectory() as place:
        folder = Path(place) / name
        store.write_together(folder, contents, manifest)
        return shown(load.load(folder))


def shown(run: Run) -> dict[str, bytes]:
    """File name → content of the part of the report that is kept: its tables. `report` draws the rest from them."""
    return report.files(run, drawn=False)


def packages() -> dict[str, str]:
    """Versions of what the tables are computed with."""
    return {name: importlib.metadata.version(name) for name in PACKAGES}


def _files_of(to: Path) -> set[str]:
    """Files that an earlier `keep` wrote."""
    if not (to / "manifest.json").exists():
        return set()
    manifest = store.read_manifest(to / "manifest.json")
    if "kept" not in manifest and (to / "predictions.parquet").exists():
        raise CatKerasError(f"{to} is a run folder with texts, which would be lost. Keep the results in another folder")
    return set(filter(is_plain, manifest.get("files", ())))  # they are removed


def _manifest(run: Run) -> dict:
    kept = {
        "scheme": KEPT_SCHEME,
        "of": run.manifest.get("files", {}),
        "extra": list(run.extra),
        "examples": {name: run.fingerprint(name) for name in run.tasks},
        "signatures": {name: cells.signature(run, name) for name in run.tasks},
        "packages": packages(),
    }
    bayes = {name: load.bayes_quality(name) for name in run.tasks}
    rest = {key: value for key, value in run.manifest.items() if key != "files"}
    return {"bayes_quality": bayes} | rest | {"kept": kept}


def _again(path: Path) -> bytes:
    """Kept predictions as this code would write them; an earlier version kept more digits than the report reads."""
    file, tables = pyarrow.parquet.ParquetFile(path), []
    for group in range(file.num_row_groups):
        table = file.read_row_group(group)
        for column in (*LISTS, *(name for name in SCORES if name in table.column_names)):
            lists = table[column].combine_chunks()
            values = _log_probabilities(lists.values.to_numpy(), lists.offsets.to_numpy())
            table = table.set_column(table.column_names.index(column), column, values)
        # Parquet calls the entries of lists by another name than Arrow does.
        plain = [f.with_type(pyarrow.list_(f.type.value_type)) if f.name in KEPT else f for f in table.schema]
        tables.append(table.cast(pyarrow.schema(plain)))
    return _parquet(tables)


def _examples(run: Run) -> bytes:
    parts = []
    for name in run.tasks:
        examples, together = list(run.examples[name]), task.get(name).together
        parts.append(
            {
                "task": [name] * len(examples),
                "id": _ids([e.id for e in examples]),
                # A group that is a stratum is shown by its name; one that holds rows together may be text of the data.
                "group": [f"{code(e.group):.0f}" if together and e.group else e.group for e in examples],
                "n_options": np.array([len(e.options) for e in examples], np.int32),
                "answer": run.examples[name].answers.astype(np.int32),
            }
        )
    return _parquet(map(pyarrow.table, parts))


def _predictions(run: Run) -> list[pyarrow.Table]:
    """All complete cells, a table per task."""
    answered = {*run.large, *(name for _, _, name in run.small)}
    return [_of_task(run, name) for name in run.tasks if name in answered]


def _of_task(run: Run, name: str) -> pyarrow.Table:
    models = {("large", "", -1): run.large[name]} if name in run.large else {}
    for role, cells_of_role in (*reversed(run.middle.items()), ("small", run.small)):
        models |= {(role, m, s): cell for (m, s, t), cell in sorted(cells_of_role.items()) if t == name}
    ids = _ids(run.examples[name].ids)
    return pyarrow.concat_tables(_cell(run, name, model, cell, ids) for model, cell in models.items())


def _cell(run: Run, name: str, model: tuple, answers: Columns, ids: list[str]) -> pyarrow.Table:
    n = len(ids)
    rows = {"model": [model[0]] * n, "method": [model[1]] * n, "seed": np.full(n, model[2], np.int32)}
    rows |= {"task": [name] * n, "id": ids}
    for column in (*LISTS, *(name for name in SCORES if name in answers)):
        rows[column] = _log_probabilities(answers[column].values, answers[column].offsets)
    rows |= {column: answers[column].astype(np.int32) for column in COUNTS if column in answers}
    rows |= {column: answers[column] for column in (*GIVEN, *ASKED) if column in answers}
    rows |= {column: answers[column] for column in ("flops", "seconds", "quality")}
    statistics = cells.statistics(run, name, answers)
    return pyarrow.table(rows | {"statistics": pyarrow.array(statistics, pyarrow.list_(pyarrow.float64()))})


def _log_probabilities(values: np.ndarray, offsets: np.ndarray) -> pyarrow.ListArray:
    """On the grid of scores, where 32 bits hold them and most of their lowest bits are 0."""
    return pyarrow.ListArray.from_arrays(offsets.astype(np.int32), on_grid(values).astype(np.float32))


def _ids(ids: list[str]) -> list[str]:
    """The ids, or where some may be text, numbers in the same order: resampling sorts by id."""
    if all(map(PLAIN_ID.fullmatch, ids)):
        return ids
    rank = {id: i for i, id in enumerate(sorted(ids))}
    return [f"{rank[id]:09}" for id in ids]


def _parquet(tables: Iterable[pyarrow.Table]) -> bytes:
    """One row group per table (a task), so that a column's values are encoded with their like.

    Log-probabilities are all different: their bytes compress when sorted by significance, without a dictionary.
    """
    sink, writer = io.BytesIO(), None
    for table in tables:
        if writer is None:
            leaves = {name: f"{name}.list.element" for name in (*LISTS, *SCORES, *KEPT)}
            split = [leaves[name] for name in (*LISTS, *SCORES) if name in LISTS or name in table.column_names]
            others = [leaves.get(name, name) for name in table.column_names if leaves.get(name) not in split]
            writer = pyarrow.parquet.ParquetWriter(
                sink, table.schema, compression="zstd", compression_level=19,
                use_dictionary=others, use_byte_stream_split=split,
            )  # fmt: skip
        writer.write_table(table, row_group_size=max(1, len(table)))
    writer.close()
    return sink.getvalue()
