"""The report of one run from the first number to the last file; the place to see what a report consists of."""

from collections.abc import Mapping
from dataclasses import replace
from functools import cached_property

from rich.console import Console
from rich.text import Text

from benchmarks.report.numbers import (
    alignment,
    cautions,
    chains,
    costs,
    elastic,
    per_task,
    routing,
    scopes,
    summary,
    training,
)
from benchmarks.report.numbers.changes import Changes
from benchmarks.report.page import html
from benchmarks.report.page.html import data
from benchmarks.report.reading.load import Run
from benchmarks.report.tables import (
    alignment_table,
    asking_table,
    breakdown_tables,
    chain_tables,
    change_tables,
    elastic_table,
    grid_table,
    main_tables,
    render,
    routing_tables,
    rule_tables,
    verdict,
    wording,
)


class Contents:
    """What the report of a run shows: its numbers, then the tables made of them, then the forms that show the tables.

    The forms are `files`, which holds `page`; `section`, for a page of several runs; and `print`.

    Args:
        run: the run. prices: of tokens, where the user gave them; else those of the profile.
    """

    # The numbers.

    def __init__(self, run: Run, prices: costs.Prices | None = None):
        self.run = run
        self.numbers = summary.summarize(run)
        self.curves = scopes.Curves(self.numbers, prices or costs.of_profile(run))
        self.averages, self.single_tasks = scopes.averages(self.numbers), scopes.single(run)
        self.changes = Changes(self.numbers, self.averages)
        self.rows = per_task.records(self.numbers)
        self.warnings = cautions.sentences(self.numbers)
        self.training = training.live(run)
        self.aligned = alignment.by_method(run)
        self.dial = elastic.dial(self.numbers)
        self.routing = routing.compare(self.numbers)
        self.chains = chains.compare(self.numbers)

    # The tables.

    @cached_property
    def main(self) -> render.Table:
        """The table of all methods, with which a report begins."""
        return self._worded(main_tables.main_table(self.numbers, detail=True))

    @cached_property
    def further(self) -> list[render.Table]:
        """All other tables, in the order of the report; those that the run has no numbers for are left out."""
        numbers = self.numbers
        tables = [
            grid_table.table(numbers),
            elastic_table.table(self.dial),
            chain_tables.table(numbers, self.chains),
            *routing_tables.every_table(numbers, self.routing),
            *change_tables.every_table(self.changes),
            main_tables.task_table(numbers, self.rows),
            main_tables.official_table(numbers, self.rows),
            *breakdown_tables.every_table(numbers, self.curves, self.averages, per_task.comparisons(numbers)),
            *rule_tables.every_table(numbers),
            asking_table.table(numbers),
            main_tables.strata_table(numbers),
            alignment_table.table(self.aligned),
        ]
        return [self._worded(table) for table in tables if table]

    def _worded(self, table: render.Table) -> render.Table:
        return wording.table(table) if self.run.imported else table

    # The forms.

    def files(self, drawn: bool = True) -> dict[str, bytes]:
        """File name → content, without a trace of when or where it was made.

        Args:
            drawn: also plots and the HTML page; without them `table.md` shows no images.
        """
        numbers, plots, images = self.numbers, {}, {}
        if drawn:
            from benchmarks.report.plots import drawing  # late: it brings matplotlib, which the tables do without

            further = (self.chains, self.dial, lambda: self.further)
            plots = drawing.files(numbers, self.curves, self.averages, self.single_tasks, self.training, *further)
            pictures = [name for name in plots if name.endswith(".png")]
            images = {name: drawing.TITLES[name.removesuffix(".png")] for name in pictures}
            plots["report.html"] = self.page()
        return {
            "table.csv": self._csv(main_tables.main_records(numbers)),
            "tasks.csv": self._csv(self.rows),
            "changes.csv": self._csv(self.changes.records()),
            "rules.csv": self._csv(rule_tables.rule_records(numbers)),
            **({"alignment.csv": self._csv(alignment_table.records(self.aligned))} if self.aligned else {}),
            **({"elastic.csv": self._csv(elastic_table.records(self.dial))} if self.dial else {}),
            **self._chains_csv(),
            **self._routing_csv(),
            **self._asking_csv(),
            **plots,
            "table.md": self._markdown(images),
        }

    def _chains_csv(self) -> dict[str, bytes]:
        if self.chains is None or not self.chains.standings:
            return {}
        rows = {"chains": chain_tables.records(self.chains), "chain_curves": chain_tables.curve_records(self.chains)}
        return {f"{name}.csv": self._csv(records) for name, records in rows.items()}

    def _routing_csv(self) -> dict[str, bytes]:
        rows = routing_tables.records(self.numbers, self.routing)
        return {"routing.csv": self._csv(rows)} if rows else {}

    def _asking_csv(self) -> dict[str, bytes]:
        rows = list(asking_table.records(self.numbers))
        return {"asking.csv": self._csv(rows)} if rows else {}

    def _csv(self, records) -> bytes:
        return render.csv_bytes([wording.record(each) for each in records] if self.run.imported else records)

    def _markdown(self, images: Mapping[str, str]) -> bytes:
        parts = [f"# Report of the run {self.run.manifest['profile']}", ""]
        if self.warnings:
            parts += ["## Warnings", "", *(f"- {line}" for line in self.warnings), ""]
        parts += [render.markdown(table) for table in (self.main, *self.further)]
        for name, title in images.items():
            parts += [f"![{title}]({name})", ""]
        return "\n".join(parts).encode()

    def page(self) -> bytes:
        """`report.html`."""
        return html.page(f"Report of the run {self.run.manifest['profile']}", [self.section()])

    def section(self, share: int = 1) -> dict:
        """The run's section of a page, as `html.page` takes it; `share`: how many runs share the page."""
        charts = data.charts(self.numbers, self.curves, [*self.averages, *self.single_tasks], self.training, share)
        return {
            "name": self.run.manifest["profile"],
            "facts": self._facts(),
            "trained": not self.run.imported,
            "warnings": self.warnings,
            "main": self.main,
            "tables": self.further,
            "data": wording.charts(charts) if self.run.imported else charts,
        }

    def _facts(self) -> list[str]:
        """What the section's first line says of the run: its size, its rule, its hardware and its packages."""
        run, manifest = self.run, self.run.manifest
        examples = sum(len(run.examples[name]) for name in run.tasks)
        facts = [_count(len(run.methods), "method"), _count(len(run.tasks), "task"), f"{examples:,} test examples"]
        facts += [_count(len(run.seeds), "seed"), f"deferral by {run.rule}"]
        if self.routing.reason:
            facts.append(f"routing was not judged: {self.routing.reason}")
        if manifest.get("hardware"):
            facts.append(manifest["hardware"])
        facts = list(map(wording.text, facts)) if run.imported else facts
        packages = manifest.get("packages") or {}
        return facts + [f"{name} {version}" for name, version in sorted(packages.items())]

    def print(self, console: Console, verbose: bool = False):
        """Prints the short form, one screen: the main table, what it says in sentences, and the gravest warning.

        Args:
            verbose: all tables with their notes, and all warnings.
        """
        main = self._worded(main_tables.main_table(self.numbers, detail=False))
        screen = replace(main, notes=()).fitted(console.width)[:1]  # what does not fit beside it is in the report
        longer = chain_tables.table(self.numbers, self.chains)
        if longer:  # of a longer cascade the main table shows two models alone
            screen = replace(longer, notes=()).fitted(console.width)
        for table in [main, *self.further] if verbose else screen:
            render.print_table(table, console)
        lines = [*verdict.sentences(self.changes), routing_tables.sentence(self.numbers, self.routing)]
        for line in [chain_tables.sentence(self.chains)] if self.chains else lines:
            console.print(Text(line))
        warnings = self.warnings if verbose else self.warnings[:1]
        for line in warnings:
            console.print(Text(f"Warning: {line}", "yellow"))
        if rest := len(self.warnings) - len(warnings):
            console.print(Text(f"{_count(rest, 'more warning')} in the report.", "yellow"))


def _count(number: int, noun: str) -> str:
    return f"{number} {noun}{'s' * (number != 1)}"
