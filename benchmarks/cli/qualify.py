"""`qualify`: which tasks of a run on validation data have room for a cascade."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption, console
from benchmarks.cli.results import RunArgument, _folder


def qualify(
    run: RunArgument,
    out: OutOption = Path("runs"),
    method: Annotated[str, typer.Option(help="Whose small model; of a grid its best point.")] = "xent",
    lead: Annotated[float, typer.Option(help="Of the large model, at least, in [-1, 1].")] = 0.08,
    auroc: Annotated[float, typer.Option(help="Of the small model's score, at least.")] = 0.65,
):
    """Name the tasks on which the large model is well ahead and the small one's confidence says something."""
    from benchmarks.report.numbers import grids, qualifying, summary
    from benchmarks.report.reading import load
    from benchmarks.report.tables.render import Table, number, print_table

    loaded = load.on_validation(_folder(run, out))
    numbers = summary.summarize(loaded)
    point = grids.best_point(numbers, method)
    rooms = qualifying.rooms(numbers, point, lead, auroc)
    rows = tuple(
        (r.task, number(100 * r.large), number(100 * r.small), number(100 * r.lead, sign=True), number(r.auroc, 2),
         "yes" if r.qualifies else "no")
        for r in rooms
    )  # fmt: skip
    notes = (f"Means over {len(loaded.complete_seeds(point))} seeds of {point}; qualities × 100, validation data.",)
    title = f"Lead of {100 * lead:g} points or more, and AUROC of {auroc:g} or more"
    print_table(Table(title, ("", "large", "small", "lead", "AUROC", "qualifies"), rows, notes=notes), console())
    chosen, others = ([r.task for r in rooms if r.qualifies is wanted] for wanted in (True, False))
    typer.echo(f"{len(chosen)} of {len(rooms)} tasks qualify: {', '.join(chosen) or 'none'}")
    if chosen and others:
        typer.echo("For the profile that asks about these alone, data.train_only = [" + _quoted(others) + "]")


def _quoted(names: list[str]) -> str:
    return ", ".join(f'"{name}"' for name in names)
