"""`import`: answers of models that ran elsewhere become a run."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption
from cat_keras.errors import CatKerasError

MANY = "May be given several times."


def import_answers(
    files: Annotated[
        list[Path],
        typer.Argument(help="Tables, lm-eval folders, inspect_ai logs or samples, or MODEL=PATH."),
    ],
    name: Annotated[str, typer.Option("--as", help="Name of the run.", show_default=False)],
    out: OutOption = Path("runs"),
    column: Annotated[list[str] | None, typer.Option(help=f"ROLE=HEADER, e.g. confidence=msp. {MANY}")] = None,
    scale: Annotated[list[str] | None, typer.Option(help=f"ROLE=DIVISOR, e.g. confidence=100. {MANY}")] = None,
    clip: Annotated[list[str] | None, typer.Option(help=f"A role whose numbers are cut to [0, 1]. {MANY}")] = None,
    models: Annotated[str, typer.Option(help="Comma-separated, of those in the files; by default all.")] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated, of those in the files; by default all.")] = "",
    large: Annotated[str, typer.Option(help="The model that others defer to; by default the best one.")] = "",
    rule: Annotated[str, typer.Option(help="Deferral rule of the report, by default what all answers allow.")] = "",
    metric: Annotated[str, typer.Option(help="Of logs with several: METRIC, or FILTER/METRIC of lm-eval.")] = "",
    duplicates: Annotated[str, typer.Option(help="Repeated rows: error, first, runs or samples.")] = "error",
    currency: Annotated[str, typer.Option(help="What costs are in, where no header says it.")] = "",
):
    """Turn answers of models that ran elsewhere into a run that report, tune, compare, keep and verify take."""
    from benchmarks.importing import folder, joining, sources, tables

    chosen = tuple(part for part in models.split(",") if part)
    if duplicates not in joining.DUPLICATES:
        raise CatKerasError(f"Repeated rows are {', '.join(joining.DUPLICATES)}. Received: --duplicates {duplicates}")
    scales = {role: _divisor(role, text) for role, text in pairs("scale", scale)}
    reading = tables.Reading(dict(pairs("column", column)), scales, chosen, tuple(clip or ()), metric)
    answers = sources.read(files, reading)
    joined = joining.join(answers.frame, chosen, duplicates, tuple(part for part in tasks.split(",") if part))
    written, manifest = folder.write(joined, answers, name, out, folder.Choice(large, rule, currency))
    for line in folder.facts(manifest, written):
        typer.echo(line)


def pairs(option: str, given: list[str] | None) -> list[tuple[str, str]]:
    pairs = [text.partition("=") for text in given or ()]
    if wrong := [text for text, (key, _, value) in zip(given or (), pairs, strict=True) if not (key and value)]:
        raise CatKerasError(f"--{option} is ROLE=VALUE, e.g. confidence=msp. Received: {wrong[0]!r}")
    return [(key, value) for key, _, value in pairs]


def _divisor(role: str, text: str) -> float:
    try:
        value = float(text)
        if not 0 < value < float("inf"):
            raise ValueError
    except ValueError:
        raise CatKerasError(f"--scale {role}=DIVISOR has a number above 0. Received: {text!r}") from None
    return value
