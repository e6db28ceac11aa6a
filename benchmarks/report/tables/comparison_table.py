"""Tables of two sides that are compared, and the rows of `comparison.csv`."""

from benchmarks.report.numbers.comparison import ALL, LARGE, RESAMPLES, Comparison, Line
from benchmarks.report.tables.render import Table, number, with_interval

COLUMNS = ("AUDC", "Δ AUDC", "alone", "Δ alone", "25% deferred", "s_d")


def tables(found: Comparison) -> list[Table]:
    """The averages, then task by task, the last with what to know about both."""
    a, b = found.facts["sides"]
    rule = a["rule"] if a["rule"] == b["rule"] else f"{a['rule']} in A and {b['rule']} in B"
    large = "which is one training in either run" if a["runs"] == b["runs"] == 1 else "which is one training in a run"
    notes = (
        f"A {a['name']}, B {b['name']}. Quality × 100, A → B; Δ is B − A with its 95 % interval: bootstrap over "
        f"examples within tasks and over trainings, {RESAMPLES:,} resamples. alone: the small model without a cascade, "
        f"and the large one, {large}. Deferral by {rule}.",
        *found.notes,
    )
    count = len(found.large) - 1
    title = f"Averages over {count} shared task{'s' * (count > 1)}"
    rows = [*(_cells(line.method, line) for line in found.lines if line.task == ALL), _large("large", found, ALL)]
    averages = Table(title, ("method", *COLUMNS), tuple(rows), references=1)
    rows = []
    for name in list(found.large)[1:]:
        rows += [_cells(f"{name} {line.method}", line) for line in found.lines if line.task == name]
        rows.append(_large(f"{name} large", found, name))
    return [averages, Table("Task by task", ("task, method", *COLUMNS), tuple(rows), notes=notes)]


def records(found: Comparison) -> list[dict]:
    """One row per task or `ALL`, method or large model, and measure."""
    rows = [
        (line.task, line.method, name, pair, difference)
        for line in found.lines
        for name, pair, difference in (
            ("audc", line.audc, line.audc_difference), ("alone", line.alone, line.alone_difference),
            ("quality_at_25", line.quarter, None), ("s_d", line.s_d, None),
        )
    ]  # fmt: skip
    rows += [(name, LARGE, "alone", pair, found.large_difference[name]) for name, pair in found.large.items()]
    return [
        {"task": task, "method": method, "measure": measure, "a": pair[0], "b": pair[1]}
        | {"difference": pair[1] - pair[0]}
        | ({"low": interval.low, "high": interval.high} if interval else {"low": "", "high": ""})
        for task, method, measure, pair, interval in rows
    ]


def _large(label: str, found: Comparison, name: str) -> tuple[str, ...]:
    difference = with_interval(found.large_difference[name], digits=1)
    return (label, "", "", _pair(found.large[name]), difference, "", "")


def _cells(name: str, line: Line) -> tuple[str, ...]:
    s_d = " → ".join(number(value, 2) for value in line.s_d)
    audc, alone = (with_interval(each, digits=1) for each in (line.audc_difference, line.alone_difference))
    return (name, _pair(line.audc), audc, _pair(line.alone), alone, _pair(line.quarter), s_d)


def _pair(pair: tuple[float, float]) -> str:
    return " → ".join(number(100 * value) for value in pair)
