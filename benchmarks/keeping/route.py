"""Scores of routers for kept results, which have no prompts: the test examples are made again from the profile."""

from pathlib import Path

from benchmarks.keeping import keep
from benchmarks.planning.profile import Data
from benchmarks.report.numbers import routing
from benchmarks.report.reading import load, routes
from benchmarks.report.reading.load import Run
from benchmarks.tasks import embedded, loading, task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.storage import store


def route(folder: Path, data: Path | None = None, source: str = "") -> int:
    """Fits routers to the prompts of kept results, writes their scores beside the predictions, and the report anew.

    Args:
        folder: kept results. data: folder of the data that the run read; generated tasks need none.
        source: as of a run, where another than the profile's.

    Returns:
        how many models on a task were scored.

    Raises:
        CatKerasError: the folder holds no kept results, or the examples are no longer those that the run was asked.
    """
    folder, run = Path(folder), load.load(folder)
    if run.has_text or run.imported:
        raise CatKerasError(
            f"Prompts are made again for kept results of a run. Received: {folder}. Report a run with its texts, or "
            "keep imported answers anew"
        )
    scored = {}
    for name in run.covered:
        keys = [key for key in run.small if key[2] == name]
        if keys and len(run.examples[name]) >= routing.LEAST:
            prompts = [example.prompt for example in _examples(run, name, data, source)]
            scored |= routing.of_task(run, name, prompts, keys)
    if not scored:
        raise CatKerasError(f"A task has at least {routing.LEAST} examples. Received: {folder}, where none has")
    manifest = store.read_manifest(folder / "manifest.json")
    contents = {name: (folder / name).read_bytes() for name in manifest["files"] if name.endswith(".parquet")}
    store.write_together(folder, contents | {routes.FILE: routes.to_parquet(scored)}, manifest)
    keep.redraw(folder)
    return len(scored)


def _examples(run: Run, name: str, data: Path | None, source: str) -> list[Example]:
    """The examples of a task as the run was asked them, in the order of the kept ones."""
    settings = Data.model_validate(dict(run.manifest["settings"]["data"]))
    declared = task.get(name)
    if settings.noise is not None and isinstance(declared.source, embedded.Embedded):
        (declared,) = embedded.with_noise((declared,), settings.noise)
    examples = loading.load(
        declared, settings.evaluate, data, None if settings.test == "all" else settings.test, settings.seed,
        source=source or settings.source, bad=loading.BadRows(),
    )  # fmt: skip
    made = load.fingerprint(examples)
    if made != run.manifest["kept"]["examples"][name]:
        raise CatKerasError(
            f"Examples are made again as the run was asked them. Received: {len(examples)} of {name} that differ from "
            f"those of {run.folder}. Give the data of the run: --data DIR"
        )
    return examples
