"""The command line. Imports what a command needs when it runs: `list` and `--help` load no framework.

One module per group of commands; each command is a plain function, named here.
"""

import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli import (
    best_rules,
    exporting,
    forecast,
    hypotheses,
    importing,
    load,
    pairs,
    perf,
    qualify,
    reject,
    results,
    retrieve,
    run,
    sweep,
    tasks,
    tune,
)
from benchmarks.cli.printing import replacing
from cat_keras.errors import CatKerasError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)


@app.callback()
def common(
    tasks_file: Annotated[Path | None, typer.Option(help="A Python file of your own that registers tasks.")] = None,
):
    """Cascade-Aware Training benchmarks: train a pair of language models, cascade them, price and plot it."""
    if tasks_file:
        from benchmarks.tasks import task

        task.load_module(tasks_file)


app.command()(run.run)
app.command()(sweep.sweep)
app.command("list")(tasks.list_tasks)
app.command()(tasks.show)
app.command()(tasks.prepare)
app.command()(results.report)
app.command()(results.keep)
app.command()(results.route)
app.command()(results.verify)
app.command()(results.compare)
app.command()(tune.tune)
app.command()(exporting.export)
app.command()(reject.reject)
app.command()(retrieve.retrieve)
app.command()(load.load)
app.command("import")(importing.import_answers)
app.command()(pairs.pairs)
app.command()(qualify.qualify)
app.command()(forecast.forecast)
app.command("best-rules")(best_rules.best_rules)
app.command()(hypotheses.hypotheses)
app.command("token-level")(results.token_level)
app.command()(results.illustrate)
app.add_typer(perf.app, name="perf")


def main():
    """Runs the command line; bad input is one line on standard error and exit status 2."""
    with replacing():
        try:
            app()
        except (CatKerasError, OSError) as error:
            # What the system refuses is no fault of the code: no space, no permission, a file where a folder is named.
            known = isinstance(error, CatKerasError)
            typer.echo(f"error: {error if known else CatKerasError(f'The system refused a file: {error}')}", err=True)
            sys.exit(2)
