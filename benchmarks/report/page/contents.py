"""All that the report of one run shows, computed once and laid out for every form it takes."""

from functools import cached_property

from rich.console import Console
from rich.text import Text

from benchmarks.report.numbers import cautions, costs, per_task, scopes, summary, training
from benchmarks.report.numbers.changes import Changes
from benchmarks.report.page import html
from benchmarks.report.page.html import data
from benchmarks.report.plots import drawing
from benchmarks.report.reading.load import Run
from benchmarks.report.tables import breakdown, change_tables, grid_table, main_tables, render, rule_tables


class Contents:
    """The numbers of a report.

    Args:
        run: the run. prices: of tokens, where the user gave them.
    """

    def __init__(self, run: Run, prices: costs.Prices | None = None):
        self.run = run
        self.numbers = summary.summarize(run)
        self.curves = scopes.Curves(self.numbers, prices)
        self.averages, self.tasks = scopes.averages(self.numbers), scopes.single(run)
        self.changes = Changes(self.numbers, self.averages)
        self.rows = per_task.records(self.numbers)
        self.warnings = cautions.sentences(self.numbers)
        self.training = training.live(run)

    @cached_property
    def main(self) -> render.Table:
        return main_tables.main_table(self.numbers, detail=True)

    @cached_property
    def further(self) -> list[render.Table]:
        """Every table but the main one."""
        numbers = self.numbers
        found = [grid_table.table(numbers), *change_tables.every_table(self.changes)]
        found += [main_tables.task_table(numbers, self.rows), main_tables.official_table(numbers, self.rows)]
        found += breakdown.every_table(numbers, self.curves, self.averages, per_task.comparisons(numbers))
        found += [*rule_tables.every_table(numbers), main_tables.strata_table(numbers)]
        return [table for table in found if table]

    def files(self) -> dict[str, bytes]:
        """File name → content, without a trace of when or where it was made."""
        numbers = self.numbers
        drawn = drawing.files(numbers, self.curves, self.averages, self.tasks, self.training)
        return {
            "table.csv": render.csv_bytes(main_tables.main_records(numbers)),
            "tasks.csv": render.csv_bytes(self.rows),
            "changes.csv": render.csv_bytes(self.changes.records()),
            "rules.csv": render.csv_bytes(rule_tables.rule_records(numbers)),
            **drawn,
            "report.html": self.page(),
            "table.md": self._markdown([name for name in drawn if name.endswith(".png")]),
        }

    def _markdown(self, images: list[str]) -> bytes:
        parts = [f"# Report of the run {self.run.manifest['profile']}", ""]
        if self.warnings:
            parts += ["## Warnings", "", *(f"- {line}" for line in self.warnings), ""]
        parts += [render.markdown(table) for table in (self.main, *self.further)]
        for name in images:
            parts += [f"![{drawing.TITLES[name.removesuffix('.png')]}]({name})", ""]
        return "\n".join(parts).encode()

    def page(self) -> bytes:
        """`report.html`."""
        return html.page(f"Report of the run {self.run.manifest['profile']}", [self.section()])

    def section(self, share: int = 1) -> dict:
        """What `html.page` takes; `share`: how many runs the page holds."""
        every = [*self.averages, *self.tasks]
        return {
            "name": self.run.manifest["profile"],
            "facts": self._facts(),
            "trained": not self.run.imported,
            "warnings": self.warnings,
            "main": self.main,
            "tables": self.further,
            "data": data.charts(self.numbers, self.curves, every, self.training, share),
        }

    def _facts(self) -> list[str]:
        run, manifest = self.run, self.run.manifest
        examples = sum(len(run.examples[name]) for name in run.tasks)
        facts = [_count(len(run.methods), "method"), _count(len(run.tasks), "task"), f"{examples:,} test examples"]
        facts += [_count(len(run.seeds), "seed"), f"deferral by {run.rule}"]
        packages = manifest.get("packages") or {}
        facts += [manifest["hardware"]] if manifest.get("hardware") else []
        return facts + [f"{name} {number}" for name, number in sorted(packages.items())]

    def print(self, console: Console):
        """The short form."""
        numbers = self.numbers
        shown = [
            main_tables.main_table(numbers, detail=False),
            main_tables.task_table(numbers, self.rows),
            rule_tables.rules_table(numbers),
            rule_tables.winners_table(numbers),
            main_tables.strata_table(numbers),
        ]
        for table in filter(None, shown):
            render.print_table(table, console)
        for line in self.warnings:
            console.print(Text(f"Warning: {line}", "yellow"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
