"""`pairs`: what cascades of public language models are worth, and what that goes with."""

from pathlib import Path
from typing import Annotated

import typer


def pairs(
    outputs: Annotated[Path, typer.Argument(help="Folder of public answers, see `benchmarks/importing/public.py`.")],
    to: Annotated[Path, typer.Option(help="The folder to write, e.g. results/regimes/real_pairs.", show_default=False)],
    beside: Annotated[str, typer.Option(help="Comma-separated folders of kept results, whose pairs join.")] = "",
):
    """Take every pair of public language models, task by task: lead, s_d, AUROC and savings at equal quality."""
    from benchmarks.importing import pairs as importing
    from benchmarks.keeping import analyses
    from benchmarks.report.tables import pairs_table

    rows = importing.rows(outputs, [Path(part) for part in beside.split(",") if part])
    folder = analyses.keep(rows, "pairs", to)
    typer.echo((folder / "table.md").read_text(encoding="utf-8").partition(f"## {pairs_table.EVERY}")[0])
    typer.echo(f"{len(rows):,} answers, kept in {folder}/; every pair is in table.md and pairs.csv")
