"""`reject`: which rule tells a run's own questions, and those it answers wrongly, from questions from elsewhere."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, OutOption, console
from benchmarks.cli.results import RunArgument, _folder


def reject(
    run: RunArgument = "embedded",
    elsewhere: Annotated[
        str, typer.Option(help="Comma-separated: tasks, other runs, or scrambled (own words in another order).")
    ] = "scrambled",
    out: OutOption = Path("runs"),
    data: DataOption = None,
    methods: Annotated[str, typer.Option(help="Comma-separated; by default all of the run.")] = "",
    seeds: Annotated[int, typer.Option(help="How many of its seeds; 0 for all.")] = 0,
    share: Annotated[float, typer.Option(help="Share of the questions that are from elsewhere.")] = 0.3,
    c_fn: Annotated[float, typer.Option(help="Weight of keeping what is from elsewhere.")] = 0.75,
    deferral: Annotated[float, typer.Option(help="Share of the questions that the large model answers.")] = 0.0,
):
    """Mix questions from elsewhere into a finished run's traffic, and compare rules that say which to reject."""
    from benchmarks.cli.run import framework_noise_to
    from benchmarks.running import rejecting
    from benchmarks.running.progress import Progress

    folder = _folder(run, out)
    places, names = ([part for part in text.split(",") if part] for text in (elsewhere, methods))
    with framework_noise_to(out / "log.txt"), Progress(console()) as progress:
        rows = rejecting.evaluate(
            folder, out / "cache", progress, places, names, seeds, share, c_fn, deferral, data, out
        )
    from benchmarks.report.numbers import rejecting as numbers
    from benchmarks.report.plots import rejection
    from benchmarks.report.reading import analysis
    from benchmarks.report.tables import rejection_table, render
    from cat_keras.storage import store

    standings = numbers.standings(rows)
    contents = {rejecting.FILE: analysis.to_parquet(rows), **rejection.figure(standings, rows["method"][0].as_py())}
    contents["rejection.csv"] = render.csv_bytes(rejection_table.records(standings))
    contents["rejection_curves.csv"] = render.csv_bytes(rejection_table.curve_records(standings))
    for name, content in contents.items():
        store.write_bytes(folder / name, content)
    for table in rejection_table.tables(standings, numbers.facts(rows)):
        render.print_table(table, console())
    typer.echo(f"{len(rows):,} answers in {folder / rejecting.FILE}; the curves: {folder / 'rejection.png'}")
