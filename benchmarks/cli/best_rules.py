"""`best-rules`: every method by the deferral rules that are best for it on validation data."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption, console
from benchmarks.cli.results import RunArgument, _folder


def best_rules(
    validation: RunArgument,
    against: Annotated[str, typer.Option(help="A run on test data of the same tasks, which judges.")],
    to: Annotated[Path | None, typer.Option(help="Keep the judgement in this folder.")] = None,
    out: OutOption = Path("runs"),
):
    """Give every method the rules that are best for it on validation data, and compare them on test data."""
    from benchmarks.keeping import analyses
    from benchmarks.report.numbers import best_rules, summary
    from benchmarks.report.reading import analysis, load
    from benchmarks.report.tables import best_rules_table
    from benchmarks.report.tables.render import print_table

    chooser, judge = load.on_validation(_folder(validation, out)), load.load(_folder(against, out))
    facts = {"validation": str(chooser.folder), "test": str(judge.folder)}
    rows = best_rules.rows(summary.summarize(chooser), summary.summarize(judge), facts)
    print_table(best_rules_table.table(best_rules.standings(rows), analysis.facts(rows)), console())
    if to:
        typer.echo(f"Kept in {analyses.keep(rows, 'best-rules', to)}/")
