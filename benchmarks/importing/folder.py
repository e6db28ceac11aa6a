"""Joined answers → a run folder: the last model is the one that others defer to, and each other one is a method."""

import platform
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import pyarrow
import pyarrow.parquet

from benchmarks.importing import checks
from benchmarks.importing.answers import Answers, shown
from benchmarks.importing.cells import READS, Cells, parquet
from benchmarks.importing.joining import ALL_ANSWERED, Joined
from benchmarks.report.reading.load import START
from benchmarks.tasks import task
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store, untrusted

SCHEME = 1
FORBIDDEN = {START: "start (model)", "large": "large (model)", "": "unnamed"}
CALLS = {"label": "calls of the large model per query", "unit": "calls"}


@dataclass(frozen=True)
class Choice:
    """What the user chose; "" and () leave it to what the answers say.

    Attributes:
        large: the model that others defer to; by default the best. rule: of the report, by default what all small
            models' answers allow. cost: what costs are counted in, where there are any.
    """

    large: str = ""
    rule: str = ""
    cost: str = ""


def write(joined: Joined, answers: Answers, name: str, out: Path, choice: Choice) -> tuple[Path, dict]:
    """Writes `out/name`.

    Returns:
        the folder, and the manifest.

    Raises:
        CatKerasError: a name that cannot be a folder's, a run that is there already and was not imported, a model or a
            rule that does not exist or that the answers do not allow.
    """
    untrusted.plain_name("run", name)
    folder = out / name
    if (folder / "manifest.json").exists() and "imported" not in store.read_manifest(folder / "manifest.json"):
        raise CatKerasError(f"{folder} holds a run that was trained here. Import under another name: --as")
    large = _large(joined, choice.large)
    columns = Cells(joined, large, answers.notes)
    rule = _rule(columns, choice.rule)
    small = [model for model in columns.small if columns.allows(model, rule)]
    warnings = _warnings(columns, rule, small, answers)
    tables = [columns.cell(large, joined.runs[large], "large", "", -1)]
    methods = {model: _method(model, columns.small) for model in small}
    for model in small:
        for seed, run in enumerate(joined.runs[model]):
            tables.append(columns.cell(model, (run,), "small", methods[model], seed))
    cost = _cost(columns, answers, choice.cost)
    contents = {
        "examples.parquet": parquet(columns.examples(small)),
        "predictions.parquet": parquet(pyarrow.concat_tables(tables, promote_options="permissive")),
    }
    manifest = {
        "scheme": store.HASH_SCHEME,
        "profile": name,
        "settings": {"data": {}},
        "methods": list(methods.values()),
        "seeds": list(range(max(len(joined.runs[model]) for model in small))),
        "rule": rule,
        "tasks": list(dict.fromkeys(columns.tasks)),
        "task_identities": {name: task.get(name).identity() for name in dict.fromkeys(columns.tasks)},
        "missing": [],
        "hardware": f"imported with Python {platform.python_version()}",
        "imported": {
            "scheme": SCHEME,
            "sources": answers.sources,
            "columns": answers.columns,
            "models": {method: model for model, method in methods.items()},
            "large": large,
            "cost": cost,
            "counts": joined.counts,
            "notes": answers.notes,
            "warnings": warnings,
        },
    }
    store.write_together(folder, contents, manifest)
    return folder, manifest


def _large(joined: Joined, chosen: str) -> str:
    if chosen and chosen not in joined.models:
        raise unknown_name("model", chosen, joined.models)
    means = {model: joined.column("quality", model).mean() for model in joined.models}
    return chosen or max(means, key=means.__getitem__)


def _method(model: str, models: Sequence[str]) -> str:
    """The name of a method: the model's own, without the path before it where that is still one model's."""
    short = model.rsplit("/", 1)[-1]
    name = short if [other.rsplit("/", 1)[-1] for other in models].count(short) == 1 else model
    return FORBIDDEN.get(name, name.replace("@", " at "))  # in a method's name @ begins a point of a grid


def _rule(columns: Cells, chosen: str) -> str:
    """The rule that most small models' answers allow."""
    if chosen:
        rule = deferral.get(chosen).name
        if not any(columns.allows(model, rule) for model in columns.small):
            there = [READS[role] for role in READS if any(columns.has(model, role) for model in columns.small)]
            raise CatKerasError(
                f"A rule reads what the answers say. Received: {rule}, and no small model's answers allow it. They "
                f"allow {', '.join(there) or 'none but random'}. {' '.join(columns.notes)}"
            )
        return rule
    able = {rule: sum(columns.has(model, role) for model in columns.small) for role, rule in READS.items()}
    best = max(able, key=able.__getitem__)
    return best if able[best] else "random"


def _warnings(columns: Cells, rule: str, small: Sequence[str], answers: Answers) -> list[str]:
    joined, found = columns.joined, []
    if rule == "random":
        found.append(
            "No model says how sure it is: there is no score to defer by. Shown are deferring at random and the "
            "per-example oracle, between which a confidence would lie."
        )
    elif left := [model for model in columns.small if model not in small]:
        found.append(
            f"{len(left)} models are left out, as their answers have nothing that {rule} reads: {shown(left, 14)}. "
            "Another rule: --rule."
        )
    if not columns.priced:
        found.append("No costs were given: cost is the share of queries that the large model is asked.")
    scores = {model: (rule, columns.score(model, rule)) for model in small} if rule != "random" else {}
    found += checks.suspicions(joined, columns.large, scores)
    if columns.priced:
        mean = {model: columns.cost(model, joined.runs[model]).mean() for model in (*small, columns.large)}
        dearer = [model for model in small if mean[model] >= mean[columns.large]]
        if dearer:
            found.append(
                f"{shown(dearer)} cost no less than {columns.large}, the model that is better: asking it alone costs "
                "less than any cascade. Another order: --large."
            )
    return found + answers.notes + [line for line in joined.counts if not line.endswith(ALL_ANSWERED)]


def _cost(columns: Cells, answers: Answers, chosen: str) -> dict:
    if not columns.priced:
        return CALLS
    unit = chosen or answers.currency or ""
    return {"label": f"{unit or 'cost'} per query", "unit": unit}


def facts(manifest: Mapping, folder: Path) -> list[str]:
    """What an import says when it is done."""
    imported = manifest["imported"]
    counts = [line for line in imported["counts"] if line not in imported["warnings"]]
    lines = [*imported["columns"], *counts, *(f"Note: {line}" for line in imported["warnings"])]
    lines += [f"large: {imported['large']}; small: {', '.join(manifest['methods'])}; deferral by {manifest['rule']}"]
    return [*lines, f"{folder}/ — next: python -m benchmarks report {folder}; python -m benchmarks tune {folder}"]
