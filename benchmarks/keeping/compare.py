"""Two sides, each of one run or of several trainings of it, side by side: what they share, as rows of a table."""

import hashlib
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pyarrow
from rich.console import Console

from benchmarks.keeping.verify import changed_fields
from benchmarks.report.numbers import cells, few
from benchmarks.report.numbers.comparison import SIDES, Comparison, compared
from benchmarks.report.reading import analysis
from benchmarks.report.reading.load import START, Run
from benchmarks.report.tables import comparison_table, render
from cat_keras.errors import CatKerasError

Side = Run | Sequence[Run]


def compare(a: Side, b: Side, anyway: bool = False) -> Comparison:
    """The numbers of `rows`."""
    return compared(rows(a, b, anyway))


def rows(a: Side, b: Side, anyway: bool = False) -> pyarrow.Table:
    """What two sides share: one row per side, method, training, task and example. Both get the same resamples on tasks
    where all runs were asked the same.

    Args:
        a, b: a run, or runs that are trainings of one profile with another large model each.
        anyway: compare tasks of one name that are not the same task.

    Returns:
        a table with the score by the deferral rule of the run, the quality of both models, and in its metadata the
        facts that `numbers.comparison.Comparison` lists.

    Raises:
        CatKerasError: they share no task or no method, a shared task has another identity in one of them, or a side has
            a run twice.
    """
    sides = tuple((side,) if isinstance(side, Run) else tuple(side) for side in (a, b))
    runs = [run for side in sides for run in side]
    _check(sides)
    first = runs[0]
    tasks = tuple(name for name in first.covered if all(name in run.covered for run in runs))
    methods = tuple(m for m in (*first.methods, START) if all(_seeds(run, m, tasks) for run in runs))
    if not tasks or not methods:
        has = ", ".join(f"{r.folder} has {', '.join(r.methods)} on {', '.join(r.covered)}" for r in runs)
        raise CatKerasError(f"Runs are compared on the methods and tasks that all have complete; {has}")
    notes = _same_tasks(runs, tasks, anyway)
    unpaired = [name for name in tasks if len({run.fingerprint(name) for run in runs}) > 1]
    if unpaired:
        notes.append(f"Other examples in either run, so that these are resampled apart: {', '.join(unpaired)}.")
    notes += [note for side, own in zip(SIDES, sides, strict=True) for note in _left_out(side, own, tasks, methods)]
    notes += dict.fromkeys(line for run in runs for line in few.sentences(run))
    facts = {
        "sides": [{"name": _name(side), "runs": len(side), "rule": side[0].rule} for side in sides],
        "tasks": tasks,
        "methods": methods,
        "unpaired": unpaired,
        "notes": notes + _settings(sides[0][0], sides[1][0]),
    }
    parts = [
        _answers(run, {"side": side, "method": method, "run": i, "seed": seed, "task": name})
        for side, own in zip(SIDES, sides, strict=True)
        for i, run in enumerate(own)
        for method in methods
        for seed in _seeds(run, method, tasks)
        for name in tasks
    ]
    return analysis.described(pyarrow.concat_tables(parts), facts)


def joined(held: pyarrow.Table, more: pyarrow.Table) -> pyarrow.Table:
    """Rows of a comparison with those of further trainings of both sides.

    Raises:
        CatKerasError: they are of other tasks, methods or rules, or a training is in both.
    """
    one, other = analysis.facts(held), analysis.facts(more)
    wanted, found = _common(one), _common(other)
    for name in wanted:
        if wanted[name] != found[name]:
            raise CatKerasError(
                f"Further trainings have the {name} of those that are kept, {', '.join(wanted[name])}. Received: "
                f"{', '.join(found[name])}. Compare them in a folder of their own"
            )
    known = {content for _, content in _trainings(held)}
    if twice := [training for training, content in _trainings(more) if content in known]:
        raise CatKerasError(f"Each training is compared once. Received: {twice[0]}, kept already")
    sides = [dict(side) | {"name": _several(side["name"], side["runs"] + further["runs"]),
                           "runs": side["runs"] + further["runs"]}
             for side, further in zip(one["sides"], other["sides"], strict=True)]  # fmt: skip
    first = {name: side["runs"] for name, side in zip(SIDES, one["sides"], strict=True)}
    places = more["run"].to_numpy() + np.array([first[side] for side in more["side"].to_pylist()])
    more = more.set_column(more.column_names.index("run"), "run", pyarrow.array(places, held["run"].type))
    facts = one | {"sides": sides, "notes": list(dict.fromkeys([*one["notes"], *other["notes"]]))}
    tables = [table.replace_schema_metadata() for table in (held, more)]
    return analysis.described(pyarrow.concat_tables(tables), facts)


def _common(facts: Mapping) -> dict[str, list[str]]:
    """What all trainings of a comparison have in common, of its facts."""
    rules = {"deferral rules": [side["rule"] for side in facts["sides"]]}
    return {name: facts[name] for name in ("tasks", "methods", "unpaired")} | rules


def _trainings(table: pyarrow.Table):
    """A name for each training, and what tells it from all others: its side and a digest of its answers."""
    columns = ["side", "run", "method", "task", "id", "score", "quality_small", "quality_large"]
    for (side, run), rows in table.select(columns).to_pandas().groupby(["side", "run"], sort=True):
        content = rows.drop(columns=["side", "run"]).to_csv(index=False).encode()
        yield f"run {run} of side {side}", (side, hashlib.sha256(content).hexdigest())


def _several(name: str, runs: int) -> str:
    return f"{Path(name.rpartition(' (')[0] or name).name} ({runs} trainings)"


def _check(sides: Sequence[Sequence[Run]]):
    runs = [run for side in sides for run in side]
    if longer := [run for run in runs if run.middle]:
        raise CatKerasError(
            f"Runs of a small and a large model are compared. Received: {longer[0].folder}, which has "
            f"{', '.join(longer[0].middle)} between them. Its report compares its cascades with those of two models"
        )
    for side in sides:
        if twice := [run.folder for run in side if sum(run.folder.samefile(other.folder) for other in side) > 1]:
            raise CatKerasError(f"Each run of a side is another training. Received: {twice[0]} twice")


def _answers(run: Run, labels: Mapping) -> pyarrow.Table:
    cell = cells.Cell(run, labels["method"], labels["seed"], labels["task"])
    own = cell.outcomes(run.rule, run.examples[labels["task"]].ids)
    # Ids may be text of the data: the place of each among them, sorted, pairs the sides as well.
    places = np.argsort(np.argsort(own.ids, kind="stable"), kind="stable")
    columns = {"id": [f"{place:06}" for place in places], "score": own.score, "quality_small": own.quality_small}
    repeated = {name: [value] * len(own) for name, value in labels.items()}
    return pyarrow.table(repeated | columns | {"quality_large": own.quality_large})


def _name(side: Sequence[Run]) -> str:
    first = side[0].folder.as_posix()
    return first if len(side) == 1 else _several(first, len(side))


def _settings(a: Run, b: Run) -> list[str]:
    """A sentence on the settings in which two runs differ, but for seeds and what a run was asked to cover."""
    one, other = (dict(_flat(run.manifest.get("settings") or {})) for run in (a, b))
    skipped = ("name", "methods", "seeds", "large.seed", "small.seed")
    changed = [
        f"{name} {one.get(name, 'unset')} → {other.get(name, 'unset')}"
        for name in sorted({*one, *other} - {*skipped})
        if one.get(name) != other.get(name)
    ]
    return [f"Settings that differ: {'; '.join(changed)}."] if one and other and changed else []


def _flat(settings: Mapping, prefix: str = ""):
    for name, value in settings.items():
        if isinstance(value, Mapping):
            yield from _flat(value, f"{prefix}{name}.")
        else:
            yield prefix + name, value


def _seeds(run: Run, method: str, tasks: Sequence[str]) -> tuple[int, ...]:
    seeds = run.start_seeds if method == START else run.seeds
    return tuple(s for s in seeds if all((method, s, name) in run.small for name in tasks))


def _same_tasks(runs: Sequence[Run], tasks: Sequence[str], anyway: bool) -> list[str]:
    first, *others = [run.manifest.get("task_identities") or {} for run in runs]
    odd = []
    for name in tasks:
        for other in others:
            one, two = first.get(name), other.get(name)
            fields = changed_fields(one, two) if one and two else ["no identity recorded"]
            odd += [f"{name} ({', '.join(fields)})"] if fields else []
    odd = list(dict.fromkeys(odd))
    if odd and not anyway:
        raise CatKerasError(
            f"Numbers compare where the task is the same in both runs; it is not in {'; '.join(odd)}. Run one of them "
            "again with today's tasks, or pass --anyway"
        )
    return [f"Not the same task in both runs: {'; '.join(odd)}."] if odd else []


def _left_out(name: str, side: Sequence[Run], tasks: Sequence[str], methods: Sequence[str]) -> list[str]:
    notes = []
    alone = dict.fromkeys(n for run in side for n in (*run.tasks, *run.methods) if n not in (*tasks, *methods))
    notes += [f"Left out, since only {name} has it complete: {', '.join(alone)}."] if alone else []
    short = [m for m in methods if m != START and any(len(_seeds(r, m, tasks)) < len(r.seeds) for r in side)]
    notes += [f"{name} lacks seeds of {', '.join(short)}."] if short else []
    return notes


def show(found: Comparison, console: Console):
    """Prints the averages and the tasks, and what to know about them."""
    for table in comparison_table.tables(found):
        render.print_table(table, console)
