"""Scores of routers for kept results, which have no prompts: the test examples are made again from the profile."""

from dataclasses import replace
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


def route(folder: Path, data: Path | None = None, source: str = "") -> tuple[int, list[str]]:
    """Fits routers to the prompts of kept results, writes their scores beside the predictions, and the report anew.

    Args:
        folder: kept results. data: folder of the data that the run read; generated tasks need none.
        source: as of a run, where another than the profile's.

    Returns:
        how many models on a task were scored, and the tasks whose examples are no longer those that the run was asked.

    Raises:
        CatKerasError: the folder holds no kept results, or no task's examples can be made again.
    """
    folder, run = Path(folder), load.load(folder)
    if run.has_text or run.imported:
        raise CatKerasError(
            f"Prompts are made again for kept results of a run. Received: {folder}. Report a run with its texts, or "
            "keep imported answers anew"
        )
    scored, changed = {}, []
    for name in run.covered:
        keys = [key for key in run.small if key[2] == name]
        if keys and len(run.examples[name]) >= routing.LEAST:
            examples = _examples(run, name, data, source)
            if _is_of(examples, run.manifest["kept"]["examples"][name]):
                scored |= routing.of_task(run, name, [example.prompt for example in examples], keys)
            else:
                changed.append(name)
    if not scored:
        raise CatKerasError(
            "Examples are made again as the run was asked them, from the same data and the same tasks. Received: "
            f"others of {', '.join(changed) or 'no task with enough of them'} than those of {folder}. Give the data of "
            "the run: --data DIR"
        )
    manifest = store.read_manifest(folder / "manifest.json")
    contents = {name: (folder / name).read_bytes() for name in manifest["files"] if name.endswith(".parquet")}
    store.write_together(folder, contents | {routes.FILE: routes.to_parquet(scored)}, manifest)
    keep.redraw(folder)
    return len(scored), changed


def _examples(run: Run, name: str, data: Path | None, source: str) -> list[Example]:
    """The examples of a task as this code makes them from the settings of the run."""
    settings = Data.model_validate(dict(run.manifest["settings"]["data"]))
    declared = task.get(name)
    if settings.noise is not None and isinstance(declared.source, embedded.Embedded):
        (declared,) = embedded.with_noise((declared,), settings.noise)
    return loading.load(
        declared, settings.evaluate, data, None if settings.test == "all" else settings.test, settings.seed,
        source=source or settings.source, bad=loading.BadRows(),
    )  # fmt: skip


def _is_of(examples: list[Example], fingerprint: str) -> bool:
    """Whether these are the examples that a run was asked; early runs did not note what of a prompt may be cut."""
    plain = [replace(example, cut=()) for example in examples]
    return fingerprint in (load.fingerprint(examples), load.fingerprint(plain))
