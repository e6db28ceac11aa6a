"""Answers of models in one form, whatever file they came from: a table with a row for each answer."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

import numpy as np
import pandas as pd

from benchmarks.importing.roles import ROLES
from cat_keras.errors import CatKerasError

TRUE, FALSE = {"true", "t", "yes", "1", "1.0", "correct", "c", "right"}, {"false", "f", "no", "0", "0.0", "incorrect",
    "i", "wrong", "n"}  # fmt: skip
GREATEST = 1.0 + 1e-6  # of a probability that was rounded or exponentiated


@dataclass(eq=False)
class Answers:
    """Answers of any models to any tasks.

    Attributes:
        frame: a row per answer. Columns `model`, `task`, `id`, `run` (text) and `quality` (float64 in [0, 1], NaN where
            nobody judged), and of the other roles those that a file has.
        sources: one record per file. notes: sentences about what was read otherwise than it stood there.
        columns: how headers were read, one line each. currency: of `cost`; "" where the header names none.
    """

    frame: pd.DataFrame
    sources: list[dict] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    columns: list[str] = field(default_factory=list)
    currency: str | None = None


def together(parts: Sequence[Answers]) -> Answers:
    """The answers of several files.

    Raises:
        CatKerasError: no answer at all, or costs in different currencies.
    """
    currencies = {part.currency for part in parts if part.currency is not None}
    if len(currencies) > 1:
        named = sorted(each or "one without a name" for each in currencies)
        raise CatKerasError(
            f"Costs are of one currency. Received: {', '.join(named)}. "
            "Convert one of them, or leave a column out: --column cost=none"
        )
    frame = pd.concat([part.frame for part in parts], ignore_index=True)
    if frame.empty:
        raise CatKerasError("An import has answers. Received: files without a row")
    # A log of one epoch says none; beside logs of several by the same model it is the first of them.
    numbered = set(frame.loc[frame["run"] == "1", "model"].astype(str))
    if numbered:
        lone = (frame["run"] == "") & frame["model"].astype(str).isin(numbered)
        frame["run"] = frame["run"].astype(object).mask(lone, "1")
    whole = Answers(frame, currency=currencies.pop() if currencies else None)
    for part in parts:
        whole.sources += part.sources
        whole.notes += part.notes
        whole.columns += [line for line in part.columns if line not in whole.columns]
    return whole


def true_or_graded(values: Sequence | np.ndarray, header: str, scale: float = 1.0) -> np.ndarray:
    """Qualities as tables write them: 1, 0.5, TRUE, 'False', yes, C; NaN where a cell is empty.

    Args:
        scale: what numbers are divided by, 100 for percentages.

    Returns:
        (n,) float64.

    Raises:
        CatKerasError: another text.
    """
    column = pd.Series(values)
    if not pd.api.types.is_numeric_dtype(column):
        column = column.map(_truth, na_action="ignore")
        wrong = column.map(lambda value: isinstance(value, str), na_action="ignore").fillna(False).astype(bool)
        if wrong.any():
            raise CatKerasError(
                f"A quality is a number in [0, 1], or true or false. Received: {column[wrong].iloc[0]!r} in {header} "
                f"({int(wrong.sum()):,} such of {len(column):,}). Name another column: --column quality=…"
            )
    return pd.to_numeric(column).to_numpy(np.float64, na_value=np.nan) / scale


def _truth(value):
    if not isinstance(value, str):
        return float(value)
    word = value.strip().strip("'\"").lower()
    if word in TRUE or word in FALSE:
        return float(word in TRUE)
    if word in ("", "nan", "none", "null", "na"):
        return None
    try:
        return float(word)
    except ValueError:
        return value


def in_unit(values: np.ndarray, header: str, role: str) -> np.ndarray:
    """Numbers in [0, 1] or NaN; what is above 1 by rounding alone becomes 1.

    Raises:
        CatKerasError: a number out of range.
    """
    bad = (values < 0) | (values > GREATEST)
    if bad.any():
        low, high = np.nanmin(values), np.nanmax(values)
        remedy = (
            f"Percentages: --scale {role}=100"
            if low >= 0 and 1 < high <= 100
            else "Log-probabilities: --column logprob=…"
            if high <= 0
            else f"Name another column, --column {role}=…, or cut it off: --clip {role}"
        )
        raise CatKerasError(
            f"A {role} lies in [0, 1]. Received: {values[bad][0]:g} in {header}, which lies in [{low:g}, {high:g}] "
            f"({int(bad.sum()):,} out of range of {len(values):,}). {remedy}"
        )
    return np.minimum(values, 1.0)


def _clipped(values: np.ndarray, header: str, notes: list[str] | None) -> np.ndarray:
    outside = int(((values < 0) | (values > 1)).sum())
    if outside and notes is not None:
        notes.append(f"{outside:,} of {len(values):,} numbers of {header} lay outside [0, 1] and were clipped.")
    return np.clip(values, 0.0, 1.0)


def amounts(values: Sequence, header: str, role: str) -> np.ndarray:
    """Costs, tokens, seconds: (n,) float64, NaN where a cell is empty.

    Raises:
        CatKerasError: no number, or one below 0 or infinite.
    """
    found = numbers(values, header, role)
    bad = (found < 0) | np.isinf(found)
    if bad.any():
        raise CatKerasError(
            f"A {role} is a finite number of at least 0. Received: {found[bad][0]:g} in {header} ({int(bad.sum()):,} "
            "such). Correct it, or leave the column out"
        )
    return found


def numbers(values: Sequence, header: str, role: str) -> np.ndarray:
    """(n,) float64, NaN where a cell is empty.

    Raises:
        CatKerasError: a cell that is no number.
    """
    try:
        return pd.to_numeric(pd.Series(values)).to_numpy(np.float64, na_value=np.nan)
    except (TypeError, ValueError) as error:
        raise CatKerasError(
            f"A {role} is a number. Received: others in {header} ({error}). Name another column: --column {role}=…"
        ) from None


def checked(
    frame: pd.DataFrame,
    headers: Mapping[str, str],
    scales: Mapping[str, float],
    clip: Sequence[str] = (),
    notes: list[str] | None = None,
) -> pd.DataFrame:
    """A frame with columns by role, every number in its range.

    Args:
        frame: columns by role as they were read. headers: role → where it stood, for errors. scales: role → what its
            numbers are divided by. clip: roles whose numbers outside [0, 1] become 0 or 1. notes: what was clipped is
        added to them.

    Raises:
        CatKerasError: a number out of range, or a cell that is none.
    """
    found = {}
    for role in frame.columns:
        values, header, scale = frame[role], headers.get(role, role), scales.get(role, 1.0)
        kind = ROLES[role].kind
        if kind == "unit":
            read = true_or_graded(values, header, scale) if role == "quality" else numbers(values, header, role) / scale
            found[role] = _clipped(read, header, notes) if role in clip else in_unit(read, header, role)
        elif kind == "amount":
            found[role] = amounts(numbers(values, header, role) / scale, header, role)
        elif kind == "logprob":
            found[role] = logprobs(numbers(values, header, role) / scale, header)
        else:
            found[role] = values
    return pd.DataFrame(found, index=frame.index)


def logprobs(values: np.ndarray, header: str) -> np.ndarray:
    """Log-probabilities of whole answers: at most 0 but for rounding; −inf stays.

    Raises:
        CatKerasError: one above 0.
    """
    bad = values > 1e-6
    if bad.any():
        raise CatKerasError(
            f"A log-probability is at most 0 nats. Received: {values[bad][0]:g} in {header} ({int(bad.sum()):,} such "
            f"of {len(values):,}). A probability: --column confidence={header}"
        )
    return np.minimum(values, 0.0)


def shown(values: Iterable, limit: int = 3) -> str:
    """The first few of many, for a sentence."""
    values = list(map(str, values))
    return ", ".join(values[:limit]) + (", …" if len(values) > limit else "")
