"""What comes after a run: `report`, `keep`, `verify` and `compare` from its predictions; `token-level` and `illustrate`
from its models."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, OutOption, VerboseOption, console
from cat_keras.errors import CatKerasError, unknown_name

RESULTS = Path("results")
RunArgument = Annotated[str, typer.Argument(help="A run folder, or the name of a run under --out.")]


SideArgument = Annotated[str, typer.Argument(help="A run, or comma-separated trainings of it, one large model each.")]


def report(
    runs: Annotated[list[str], typer.Argument(help="Run folders, or names of runs under --out.")],
    out: OutOption = Path("runs"),
    to: Annotated[Path | None, typer.Option(help="Folder of the report of several runs; by default --out.")] = None,
    price_small: Annotated[
        str | None,
        typer.Option(help="Price of a million tokens of the small model: 0.10, or 0.10/0.40 read/written."),
    ] = None,
    price_large: Annotated[str | None, typer.Option(help="The same of the large model.")] = None,
    verbose: VerboseOption = False,
):
    """Compute tables and plots of finished runs again, from their predictions alone."""
    from benchmarks import report as reports
    from benchmarks.report.numbers import costs

    prices = costs.prices(price_small, price_large)
    folders = [_folder(run, out) for run in runs]
    if len(folders) == 1:
        reports.build(folders[0], console(), prices, verbose)
        typer.echo(f"The report: {folders[0] / 'report.html'}; as text: {folders[0] / 'table.md'}")
    else:
        typer.echo(f"The report: {reports.build_many(folders, to or out, console(), prices, verbose)}")


def keep(
    run: RunArgument,
    to: Annotated[Path, typer.Option(help="The folder to write, e.g. results/nano.", show_default=False)],
    out: OutOption = Path("runs"),
    add: Annotated[bool, typer.Option("--add", help="Beside the models that the folder holds already.")] = False,
):
    """Write what of a run is small enough and free to commit: numbers per prediction, no texts, and the report."""
    from benchmarks.keeping import analyses
    from benchmarks.keeping.keep import keep as keeping

    source = _folder(run, out)
    folder = analyses.keep_folder(source, to) if analyses.of(source) else keeping(source, to, add)
    size = sum(path.stat().st_size for path in folder.iterdir() if path.is_file())
    typer.echo(f"Kept in {folder}/, {size / 1e6:.1f} MB; `python -m benchmarks verify {folder}` computes it again")


def route(
    results: Annotated[list[Path], typer.Argument(help="Folders of kept results.")],
    data: DataOption = None,
    source: Annotated[str, typer.Option(help="Where rows come from; by default as the run had them.")] = "",
):
    """Let kept results say whether a router would do: fit it to their prompts, made again, and keep its scores."""
    from benchmarks.keeping import route as routing

    for folder in results:
        count, changed = routing.route(folder, data, source)
        typer.echo(f"{folder}: {count} routers, each of a model on a task; the report was written anew")
        if changed:
            typer.echo(f"{folder}: note: no router for tasks that were changed since the run: {', '.join(changed)}")


def verify(
    results: Annotated[
        list[Path] | None, typer.Argument(help="Folders of results; by default all under results/.", show_default=False)
    ] = None,
    write: Annotated[bool, typer.Option("--write", help="First write all of it as this code computes it.")] = False,
    jobs: Annotated[int, typer.Option(help="Processes that share the folders; 0 for one per core.")] = 0,
):
    """Compute every committed number, table and figure again from committed predictions, and name what differs."""
    from benchmarks.keeping import verify as verifying

    different = False
    for verdict in verifying.verify_all(results or verifying.folders(RESULTS), jobs, write):
        if not verdict.problems:
            typer.echo(f"{verdict.folder}: {verdict.compared} files computed again, all as committed")
        for line in verdict.problems:
            typer.echo(f"{verdict.folder}/{line}")
        for line in verdict.notices:
            typer.echo(f"{verdict.folder}: note: {line}")
        different |= bool(verdict.problems)
    if different:
        raise typer.Exit(1)


def compare(
    a: SideArgument,
    b: SideArgument,
    out: OutOption = Path("runs"),
    anyway: Annotated[bool, typer.Option("--anyway", help="Compare tasks that were changed between the runs.")] = False,
    to: Annotated[Path | None, typer.Option(help="Also keep it in this folder, e.g. results/salt.")] = None,
    add: Annotated[bool, typer.Option("--add", help="Beside the trainings that the folder holds already.")] = False,
):
    """Put two runs side by side, with intervals of what differs; or several trainings of either."""
    from benchmarks.keeping import analyses
    from benchmarks.keeping import compare as comparing
    from benchmarks.report.numbers import comparison
    from benchmarks.report.reading import load

    folders = [[_folder(name, out) for name in side.split(",") if name] for side in (a, b)]
    runs = iter(load.load_all([folder for side in folders for folder in side]))
    rows = comparing.rows(*([next(runs) for _ in side] for side in folders), anyway=anyway)
    if to and add and analyses.of(to):
        rows = comparing.joined(analyses.read(to), rows)
    comparing.show(comparison.compared(rows), console())
    if to:
        typer.echo(f"Kept in {analyses.keep(rows, 'comparison', to)}/")


def token_level(
    run: RunArgument = "embedded",
    out: OutOption = Path("runs"),
    methods: Annotated[str, typer.Option(help="Comma-separated; by default xent and cat-xent.")] = "",
    seeds: Annotated[int, typer.Option(help="How many of its seeds; 0 for all.")] = 0,
    rules: Annotated[str, typer.Option(help="Comma-separated token-level rules; by default all.")] = "",
    limit: Annotated[int, typer.Option(help="So many test examples of each generation task; 0 for all.")] = 100,
    gamma: Annotated[int, typer.Option(help="Tokens drafted per pass of the large model.")] = 4,
):
    """Answer a finished run's test examples with token-level cascades of its models, to stand beside its cascades."""
    from benchmarks.cli.run import framework_noise_to
    from benchmarks.running import token_level as tokens
    from benchmarks.running.progress import Progress

    folder = _folder(run, out)
    names, kinds = ([part for part in text.split(",") if part] for text in (methods, rules))
    with framework_noise_to(out / "log.txt"), Progress(console()) as progress:
        table = tokens.evaluate(folder, out / "cache", progress, names, seeds, kinds, limit, gamma)
    tokens.write(folder / tokens.FILE, table)
    typer.echo(f"{len(table):,} answers in {folder / tokens.FILE}; `python -m paper_figs` draws them where it is kept")


def illustrate(run: RunArgument = "embedded", data: DataOption = None, out: OutOption = Path("runs")):
    """Write what the mask of a finished run does to real tokens into its folder."""
    from benchmarks.running import illustrate as illustrating
    from benchmarks.running.progress import Progress
    from cat_keras.storage import store

    folder = _folder(run, out)
    with Progress(console()) as progress:
        contents = illustrating.illustrate(folder, out / "cache", progress, data)
    for name, content in contents.items():
        store.write_json(folder / name, content)
        typer.echo(folder / name)
    if not contents[illustrating.LIVE]["repeated"]:
        typer.echo("The training ended with other weights than the run's: another machine, or other code.", err=True)


def _folder(run: str, out: Path) -> Path:
    """A folder as given, or a run of that name under `out`, or kept results of that name.

    Raises:
        CatKerasError: none of them has a manifest.
    """
    places = [Path(run), out / run, RESULTS / run]
    found = next((place for place in places if (place / "manifest.json").exists()), None)
    if found is None:
        if Path(run).is_dir():
            raise CatKerasError(f"A run folder holds manifest.json; {run} has none. Give the folder of a finished run")
        raise unknown_name("run", run, [path.parent.name for path in out.glob("*/manifest.json")])
    return found
