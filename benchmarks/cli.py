"""The command line. Imports what a command needs when it runs: `list` and `--help` load no framework."""

import contextlib
import os
import sys
from pathlib import Path
from typing import Annotated

import typer

from cat_keras.errors import CatKerasError

app = typer.Typer(
    add_completion=False,
    no_args_is_help=True,
    pretty_exceptions_enable=False,
)

DataOption = Annotated[
    Path | None, typer.Option(help="Folder of real data: <dataset>/<config>/<split>.jsonl.", show_default=False)
]
SourceOption = Annotated[str, typer.Option(help="Where rows come from: local (--data), samples or tfds.")]
OutOption = Annotated[Path, typer.Option(help="Where runs and their cache lie.")]


def _console():
    from rich.console import Console

    # In a file or a pipe there is no width to fit: tables stay whole.
    return Console(width=None if sys.stdout.isatty() else 120)


@app.callback()
def common(
    tasks_file: Annotated[Path | None, typer.Option(help="A Python file of your own that registers tasks.")] = None,
):
    """Cascade-Aware Training benchmarks: train a pair of language models, cascade them, price and plot it."""
    if tasks_file:
        from benchmarks import task

        task.load_module(tasks_file)


@app.command()
def run(
    profile: Annotated[str, typer.Argument(help="Name of a profile, or path of a TOML file.")] = "embedded",
    data: DataOption = None,
    source: SourceOption = "local",
    out: OutOption = Path("runs"),
    methods: Annotated[str, typer.Option(help="Comma-separated objectives instead of the profile's.")] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks or suites instead of the profile's.")] = "",
    seeds: Annotated[int, typer.Option(help="How many seeds, 0 … n−1, instead of the profile's.")] = 0,
    set: Annotated[list[str] | None, typer.Option(help="Any profile key, e.g. --set data.train=500.")] = None,
):
    """Train, predict and report one profile; what is in the cache already is reused."""
    from benchmarks import profile as profiles

    changes = dict(profiles.parse_change(c) for c in set or [])
    changes |= {"methods": methods.split(",")} if methods else {}
    changes |= {"data.tasks": tasks.split(",")} if tasks else {}
    changes |= {"seeds": list(range(seeds))} if seeds else {}
    chosen = profiles.read(profile, changes)
    from benchmarks.run import run as execute

    try:
        with _framework_noise_to(out / "log.txt"):
            folder = execute(chosen, data, out, _console(), source)
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. What was finished is kept; the same command continues from there.", err=True)
        raise typer.Exit(130) from None
    typer.echo(
        f"Everything is in {folder}/ — table.md, table.csv, quality_cost.png, predictions.parquet, manifest.json"
    )


@app.command("list")
def list_tasks(
    suite: Annotated[str, typer.Argument(help="Only this task, suite or cluster.")] = "all",
    data: DataOption = None,
):
    """List tasks, which sources have them on this machine, and the profiles that run them."""
    from rich.table import Table

    from benchmarks import sources, task

    table = Table("task", "suites", "cluster", "kind", "metric", "here", box=None)
    tasks = task.select([suite])
    for t in tasks:
        here = ", ".join(sources.available(t, data)) if hasattr(t.source, "open") else "generated"
        table.add_row(t.name, ", ".join(t.suites), t.cluster, t.kind, t.metric, here)
    console = _console()
    console.print(table)
    # Not profile.names(), which loads pydantic: a list is quick.
    profiles = ", ".join(sorted(p.stem for p in (Path(__file__).parent / "profiles").glob("*.toml")))
    console.print(f"{len(tasks)} tasks. Profiles: {profiles}")


@app.command()
def show(
    task: str,
    data: DataOption = None,
    source: SourceOption = "local",
    split: Annotated[str, typer.Option(help="train, validation or test.")] = "test",
    count: Annotated[int, typer.Option("-n", help="How many examples.")] = 3,
    template: Annotated[int, typer.Option(help="Which prompt template.")] = 0,
):
    """Print prompt and target of some examples of a task."""
    from benchmarks.run import show as display

    display(task, data, split, count, template, _console(), source)


@app.command()
def prepare(
    tasks: Annotated[list[str], typer.Argument(help="Tasks, suites or clusters.")],
    out: Annotated[Path, typer.Option(help="Folder to write; --data of later runs.")],
    source: Annotated[str, typer.Option(help="tfds (downloads), or local to copy from --data.")] = "tfds",
    data: DataOption = None,
):
    """Download data sets once and write them as a local folder with checksums; the only command that uses a network."""
    from benchmarks import prepare as preparing
    from benchmarks import task

    manifest = preparing.prepare(task.select(tasks), source, out, data, report=typer.echo)
    typer.echo(f"Everything is in {out}/, checksums in {manifest}")


@app.command()
def report(run: Annotated[str, typer.Argument(help="A run folder, or the name of a run under --out.")],
           out: OutOption = Path("runs")):  # fmt: skip
    """Compute tables and plots of a finished run again, from its predictions alone."""
    from benchmarks import report as reports
    from cat_keras.errors import unknown_name

    folder = Path(run) if Path(run).is_dir() else out / run
    if not (folder / "manifest.json").exists():
        raise unknown_name("run", run, [p.parent.name for p in out.glob("*/manifest.json")])
    reports.build(folder, _console())
    typer.echo(f"Everything is in {folder}/")


@contextlib.contextmanager
def _framework_noise_to(path: Path):
    """Native libraries write start-up chatter to standard error; it goes to a log, Python's own errors do not."""
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        log = path.open("ab")
    except OSError as error:
        raise CatKerasError(f"Results need a folder that can be written. Received: {path.parent} ({error})") from error
    os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "2")
    sys.stderr.flush()
    kept = os.dup(2)
    os.dup2(log.fileno(), 2)
    try:
        yield
    finally:
        sys.stderr.flush()
        os.dup2(kept, 2)
        os.close(kept)
        log.close()


def main():
    """Runs the command line; bad input is one line on standard error and exit status 2."""
    try:
        app()
    except CatKerasError as error:
        typer.echo(f"error: {error}", err=True)
        sys.exit(2)
