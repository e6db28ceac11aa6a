"""The answers of a run as the columns that `cat_keras.tune` reads, all tasks in one."""

from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.report.numbers import costs
from benchmarks.report.numbers.cells import RANDOM
from benchmarks.report.reading.load import Columns, Run
from benchmarks.tasks import imported
from cat_keras.cascades import deferral
from cat_keras.cascades.tuning import split_order
from cat_keras.errors import CatKerasError, unknown_name

LARGE = "large"
FITTING = 0.5  # of the rows that thresholds are chosen on: what a rule that learns is fitted to


@dataclass(frozen=True, eq=False)
class Staged:
    """What models of a run answered to the same n examples.

    Attributes:
        models: names, the last the one that all else is deferred to. rules: per model but the last, fitted.
        scores, quality, cost: as `cat_keras.tune` takes them; cost None where none is known. unit: of the cost.
        ids, tasks: (n,). held_out: share of these rows to judge on. fitted: rows left out, which a rule was fitted to.
    """

    models: tuple[str, ...]
    rules: tuple[deferral.Rule, ...]
    scores: np.ndarray
    quality: np.ndarray
    cost: np.ndarray | None
    unit: str
    ids: list[str]
    tasks: np.ndarray
    held_out: float
    fitted: int


@dataclass(frozen=True)
class Asked:
    """What the user wants to know.

    Attributes:
        rule: name of a deferral rule, by default that of the run. seed: of the small models' runs.
        prices: model → price of a million tokens read and written. per_query: model → cost of a query.
        held_out: share of the rows. tasks: by default all that the large model answered.
    """

    rule: str = ""
    seed: int = 0
    prices: Mapping[str, costs.Price] | None = None
    per_query: Mapping[str, float] | None = None
    held_out: float = 0.5
    tasks: tuple[str, ...] = ()


def large_name(run: Run) -> str:
    """What the model that others defer to is called."""
    return run.manifest["imported"]["large"] if run.imported else LARGE


def staged(run: Run, models: Sequence[str], asked: Asked, fitted: Sequence[deferral.Rule] = ()) -> Staged:
    """The columns of some models of a run.

    Args:
        run: a finished run. models: in the order they are asked. asked: what the user wants.
        fitted: rules per model but the last that need no fitting any more; then no row is left out.

    Raises:
        CatKerasError: a model, a task or a rule that the run does not have, prices without tokens, or random deferral,
            for which there is no threshold to tune.
    """
    names = {large_name(run): LARGE, LARGE: LARGE} | {name: name for name in run.methods}
    names |= {name: name for role in run.middle for name in (f"{role}/{method}" for method in run.methods)}
    for model in models:
        if model not in names:
            raise unknown_name("model of the run", model, names)
    rule = fitted[0] if fitted else deferral.get(asked.rule or run.rule)
    if rule.name == RANDOM or rule.name == "oracle":
        raise CatKerasError(
            f"A threshold is tuned on a score that the small model gives. Received: {rule.name}. Import the answers "
            "with a confidence, a log-probability or several samples"
        )
    tasks = _tasks(run, asked.tasks)
    cells = [[_cell(run, names[model], name, asked.seed) for name in tasks] for model in models]
    ids = [id for name in tasks for id in run.examples[name].ids]
    labels = np.concatenate([np.full(len(run.examples[name]), name) for name in tasks])
    quality = np.array([_joined(row, "quality") for row in cells])
    cost, unit = _costs(run, models, cells, asked)
    order = split_order(len(ids), ids, labels)
    held = int(len(ids) * asked.held_out)
    fit = order[: int((len(ids) - held) * FITTING)] if rule.needs_fit else order[:0]
    rest = order[len(fit) :]
    scores, rules = [], []
    for i, row in enumerate(cells[:-1]):
        own = fitted[i] if fitted else rule
        table = _table(own, row, ids, labels, quality[i], quality[i + 1])
        rules.append(own.fit(_rows(table, fit)) if own.needs_fit else own)
        scores.append(rules[-1](_rows(table, rest)))
    return Staged(
        tuple(large_name(run) if names[model] == LARGE else model for model in models), tuple(rules),
        np.array(scores), quality[:, rest], None if cost is None else cost[:, rest], unit,
        [ids[i] for i in rest], labels[rest], held / len(rest), len(fit),
    )  # fmt: skip


def _tasks(run: Run, chosen: Sequence[str]) -> tuple[str, ...]:
    named = [name if name in run.covered else f"{imported.PREFIX}{name}" for name in chosen]
    for given, name in zip(chosen, named, strict=True):
        if name not in run.covered:
            raise unknown_name("task of the run", given, run.covered)
    return tuple(named) or run.covered


def _cell(run: Run, model: str, name: str, seed: int) -> Columns:
    cell = run.large.get(name) if model == LARGE else run.cell(f"{model}/{seed}", name)
    if cell is None:
        raise CatKerasError(
            f"Models are tuned on tasks that all of them answered. Received: {model}, run {seed}, without {name}. "
            "Leave the task or the model out: --tasks, --models"
        )
    return cell


def _joined(cells: Sequence[Columns], column: str) -> np.ndarray:
    return np.concatenate([cell[column] for cell in cells]).astype(np.float64)


def _table(rule: deferral.Rule, cells: Sequence[Columns], ids, tasks, small, large) -> Mapping[str, Sequence]:
    """The columns that a rule reads, of all tasks one after the other."""
    own = {"id": ids, "task": tasks, "quality_small": small, "quality_large": large}
    needs = [name for name in rule.needs if name not in own]
    missing = [name for name in needs if any(name not in cell for cell in cells)]
    if missing:
        raise CatKerasError(
            f"Rule {rule.name} reads {', '.join(missing)}, which the answers of this run have not. Name another: --rule"
        )
    joined = {
        name: [entry for cell in cells for entry in cell[name]]
        if hasattr(cells[0][name], "lengths")
        else np.concatenate([cell[name] for cell in cells])
        for name in needs
    }
    return ChainMap(own, joined)


def _rows(table: Mapping[str, Sequence], rows: np.ndarray) -> dict[str, Sequence]:
    return {
        name: column[rows] if isinstance(column, np.ndarray) else [column[i] for i in rows]
        for name, column in table.items()
    }


def _costs(run: Run, models, cells, asked: Asked) -> tuple[np.ndarray | None, str]:
    """(stages, n) and the unit; None where the run knows no cost."""
    if asked.per_query:
        _all_named(models, asked.per_query, "--cost")
        lengths = sum(len(cell["id"]) for cell in cells[0])
        return np.array([np.full(lengths, asked.per_query[model]) for model in models]), "per query, as given"
    if asked.prices:
        _all_named(models, asked.prices, "--price")
        if any("n_prompt" not in cell for row in cells for cell in row):
            raise CatKerasError(
                "Prices are of tokens, and these answers have no number of tokens. Give what a query costs: "
                "--cost MODEL=…"
            )
        found = [
            np.concatenate([costs.column(model, cell, costs.PRICE, asked.prices[model]) for cell in row]) / 1e6
            for model, row in zip(models, cells, strict=True)
        ]
        return np.array(found), "price per query"
    base = costs.base(run)
    if run.imported and run.manifest["imported"]["cost"]["unit"] == "calls":
        return None, base.label
    return np.array([_joined(row, base.name) for row in cells]), base.label


def _all_named(models, given: Mapping[str, object], option: str):
    if absent := [model for model in models if model not in given]:
        raise CatKerasError(f"Costs are given for every model or for none. Received: none of {absent[0]}. {option} too")
