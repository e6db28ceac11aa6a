"""What a grid of training settings says: for every method the point that did best, see `Profile.grid`."""

from benchmarks.report.numbers import grids
from benchmarks.report.numbers.summary import Row, Summary
from benchmarks.report.tables.render import Table, number


def table(summary: Summary) -> Table | None:
    """The best point of every method, how far it is ahead of its next and of its worst; None without a grid."""
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
    best, others = rows[0], rows[1:]
    ahead = [100 * (best.audc.mean - row.audc.mean) for row in others]
    gaps = (number(ahead[0], 2, sign=True), number(ahead[-1], 2, sign=True)) if ahead else ("", "")
    return (method, str(len(rows)), grids.split(best.name)[1], number(100 * best.audc.mean, 2), *gaps)
