"""Tables of what a mask is expected to gain on tasks and whether that came true, and the rows of `forecast.csv`."""

from collections.abc import Mapping, Sequence

from benchmarks.report.numbers.forecasting import METHOD, VERSUS, Forecast, Judgement
from benchmarks.report.tables.render import Table, csv_bytes, number, text, with_interval
from cat_keras.evaluation.bootstrap import Interval

NAMES = {"headroom": "headroom", "live": "live", "auroc": "AUROC"}
_NOTE = (
    "headroom (large minus small alone, × 100) and AUROC of the small model's score are of validation data, live "
    "(share of target tokens) of training; intervals are of 95 %, over examples and seeds."
)


def files(judgement: Judgement, facts: Mapping) -> dict[str, bytes]:
    """`forecast.csv`, and the table as `table.md`."""
    return {"forecast.csv": csv_bytes(records(judgement)), "table.md": text([judged(judgement, facts)])}


def records(judgement: Judgement) -> list[dict]:
    """One row per task; below them the correlations, with the share of signs that came true as `right`."""
    tasks = [
        {"task": f.task, **f.measured}
        | _ends("expected", Interval.of_defined(f.expected))
        | _ends("found", Interval.of_defined(f.found))
        | {"right": int(f.right)}
        for f in judgement.forecasts
    ]
    nothing = dict.fromkeys(list(tasks[0])[1:], "")
    correlations = {"over tasks": judgement.correlation, "of these tasks": judgement.correlation_of_these}
    return tasks + [
        {"task": f"rank correlation, {name}"} | nothing | _ends("found", interval) | {"right": judgement.signs}
        for name, interval in correlations.items()
    ]


def forecasts(found: Sequence[Forecast], source: str, beyond: Mapping[str, Sequence[str]]) -> Table:
    """What is expected of tasks on which nobody has looked yet.

    Args:
        source: where the rule comes from. beyond: see `forecasting.beyond`.
    """
    rows = tuple((f.task, *_measured(f), with_interval(Interval.of_defined(f.expected))) for f in found)
    return Table(_title(source), ("", *NAMES.values(), "expected"), rows, notes=(_NOTE, *_beyond(beyond)))


def judged(judgement: Judgement, facts: Mapping) -> Table:
    """The same with what was found, and how well the two agree."""
    rows = tuple(
        (f.task, *_measured(f), *(with_interval(Interval.of_defined(v)) for v in (f.expected, f.found)))
        for f in judgement.forecasts
    )
    over, of_these = (with_interval(i, scale=1) for i in (judgement.correlation, judgement.correlation_of_these))
    count = len(judgement.forecasts)
    undefined = f" Left out, as an AUROC is not defined: {', '.join(facts['undefined'])}." if facts["undefined"] else ""
    notes = (
        _NOTE,
        *_beyond(facts["beyond"]),
        f"found: on test data, {facts['test']}. Rank correlation of expected and found: {over} over tasks, examples "
        f"and seeds; {of_these} of these tasks as they are. The sign came true on {round(count * judgement.signs)} of "
        f"{count}.{undefined}",
    )
    return Table(_title(facts["sweep"]), ("", *NAMES.values(), "expected", "found"), rows, notes=notes)


def _beyond(beyond: Mapping[str, Sequence[str]]) -> Sequence[str]:
    """A warning of what the points of the sweep say nothing about."""
    parts = [f"{NAMES[name]} of {', '.join(tasks)}" for name, tasks in beyond.items()]
    warning = f"Outside of what the points of the sweep have, so less to be trusted: {'; '.join(parts)}."
    return [warning] if parts else []


def _title(source: str) -> str:
    return f"Δ AUDC × 100 of {METHOD} to {VERSUS}, by the rule of thumb of {source}"


def _measured(forecast: Forecast) -> tuple[str, ...]:
    measured = forecast.measured
    return (
        number(100 * measured["headroom"], sign=True), number(measured["live"], 2), number(measured["auroc"], 2)
    )  # fmt: skip


def _ends(name: str, interval: Interval) -> dict[str, float]:
    return dict(zip((name, f"{name}_low", f"{name}_high"), interval, strict=True))
