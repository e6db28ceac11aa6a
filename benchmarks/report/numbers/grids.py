"""A grid of training settings, see `Profile.grid`: which method and which point of the grid a name of a run means."""

import math

from benchmarks.planning.methods import SEPARATOR
from benchmarks.report.numbers.summary import Row, Summary


def split(name: str) -> tuple[str, str]:
    """(method, point) of a name; the point is "" where the name is not of a grid."""
    method, _, point = name.partition(SEPARATOR)
    return method, point


def points(summary: Summary) -> dict[str, list[Row]]:
    """Method → its rows that have an AUDC, one per point of the grid, best first; empty without a grid."""
    by_method: dict[str, list[Row]] = {}
    for row in summary.rows:
        method, point = split(row.name)
        if point and not math.isnan(row.audc.mean):
            by_method.setdefault(method, []).append(row)
    return {method: sorted(rows, key=lambda row: -row.audc.mean) for method, rows in by_method.items()}
