"""Two runs side by side: every method and task that both have, with intervals of what differs."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from rich.console import Console

from benchmarks.keeping.verify import changed_fields
from benchmarks.report.numbers import cells, few
from benchmarks.report.numbers.summary import DRAWS, RESAMPLES
from benchmarks.report.reading.load import START, Run
from benchmarks.report.tables import render
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.bootstrap import AudcBootstrap, Interval, bootstrap_audc, pool_seeds
from cat_keras.evaluation.curves import Outcomes, macro_average

ALL = "all tasks"
SIDES = ("A", "B")
LARGE = "large model"  # stands for a method, of one seed
ALONE = "alone "  # before the name of a model: the small model without a cascade


@dataclass(frozen=True)
class Line:
    """One method on one task, or averaged over the tasks compared. Pairs are (A, B).

    Attributes:
        task: its name or `ALL`. method. audc, alone, quarter, s_d: area under the deferral curve, quality of the small
            model alone and at 25 % deferral in [0, 1], deferral gain; means over seeds. audc_difference,
            alone_difference: B − A with its 95 % interval.
    """

    task: str
    method: str
    audc: tuple[float, float]
    audc_difference: Interval
    alone: tuple[float, float]
    alone_difference: Interval
    quarter: tuple[float, float]
    s_d: tuple[float, float]


@dataclass(frozen=True)
class Comparison:
    """lines: see `Line`, averages first. large: task or `ALL` → quality of the large model alone, and large_difference
    B − A of it with its 95 % interval. notes: in words."""

    runs: tuple[Run, Run]
    lines: tuple[Line, ...]
    large: Mapping[str, tuple[float, float]]
    large_difference: Mapping[str, Interval]
    notes: tuple[str, ...]


def compare(a: Run, b: Run, anyway: bool = False) -> Comparison:
    """Compares what two runs share. Examples are resampled together on tasks where both were asked the same.

    Args:
        a, b: the runs. anyway: compare tasks of one name that are not the same task.

    Raises:
        CatKerasError: they share no task or no method, or a shared task has another identity in either.
    """
    if longer := [run for run in (a, b) if run.middle]:
        raise CatKerasError(
            f"Runs of a small and a large model are compared. Received: {longer[0].folder}, which has "
            f"{', '.join(longer[0].middle)} between them. Its report compares its cascades with those of two models"
        )
    tasks = tuple(name for name in a.covered if name in b.covered)
    methods = tuple(m for m in (*a.methods, START) if all(_seeds(run, m, tasks) for run in (a, b)))
    if not tasks or not methods:
        raise CatKerasError(
            "Runs are compared on the methods and tasks that both have complete; "
            f"{a.folder} has {', '.join(a.methods)} on {', '.join(a.covered)}, "
            f"{b.folder} has {', '.join(b.methods)} on {', '.join(b.covered)}"
        )
    notes = _same_tasks(a, b, tasks, anyway)
    unpaired = [name for name in tasks if a.fingerprint(name) != b.fingerprint(name)]
    if unpaired:
        notes.append(f"Other examples in either run, so that these are resampled apart: {', '.join(unpaired)}.")
    notes += _left_out(a, b, tasks, methods)
    both = _Both(a, b, tasks, methods, unpaired)
    lines = tuple(both.line(name, method) for name in (ALL, *tasks) for method in methods)
    large = {name: tuple(float(run.large[name]["quality"].mean()) for run in (a, b)) for name in tasks}
    large = {ALL: tuple(float(np.mean(side)) for side in zip(*large.values(), strict=True))} | large
    differences = {name: both.alone_difference(LARGE, name) for name in (ALL, *tasks)}
    return Comparison((a, b), lines, large, differences, tuple(notes))


def _seeds(run: Run, method: str, tasks: Sequence[str]) -> tuple[int, ...]:
    seeds = run.start_seeds if method == START else run.seeds
    return tuple(s for s in seeds if all((method, s, name) in run.small for name in tasks))


def _same_tasks(a: Run, b: Run, tasks: Sequence[str], anyway: bool) -> list[str]:
    identities = [run.manifest.get("task_identities") or {} for run in (a, b)]
    odd = []
    for name in tasks:
        one, other = (side.get(name) for side in identities)
        fields = changed_fields(one, other) if one and other else ["no identity recorded"]
        odd += [f"{name} ({', '.join(fields)})"] if fields else []
    if odd and not anyway:
        raise CatKerasError(
            f"Numbers compare where the task is the same in both runs; it is not in {'; '.join(odd)}. Run one of them "
            "again with today's tasks, or pass --anyway"
        )
    return [f"Not the same task in both runs: {'; '.join(odd)}."] if odd else []


def _left_out(a: Run, b: Run, tasks: Sequence[str], methods: Sequence[str]) -> list[str]:
    notes = []
    for side, run in zip(SIDES, (a, b), strict=True):
        alone = [name for name in (*run.tasks, *run.methods) if name not in (*tasks, *methods)]
        notes += [f"Left out, since only {side} has it complete: {', '.join(alone)}."] if alone else []
        short = [m for m in methods if m != START and len(_seeds(run, m, tasks)) < len(run.seeds)]
        notes += [f"{side} lacks seeds of {', '.join(short)}."] if short else []
    return notes


class _Both:
    """Cells and resamples of both runs on the shared tasks."""

    def __init__(self, a: Run, b: Run, tasks: Sequence[str], methods: Sequence[str], unpaired: Sequence[str]):
        self.runs, self.tasks, self.methods = (a, b), tasks, methods
        self.seeds = {method: tuple(_seeds(run, method, tasks) for run in self.runs) for method in methods}
        self.seeds[LARGE] = ((0,), (0,))
        self.cells = [
            {(m, s, t): cells.Cell(run, m, s, t) for m in methods for s in self.seeds[m][side] for t in tasks}
            for side, run in enumerate(self.runs)
        ]
        outcomes = [{name: self._outcomes(side, name) for name in tasks} for side in (0, 1)]
        together = {name: outcomes[0][name] | outcomes[1][name] for name in tasks if name not in unpaired}
        parts = [bootstrap_audc(together, np.random.default_rng(DRAWS), RESAMPLES)] if together else []
        self.samples = [dict(_by_task(part)) for part in parts * 2] or [{}, {}]
        for side in (0, 1):
            apart = {name: outcomes[side][name] for name in unpaired}
            own = np.random.default_rng([DRAWS, side])  # or both sides would draw the same rows of other examples
            self.samples[side] |= dict(_by_task(bootstrap_audc(apart, own, RESAMPLES))) if apart else {}

    def _outcomes(self, side: int, name: str) -> dict[str, Outcomes]:
        run, out = self.runs[side], {}
        for (method, seed, of), cell in self.cells[side].items():
            if of == name:
                own = cell.outcomes(run.rule, run.examples[name].ids)
                out[f"{SIDES[side]}/{method}/{seed}"] = own
                # The area under a curve that stays where it starts is the quality there.
                out[f"{ALONE}{SIDES[side]}/{method}/{seed}"] = Outcomes(
                    own.score, own.quality_small, own.quality_small, ids=own.ids
                )
        # The large model is the same one beside every small model.
        out[f"{ALONE}{SIDES[side]}/{LARGE}/0"] = Outcomes(own.score, own.quality_large, own.quality_large, ids=own.ids)
        return out

    def alone_difference(self, method: str, name: str) -> Interval:
        """B − A of the quality of a model without a cascade, on a task or on `ALL`."""
        return self._difference(method, self.tasks if name == ALL else (name,), ALONE)[1]

    def line(self, name: str, method: str) -> Line:
        tasks = self.tasks if name == ALL else (name,)
        audc, alone = (self._difference(method, tasks, prefix) for prefix in ("", ALONE))
        curves = [
            [macro_average({t: own[method, seed, t].curve(run.rule) for t in tasks}, tasks) for seed in seeds]
            for run, own, seeds in zip(self.runs, self.cells, self.seeds[method], strict=True)
        ]
        quarter = tuple(float(np.mean([curve.quality_at(0.25) for curve in side])) for side in curves)
        return Line(name, method, *audc, *alone, quarter, tuple(self._s_d(i, method, tasks) for i in (0, 1)))

    def _s_d(self, side: int, method: str, tasks: Sequence[str]) -> float:
        """The mean over seeds of the ratio of averages over tasks, as in the report."""
        run, values = self.runs[side], []
        for seed in self.seeds[method][side]:
            own = [self.cells[side][method, seed, t] for t in tasks]
            curve = macro_average({t: c.curve(run.rule) for t, c in zip(tasks, own, strict=True)}, tasks)
            values.append(curve.s_d(float(np.mean([c.curve(cells.ORACLE).audc for c in own]))))
        return float(np.mean(values))

    def _difference(self, method: str, tasks: Sequence[str], prefix: str) -> tuple[tuple[float, float], Interval]:
        pooled = [self._pooled(side, method, tasks, prefix) for side in (0, 1)]
        both = AudcBootstrap(
            tuple(tasks), SIDES,
            np.concatenate([each.task_estimates for each in pooled], axis=1),
            np.concatenate([each.task_samples for each in pooled], axis=2),
        )  # fmt: skip
        a, b = both.estimates()
        return (float(a), float(b)), both.interval("B", versus="A")

    def _pooled(self, side: int, method: str, tasks: Sequence[str], prefix: str) -> AudcBootstrap:
        """Over seeds; runs with the same seeds draw the same ones, since these share their order of the data."""
        seeds = self.seeds[method]
        models = tuple(f"{prefix}{SIDES[side]}/{method}/{seed}" for seed in seeds[side])
        found = [self.samples[side][name] for name in tasks]
        estimates = np.array([[estimate[m] for m in models] for estimate, _ in found])
        samples = np.stack([np.stack([sample[m] for m in models], axis=1) for _, sample in found])
        first = AudcBootstrap(tuple(tasks), models, estimates, samples)
        draw = np.random.default_rng(DRAWS if seeds[0] == seeds[1] else [DRAWS, side])
        return pool_seeds(first, {method: models}, draw)


def _by_task(result: AudcBootstrap):
    """(task, (model → estimate, model → samples)) of each task."""
    for t, name in enumerate(result.tasks):
        estimates = dict(zip(result.methods, result.task_estimates[t], strict=True))
        yield name, (estimates, dict(zip(result.methods, result.task_samples[t].T, strict=True)))


COLUMNS = ("AUDC", "Δ AUDC", "alone", "Δ alone", "25% deferred", "s_d")


def show(found: Comparison, console: Console):
    """Prints the averages and the tasks, and what to know about them."""
    a, b = found.runs
    rule = a.rule if a.rule == b.rule else f"{a.rule} in A and {b.rule} in B"
    notes = (
        f"A {a.folder}, B {b.folder}. Quality × 100, A → B; Δ is B − A with its 95 % interval: bootstrap over examples "
        f"within tasks and over seeds, {RESAMPLES:,} resamples. alone: the small model without a cascade, and the "
        f"large one, which is one training in either run. Deferral by {rule}.",
        *found.notes,
        *dict.fromkeys(line for run in found.runs for line in few.sentences(run)),
    )
    averages = [line for line in found.lines if line.task == ALL]
    count = len(found.large) - 1
    title = f"Averages over {count} shared task{'s' * (count > 1)}"
    rows = [*(_cells(line.method, line) for line in averages), _large("large", found, ALL)]
    render.print_table(render.Table(title, ("method", *COLUMNS), tuple(rows), references=1), console)
    rows = []
    for name in list(found.large)[1:]:
        rows += [_cells(f"{name} {line.method}", line) for line in found.lines if line.task == name]
        rows.append(_large(f"{name} large", found, name))
    table = render.Table("Task by task", ("task, method", *COLUMNS), tuple(rows), notes=notes)
    render.print_table(table, console)


def _large(label: str, found: Comparison, name: str) -> tuple[str, ...]:
    return (label, "", "", _pair(found.large[name]), _difference(found.large_difference[name]), "", "")


def _cells(name: str, line: Line) -> tuple[str, ...]:
    s_d = " → ".join(render.number(value, 2) for value in line.s_d)
    audc, alone = (_difference(each) for each in (line.audc_difference, line.alone_difference))
    return (name, _pair(line.audc), audc, _pair(line.alone), alone, _pair(line.quarter), s_d)


def _pair(pair: tuple[float, float]) -> str:
    return " → ".join(render.number(100 * value) for value in pair)


def _difference(interval: Interval) -> str:
    estimate, low, high = (render.number(100 * value, 1, sign=True) for value in interval)
    return f"{estimate} [{low}, {high}]"
