"""`sweep`: a grid of profiles, point by point."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, OutOption, console
from benchmarks.cli.run import framework_noise_to, resumable
from cat_keras.errors import check_number


def sweep(
    name: Annotated[str, typer.Argument(help="Name of a sweep, or path of a TOML file with axes.")],
    data: DataOption = None,
    out: OutOption = Path("runs"),
    hours: Annotated[float, typer.Option(help="Begin no point after so many hours; 0 for no limit.")] = 0.0,
    shard: Annotated[str, typer.Option(help="i/n: the i-th of n shares of the points, for several processes.")] = "",
    set: Annotated[list[str] | None, typer.Option(help="Any profile key, at all points: data.test=100.")] = None,
    to: Annotated[
        Path | None, typer.Option(help="Also keep what is there; what was kept before is not made again.")
    ] = None,
    hardware: Annotated[str, typer.Option(help="What a dry run estimates for; measure is this machine.")] = "cpu2",
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Say how many trainings it takes; build nothing.")] = False,
):
    """Run every point of a grid of profiles that is not there yet, and compare methods over all of them."""
    from benchmarks.planning import profile as profiles
    from benchmarks.planning import sweep as sweeps

    check_number("--hours", hours, "[0, 10000]")
    chosen = sweeps.read(name, dict(profiles.parse_change(c) for c in set or []))
    share = sweeps.share_of(shard) if shard else (0, 1)
    if dry_run:
        from benchmarks.planning import dryrun

        with framework_noise_to(None):
            dryrun.show_sweep(chosen, data, out, console(), hardware)
        return
    from benchmarks.keeping import analyses
    from benchmarks.running import sweeping

    with resumable(), framework_noise_to(out / "log.txt"):
        if to and (to / "manifest.json").is_file():
            sweeping.restore(chosen, analyses.read_as("sweep", to), out)
        left = sweeping.make(chosen, out, console(), data, hours, share)
    finished = len(chosen.points) - left
    if finished:
        _show(sweeping.rows(chosen, out), to)
    typer.echo(f"{finished} of {len(chosen.points)} points are there" + (_again(left) if left else ""))


def _again(left: int) -> str:
    return f"; the same command does the other {left}: python -m benchmarks {' '.join(sys.argv[1:])}"


def _show(rows, to: Path | None):
    from benchmarks.keeping import analyses
    from benchmarks.report.numbers import sweep as numbers
    from benchmarks.report.reading import analysis
    from benchmarks.report.tables import render, sweep_table

    for table in sweep_table.tables(numbers.standings(rows), analysis.facts(rows)):
        render.print_table(table, console())
    if to:
        typer.echo(f"Kept in {analyses.keep(rows, 'sweep', to)}/")
