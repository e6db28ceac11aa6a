"""The table of a grid of training settings, see `Profile.grid`: the best point of every method."""

from benchmarks.report.numbers import grids
from benchmarks.report.numbers.summary import Row, Summary
from benchmarks.report.tables.render import Table, number


def table(summary: Summary) -> Table | None:
    """The best point of every method, and its lead over the next best and over the worst; None without a grid."""
    lines = [_line(method, rows) for method, rows in grids.points(summary).items()]
    split = summary.run.manifest.get("settings", {}).get("data", {}).get("evaluate", "test")
    notes = (
        f"Answers to {split} data, {len(summary.run.seeds)} seed(s). The best of several is chosen with the numbers "
        "that judge it: its own AUDC is rather too high.",
        *(("A choice made on test data must not be judged on it.",) if split == "test" else ()),
    )
    columns = ("method", "points", "best", "AUDC", "to the next", "to the worst")
    return Table("The best point of the grid", columns, tuple(lines), notes=notes) if lines else None


def _line(method: str, rows: list[Row]) -> tuple[str, ...]:
    best, *others = rows
    leads = [number(100 * (best.audc.mean - row.audc.mean), 2, sign=True) for row in others] or [""]
    point = grids.split(best.name)[1]
    return (method, str(len(rows)), point, number(100 * best.audc.mean, 2), leads[0], leads[-1])
