"""A run folder → a checked `Run`. Everything the report says is computed from what this module returns.

A folder is full, as the run wrote it, or kept (see `benchmarks.keeping.keep`): then it has numbers in place of texts.
"""

import hashlib
import json
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from benchmarks.report.reading import columns
from benchmarks.report.reading import folder as files
from benchmarks.report.reading.columns import Columns, Examples
from benchmarks.tasks import task
from cat_keras.errors import CatKerasError
from cat_keras.storage import processes

START = "start"  # the small checkpoint that all objectives start from: shown for reference, no method of the run
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
        extra: methods that have predictions and are not in the manifest; they are left out.
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
        """Tasks that averages are over: those that the large model answered."""
        return tuple(name for name in self.tasks if name in self.large)

    def complete_seeds(self, method: str) -> tuple[int, ...]:
        """Seeds of a method that have every covered task; an average takes no others."""
        seeds = self.start_seeds if method == START else self.seeds
        return tuple(s for s in seeds if all((method, s, name) in self.small for name in self.covered))

    @cached_property
    def start_seeds(self) -> tuple[int, ...]:
        return tuple(sorted({seed for method, seed, _ in self.small if method == START}))

    def cell(self, model: str, name: str) -> Columns | None:
        """Answers of a model as the manifest names it, `method/seed` or `large/-1`, to a task; None if not complete."""
        method, _, seed = model.rpartition("/")
        return self.large.get(name) if method == "large" else self.small.get((method, int(seed), name))

    def live(self, method: str) -> list[float]:
        """Mean share of live tokens of each trained seed of a method; empty when the run noted none."""
        training = self.manifest.get("training") or {}
        shares = (training.get(f"{method}/{seed}", {}).get("live") for seed in self.seeds)
        return [float(share) for share in shares if share is not None]

    @cached_property
    def bars(self) -> dict[str, float]:
        """task → the quality above which an answer counts as right, for the AUROC.

        Quality that is 0 or 1 has only one sensible bar. Graded quality has none, so the bar is the median of all
        small models' answers on the task: the same for every method, with about as many answers above as below.
        """
        bars = {}
        for name in self.tasks:
            parts = [cell["quality"] for (_, _, of), cell in self.small.items() if of == name]
            if parts:
                values = np.concatenate(parts)
                bars[name] = 0.5 if np.isin(values, (0, 1)).all() else float(np.median(values))
        return bars

    @cached_property
    def answers(self) -> dict[str, np.ndarray]:
        """Classification task → (n,) places of the right options, where they are known and among the options."""
        found = {name: self.examples[name].answers for name in self.choice_tasks()}
        return {name: places for name, places in found.items() if places is not None and places.min() >= 0}

    @cached_property
    def units(self) -> dict[str, np.ndarray]:
        """task → for each example, the place of the first one that belongs together with it: what folds are made of.

        Places, since kept results have other ids and groups than the run itself.
        """
        return {name: _units(name, examples) for name, examples in self.examples.items()}

    @cached_property
    def bayes(self) -> float | None:
        """Quality of the best possible predictor, averaged over the covered tasks; None unless all of them know it."""
        noted = self.manifest.get("bayes_quality", {})  # early runs did not note it
        known = [noted.get(name, bayes_quality(name) if not noted else None) for name in self.covered]
        return None if not known or None in known else float(np.mean(known))

    def fingerprint(self, name: str) -> str:
        """Hash of the examples of a task, texts included: equal where two runs were asked the same."""
        if not self.has_text:
            return self.manifest["kept"]["examples"][name]
        digest = hashlib.sha256()
        for example in self.examples[name]:
            digest.update(json.dumps(example.asdict(), sort_keys=True).encode())
        return digest.hexdigest()

    def choice_tasks(self) -> tuple[str, ...]:
        """Covered classification tasks: every example has options."""
        return self._choice

    @cached_property
    def _choice(self) -> tuple[str, ...]:
        return tuple(name for name in self.covered if self.examples[name].all_have_options)


def _units(name: str, examples: Examples) -> np.ndarray:
    if not task.get(name).together:
        return np.arange(len(examples))
    first: dict[str, int] = {}
    return np.array([first.setdefault(example.group or example.id, i) for i, example in enumerate(examples)])


def bayes_quality(name: str) -> float | None:
    """Quality of the best possible predictor of a task, where its data are made so that it is known."""
    return getattr(task.get(name).source, "bayes_quality", None)


def load(folder: Path) -> Run:
    """Reads a run folder.

    Raises:
        CatKerasError: a file is missing, unreadable or without a column, or the files contradict each other. Missing
            predictions are no error: they are listed in `Run.missing`.
    """
    folder = Path(folder)
    asked, answered = folder / "examples.parquet", folder / "predictions.parquet"
    with processes.locked(folder, shared=True):  # a run that writes them now is waited for
        manifest = files.manifest(folder / "manifest.json")
        contents = {path: columns.opened(path, files.REMEDY) for path in (asked, answered)}
    kept = "kept" in manifest
    for path, content in contents.items():
        files.checked(path, content, manifest)
    examples = files.examples(asked, contents[asked], manifest["tasks"], kept)
    small, large = files.predictions(answered, contents[answered], examples, kept)
    methods = tuple(name for name in manifest["methods"] if name != START)
    seeds, tasks = tuple(manifest["seeds"]), tuple(manifest["tasks"])
    missing = [f"large/{name}" for name in tasks if name not in large]
    missing += [f"{m}/{s}/{t}" for m in methods for s in seeds for t in tasks if (m, s, t) not in small]
    missing += ["/".join(map(str, c)) if isinstance(c, list) else str(c) for c in manifest.get("missing") or []]
    extra = manifest["kept"]["extra"] if kept else sorted({method for method, _, _ in small} - {*methods, START})
    small = {key: cell for key, cell in small.items() if key[0] not in extra}
    missing = dict.fromkeys(missing)  # the manifest may name the same holes
    return Run(folder, manifest, methods, seeds, tasks, examples, small, large, tuple(missing), tuple(extra))


def load_all(folders: Iterable[Path]) -> list[Run]:
    """Reads several run folders that are to stand beside each other.

    Raises:
        CatKerasError: as `load`; or two of them have predictions under one key that differ: what the key names was
            changed after it was computed, and one of the two folders is wrong.
    """
    runs, seen = [load(folder) for folder in folders], {}  # key → the first (run, model) that has it
    for run in runs:
        for model, key in (run.manifest.get("predictions") or {}).items():
            first = seen.setdefault(key, (run, model))
            differing = None if first[0] is run else _difference(*first, run, model)
            if differing:
                raise CatKerasError(
                    f"Predictions of one key are equal; {first[1]} of {first[0].folder} and {model} of {run.folder} "
                    f"are both {key} and differ on {differing}. One was changed, or made by other code. {files.REMEDY}"
                )
    return runs


def _difference(run: Run, model: str, other: Run, other_model: str) -> str | None:
    """The first task on which one model's answers are not the same in both runs."""
    for name in run.tasks:
        one, two = (each.cell(label, name) for each, label in ((run, model), (other, other_model)))
        both = one is not None and two is not None
        if both and not all(np.array_equal(one[column], two[column]) for column in ("quality", "flops")):
            return name
    return None
