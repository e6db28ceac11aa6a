"""`load`: how well and how quickly a run's models answer a stream of requests, by policy and rate."""

from dataclasses import asdict
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption, console
from benchmarks.cli.results import RunArgument, _folder
from benchmarks.cli.tune import _guarantee
from cat_keras.errors import CatKerasError, check_number, unknown_name

REAL = ("small", "cascade", "elastic-cascade")  # policies that are run in real time by default

LEAST = 20  # requests in real time


def load(
    run: RunArgument = "embedded",
    trace: Annotated[Path | None, typer.Option(help="A CSV file with a column of times, instead of --stream.")] = None,
    fit_on: Annotated[
        Path | None, typer.Option(help="Another trace to fit knobs on; by default the first half of --trace.")
    ] = None,
    stream: Annotated[str, typer.Option(help="Without a trace: poisson, bursts or wave.")] = "bursts",
    requests: Annotated[int, typer.Option(help="Of a stream without a trace.")] = 5000,
    rate: Annotated[
        float, typer.Option(help="Requests a second that fixed policies are set for; by default what the large holds.")
    ] = 0.0,
    budget: Annotated[
        float, typer.Option(help="Milliseconds for 99 % of the answers. Default: 5 × the large model's alone.")
    ] = 0.0,
    floor: Annotated[
        str, typer.Option(help="ALPHA,DELTA: no policy loses more than alpha of the large model's quality.")
    ] = "",
    policies: Annotated[str, typer.Option(help="Comma-separated; by default all.")] = "",
    models: Annotated[str, typer.Option(help="Comma-separated, quickest first; by default two.")] = "",
    rule: Annotated[str, typer.Option(help="Deferral rule; by default the run's.")] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks; by default all.")] = "",
    seed: Annotated[int, typer.Option(help="Which run of the small models; also of streams and durations.")] = 0,
    latency: Annotated[Path | None, typer.Option(help="A file of latencies; by default that of the run.")] = None,
    batch: Annotated[int, typer.Option(help="Requests that are answered together; 0 for 32.")] = 0,
    machines: Annotated[int, typer.Option(help="Machines that each hold all models.")] = 1,
    measure: Annotated[bool, typer.Option("--measure", help="Measure the latencies of the models first.")] = False,
    real: Annotated[
        float, typer.Option(help="Also answer so many seconds of the stream with the real models, per policy.")
    ] = 0.0,
    out: OutOption = Path("runs"),
):  # fmt: skip
    """Replay a stream of requests against a run's models, simulated from measured latencies, under several policies."""
    from benchmarks.report.reading import load as reading
    from benchmarks.running.progress import Progress
    from benchmarks.serving import staging, trial
    from benchmarks.tuning.stages import Asked
    from cat_keras.cascades.guarantee import Guarantee
    from cat_keras.serving import policies as families

    check_number("--budget", budget, "[0, 1e9]")
    check_number("--rate", rate, "[0, 1e9]")
    check_number("--real", real, "[0, 3600]")
    chosen = [part for part in policies.split(",") if part]
    for name in chosen:
        families.get(name)
    promise = _guarantee(floor)
    promise = Guarantee(*promise) if promise else None
    fitting, judging, title = _streams(trace, fit_on, stream, requests, seed)
    folder = _folder(run, out)
    loaded = reading.load(folder)
    asked = Asked(rule, seed, tasks=tuple(part for part in tasks.split(",") if part))
    names = tuple(part for part in models.split(",") if part)
    if measure:
        _measure(loaded, out, names, asked)
    setup = staging.setup(loaded, names, asked, latency, batch, machines)
    limit = budget / 1000 or trial.default_budget(setup)
    if real:
        _real(loaded, out, setup, fitting, judging, limit, rate, chosen or REAL, promise, real)
        return
    with Progress(console()) as progress:
        progress.start(f"policies under {title}", 2 * len(chosen or families.names()), "")
        result = trial.run(setup, fitting, judging, limit, rate, chosen, promise, seed, progress.advance)
        progress.done(f"fitted on {len(fitting):,} requests, judged on {len(judging):,} others")
    _show(result, setup, folder, title)


def _streams(trace, fit_on, stream: str, requests: int, seed: int):
    """Arrivals to fit on and to judge on, and a name for them."""
    from cat_keras.serving import streams

    if fit_on and not trace:
        raise CatKerasError("--fit-on names a trace beside the one that is judged. Received: no --trace")
    if trace is None:
        if stream not in streams.STREAMS:
            raise unknown_name("stream", stream, streams.STREAMS)
        check_number("--requests", requests, "[100, 100000000]", whole=True)
        made = (streams.STREAMS[stream](1.0, requests, number) for number in (2 * seed + 1, 2 * seed))
        return *made, stream
    times = streams.read(trace)
    if fit_on:
        return streams.read(fit_on), times, trace.stem
    if len(times) < 200:
        raise CatKerasError(
            f"Of a trace, knobs are fitted on the first half and judged on the second. Received: {len(times)} requests "
            f"in {trace}. Take one of at least 200, or name another with --fit-on"
        )
    half = len(times) // 2
    return streams.check(times[:half]), streams.check(times[half:]), trace.stem


def _show(result, setup, folder: Path, title: str):
    """Writes the table and the figure beside the run's report, and prints a screen of it."""
    from benchmarks.report.plots import load as plots
    from benchmarks.report.tables import load_table, render
    from benchmarks.serving import records, trial
    from cat_keras.storage import store

    rows, name = records.of(result, title), f"load-{title}"
    promise = ""
    if result.guarantee:
        promise = (
            f"Every policy loses at most {result.guarantee.alpha:g} of the large model's quality on the answers it "
            f"gives, but for a chance of {result.guarantee.delta:g} over the draw of the examples."
        )
    contents = {records.FILE: records.beside(folder / records.FILE, rows), **plots.figure(rows, name, title)}
    for file, content in contents.items():
        store.write_bytes(folder / file, content)
    render.print_table(load_table.table(rows, title, trial.REFERENCE, promise), console())
    for line in trial.sentences(result):
        console().print(line, markup=False, highlight=False, soft_wrap=True)
    if result.left_out:
        console().print(f"Left out, since they cannot keep the promise: {', '.join(result.left_out)}.", markup=False)
    service = setup.service
    typer.echo(
        f"Simulated: {' → '.join(server.name for server in service.servers)}, {service.machines} "
        f"machine{'s' * (service.machines > 1)}, batches of up to {service.batch}, latencies from {setup.source}. "
        f"All rates: {folder / records.FILE}, drawn: {folder / name}.png"
    )


def _measure(run, out: Path, names, asked):
    """Writes `latency.csv` into the run folder."""
    from benchmarks.cli.run import framework_noise_to
    from benchmarks.running.progress import Progress
    from benchmarks.serving import latencies, models, staging
    from benchmarks.tuning.stages import large_name
    from cat_keras.storage import store

    names = names or (staging.best(run, asked.seed), large_name(run))
    examples = [e for name in asked.tasks or run.covered for e in run.examples[name]]
    with framework_noise_to(out / "log.txt"), Progress(console()) as progress:
        answerers = models.predictors(run, out / "cache", names, asked.seed)
        batches = len(names) * (models.WARMUP + models.REPEATS) * len(models.SIZES)
        progress.start("measure latencies", batches, "batches")
        rows = models.measure(answerers, models.roles(run, names), examples, progress=progress.advance)
        progress.done(f"batches of {', '.join(map(str, models.SIZES))}")
    path = run.folder / latencies.FILE
    store.write_bytes(path, latencies.to_csv(rows, *models.machine()).encode())
    typer.echo(f"Latencies: {path}")


def _real(run, out: Path, setup, fitting, judging, budget, rate, chosen, promise, seconds: float):
    """Answers a stretch of the stream with the real models, and prints it beside the simulation."""
    from benchmarks.cli.run import framework_noise_to
    from benchmarks.report.tables import load_table, render
    from benchmarks.running.progress import Progress
    from benchmarks.serving import models, trial
    from cat_keras.serving import streams
    from cat_keras.storage import store

    fitted, _, base = trial.knobs(setup, fitting, budget, rate, chosen, promise)
    stretch = streams.scaled(judging, base)
    stretch = stretch[stretch <= seconds]
    if len(stretch) < LEAST:
        raise CatKerasError(
            f"Percentiles are of {LEAST} requests or more. Received: {len(stretch)} in {seconds:g} s at {base:.3g} "
            "requests a second. Give --real more seconds, or a higher --rate"
        )
    rows = []
    with framework_noise_to(out / "log.txt"), Progress(console()) as progress:
        names = [server.name for server in setup.service.servers]
        answerers = models.predictors(run, out / "cache", names, setup.seed)
        models.measure(answerers, names, models.examples(run, setup.staged.tasks, setup.staged.ids), repeats=0)
        for name in (name for name in chosen if name in fitted):
            progress.start(f"{name} in real time", len(stretch), "requests")
            rows.append(asdict(models.compare(setup, run, answerers, name, fitted[name].policy, stretch)))
            progress.done(f"{len(stretch)} requests")
    store.write_bytes(run.folder / "load-real.csv", render.csv_bytes(rows))
    render.print_table(load_table.real_table(rows), console())
    typer.echo(f"The same as a file: {run.folder / 'load-real.csv'}")
