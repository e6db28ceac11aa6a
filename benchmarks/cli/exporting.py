"""`export`: a model of a finished run as transformers and vLLM load it."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.options import OutOption
from benchmarks.cli.results import RunArgument, _folder


def export(
    run: RunArgument,
    model: Annotated[str, typer.Argument(help="large, or the method of a small model, such as cat-xent.")],
    out: OutOption = Path("runs"),
    seed: Annotated[int, typer.Option(help="Which of the small models of a method.")] = 0,
    to: Annotated[
        Path | None, typer.Option(help="The folder to write; by default one in the run.", show_default=False)
    ] = None,
    dtype: Annotated[
        str | None, typer.Option(help="float32, bfloat16 or float16; by default as stored.", show_default=False)
    ] = None,
):
    """Write a model of a finished run as transformers and vLLM load it: config.json, safetensors, tokenizer.json."""
    from benchmarks.cli.run import framework_noise_to
    from benchmarks.running import trained

    folder = _folder(run, out)
    with framework_noise_to(out / "log.txt"):
        written = trained.export(folder, out / "cache", model, seed, to, dtype)
    typer.echo(f"{written} holds the model; e.g. vllm serve {written}")
