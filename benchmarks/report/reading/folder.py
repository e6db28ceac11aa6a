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
COUNTS = ("n_prompt", "n_answer")  # tokens read and written; folders of early runs lack them
# What a full folder has besides, and what stands for it in a kept one.
EXAMPLE, EXAMPLE_TEXT, EXAMPLE_KEPT = (
    ("task", "id", "group"),
    ("prompt", "target", "options", "references"),
    ("n_options",),
)
EXAMPLE_ANSWER = ("answer",)  # place of the target among the options, −1 for none; early kept results lack it
TEXT, KEPT = ("text",), ("statistics",)


def manifest(path: Path) -> dict:
    """The manifest of a run, of a scheme that this code knows and with all that a report needs."""
    if not path.is_file():
        raise CatKerasError(
            f"A run folder holds manifest.json, examples.parquet and predictions.parquet; {path} is missing. "
            "Give the folder of a finished run"
        )
    facts = store.read_manifest(path)
    absent = [key for key in MANIFEST if not (isinstance(facts, dict) and facts.get(key))]
    if absent:
        raise CatKerasError(f"{path} must name {', '.join(MANIFEST)}; it lacks {', '.join(absent)}. {REMEDY}")
    kept = facts.get("kept")
    for name, scheme, known in (
        ("scheme", facts.get("scheme", 1), store.HASH_SCHEME),
        ("kept.scheme", kept.get("scheme", 1) if isinstance(kept, dict) else 1, KEPT_SCHEME),
    ):
        if not isinstance(scheme, int) or scheme > known:
            raise CatKerasError(
                f"{path} is of a newer version of this code: {name} is at most {known} here; received {scheme!r}. "
                "Update the code, or run the profile again with this version"
            )
    schema.check_manifest(facts, path, REMEDY)
    deferral.get(facts["rule"])
    return facts


def checked(path: Path, content: pyarrow.NativeFile, listed: Mapping):
    """A file cut short or exchanged is found here, before its numbers are believed."""
    expected = (listed.get("files") or {}).get(path.name)
    if expected and hashlib.file_digest(content, "sha256").hexdigest() != expected:
        raise CatKerasError(f"{path} must be the file that manifest.json lists; its checksum is another one. {REMEDY}")


def examples(path: Path, content: pyarrow.NativeFile, tasks: Sequence[str], kept: bool) -> dict[str, Examples]:
    """Examples of every task, in the order of the file."""
    table = columns.read(
        path, content, (*EXAMPLE, *(EXAMPLE_KEPT if kept else EXAMPLE_TEXT)), REMEDY, optional=EXAMPLE_ANSWER
    )
    code, names = columns.codes(columns.encoded(table, ["task"])["task"])
    found = {}
    for name in tasks:
        own = np.flatnonzero(code == names.index(name)) if name in names else ()
        if not len(own):
            raise CatKerasError(f"{path} must hold examples of every task of the manifest; none of {[name]}. {REMEDY}")
        found[name] = Examples(columns.rows(table, own))
        twice = [each["values"] for each in pyarrow.compute.value_counts(found[name].table["id"]).to_pylist()
                 if each["counts"] > 1]  # fmt: skip
        if twice:
            raise CatKerasError(f"{path}: ids are unique in a task; {twice[0]!r} of {name} is not. {REMEDY}")
    return found


def predictions(
    path: Path, content: pyarrow.NativeFile, asked: Mapping[str, Examples], kept: bool
) -> tuple[dict, dict]:
    """Complete cells of small models and of the large one, rows in the order of the examples."""
    file = columns.File(path, (*LISTS, *(KEPT if kept else TEXT)), REMEDY, content)
    table = columns.read(path, content, (*CELL, *ANSWER), REMEDY, optional=(*COUNTS, *schema.GIVEN), later=file.wide)
    table = columns.encoded(table, ("model", "method", "task", "id"))
    narrow = table.drop_columns(["model", "method", "seed"])
    small, large = {}, {}
    for (model, method, seed, name), rows in _grouped(table):
        if name not in asked:
            continue
        rows = _in_order(path, f"{model} {method}/{seed} on {name}", rows, table, asked[name])
        if rows is None:
            continue  # an unfinished cell is a missing cell
        cell = Columns(columns.rows(narrow, rows), file, rows)
        _check_numbers(path, name, cell)
        if model == "large":
            large[name] = cell
        else:
            small[method, int(seed), name] = cell
    return small, large


def _grouped(table: pyarrow.Table) -> Iterator[tuple[tuple, np.ndarray]]:
    """(model, method, seed, task) → its rows, in the order of the file; sorted by these names."""
    key, names = np.zeros(table.num_rows, np.int64), []
    for column in CELL:
        code, values = columns.codes(table[column])
        key = key * max(1, len(values)) + code
        names.append(values)
    order = np.argsort(key, kind="stable")
    cells = np.split(order, np.flatnonzero(np.diff(key[order])) + 1) if len(order) else []

    def name(rows):
        left, out = int(key[rows[0]]), []
        for values in reversed(names):
            left, code = divmod(left, len(values))
            out.append(values[code])
        return tuple(reversed(out))

    yield from sorted(((name(rows), rows) for rows in cells), key=lambda item: item[0])


def _in_order(path: Path, place: str, rows: np.ndarray, table: pyarrow.Table, asked: Examples) -> np.ndarray | None:
    """The rows of a cell in the order of its examples; None when some are missing."""
    known = asked.table["id"].combine_chunks()
    found = pyarrow.compute.index_in(columns.rows(table["id"], rows).cast(known.type), value_set=known)
    order = found.to_numpy()
    if found.null_count or len(np.unique(order)) < len(order):
        raise CatKerasError(
            f"{path}: {place} must answer each example of examples.parquet once; "
            f"it has repeated or unknown ids. {REMEDY}"
        )
    return rows[np.argsort(order)] if len(order) == len(asked) else None


def _check_numbers(path: Path, name: str, cell: Columns):
    for column, high in (("quality", 1), ("flops", np.inf)):
        values = cell[column]
        bad = np.flatnonzero(~((values >= 0) & (values <= high) & np.isfinite(values)))
        if len(bad):
            raise CatKerasError(
                f"{path}: {column} must be in [0, {high}]; received {values[bad[0]]} for example "
                f"{cell['id'][bad[0]]!r} of {name} ({len(bad)} such). {REMEDY}"
            )
