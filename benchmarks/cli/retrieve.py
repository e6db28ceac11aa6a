"""`retrieve`: small retrievers taught by a large one, and reranking as a cascade."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, OutOption, console


def retrieve(
    profile: Annotated[str, typer.Argument(help="Name of a retrieval profile, or path of a TOML file.")] = "squad",
    data: DataOption = None,
    out: OutOption = Path("runs"),
    seeds: Annotated[int, typer.Option(help="How many seeds, 0 … n−1, instead of the profile's.")] = 0,
    rungs: Annotated[str, typer.Option(help="Comma-separated students instead of the profile's.")] = "",
    set: Annotated[list[str] | None, typer.Option(help="Any profile key, e.g. --set data.test=500.")] = None,
):
    """Train bi-encoders by EmbedDistill, step by step, and judge them, reranking included."""
    from benchmarks.cli.run import framework_noise_to, resumable
    from benchmarks.planning.profile import parse_change
    from benchmarks.report.tables import render
    from benchmarks.retrieving import profile as profiles

    changes = dict(parse_change(change) for change in set or [])
    changes |= {"seeds": list(range(seeds))} if seeds else {}
    changes |= {"rungs": [name for name in rungs.split(",") if name]} if rungs else {}
    chosen = profiles.read(profile, changes)
    with resumable(), framework_noise_to(out / "log.txt"):
        from benchmarks.retrieving import run
        from benchmarks.running.progress import Progress

        with Progress(console()) as progress:
            folder, tables = run.run(chosen, data, out, progress)
    for table in tables:
        render.print_table(table, console())
    typer.echo(f"The tables: {folder / 'table.md'}; the figure: {folder / 'retrieval.png'}; all files: {folder}/")
