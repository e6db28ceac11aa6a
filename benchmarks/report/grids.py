"""What a grid of training settings says: for every method the point that did best, see `Profile.grid`."""

import math

from benchmarks.methods import SEPARATOR
from benchmarks.report.render import Table, number
from benchmarks.report.summary import Row, Summary


def split(name: str) -> tuple[str, str]:
    """(method, point) of a name; no point where it is not of a grid."""
    method, _, point = name.partition(SEPARATOR)
    return method, point


def points(summary: Summary) -> dict[str, list[Row]]:
    """Method → its rows that have an AUDC, one per point of the grid, best first; empty without a grid."""
    found: dict[str, list[Row]] = {}
    for row in summary.rows:
        method, point = split(row.name)
        if point and not math.isnan(row.audc.mean):
            found.setdefault(method, []).append(row)
    return {method: sorted(rows, key=lambda row: -row.audc.mean) for method, rows in found.items()}


def table(summary: Summary) -> Table | None:
    """The best point of every method, how far it is ahead of its next and of its worst; None without a grid."""
    lines = [_line(method, rows) for method, rows in points(summary).items()]
    split = summary.run.manifest.get("settings", {}).get("data", {}).get("evaluate", "test")
    notes = (
        f"Answers to {split} data, {len(summary.run.seeds)} seed(s). The best of several is chosen with the numbers "
        "that judge it: its own AUDC is rather too high.",
        *(("A choice made on test data must not be judged on it.",) if split == "test" else ()),
    )
    columns = ("method", "points", "best", "AUDC", "to the next", "to the worst")
    return Table("The best point of the grid", columns, tuple(lines), notes=notes) if lines else None


def _line(method: str, rows: list[Row]) -> tuple[str, ...]:
    best, others = rows[0], rows[1:]
    ahead = [100 * (best.audc.mean - row.audc.mean) for row in others]
    gaps = (number(ahead[0], 2, sign=True), number(ahead[-1], 2, sign=True)) if ahead else ("", "")
    return (method, str(len(rows)), split(best.name)[1], number(100 * best.audc.mean, 2), *gaps)
