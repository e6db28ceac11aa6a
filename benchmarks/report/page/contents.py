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
from benchmarks.report.tables import breakdown, change_tables, grid_table, main_tables, render, rule_tables, wording


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
        return self._worded([main_tables.main_table(self.numbers, detail=True)])[0]

    @cached_property
    def further(self) -> list[render.Table]:
        """Every table but the main one."""
        numbers = self.numbers
        found = [grid_table.table(numbers), *change_tables.every_table(self.changes)]
        found += [main_tables.task_table(numbers, self.rows), main_tables.official_table(numbers, self.rows)]
        found += breakdown.every_table(numbers, self.curves, self.averages, per_task.comparisons(numbers))
        found += [*rule_tables.every_table(numbers), main_tables.strata_table(numbers)]
        return self._worded([table for table in found if table])

    def _worded(self, tables: list[render.Table]) -> list[render.Table]:
        return list(map(wording.table, tables)) if self.run.imported else tables

    def files(self) -> dict[str, bytes]:
        """File name → content, without a trace of when or where it was made."""
        numbers = self.numbers
        drawn = drawing.files(numbers, self.curves, self.averages, self.tasks, self.training)
        return {
            "table.csv": self._csv(main_tables.main_records(numbers)),
            "tasks.csv": self._csv(self.rows),
            "changes.csv": self._csv(self.changes.records()),
            "rules.csv": self._csv(rule_tables.rule_records(numbers)),
            **drawn,
            "report.html": self.page(),
            "table.md": self._markdown([name for name in drawn if name.endswith(".png")]),
        }

    def _csv(self, records) -> bytes:
        return render.csv_bytes([wording.record(each) for each in records] if self.run.imported else records)

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
        drawn = data.charts(self.numbers, self.curves, every, self.training, share)
        return {
            "name": self.run.manifest["profile"],
            "facts": self._facts(),
            "trained": not self.run.imported,
            "warnings": self.warnings,
            "main": self.main,
            "tables": self.further,
            "data": wording.charts(drawn) if self.run.imported else drawn,
        }

    def _facts(self) -> list[str]:
        run, manifest = self.run, self.run.manifest
        examples = sum(len(run.examples[name]) for name in run.tasks)
        facts = [_count(len(run.methods), "method"), _count(len(run.tasks), "task"), f"{examples:,} test examples"]
        facts += [_count(len(run.seeds), "seed"), f"deferral by {run.rule}"]
        packages = manifest.get("packages") or {}
        facts += [manifest["hardware"]] if manifest.get("hardware") else []
        facts = list(map(wording.text, facts)) if run.imported else facts
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
        for table in self._worded(list(filter(None, shown))):
            render.print_table(table, console)
        for line in self.warnings:
            console.print(Text(f"Warning: {line}", "yellow"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
