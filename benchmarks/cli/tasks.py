"""`list`, `show` and `prepare`: the registry and its data."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, SourceOption, console


def list_tasks(
    suite: Annotated[str, typer.Argument(help="Only this task, suite or cluster.")] = "all",
    data: DataOption = None,
):
    """List tasks, which sources have them on this machine, and the profiles that run them."""
    from rich.table import Table

    from benchmarks import sources, task

    table = Table("task", "suites", "cluster", "kind", "metric", "here", box=None)
    tasks = task.select([suite])
    for t in tasks:
        here = ", ".join(sources.available(t, data)) if hasattr(t.source, "open") else "generated"
        table.add_row(t.name, ", ".join(t.suites), t.cluster, t.kind, t.metric, here)
    screen = console()
    screen.print(table)
    # Not profile.names(), which loads pydantic: a list is quick.
    profiles = ", ".join(sorted(p.stem for p in (Path(__file__).parents[1] / "profiles").glob("*.toml")))
    screen.print(f"{len(tasks)} tasks. Profiles: {profiles}")


def show(
    task: str,
    data: DataOption = None,
    source: SourceOption = "local",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[int, typer.Option("-n", help="How many examples.")] = 3,
    template: Annotated[int, typer.Option(help="Which prompt template.")] = 0,
):
    """Print prompt and target of some examples of a task."""
    from benchmarks.run import show as display

    display(task, data, split, count, template, console(), source)


def prepare(
    tasks: Annotated[list[str], typer.Argument(help="Tasks, suites or clusters.")],
    out: Annotated[Path, typer.Option(help="Folder to write; --data of later runs.")],
    source: Annotated[str, typer.Option(help="tfds (downloads), or local to copy from --data.")] = "tfds",
    data: DataOption = None,
):
    """Download data sets once and write them as a local folder with checksums; the only command that uses a network."""
    from benchmarks import prepare as preparing
    from benchmarks import task

    manifest = preparing.prepare(task.select(tasks), source, out, data, report=typer.echo)
    typer.echo(f"Everything is in {out}/, checksums in {manifest}")
