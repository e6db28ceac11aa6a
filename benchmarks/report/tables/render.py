"""A table of text, printed on the console or written as Markdown; numbers as text; and records as CSV for programs."""

import csv
import io
import math
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace

from rich import box
from rich.console import Console
from rich.table import Table as RichTable
from rich.text import Text

NOTHING = "–"  # in place of a number that is not defined
GAP = 2  # blanks between columns on the console


@dataclass(frozen=True)
class Table:
    """Cells as text.

    Attributes:
        title: above it. columns: headers, which may have two lines; the first column is the name of the row.
        rows: one tuple per row. references: how many of the last rows are references, set apart by a line.
        notes: below it, one line each.
    """

    title: str
    columns: tuple[str, ...]
    rows: tuple[tuple[str, ...], ...]
    references: int = 0
    notes: tuple[str, ...] = ()

    def fitted(self, width: int) -> list["Table"]:
        """The table, cut between columns into parts of at most `width` characters; each repeats the first column."""
        headers = [max(header.split("\n"), key=len) for header in self.columns]  # the longest line of each
        widths = [max(len(cell) for cell in column) for column in zip(headers, *self.rows, strict=True)]
        parts: list[list[int]] = [[]]
        for i in range(1, len(widths)):
            if parts[-1] and widths[0] + sum(widths[j] + GAP for j in (*parts[-1], i)) > width:
                parts.append([])
            parts[-1].append(i)
        tables = [self._part(columns) for columns in parts]
        tables = [tables[0], *(replace(table, title=f"{self.title} (continued)") for table in tables[1:])]
        return [replace(table, notes=()) for table in tables[:-1]] + tables[-1:]

    def _part(self, columns: Sequence[int]) -> "Table":
        """The first column and those at the given places; references whose cells are all empty there are left out."""
        first_reference = len(self.rows) - self.references
        rows = [(i, (row[0], *(row[j] for j in columns))) for i, row in enumerate(self.rows)]
        rows = [(i, row) for i, row in rows if i < first_reference or any(row[1:])]
        return replace(
            self,
            columns=tuple(self.columns[j] for j in (0, *columns)),
            rows=tuple(row for _, row in rows),
            references=sum(i >= first_reference for i, _ in rows),
        )


def number(value: float, digits: int = 1, sd: float = math.nan, sign: bool = False) -> str:
    """`61.2`, or `61.2 ±0.4` where a standard deviation is known."""
    if value is None or math.isnan(value):
        return NOTHING
    text = f"{value:{'+' if sign else ''}.{digits}f}"
    return text if math.isnan(sd) else f"{text} ±{sd:.{digits}f}"


def signed(value: float, digits: int = 2) -> str:
    """A difference: `+0.26`, `+0.00` where it rounds to zero from either side, `+∞` or `-∞` where it is infinite."""
    if math.isinf(value):
        return "+∞" if value > 0 else "-∞"
    return number(round(value, digits) + 0.0, digits, sign=True)  # the sum turns -0.0 into 0.0


def with_interval(values: Sequence[float], scale: float = 100, digits: int = 2) -> str:
    """`+0.26 [-0.37, +0.94]` of (estimate, low, high), times `scale`; a dash where the interval is NaN."""
    if math.isnan(values[1]):
        return NOTHING
    estimate, low, high = (signed(scale * value, digits) for value in values)
    return f"{'not reached' if math.isnan(values[0]) else estimate} [{low}, {high}]"


def print_table(table: Table, console: Console):
    """The table and its notes, in as many parts as the console's width takes."""
    for part in table.fitted(console.width):
        console.print(Text(part.title, "bold"))
        console.print(_rich(part))
    for note in table.notes:
        console.print(Text(note, "dim"))
    console.print()


def _rich(table: Table) -> RichTable:
    # Of the gap between columns, one blank is the divider of the box and the rest is padding.
    out = RichTable(box=box.SIMPLE_HEAD, show_edge=False, pad_edge=False, padding=(0, GAP - 1, 0, 0))
    for i, name in enumerate(table.columns):
        out.add_column(Text(name), justify="right" if i else "left", no_wrap=True)
    for i, row in enumerate(table.rows):
        if i == len(table.rows) - table.references:
            out.add_section()
        out.add_row(*map(Text, row))
    return out


def markdown(table: Table) -> str:
    """The table with its title and notes as Markdown."""

    def line(cells):
        return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"

    rule = "|" + "|".join("---:" if i else ":---" for i in range(len(table.columns))) + "|"
    rows = [line(table.columns), rule, *map(line, table.rows)]
    notes = [f"- {note}" for note in table.notes]
    return "\n".join([f"## {table.title}", "", *rows, *([""] if notes else []), *notes, ""])


def text(tables: Iterable[Table]) -> bytes:
    """Several tables as one file of Markdown."""
    return "\n".join(map(markdown, tables)).encode()


def csv_bytes(records: Iterable[Mapping[str, object]]) -> bytes:
    """Records as CSV under the union of their keys; numbers with 6 significant digits, NaN and None empty."""
    records = list(records)
    columns = list(dict.fromkeys(key for record in records for key in record))
    out = io.StringIO()
    writer = csv.writer(out, lineterminator="\n")
    writer.writerow(columns)
    writer.writerows([_plain(record.get(key)) for key in columns] for record in records)
    return out.getvalue().encode()


def _plain(value) -> str:
    if isinstance(value, float):  # numpy's float64 too
        return "" if math.isnan(value) else f"{round(value, 12):.6g}"  # 1e-16 is the rounding of a sum
    return "" if value is None else str(value)
