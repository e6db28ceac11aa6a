"""`hypotheses`: what the kept results say of the hypotheses of the plan."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import console
from benchmarks.cli.results import RESULTS


def hypotheses(
    regimes: Annotated[Path, typer.Argument(help="Folder of the kept analyses.")] = RESULTS / "regimes",
    to: Annotated[Path | None, typer.Option(help="Also write hypotheses.csv and hypotheses.md there.")] = None,
):
    """Say which hypotheses of results/PLAN.md are reproduced, refuted or open, corrected for all of them."""
    from benchmarks.report.numbers import hypotheses
    from benchmarks.report.tables import hypotheses_table
    from benchmarks.report.tables.render import print_table
    from cat_keras.storage import store

    found = hypotheses.verdicts(regimes)
    print_table(hypotheses_table.table(found), console())
    for name, content in hypotheses_table.files(found).items() if to else ():
        store.write_bytes(to / name, content)
