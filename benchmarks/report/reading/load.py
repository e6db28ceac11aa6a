"""Reads a run folder into a checked `Run`, from which everything that the report says is computed.

A folder is either full, as the run wrote it, or kept (see `benchmarks.keeping.keep`): a kept one has numbers in place
of texts.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass, field, replace
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.report.reading import columns, histories, routes
from benchmarks.report.reading import folder as files
from benchmarks.report.reading.columns import Columns, Examples
from benchmarks.report.reading.histories import History
from benchmarks.report.reading.routes import Routes
from benchmarks.tasks import task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence
from cat_keras.storage import processes

START = "start"  # the small checkpoint that all objectives start from; a reference, not a method of the run
Key = tuple[str, int, str]  # method, seed, task


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind, with every hole named.

    Attributes:
        folder: where it lies. manifest: as written by the run, with `kept` in a folder of kept results.
        methods, seeds, tasks: what the run was to cover, in the order of the manifest.
        examples: task → its examples, in the order of the file; of kept results without their texts.
        small: (method, seed, task) → predictions, one row per example in the order of `examples`; complete cells only.
        large: task → predictions of the large model, likewise.
        missing: names of the cells that are not complete, `method/seed/task` or `large/task`.
        extra: methods that have predictions although the manifest does not name them; they are left out.
        histories: `method/seed` → the course of its training, see `reading.histories`; of those that noted one.
        routes: (method, seed, task) → scores of a router, see `reading.routes`; of kept results that have them.
        middle: name of a model between the small and the large one → its predictions, like `small`; in order of size.
    """

    folder: Path
    manifest: dict
    methods: tuple[str, ...]
    seeds: tuple[int, ...]
    tasks: tuple[str, ...]
    examples: dict[str, Examples]
    small: dict[Key, Columns]
    large: dict[str, Columns]
    missing: tuple[str, ...]
    extra: tuple[str, ...]
    histories: dict[str, History] = field(default_factory=dict)
    routes: Routes = field(default_factory=dict)
    middle: dict[str, dict[Key, Columns]] = field(default_factory=dict)

    def without_smaller(self, role: str) -> "Run":
        """The run in which the model of that name is the small one."""
        names = list(self.middle)
        later = names[names.index(role) + 1 :]
        return replace(self, small=self.middle[role], middle={name: self.middle[name] for name in later}, routes={})

    @property
    def has_text(self) -> bool:
        """Whether prompts, references and answers are there; kept results have statistics of the answers instead."""
        return "kept" not in self.manifest

    @property
    def imported(self) -> bool:
        """Whether models answered elsewhere (`benchmarks.importing`): then nothing was trained, and cost has a unit of
        its own."""
        return "imported" in self.manifest

    @property
    def rule(self) -> str:
        """The deferral rule of the main table."""
        return self.manifest["rule"]

    @property
    def covered(self) -> tuple[str, ...]:
        """Tasks that averages are taken over: those that the large model answered."""
        return tuple(name for name in self.tasks if name in self.large)

    def complete_seeds(self, method: str) -> tuple[int, ...]:
        """Seeds of a method that have every covered task; an average takes no others."""
        return tuple(
            seed
            for seed in self.expected_seeds(method)
            if all((method, seed, name) in self.small for name in self.covered)
        )

    def expected_seeds(self, method: str) -> tuple[int, ...]:
        """Seeds that a method should have: those of the manifest, or for the start those that it has."""
        return self.start_seeds if method == START else self.seeds

    @cached_property
    def start_seeds(self) -> tuple[int, ...]:
        return tuple(sorted({seed for method, seed, _ in self.small if method == START}))

    def cell(self, model: str, name: str) -> Columns | None:
        """Answers of a model to a task, None if not complete.

        Args:
            model: as the manifest names it: `method/seed`, `large/-1`, or `middle/method/seed` of one between.
        """
        role, _, rest = model.partition("/")
        cells, model = (self.middle[role], rest) if role in self.middle else (self.small, model)
        method, _, seed = model.rpartition("/")
        return self.large.get(name) if method == "large" else cells.get((method, int(seed), name))

    def live(self, method: str) -> list[float]:
        """Mean share of live tokens of each trained seed of a method; empty when the run noted none."""
        training = self.manifest.get("training") or {}
        shares = (training.get(f"{method}/{seed}", {}).get("live") for seed in self.seeds)
        return [float(share) for share in shares if share is not None]

    @cached_property
    def bars(self) -> dict[str, float]:
        """task → the quality above which an answer counts as right, for the AUROC: the same for every method."""
        bars = {}
        for name in self.tasks:
            qualities = [cell["quality"] for (_, _, of), cell in self.small.items() if of == name]
            if qualities:
                bars[name] = confidence.bar(qualities)
        return bars

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """Classification task → (n,) places of the right options, where they are known and among the options."""
        by_task = {name: self.examples[name].answers for name in self.choice_tasks()}
        return {name: places for name, places in by_task.items() if places is not None and places.min() >= 0}

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """task → (n,) units that cross-fitting must not split: for each example, the place of the first of its unit.

        Examples that belong together (see `Task.together`) are one unit; of other tasks every example is its own. Units
        are places because kept results have other ids and groups than the run itself.
        """
        return {name: _units(name, examples) for name, examples in self.examples.items()}

    @cached_property
    def bayes(self) -> float | None:
        """Quality of the best possible predictor, averaged over the covered tasks; None unless it is known of all."""
        by_task = self.manifest.get("bayes_quality", {})  # early runs did not note it
        qualities = [by_task.get(name) if by_task else bayes_quality(name) for name in self.covered]
        return None if not qualities or None in qualities else float(np.mean(qualities))

    def fingerprint(self, name: str) -> str:
        """Hash of the examples of a task with their texts; it is equal in two runs that were asked the same."""
        if not self.has_text:
            return self.manifest["kept"]["examples"][name]
        return fingerprint(self.examples[name])

    def choice_tasks(self) -> tuple[str, ...]:
        """Covered classification tasks: every example has options."""
        return self._choice

    @cached_property
    def _choice(self) -> tuple[str, ...]:
        return tuple(name for name in self.covered if self.examples[name].all_have_options)


def fingerprint(examples: Iterable[Example]) -> str:
    """Hash of examples with their texts."""
    digest = hashlib.sha256()
    for example in examples:
        digest.update(json.dumps(example.asdict(), sort_keys=True).encode())
    return digest.hexdigest()


def _units(name: str, examples: Examples) -> np.ndarray:
    if not task.get(name).together:
        return np.arange(len(examples))
    places: dict[str, int] = {}  # unit → place of its first example
    return np.array([places.setdefault(example.group or example.id, i) for i, example in enumerate(examples)])


def bayes_quality(name: str) -> float | None:
    """Quality of the best possible predictor of a task; None unless its data are generated so that it is known."""
    return getattr(task.get(name).source, "bayes_quality", None)


def on_validation(folder: Path) -> Run:
    """`load` of a run that answered validation data.

    Raises:
        CatKerasError: it answered other data; or as for `load`.
    """
    run = load(folder)
    split = (run.manifest.get("settings") or {}).get("data", {}).get("evaluate", "test")
    if split != "validation":
        raise CatKerasError(
            f"What is chosen or expected of tasks comes from validation data. Received: {run.folder}, which answered "
            f"the {split} split. Run it with --set data.evaluate=validation"
        )
    return run


def load(folder: Path) -> Run:
    """Reads a run folder.

    Raises:
        CatKerasError: a file is missing, unreadable or without a column, or the files contradict each other. Missing
            predictions are no error: they are listed in `Run.missing`.
    """
    folder = Path(folder)
    examples_path, predictions_path = folder / "examples.parquet", folder / "predictions.parquet"
    with processes.locked(folder, shared=True):  # waits for a run that is writing these files
        manifest = files.manifest(folder / "manifest.json")
        manifest, noted = histories.separate(manifest)
        paths = [examples_path, predictions_path]
        further = [folder / name for name in (histories.FILE, routes.FILE) if name in (manifest.get("files") or {})]
        paths += further
        contents = {path: columns.open_file(path, files.REMEDY) for path in paths}
    for path, content in contents.items():
        files.check_checksum(path, content, manifest)
    kept, scored = "kept" in manifest, {}
    examples = files.examples(examples_path, contents[examples_path], manifest["tasks"], kept)
    for path in further:
        if path.name == histories.FILE:
            noted = histories.read(path, contents[path], files.REMEDY)
        else:
            sizes = {name: len(each) for name, each in examples.items()}
            scored = routes.read(path, contents[path], sizes, files.REMEDY)
    between = tuple(manifest.get("middle", ()))
    small, large, middle = files.predictions(predictions_path, contents[predictions_path], examples, kept, between)
    methods = tuple(name for name in manifest["methods"] if name != START)
    seeds, tasks = tuple(manifest["seeds"]), tuple(manifest["tasks"])
    missing = [f"large/{name}" for name in tasks if name not in large]
    missing += [f"{m}/{s}/{t}" for m in methods for s in seeds for t in tasks if (m, s, t) not in small]
    missing += [
        f"{role}/{m}/{s}/{t}"
        for role, cells in middle.items() for m in methods for s in seeds for t in tasks if (m, s, t) not in cells
    ]  # fmt: skip
    missing += ["/".join(map(str, c)) if isinstance(c, list) else str(c) for c in manifest.get("missing") or []]
    missing = dict.fromkeys(missing)  # the manifest may name the same holes
    extra = manifest["kept"]["extra"] if kept else sorted({method for method, _, _ in small} - {*methods, START})
    small, *larger = (
        {key: cell for key, cell in cells.items() if key[0] not in extra} for cells in (small, *middle.values())
    )
    holes = tuple(missing), tuple(extra)
    middle = dict(zip(middle, larger, strict=True))
    return Run(folder, manifest, methods, seeds, tasks, examples, small, large, *holes, noted, scored, middle)


def load_all(folders: Iterable[Path]) -> list[Run]:
    """Reads several run folders that are to be shown side by side.

    Raises:
        CatKerasError: as `load`; or two of them have different predictions under one key. Then one of the folders is
            wrong: its predictions were changed after they were computed.
    """
    runs = [load(folder) for folder in folders]
    first_of: dict[str, tuple[Run, str]] = {}  # key → the first run that has it, and its name of the model
    for run in runs:
        for model, key in (run.manifest.get("predictions") or {}).items():
            first_run, first_model = first_of.setdefault(key, (run, model))
            task_name = None if first_run is run else _first_difference(first_run, first_model, run, model)
            if task_name:
                raise CatKerasError(
                    f"Predictions of one key are equal; {first_model} of {first_run.folder} and {model} of "
                    f"{run.folder} are both {key} and differ on {task_name}. One was changed, "
                    f"or made by other code. {files.REMEDY}"
                )
    return runs


def _first_difference(run: Run, model: str, other: Run, other_model: str) -> str | None:
    """The first task on which one model's answers are not the same in both runs."""
    for name in run.tasks:
        one, two = run.cell(model, name), other.cell(other_model, name)
        if one is None or two is None:
            continue
        if not all(np.array_equal(one[column], two[column], equal_nan=True) for column in ("quality", "flops")):
            return name
    return None
