"""`forecast`: what cascade-aware training is expected to gain on the tasks of a run, and whether that came true."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption, console
from benchmarks.cli.results import RunArgument, _folder
from cat_keras.errors import CatKerasError


def forecast(
    sweep: Annotated[Path, typer.Argument(help="Folder of a kept sweep, e.g. results/regimes/embedded_map.")],
    run: RunArgument,
    against: Annotated[str, typer.Option(help="A run on test data, to judge the forecast by.")] = "",
    to: Annotated[Path | None, typer.Option(help="Keep the judgement in this folder.")] = None,
    out: OutOption = Path("runs"),
):
    """Say what cat-xent is expected to gain over xent, task by task, from a run on validation data."""
    from benchmarks.keeping import analyses
    from benchmarks.report.numbers import forecasting, summary
    from benchmarks.report.reading import analysis, live_tokens, load
    from benchmarks.report.tables import forecast_table
    from benchmarks.report.tables.render import print_table

    if to and not against:
        raise CatKerasError("What is kept is a judgement. Received: --to without a run to judge by. Add --against RUN")
    table = analyses.read_as("sweep", sweep)
    validation = load.on_validation(_folder(run, out))
    measured = forecasting.features(summary.summarize(validation), live_tokens.shares(validation.folder))
    if not against:
        points = forecasting.standing(table)
        found, beyond = forecasting.forecasts(points, measured), forecasting.beyond(points, measured)
        print_table(forecast_table.forecasts(found, str(sweep), beyond), console())
        return
    test = load.load(_folder(against, out))
    facts = {"sweep": str(sweep), "validation": str(validation.folder), "test": str(test.folder)}
    rows = forecasting.rows(table, measured, summary.summarize(test), facts)
    print_table(forecast_table.judged(forecasting.judge(rows), analysis.facts(rows)), console())
    if to:
        typer.echo(f"Kept in {analyses.keep(rows, 'forecast', to)}/")
