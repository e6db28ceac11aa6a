"""Tables of answers, CSV, JSON lines or Parquet: long, with a row per answer, or wide, with columns per model."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks.importing.answers import Answers, checked
from benchmarks.importing.opening import opened
from benchmarks.importing.roles import ROLES, SCALES, guess, normalised, wide
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

CURRENCIES = ("usd", "eur", "gbp", "chf", "jpy", "cny")


@dataclass(frozen=True)
class Reading:
    """How the user wants tables read.

    Attributes:
        columns: role → header, or "none" for a role that no column has; "MODEL.role" names one of a wide table.
        scales: role → what its numbers are divided by. models: columns of a wide table that hold qualities.
        clip: roles whose numbers outside [0, 1] become 0 or 1, counted.
        metric: of logs that judge an answer by several: which one is its quality, by default the first.
    """

    columns: Mapping[str, str] = field(default_factory=dict)
    scales: Mapping[str, float] = field(default_factory=dict)
    models: Sequence[str] = ()
    clip: Sequence[str] = ()
    metric: str = ""


def read(path: Path, reading: Reading) -> Answers:
    """The answers of one table.

    Raises:
        CatKerasError: no such table, no id or no quality, or a cell out of range.
    """
    (headers, load), notes = opened(path), []
    per_model = _per_model(path, headers, load, reading)
    if per_model:
        frame, lines, used = _melted(path, headers, load, per_model, reading, notes)
        cost = {roles["cost"] for roles in per_model.values() if "cost" in roles}
    else:
        frame, lines, used = _long(path, headers, load, reading, notes)
        cost = {used["cost"]} if "cost" in used else set()
    source = {"file": path.name, "sha256": store.sha256_file(path), "kind": "table", "rows": len(frame)}
    currencies = {_currency(header) for header in cost}
    if len(currencies) > 1:
        raise CatKerasError(f"Costs are of one currency. Received: {', '.join(sorted(cost))} in {path.name}")
    return Answers(frame, [source], notes, columns=lines, currency=currencies.pop() if currencies else None)


def _currency(header: str) -> str:
    words = normalised(header).split("_")
    return "FLOP" if "flops" in words else next((each.upper() for each in CURRENCIES if each in words), "")


def _per_model(path: Path, headers: Sequence[str], load, reading: Reading) -> dict[str, dict[str, str]]:
    """Model → role → header of a wide table; {} for a long one."""
    named: dict[str, dict[str, str]] = {}
    for key, header in reading.columns.items():
        model, _, role = key.rpartition(".")
        if model:
            named.setdefault(model, {})[role] = header
    if named:
        return named
    long = guess(headers, _named(reading, headers))
    if "model" in long:
        return {}
    found = wide(headers)
    if len(found) > 1:
        return {model: found[model] for model in reading.models or found if model in found}
    if "quality" in long and not reading.models:
        return {}
    bare = list(reading.models) if reading.models else _bare(headers, set(long.values()), load)
    return {header: {"quality": header} for header in bare if header in headers} if len(bare) > 1 else {}


def _bare(headers: Sequence[str], taken: set[str], load) -> list[str]:
    """Columns that hold 0, 1 or what lies between and have no other meaning: the qualities of a model each."""
    frame = load({header: "" for header in headers if header not in taken})
    found = []
    for header in frame.columns:
        values = frame[header]
        if pd.api.types.is_numeric_dtype(values) and len(values) and values.min() >= 0 and values.max() <= 1:
            found.append(header)
    return found


def _named(reading: Reading, headers: Sequence[str]) -> dict[str, str]:
    """Roles that the user named, without those that he says no column has."""
    return {role: header for role, header in reading.columns.items() if "." not in role and header != "none"}


def _roles(headers: Sequence[str], reading: Reading) -> dict[str, str]:
    found = guess(headers, _named(reading, headers))
    return {role: header for role, header in found.items() if reading.columns.get(role) != "none"}


def _long(path: Path, headers: Sequence[str], load, reading: Reading, notes: list[str]):
    used = _roles(headers, reading)
    _need(path, headers, used, ("id", "quality"))
    frame = load({header: role for role, header in used.items()})
    frame = pd.DataFrame({role: frame[header] for role, header in used.items()})
    frame = checked(frame, used, _scales(used, reading), reading.clip, notes)
    return _completed(frame, path), _lines(path, headers, used), used


def _scales(used: Mapping[str, str], reading: Reading) -> dict[str, float]:
    known = {role: SCALES[normalised(header)] for role, header in used.items() if normalised(header) in SCALES}
    return known | dict(reading.scales)


def _melted(path: Path, headers: Sequence[str], load, per_model, reading: Reading, notes: list[str]):
    shared = {role: header for role, header in _roles(headers, reading).items()
              if role in ("id", "task", "run", "prompt", "target", "options")}  # fmt: skip
    _need(path, headers, shared, ("id",))
    wanted = {header: role for role, header in shared.items()}
    wanted |= {header: role for roles in per_model.values() for role, header in roles.items()}
    _there(path, headers, wanted)
    frame, parts = load(wanted), []
    for model, roles in per_model.items():
        used = shared | roles
        part = pd.DataFrame({role: frame[header] for role, header in used.items()})
        parts.append(checked(part, used, _scales(used, reading), reading.clip, notes).assign(model=model))
    lines = _lines(path, headers, shared | {f"{m}.{r}": h for m, roles in per_model.items() for r, h in roles.items()})
    return _completed(pd.concat(parts, ignore_index=True), path), lines, shared


def _there(path: Path, headers: Sequence[str], wanted: Mapping[str, str]):
    absent = [header for header in wanted if header not in headers]
    if absent:
        raise CatKerasError(
            f"--column names columns of the table. Received: {absent[0]!r}, and {path.name} has {', '.join(headers)}"
        )


def _need(path: Path, headers: Sequence[str], used: Mapping[str, str], needed: Sequence[str]):
    absent = [role for role in needed if role not in used]
    if absent:
        raise CatKerasError(
            f"A table of answers has a column that {ROLES[absent[0]].words}. Received: {path.name} with "
            f"{', '.join(headers)}. Name it: --column {absent[0]}=…"
        )


def _completed(frame: pd.DataFrame, path: Path) -> pd.DataFrame:
    """With model, task and run for every row; a file without models is of the one that it is called after."""
    frame = frame.assign(**{
        name: default for name, default in (("model", path.stem), ("task", ""), ("run", "")) if name not in frame
    })  # fmt: skip
    for name in ("model", "task", "id", "run"):
        frame[name] = _text(frame[name])
    return frame


def _text(values: pd.Series) -> pd.Series:
    """Texts, "" where a cell is empty; whole numbers without a point."""
    if pd.api.types.is_float_dtype(values):
        values = values.astype(object).map(lambda v: "" if v is None or np.isnan(v) else f"{v:g}")
    return values.astype("str").where(values.notna(), "").astype("category")


def _lines(path: Path, headers: Sequence[str], used: Mapping[str, str]) -> list[str]:
    found = [f"{header} → {role}" for role, header in used.items()]
    unused = [header for header in headers if header not in used.values()]
    return [f"{path.name}: {', '.join(found)}" + (f"; not used: {', '.join(unused)}" if unused else "")]
