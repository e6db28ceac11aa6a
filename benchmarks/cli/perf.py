"""`perf`: the speed that is promised, measured. A measurement is imported when it runs, since it brings TensorFlow.

The first line of a command's docstring is its line in the list: what is promised, and against which peer.
"""

from pathlib import Path
from typing import Annotated

import typer
from typer.core import TyperGroup

from benchmarks.cli.options import DataOption
from cat_keras.errors import unknown_name


class _Measurements(TyperGroup):
    """The group `perf`, which answers an unknown name as every other command does: one line, with the nearest names."""

    def resolve_command(self, ctx, args):
        if args[0] not in self.commands:
            raise unknown_name("measurement", args[0], self.commands)
        return super().resolve_command(ctx, args)


app = typer.Typer(cls=_Measurements, invoke_without_command=True)

Rounds = Annotated[int, typer.Option(min=1, help="How often each candidate takes its turn; ratios are within a turn.")]


@app.callback()
def perf(ctx: typer.Context):
    """Measure the speed that is promised, in ratios within one run; without a name, list what can be measured."""
    if ctx.invoked_subcommand:
        return
    for name, command in ctx.command.commands.items():
        typer.echo(f"{name:<10} {command.help.splitlines()[0]}")
    typer.echo("\nMeasure with `python -m benchmarks perf NAME`; its options: `python -m benchmarks perf NAME --help`")


@app.command()
def training(
    parts: Annotated[
        list[str] | None,
        typer.Argument(help="Of objectives, ceiling, auto, dropout, peer, peer-bfloat16, overhead; by default all."),
    ] = None,
    rounds: Rounds = 5,
):
    """A step: CAT ≤ 1.03, ≤ 1.12; PyTorch ≥ 1.5 (6M ≥ 0.95, bf16 ≥ 1.1), by hand ≥ 0.97; auto ≥ 1.7; matmul ≥ 0.7.

    cat-xent against xent, cat-dist ≤ 1.12 and defer-token ≤ 1.1 against Keras `fit`; rates against those of PyTorch and
    of a step by hand in TensorFlow; what the device chooses against float32 that is compiled whole, at 6M; a step of a
    tiny model ≤ 1.2 of its compiled function. Writes a table per part into results/perf/. PyTorch is an optional
    extra: peer.
    """
    from benchmarks.perf import training as measurement

    measurement.measure(rounds, parts or ())


@app.command()
def starts(rounds: Rounds = 3):
    """The first step of a training by a process that finds code which an earlier one compiled. No promise.

    Each start is a process of its own. Writes the table starts into results/perf/.
    """
    from benchmarks.perf import starts as measurement

    measurement.measure(rounds)


@app.command()
def teacher(rounds: Rounds = 5):
    """Teacher cache: built at ≥ 0.9 of the rate of a plain forward pass, read in ≤ 0.02 of a training step.

    Writes the tables teacher-build and teacher-read into results/perf/.
    """
    from benchmarks.perf import teacher as measurement

    measurement.measure(rounds)


@app.command()
def elastic(rounds: Rounds = 5):
    """Elastic models: a step over all sizes ≤ 0.7 of the steps of each alone, memory ≤ 1.3 of the whole's. No peer.

    Writes the table elastic into results/perf/.
    """
    from benchmarks.perf import elastic as measurement

    measurement.measure(rounds)


@app.command()
def decoding(
    parts: Annotated[
        list[str] | None, typer.Argument(help="Of generation, scoring, speculative, cascade; by default all.")
    ] = None,
    data: DataOption = None,
    cache: Annotated[Path, typer.Option(help="Where trained models are kept.")] = Path("runs/perf"),
    prompts: Annotated[int, typer.Option(min=1, help="How many prompts to answer, at most.")] = 512,
    rounds: Rounds = 3,
):
    """Tokens/s ≥ 4 of KerasHub, ≥ 2.5 of transformers; options ≥ 1, ≥ 0.7 of FLOPs; drafts ≥ 0.9; cascades ≥ 0.85.

    Options against whole strings, and from 8 options on against what FLOPs say; speculation against its formula, a
    cascade against its ideal. Trains two models on a real task first, for minutes; without --data, on its samples.
    Transformers is an optional extra: peer. Writes a table per part into results/perf/.
    """
    from benchmarks.perf import decoding as measurement

    measurement.measure(parts or (), cache, data, prompts, rounds)


@app.command()
def padding(
    profile: Annotated[str, typer.Argument(help="The profile whose training examples are batched.")] = "nano",
    data: DataOption = None,
):
    """Useful among computed tokens in the batches of a profile: ≥ 0.9. No peer: the rest is padding.

    Writes the table padding into results/perf/.
    """
    from benchmarks.perf import padding as measurement

    measurement.measure(profile, data)


@app.command()
def growth():
    """Time and memory of a step by vocabulary, length and batch; chunks of logits against none. No promise.

    Each point is a process of its own. Writes the tables growth and growth-fit into results/perf/.
    """
    from benchmarks.perf import growth as measurement

    measurement.measure()


@app.command()
def encoding():
    """Data larger than memory: 10,000,000 examples are encoded and trained on within ≤ 2048 MiB. No peer.

    Each point is a process of its own; the largest takes minutes and 2 GB of disk. Writes the table encoding into
    results/perf/.
    """
    from benchmarks.perf import encoding as measurement

    measurement.measure()


@app.command()
def memory():
    """Memory of trainings by a dry run: within 15 % of what they take, on small models of Gemma 3. No peer.

    Each point is a process of its own. Writes the table memory into results/perf/.
    """
    from benchmarks.perf import memory as measurement

    measurement.measure()


@app.command()
def calibrate(
    file: Annotated[Path, typer.Argument(help="TOML to write, for `run --dry-run --hardware`.", show_default=False)],
    profile: Annotated[str, typer.Option(help="What is run, to compare its time.")] = "embedded",
    precision: Annotated[str, typer.Option(help="In which models are trained, e.g. mixed_bfloat16.")] = "float32",
):
    """What a dry run is to assume of this machine; with it the time of a run is within 30 %. No peer.

    Measures products, copies and trainings of several sizes, writes them to the file, and runs a profile. Writes the
    table calibrate into results/perf/.
    """
    from benchmarks.perf import calibrate as measurement

    measurement.measure(file, profile, precision)


@app.command()
def load():
    """2,000 models planned in < 2 s, 1,000,000 answers reported in ≤ 60 s; memory, and many trainings. No peer.

    Each point is a process of its own. Writes the tables load and load-fit into results/perf/.
    """
    from benchmarks.perf import load as measurement

    measurement.measure()


@app.command()
def report(
    folder: Annotated[
        list[Path] | None, typer.Option(help="Folders of results; by default nano and embedded.", show_default=False)
    ] = None,
    rounds: Rounds = 5,
):
    """Areas of all resamples in one pass: ≥ 50 of plain sweeps, one by one; the tables of kept results. No peer.

    Writes the tables report-areas and report-tables into results/perf/.
    """
    from benchmarks.perf import report as measurement

    measurement.measure(rounds, folder or [Path("results/nano"), Path("results/embedded")])


@app.command()
def registry(data: DataOption = None):
    """Processor time: all tasks listed in < 0.5 s, 20,000 rows read and rendered in < 3 s. No peer.

    Prints its numbers; with --data also the time to list the tasks with that folder, whose rows are counted.
    """
    from benchmarks.perf import registry as measurement

    measurement.measure(data)


@app.command()
def bootstrap(
    rows: Annotated[int, typer.Option(min=1, help="Predictions of each method, over all tasks.")] = 100_000,
    tasks: Annotated[int, typer.Option(min=1, help="How many tasks the rows are of.")] = 1,
    methods: Annotated[int, typer.Option(min=1, help="How many methods are compared.")] = 10,
    resamples: Annotated[int, typer.Option(min=1, help="How many resamples.")] = 10_000,
    levels: Annotated[int, typer.Option(min=0, help="Distinct scores, 0: all of them; ties are dearer.")] = 0,
    threads: Annotated[int | None, typer.Option(min=1, help="By default one per core.", show_default=False)] = None,
):
    """Paired bootstrap: 10,000 resamples of 100,000 predictions × 10 methods in < 60 s on 2 cores. No peer.

    Prints its seconds and its peak of memory.
    """
    from benchmarks.perf import bootstrap as measurement

    measurement.measure(rows, tasks, methods, resamples, levels, threads)


@app.command()
def retrieval(
    documents: Annotated[int, typer.Option(min=64, help="How many are embedded and searched.")] = 100_000,
    queries: Annotated[int, typer.Option(min=1, help="How many are searched for.")] = 1000,
    rounds: Rounds = 3,
):
    """Documents embedded at ≥ 0.9 of a plain forward pass; a step that distils ≤ 1.1 of one of labels. No peer.

    Prints its numbers, and how fast and how well FAISS searches the documents. Needs the extra retrieval.
    """
    from benchmarks.perf import retrieval as measurement

    measurement.measure(documents, queries, rounds)


@app.command()
def thresholds(
    table: Annotated[Path, typer.Argument(help="CSV with id, model, correct, msp.", show_default=False)],
    chains: Annotated[int, typer.Option(min=1, help="Of each number of models.")] = 5,
    splits: Annotated[int, typer.Option(min=2, help="Random ones, into labelled and other questions.")] = 12,
):
    """Error of cascades whose thresholds come from few labels: rational tuning against the grid. No promise.

    Writes the table thresholds into results/perf/.
    """
    from benchmarks.perf import thresholds as measurement

    measurement.measure(table, chains, splits)
