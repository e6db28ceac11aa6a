"""A grid of training settings, see `Profile.grid`: which method and which point of the grid a name of a run means."""

import math

from benchmarks.planning.methods import SEPARATOR
from benchmarks.report.numbers.summary import Row, Summary
from cat_keras.errors import CatKerasError, unknown_name


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


def best_point(summary: Summary, method: str) -> str:
    """The name of one objective in a run, at the point of a grid with the largest area where there are several.

    Raises:
        CatKerasError: the run does not have it.
    """
    return max(_names(summary, method), key=lambda name: summary.row(name).audc.mean)


def only_point(summary: Summary, method: str) -> str:
    """The name of one objective in a run on test data, where no point of a grid is chosen.

    Raises:
        CatKerasError: the run does not have it, or has several points of it.
    """
    first, *others = _names(summary, method)
    if others:
        raise CatKerasError(
            f"One point of {method} is judged, as none is chosen on test data. Received: {summary.run.folder}, "
            f"which has {', '.join([first, *others])}"
        )
    return first


def _names(summary: Summary, method: str) -> list[str]:
    names = [name for name in summary.run.methods if split(name)[0] == method]
    if not names:
        raise unknown_name("method of the run", method, [*dict.fromkeys(split(n)[0] for n in summary.run.methods)])
    return names
