"""`report`: what is computed from predictions alone."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption, console


def report(run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --out.")],
           out: OutOption = Path("runs")):  # fmt: skip
    """Compute tables and plots of a finished run again, from its predictions alone."""
    from benchmarks import report as reports
    from cat_keras.errors import unknown_name

    folder = Path(run) if Path(run).is_dir() else out / run
    if not (folder / "manifest.json").exists():
        raise unknown_name("run", run, [p.parent.name for p in out.glob("*/manifest.json")])
    reports.build(folder, console())
    typer.echo(f"Everything is in {folder}/")
