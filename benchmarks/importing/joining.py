"""The questions that all models answered: every row that is left out is counted, and said."""

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd

from benchmarks.importing.answers import shown
from cat_keras.cascades.deferral import agreement
from cat_keras.errors import CatKerasError, unknown_name

ALL_ANSWERED = "all answered by all."
DUPLICATES = ("error", "first", "runs", "samples")


@dataclass(frozen=True, eq=False)
class Joined:
    """Answers of all models to the same questions.

    Attributes:
        frame: all rows read. models: by name. runs: model → its runs, at least one, "" where they have no name.
        tasks, ids: of each question, (n,), questions of one task together. rows: (model, run) → (n,), its rows.
        counts: what was left out, one sentence each.
    """

    frame: pd.DataFrame
    models: tuple[str, ...]
    runs: dict[str, tuple[str, ...]]
    tasks: np.ndarray
    ids: np.ndarray
    rows: dict[tuple[str, str], np.ndarray]
    counts: list[str]

    def column(self, role: str, model: str, run: str | None = None) -> np.ndarray:
        """(n,) of one run of a model, by default its first."""
        return self.frame[role].to_numpy()[self.rows[model, self.runs[model][0] if run is None else run]]


def join(
    frame: pd.DataFrame, models: Sequence[str] = (), duplicates: str = "error", tasks: Sequence[str] = ()
) -> Joined:
    """Rows of every model in one order of questions.

    Args:
        frame: of `Answers`. models, tasks: those to take, by default all.
        duplicates: what several rows of one model to one question are: an "error"; the "first" counts; "runs" of the
            model, in their order; or "samples" of one answer: what most of them say is the answer, its agreement is a
            confidence, and all of them are paid for.

    Raises:
        CatKerasError: a model that is not there, fewer than two, repeated rows, or no question in common.
    """
    frame, counts = _of_models(_of_tasks(frame, tasks), models)
    frame = _judged(frame, counts)
    if duplicates == "samples":
        frame = _sampled(frame, counts)
    key, cell, cells, names = _codes(frame)
    key, cell, cells, frame = _once(frame, key, cell, cells, names, duplicates, counts)
    place = np.full((len(cells), len(names)), -1, np.int64)
    place[cell, key] = np.arange(len(frame))
    answered = place >= 0
    common = np.flatnonzero(answered.all(axis=0))
    _count_missing(answered, cells, names, common, counts)
    tasks = names.get_level_values(0).to_numpy()[common]
    order = np.argsort(pd.factorize(tasks)[0], kind="stable")  # questions of a task together, in their own order
    common, tasks = common[order], tasks[order]
    runs: dict[str, tuple[str, ...]] = dict.fromkeys(models, ())
    for model, run in cells:
        runs[model] = (*runs.get(model, ()), run)
    rows = {each: place[i, common] for i, each in enumerate(cells)}
    return Joined(frame, tuple(runs), runs, tasks, names.get_level_values(1).to_numpy()[common], rows, counts)


def _of_tasks(frame: pd.DataFrame, tasks: Sequence[str]) -> pd.DataFrame:
    for name in tasks:
        if name not in set(frame["task"]):
            raise unknown_name("task", name, set(map(str, frame["task"])))
    return frame[frame["task"].isin(tasks)] if tasks else frame


def _of_models(frame: pd.DataFrame, models: Sequence[str]) -> tuple[pd.DataFrame, list[str]]:
    there = list(dict.fromkeys(frame["model"]))
    for name in models:
        if name not in there:
            raise unknown_name("model", name, there)
    if len(models or there) < 2:
        raise CatKerasError(
            f"A cascade has at least two models. Received: answers of {shown(models or there)} alone. "
            "Import the answers of a second model to the same questions beside them"
        )
    others = [name for name in there if models and name not in models]
    counts = [f"{len(others)} other models were not asked for: {shown(others)}."] if others else []
    return (frame[frame["model"].isin(models)] if models else frame).reset_index(drop=True), counts


def _judged(frame: pd.DataFrame, counts: list[str]) -> pd.DataFrame:
    """Rows with an id and a quality."""
    for column, lack in (("id", frame["id"].astype(str) == ""), ("quality", frame["quality"].isna())):
        if lack.any():
            by_model = frame.loc[lack, "model"].astype(str).value_counts()
            counts.append(
                f"{int(lack.sum()):,} rows have no {column} and are left out: "
                f"{shown(f'{name} {count:,}' for name, count in by_model.items())}."
            )
            frame = frame[frame["quality"].notna() & (frame["id"].astype(str) != "")]
    if not len(frame):
        raise CatKerasError("Answers have an id and a quality. Received: no row with both. Name the columns: --column")
    return frame.reset_index(drop=True)


def _codes(frame: pd.DataFrame):
    """(n,) number of each row's question, of its cell; cells as (model, run); questions as (task, id)."""
    pairs = pd.MultiIndex.from_arrays([frame["task"].astype(str), frame["id"].astype(str)])
    key, names = pd.factorize(pairs)
    cell, cells = pd.factorize(pd.MultiIndex.from_arrays([frame["model"].astype(str), frame["run"].astype(str)]))
    return key, cell, list(cells), pd.MultiIndex.from_tuples(names)


def _once(frame, key, cell, cells, names, duplicates, counts):
    """One row per question and cell."""
    whole = key.astype(np.int64) * len(cells) + cell
    repeated = pd.Series(whole).duplicated().to_numpy()
    if not repeated.any():
        return key, cell, cells, frame
    model, (task, id) = cells[cell[repeated][0]][0], names[key[repeated][0]]
    if duplicates == "error":
        raise CatKerasError(
            f"A model answers a question once. Received: {int(repeated.sum()):,} repeated rows, e.g. of {model} to "
            f"{id!r}{f' of {task}' if task else ''}. Name the column that tells them apart (--column run=…, "
            "--column task=…), or say what they are: --duplicates first, runs or samples"
        )
    if duplicates == "first":
        counts.append(f"{int(repeated.sum()):,} repeated rows are left out; the first of each counts.")
        return key[~repeated], cell[~repeated], cells, frame[~repeated].reset_index(drop=True)
    number = pd.Series(whole).groupby(whole).cumcount().astype(str).to_numpy()
    counts.append(f"{int(repeated.sum()):,} repeated rows are taken as further runs of their model.")
    runs = frame["run"].astype(str).to_numpy()
    key, cell, cells, names = _codes(frame.assign(run=[f"{a}{b}" for a, b in zip(runs, number, strict=True)]))
    return key, cell, cells, frame


def _sampled(frame: pd.DataFrame, counts: list[str]) -> pd.DataFrame:
    """One row per question of a model: the answer that most of its samples give, for the cost of all of them."""
    if "text" not in frame:
        raise CatKerasError("Samples agree by their answers. Received: no column of answers. Name it: --column text=…")
    group = frame.groupby(["model", "task", "id"], observed=True, sort=False).ngroup().to_numpy()
    said = [" ".join(str(text).lower().split()) for text in frame["text"]]
    order = np.argsort(group, kind="stable")
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    rows = np.split(order, starts[1:])
    most, shares = agreement([[said[i] for i in own] for own in rows])
    chosen = [next(i for i in own if said[i] == answer) for own, answer in zip(rows, most, strict=True)]
    found = frame.iloc[chosen].assign(run="", agreement=shares)
    for role in ("cost", "n_prompt", "n_answer"):
        if role in frame:
            found[role] = np.add.reduceat(frame[role].to_numpy(np.float64)[order], starts)
    counts.append(
        f"{len(rows):,} answers are what most of their samples say, {len(frame) / len(rows):.1f} samples each on "
        "average; their cost is that of all samples."
    )
    return found.astype({"run": "category"}).reset_index(drop=True)


def _apart(answered, cells) -> str:
    """Models that share no question with most others, in a sentence."""
    shared = (answered.astype(np.float32) @ answered.T.astype(np.float32)) > 0
    most = int(shared.sum(axis=1).argmax())
    others = [model for (model, _), together in zip(cells, shared[most], strict=True) if not together]
    return f"These share none with {cells[most][0]}: {shown(others, 6)}. " if others else ""


def _count_missing(answered, cells, names, common, counts):
    n = answered.shape[1]
    if not len(common):
        by_model = (f"{model} {int(row.sum()):,}" for (model, _), row in zip(cells, answered, strict=True))
        raise CatKerasError(
            f"Models are compared on questions that all of them answered. Received: none in common of {n:,} "
            f"({shown(by_model, 6)}). {_apart(answered, cells)}Look at how ids are written, or choose models: --models"
        )
    if len(common) == n:
        counts.append(f"{n:,} questions, {len(cells)} models or runs, {ALL_ANSWERED}")
        return
    lacks = [(f"{model}{f' run {run}' if run else ''}", int((~row).sum())) for (model, run), row
             in zip(cells, answered, strict=True) if not row.all()]  # fmt: skip
    alone = answered.sum(axis=0) == len(cells) - 1
    worst = max(range(len(cells)), key=lambda i: int((alone & ~answered[i]).sum()))
    counts.append(
        f"{len(common):,} of {n:,} questions are answered by all; {n - len(common):,} are left out. Not answered: "
        f"{shown((f'{name} {count:,}' for name, count in lacks), 14)}."
    )
    if (gain := int((alone & ~answered[worst]).sum())) and len(cells) > 2:
        counts.append(f"Without {cells[worst][0]} there would be {gain:,} more.")
    every, kept = pd.unique(names.get_level_values(0)), set(names.get_level_values(0)[common])
    if gone := [name for name in every if name not in kept]:
        counts.append(f"{len(gone)} tasks have no question that all models answered: {shown(gone)}.")
