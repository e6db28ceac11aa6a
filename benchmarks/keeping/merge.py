"""Kept results that grow: the models of one more run beside those that are there, of the same tasks and settings.

A long study is made in pieces, on machines that come and go; what is committed of it is where the next piece begins.
"""

import json
from collections.abc import Iterable
from pathlib import Path

import pyarrow
import pyarrow.compute
import pyarrow.parquet

from benchmarks.planning.profile import Data
from benchmarks.report.reading import histories
from benchmarks.report.reading.schema import ASKED
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

# Settings that say which models there are, not what they were asked or how they came to be.
MODELS = ("methods", "seeds", "variants", "tuned", "arguments")


def beside(kept: Path, manifest: dict, tables: Iterable[pyarrow.Table]) -> tuple[dict, list[pyarrow.Table]]:
    """What `kept` and a new run hold together; of a model that both have, the new answers.

    Args:
        kept: a folder of kept results.
        manifest: of the new run, as kept results have it.
        tables: its predictions as they are kept, one table per task.

    Returns:
        (manifest, one table per task).

    Raises:
        CatKerasError: the two were asked different examples, or differ in settings other than which models there are.
    """
    before, _ = histories.separate(store.read_manifest(kept / "manifest.json"))
    _check(kept, before, manifest)
    old = pyarrow.parquet.read_table(kept / "predictions.parquet")
    found = {table["task"][0].as_py(): table for table in tables}
    merged = [_merged(old.filter(pyarrow.compute.field("task") == name), found.get(name)) for name in manifest["tasks"]]
    return _manifest(before, manifest, merged), [table for table in merged if len(table)]


def _check(kept: Path, before: dict, manifest: dict):
    def settings(each):
        alike = {key: value for key, value in each["settings"].items() if key not in MODELS}
        # Results may be older than a setting, and have then been made as its default says.
        added = {name: f.get_default() for name, f in Data.model_fields.items() if not f.is_required()}
        return json.loads(json.dumps(alike | {"data": added | (alike.get("data") or {})}))

    same = {
        "tasks": lambda each: each["tasks"],
        "settings": settings,
        "examples": lambda each: each["kept"]["examples"],
        "the way answers are judged": lambda each: each["kept"]["signatures"],
    }
    for what, of in same.items():
        if of(before) != of(manifest):
            raise CatKerasError(
                f"Results grow by runs that are alike in all but their models. Received: {kept}, where {what} differ "
                "from the run's. Keep the run in a folder of its own"
            )


def _merged(old: pyarrow.Table, new: pyarrow.Table | None) -> pyarrow.Table:
    if new is None:
        return old
    there = set(_models(new))
    stays = [model not in there for model in _models(old)]
    # Lists of numbers are kept in double precision where one of them needs it.
    old = old.filter(pyarrow.array(stays, pyarrow.bool_()))
    merged = pyarrow.concat_tables([old, new], promote_options="permissive")
    for name in (name for name in ASKED if name in merged.column_names):
        values = merged[name].fill_null(float("nan"))
        merged = merged.set_column(merged.column_names.index(name), name, values)
    return merged


def _models(table: pyarrow.Table) -> list[tuple[str, str, int]]:
    """Model, method and seed of each row, ("large", "", -1) for the large model."""
    return list(zip(*(table[column].to_pylist() for column in ("model", "method", "seed")), strict=True))


def _manifest(before: dict, new: dict, tables: list[pyarrow.Table]) -> dict:
    """The new manifest, with what only the old one knows of models."""
    merged = dict(new)
    for name in ("objectives", "training", "cells", "predictions"):
        merged[name] = before.get(name, {}) | new.get(name, {})
    for name in ("methods", "seeds"):
        merged[name] = list(dict.fromkeys([*before[name], *new[name]]))
    merged["settings"] = dict(new["settings"]) | {name: merged[name] for name in ("methods", "seeds")}
    for name in ("variants", "tuned", "arguments"):
        merged["settings"][name] = before["settings"].get(name, {}) | new["settings"].get(name, {})
    for name in ("teacher", "encoded"):
        merged[name] = new.get(name) or before.get(name)
    merged["missing"] = _missing(merged, tables)
    merged["seconds"] = round(before.get("seconds", 0) + new.get("seconds", 0), 1)
    merged["peak_memory_mib"] = max(before.get("peak_memory_mib", 0), new.get("peak_memory_mib", 0))
    return merged


def _missing(manifest: dict, tables: list[pyarrow.Table]) -> list[str]:
    """Cells without answers, as a run names them."""
    roles = ("small", *manifest.get("middle", ()))
    trained = [(role, m, s) for role in roles for m in manifest["methods"] for s in manifest["seeds"]]
    there = {
        (model, name) for name, table in zip(manifest["tasks"], tables, strict=True) for model in set(_models(table))
    }
    expected = [(("large", "", -1), "large"), *((model, _name(*model)) for model in trained)]
    return [f"{label}/{name}" for model, label in expected for name in manifest["tasks"] if (model, name) not in there]


def _name(role: str, method: str, seed: int) -> str:
    """What a manifest calls a model."""
    return f"{method}/{seed}" if role == "small" else f"{role}/{method}/{seed}"
