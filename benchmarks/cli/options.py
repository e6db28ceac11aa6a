"""Options that several commands share, and the console they print to."""

import sys
from pathlib import Path
from typing import Annotated

import typer

DataOption = Annotated[
    Path | None, typer.Option(help="Folder of real data: <dataset>/<config>/<split>.jsonl.", show_default=False)
]
SourceOption = Annotated[str, typer.Option(help="Where rows come from: local (--data), samples or tfds.")]
VerboseOption = Annotated[bool, typer.Option("--verbose", help="Print every table of the report and every warning.")]
OutOption = Annotated[Path, typer.Option(help="Where runs and their cache lie.")]


def console():
    from rich.console import Console

    # In a file or a pipe there is no width to fit: tables stay whole.
    return Console(width=None if sys.stdout.isatty() else 120)
