"""`list`, `show` and `prepare`: the registry and its data."""

import re
import shutil
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, SourceOption, console
from benchmarks.cli.printing import json_text


def list_tasks(
    tasks: Annotated[list[str] | None, typer.Argument(help="Only these tasks, suites or clusters.")] = None,
    data: DataOption = None,
    suite: Annotated[str, typer.Option(help="Only this suite.")] = "",
    cluster: Annotated[str, typer.Option(help="Only this cluster.")] = "",
    kind: Annotated[str, typer.Option(help="Only classification, or generation.")] = "",
    metric: Annotated[str, typer.Option(help="Only tasks with this metric.")] = "",
    source: Annotated[str, typer.Option(help="Only tasks that local (--data), samples or tfds have here.")] = "",
    here: Annotated[bool, typer.Option("--here", help="Only tasks with real rows on this machine.")] = False,
    overlap: Annotated[
        bool, typer.Option("--overlap", help="Read all rows, and count those that are in two splits.")
    ] = False,
    as_json: Annotated[bool, typer.Option("--json", help="Whole declarations, as JSON.")] = False,
    as_markdown: Annotated[bool, typer.Option("--markdown", help="A Markdown table of sources and rows.")] = False,
):
    """List tasks: suite, kind, metric, rows per split, licence, and which sources have them on this machine."""
    from benchmarks.tasks import listing

    chosen = listing.choose(tasks or ["all"], kind, metric, cluster, suite)
    found = listing.here(listing.entries(chosen, data), source, here)
    shared = {entry.task.name: listing.overlaps(entry, source, data) for entry in found} if overlap else {}
    if as_json:
        records = [
            entry.record()
            | ({"overlap": {k: v._asdict() for k, v in shared[entry.task.name].items()}} if overlap else {})
            for entry in found
        ]
        typer.echo(json_text(records, indent=1))
    elif as_markdown:
        typer.echo(listing.markdown(found, source))
    else:
        typer.echo(listing.text(found, source, shutil.get_terminal_size().columns if sys.stdout.isatty() else None))
        # Not profile.names(), which loads pydantic: a list is quick.
        profiles = ", ".join(sorted(p.stem for p in (Path(__file__).parents[1] / "profiles").glob("*.toml")))
        typer.echo(f"{len(found)} task{'s' * (len(found) != 1)}. Profiles: {profiles}")
    if overlap and not as_json:
        typer.echo("\nRows that are in another split too:")
        for entry in found:
            typer.echo(listing.overlap_text(entry, shared[entry.task.name]))


def show(
    tasks: Annotated[list[str], typer.Argument(help="Tasks, suites or clusters.")],
    data: DataOption = None,
    source: SourceOption = "local",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[int, typer.Option("-n", help="How many examples of each task.")] = 3,
    template: Annotated[str, typer.Option(help="Number of a prompt template, or mix: one drawn per example.")] = "0",
    seed: Annotated[int, typer.Option(help="Of the sample of examples, and of the mixture.")] = 0,
    as_json: Annotated[bool, typer.Option("--json", help="One JSON object per example and line.")] = False,
):
    """Print prompt and target of some examples of a task, as the models see them."""
    from benchmarks.tasks import loading, task

    wanted = {"mix": loading.MIXTURE}.get(template, template)
    wanted = int(wanted) if wanted.isdecimal() and len(wanted) < 10 else wanted
    for t in task.select(tasks):
        for example in loading.load(t, split, data, count, seed, wanted, source):
            if as_json:
                typer.echo(json_text(example.asdict()))
            else:
                drawn = loading.drawn_template(t, example.id, seed) if wanted == loading.MIXTURE else wanted
                _print_example(example, f"{split} · {example.id} · template {drawn}")


def _print_example(example, place: str):
    from rich.markup import escape

    screen = console()
    group = f" · {example.group}" if example.group else ""
    screen.rule(f"[bold]{example.task}[/] · {escape(_tame(place + group))}")
    # Wrapped by the terminal, not by us: what is printed is what the models see.
    screen.print(escape(_tame(example.prompt)), end="", soft_wrap=True, highlight=False)
    lines = [("bold green", "", example.target)]
    lines += [("dim", "options: ", " | ".join(example.options))] if example.options else []
    lines += [("dim", "references: ", " | ".join(example.references))] if len(example.references) > 1 else []
    for style, label, text in lines:
        screen.print(f"[{style}]{label}{escape(_tame(text))}[/]", soft_wrap=True, highlight=False)


def _tame(text: str) -> str:
    """A text of the data, whose control and bidirectional characters a terminal shows and does not obey."""
    obeyed = "[\x00-\x08\x0b-\x1f\x7f-\x9f\u202a-\u202e\u2066-\u2069]"
    return re.sub(obeyed, lambda match: match[0].encode("unicode_escape").decode(), text)


def prepare(
    tasks: Annotated[list[str], typer.Argument(help="Tasks, suites or clusters.")],
    out: Annotated[Path, typer.Option(help="Folder to write; --data of later runs.")],
    source: Annotated[str, typer.Option(help="tfds (downloads), or local to copy from --data.")] = "tfds",
    data: DataOption = None,
):
    """Download data sets once and write them as a local folder with checksums; the only command that uses a network."""
    from benchmarks.tasks import prepare as preparing
    from benchmarks.tasks import task

    manifest = preparing.prepare(task.select(tasks), source, out, data, report=typer.echo)
    typer.echo(f"Everything is in {out}/, checksums in {manifest}")
