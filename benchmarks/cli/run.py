"""`run`: train, predict, report."""

import contextlib
import os
import subprocess
import sys
from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import DataOption, OutOption, VerboseOption, console
from cat_keras.errors import CatKerasError, Stopped

MODEL = "A KerasHub preset, its folder, or a profile whose model to take, instead of the profile's."


def run(
    profile: Annotated[str, typer.Argument(help="Name of a profile, or path of a TOML file.")] = "embedded",
    data: DataOption = None,
    source: Annotated[str, typer.Option(help="local (--data), samples or tfds, instead of the profile's.")] = "",
    out: OutOption = Path("runs"),
    small: Annotated[str, typer.Option(help=MODEL)] = "",
    large: Annotated[str, typer.Option(help=MODEL)] = "",
    methods: Annotated[str, typer.Option(help="Comma-separated objectives instead of the profile's.")] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks or suites instead of the profile's.")] = "",
    skip: Annotated[str, typer.Option(help="Comma-separated tasks or suites to leave out.")] = "",
    seeds: Annotated[int, typer.Option(help="How many seeds, 0 … n−1, instead of the profile's.")] = 0,
    set: Annotated[list[str] | None, typer.Option(help="Any profile key, e.g. --set data.train=500.")] = None,
    strategy: Annotated[str, typer.Option(help="auto, none, mirrored, multi_worker or tpu.")] = "auto",
    precision: Annotated[str, typer.Option(help="float32, mixed_bfloat16, mixed_float16, or auto.")] = "",
    log: Annotated[str, typer.Option(help="csv, tensorboard or both: every step of every training.")] = "",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Print the plan and what it takes; build nothing.")
    ] = False,
    done: Annotated[
        Path | None, typer.Option(help="Kept results of this profile; what they hold is not made again.")
    ] = None,
    only: Annotated[
        str, typer.Option(help="One model alone, as a manifest names it: large, cat-xent/1. A failed run says which.")
    ] = "",
    hardware: Annotated[
        str, typer.Option(help="What a dry run estimates for; measure is this machine, 8xh100 a cluster of eight.")
    ] = "cpu2",
    price_hour: Annotated[float, typer.Option(help="Price of an hour of that hardware, for a dry run.")] = 0.0,
    on: Annotated[str, typer.Option(help="ray: a cluster started here or named by RAY_ADDRESS; or its address.")] = "",
    gpu: Annotated[str, typer.Option(help="Kind of GPU to ask the cluster for, as Ray names it, e.g. H100.")] = "",
    hosts: Annotated[int, typer.Option(help="Hosts of the cluster that each training spans.")] = 1,
    store: Annotated[str, typer.Option(help="Where machines without a common --out share it: s3://BUCKET/F.")] = "",
    verbose: VerboseOption = False,
):
    """Train, predict and report one profile; what is in the cache already is reused."""
    from benchmarks.planning import profile as profiles

    changes = dict(profiles.parse_change(c) for c in set or [])
    changes |= {"methods": methods.split(",")} if methods else {}
    changes |= {"data.tasks": tasks.split(",")} if tasks else {}
    changes |= {"data.skip": skip.split(",")} if skip else {}
    changes |= {"seeds": list(range(seeds))} if seeds else {}
    changes |= {"precision": _precision(precision)} if precision else {}
    models = {role: name for role, name in (("small", small), ("large", large)) if name}
    chosen = profiles.read(profile, changes, models)
    if dry_run:
        from benchmarks.planning import dryrun

        with framework_noise_to(None):
            dryrun.show(chosen, data, out, console(), source, hardware, price_hour, store)
        return
    from benchmarks.running.run import run as execute

    with resumable(), framework_noise_to(out / "log.txt"):
        logs = tuple(log.split(",")) if log else ()
        command = ("python", "-m", "benchmarks", *sys.argv[1:])
        folder = execute(
            chosen,
            data,
            out,
            console(),
            source,
            strategy,
            logs,
            done,
            only,
            command,
            verbose,
            on=on,
            gpu=gpu,
            hosts=hosts,
            address=store,
        )
    if folder:
        typer.echo(f"The report: {folder / 'report.html'}; as text: {folder / 'table.md'}; all files: {folder}/")


def _precision(name: str) -> str:
    """The precision itself where it is left to the device, since results are known by it.

    Another process looks at the device: in this one TensorFlow would read its flags before the run has set them, and
    code that XLA compiles would not be kept.
    """
    if name != "auto":
        return name
    code = "from cat_keras.training import device; print(device.best_precision())"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    return done.stdout.splitlines()[-1]


@contextlib.contextmanager
def resumable():
    """A command that is interrupted or asked to end says that it can go on, and ends with the status of the signal."""
    try:
        yield
    except KeyboardInterrupt:
        typer.echo("\nInterrupted. What was finished is kept; the same command continues from there.", err=True)
        raise typer.Exit(130) from None
    except Stopped:
        typer.echo("\nAsked to end (SIGTERM). The state is saved; the same command continues from there.", err=True)
        raise typer.Exit(143) from None


@contextlib.contextmanager
def framework_noise_to(path: Path | None):
    """Native libraries write start-up chatter to standard error; it goes to a log, Python's own errors do not."""
    path = path or Path(os.devnull)
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
