"""The files of a run folder, read and checked. Nothing becomes a Python object that a report may not need."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.compute

from benchmarks.report.reading import columns, schema
from benchmarks.report.reading.columns import Columns, Examples
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

KEPT_SCHEME = 1  # raised when the form of kept results changes
REMEDY = "Run the profile again; what is in the cache is not computed twice"
MANIFEST = ("profile", "methods", "seeds", "tasks", "rule")
CELL = ("model", "method", "seed", "task")
ANSWER = ("id", "flops", "seconds", "quality")
LISTS = ("token_logprobs", "option_logprobs")
SCORES = ("option_scores",)  # what options were compared by, of runs that compare by others than option_logprobs
COUNTS = ("n_prompt", "n_answer")  # tokens read and written; folders of early runs lack them
# Columns of the examples in every folder; those that a full folder has besides; and what a kept one has in their place.
EXAMPLE, EXAMPLE_TEXT, EXAMPLE_KEPT = (
    ("task", "id", "group"),
    ("prompt", "target", "options", "references"),
    ("n_options",),
)
# Columns that a file may lack. answer: place of the target among the options, −1 for none; early kept results lack it.
# cut: only where a prompt says what of it may be cut.
EXAMPLE_OPTIONAL = ("answer", "cut")
# Columns of the predictions in a full folder, and in a kept one, which full ones of early runs lack.
TEXT, KEPT = ("text",), ("statistics",)


def manifest(path: Path) -> dict:
    """The manifest of a run, of a scheme that this code knows and with all that a report needs."""
    if not path.is_file():
        raise CatKerasError(
            f"A run folder holds manifest.json, examples.parquet and predictions.parquet; {path} is missing. "
            "Give the folder of a finished run"
        )
    facts = store.read_manifest(path)
    missing = [key for key in MANIFEST if not (isinstance(facts, dict) and facts.get(key))]
    if missing:
        raise CatKerasError(f"{path} must name {', '.join(MANIFEST)}; it lacks {', '.join(missing)}. {REMEDY}")
    kept = facts.get("kept")
    for name, scheme, newest in (
        ("scheme", facts.get("scheme", 1), store.HASH_SCHEME),
        ("kept.scheme", kept.get("scheme", 1) if isinstance(kept, dict) else 1, KEPT_SCHEME),
    ):
        if not isinstance(scheme, int) or scheme > newest:
            raise CatKerasError(
                f"{path} is of a newer version of this code: {name} is at most {newest} here; received {scheme!r}. "
                "Update the code, or run the profile again with this version"
            )
    schema.check_manifest(facts, path, REMEDY)
    deferral.get(facts["rule"])
    return facts


def check_checksum(path: Path, content: pyarrow.NativeFile, facts: Mapping):
    """Raises CatKerasError if a file is not the one that the manifest lists, since it was cut short or exchanged.

    Args:
        path: of the file. content: of it. facts: the manifest.
    """
    expected = (facts.get("files") or {}).get(path.name)
    if expected and hashlib.file_digest(content, "sha256").hexdigest() != expected:
        raise CatKerasError(f"{path} must be the file that manifest.json lists; its checksum is another one. {REMEDY}")


def examples(path: Path, content: pyarrow.NativeFile, tasks: Sequence[str], kept: bool) -> dict[str, Examples]:
    """Examples of every task, in the order of the file."""
    table = columns.read(
        path, content, (*EXAMPLE, *(EXAMPLE_KEPT if kept else EXAMPLE_TEXT)), REMEDY, optional=EXAMPLE_OPTIONAL
    )
    code, names = columns.codes(columns.dictionary_encoded(table, ["task"])["task"])
    by_task = {}
    for name in tasks:
        rows = np.flatnonzero(code == names.index(name)) if name in names else ()
        if not len(rows):
            raise CatKerasError(f"{path} must hold examples of every task of the manifest; none of {[name]}. {REMEDY}")
        by_task[name] = Examples(columns.rows(table, rows))
        counts = pyarrow.compute.value_counts(by_task[name].table["id"]).to_pylist()
        repeated = [entry["values"] for entry in counts if entry["counts"] > 1]
        if repeated:
            raise CatKerasError(f"{path}: ids are unique in a task; {repeated[0]!r} of {name} is not. {REMEDY}")
    return by_task


def predictions(
    path: Path,
    content: pyarrow.NativeFile,
    by_task: Mapping[str, Examples],
    kept: bool,
    between: Sequence[str] = (),
) -> tuple[dict, dict, dict]:
    """Complete cells of small models, of the large one, and of those between; rows in the order of the examples.

    Args:
        path: of the file. content: of it. by_task: task → its examples. kept: whether the folder holds kept results.
        between: names of the models between the small and the large one.
    """
    has = columns.names(path, content, REMEDY)
    wide = (*LISTS, *KEPT) if kept else (*LISTS, *TEXT, *(name for name in KEPT if name in has))
    file = columns.File(path, wide, REMEDY, content)
    optional = (*COUNTS, *SCORES, *schema.GIVEN, *schema.ASKED)
    table = columns.read(path, content, (*CELL, *ANSWER), REMEDY, optional=optional, later=file.wide)
    table = columns.dictionary_encoded(table, ("model", "method", "task", "id"))
    narrow = table.drop_columns(["model", "method", "seed"])
    small, large, middle = {}, {}, {role: {} for role in between}
    for (model, method, seed, name), rows in _by_cell(table):
        if name not in by_task:
            continue
        rows = _in_order(path, f"{model} {method}/{seed} on {name}", rows, table, by_task[name])
        if rows is None:
            continue  # an unfinished cell is a missing cell
        cell = Columns(columns.rows(narrow, rows), file, rows)
        _check_numbers(path, name, cell)
        if model == "large":
            large[name] = cell
        else:
            middle.get(model, small)[method, int(seed), name] = cell
    return small, large, middle


def _by_cell(table: pyarrow.Table) -> Iterator[tuple[tuple, np.ndarray]]:
    """(model, method, seed, task) → its rows, in the order of the file; sorted by these names."""
    # The four codes of a row become the digits of one number, so that one sort groups the rows.
    key, names = np.zeros(table.num_rows, np.int64), []
    for column in CELL:
        code, values = columns.codes(table[column])
        key = key * max(1, len(values)) + code
        names.append(values)
    order = np.argsort(key, kind="stable")
    cells = np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else []

    def name(rows):
        number, parts = int(key[rows[0]]), []
        for values in reversed(names):
            number, code = divmod(number, len(values))
            parts.append(values[code])
        return tuple(reversed(parts))

    yield from sorted(((name(rows), rows) for rows in cells), key=lambda item: item[0])


def _in_order(path: Path, label: str, rows: np.ndarray, table: pyarrow.Table, examples: Examples) -> np.ndarray | None:
    """The rows of a cell in the order of its examples; None when some are missing."""
    ids = examples.table["id"].combine_chunks()
    places = pyarrow.compute.index_in(columns.rows(table["id"], rows).cast(ids.type), value_set=ids)
    order = places.to_numpy()
    if places.null_count or len(np.unique(order)) < len(order):
        raise CatKerasError(
            f"{path}: {label} must answer each example of examples.parquet once; "
            f"it has repeated or unknown ids. {REMEDY}"
        )
    return rows[np.argsort(order)] if len(order) == len(examples) else None


def _check_numbers(path: Path, name: str, cell: Columns):
    for column, high in (("quality", 1), ("flops", np.inf)):
        values = cell[column]
        if column == "flops" and np.isnan(values).all():
            continue  # of an architecture that is not known
        bad = np.flatnonzero(~((values >= 0) & (values <= high) & np.isfinite(values)))
        if len(bad):
            raise CatKerasError(
                f"{path}: {column} must be in [0, {high}]; received {values[bad[0]]} for example "
                f"{cell['id'][bad[0]]!r} of {name} ({len(bad)} such). {REMEDY}"
            )
