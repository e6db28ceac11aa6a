"""A run folder → a checked `Run`. Everything the report says is computed from what this module returns."""

from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np
import pandas as pd

from benchmarks import task
from cat_keras import store
from cat_keras.errors import CatKerasError
from cat_keras.records import Example

START = "start"  # the small checkpoint that all objectives start from: shown for reference, no method of the run
REMEDY = "Run the profile again; what is in the cache is not computed twice"
MANIFEST = ("profile", "methods", "seeds", "tasks", "rule")
EXAMPLES = ("task", "id", "group", "prompt", "target", "options", "references")
PREDICTIONS = (
    *("model", "method", "seed", "task", "id", "text", "token_logprobs", "option_logprobs"),
    *("flops", "seconds", "quality"),
)
CELL = PREDICTIONS[3:]  # what is left to say within one cell
DTYPES = dict.fromkeys(("flops", "seconds", "quality"), np.float64)

Key = tuple[str, int, str]  # method, seed, task
Columns = dict[str, np.ndarray]  # of predictions; plain arrays, since pandas would cost more than the arithmetic


@dataclass(frozen=True, eq=False)
class Run:
    """What a run left behind, with every hole named.

    Attributes:
        folder: where it lies. manifest: as written by the run.
        methods, seeds, tasks: what the run was to cover, in the order of the manifest.
        examples: task → its examples, in the order of the file.
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
    examples: dict[str, list[Example]]
    small: dict[Key, Columns]
    large: dict[str, Columns]
    missing: tuple[str, ...]
    extra: tuple[str, ...]

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
    def bayes(self) -> float | None:
        """Quality of the best possible predictor, averaged over the covered tasks; None unless all of them know it."""
        known = [getattr(task.get(name).source, "bayes_quality", None) for name in self.covered]
        return None if not known or None in known else float(np.mean(known))

    def choice_tasks(self) -> tuple[str, ...]:
        """Covered classification tasks: every example has options."""
        return tuple(name for name in self.covered if all(e.options for e in self.examples[name]))


def load(folder: Path) -> Run:
    """Reads a run folder.

    Raises:
        CatKerasError: a file is missing, unreadable or without a column, or the files contradict each other. Missing
            predictions are no error: they are listed in `Run.missing`.
    """
    folder = Path(folder)
    manifest = _manifest(folder / "manifest.json")
    examples = _examples(folder / "examples.parquet", manifest["tasks"])
    small, large = _predictions(folder / "predictions.parquet", examples)
    methods = tuple(name for name in manifest["methods"] if name != START)
    seeds, tasks = tuple(manifest["seeds"]), tuple(manifest["tasks"])
    missing = [f"large/{name}" for name in tasks if name not in large]
    missing += [f"{m}/{s}/{t}" for m in methods for s in seeds for t in tasks if (m, s, t) not in small]
    missing += ["/".join(map(str, c)) if isinstance(c, list) else str(c) for c in manifest.get("missing") or []]
    extra = sorted({method for method, _, _ in small} - {*methods, START})
    kept = {key: cell for key, cell in small.items() if key[0] not in extra}
    missing = dict.fromkeys(missing)  # the manifest may name the same holes
    return Run(folder, manifest, methods, seeds, tasks, examples, kept, large, tuple(missing), tuple(extra))


def _manifest(path: Path) -> dict:
    if not path.is_file():
        raise CatKerasError(
            f"A run folder holds manifest.json, examples.parquet and predictions.parquet; {path} is missing. "
            "Give the folder of a finished run"
        )
    manifest = store.read_json(path)
    absent = [key for key in MANIFEST if not (isinstance(manifest, dict) and manifest.get(key))]
    if absent:
        raise CatKerasError(f"{path} must name {', '.join(MANIFEST)}; it lacks {', '.join(absent)}. {REMEDY}")
    return manifest


def _read(path: Path, needed: tuple[str, ...]) -> pd.DataFrame:
    import pyarrow
    import pyarrow.parquet

    if not path.is_file():
        raise CatKerasError(f"A run folder holds {path.name}; {path} is missing. {REMEDY}")
    try:
        table = pyarrow.parquet.read_table(path)
    except (pyarrow.ArrowException, OSError) as error:
        raise CatKerasError(f"{path} is not a readable Parquet file ({error}). Delete it. {REMEDY}") from error
    absent = [name for name in needed if name not in table.column_names]
    if absent:
        raise CatKerasError(f"{path} must have the columns {', '.join(needed)}; missing: {', '.join(absent)}. {REMEDY}")
    return table.select(list(needed)).to_pandas()


def _examples(path: Path, tasks: list[str]) -> dict[str, list[Example]]:
    frame = _read(path, EXAMPLES)
    twice = frame.duplicated(["task", "id"])
    if twice.any():
        raise CatKerasError(f"{path}: ids are unique in a task; {frame['id'][twice].iloc[0]!r} is not. {REMEDY}")
    examples = {name: [] for name in tasks}
    for row in frame.to_dict("records"):
        if row["task"] in examples:
            examples[row["task"]].append(Example(**row))
    empty = [name for name, rows in examples.items() if not rows]
    if empty:
        raise CatKerasError(f"{path} must hold examples of every task of the manifest; none of {empty}. {REMEDY}")
    return examples


def _predictions(path: Path, examples: dict[str, list[Example]]) -> tuple[dict, dict]:
    """Complete cells of small models and of the large one, rows in the order of the examples."""
    frame = _read(path, PREDICTIONS)
    frame = frame[frame["task"].isin(examples)]
    _check_numbers(path, frame)
    order = {name: [example.id for example in rows] for name, rows in examples.items()}
    small, large = {}, {}
    for (model, method, seed, name), rows in frame.groupby(["model", "method", "seed", "task"], sort=True):
        rows = rows.set_index("id", drop=False)
        if not rows.index.is_unique or not rows.index.isin(order[name]).all():
            raise CatKerasError(
                f"{path}: {model} {method}/{seed} on {name} must answer each example of examples.parquet once; "
                f"it has repeated or unknown ids. {REMEDY}"
            )
        if len(rows) < len(order[name]):
            continue  # an unfinished cell is a missing cell
        rows = rows.loc[order[name]]
        cell = {column: rows[column].to_numpy(dtype=DTYPES.get(column, object)) for column in CELL}
        if model == "large":
            large[name] = cell
        else:
            small[method, int(seed), name] = cell
    return small, large


def _check_numbers(path: Path, frame: pd.DataFrame):
    for name, low, high in (("quality", 0, 1), ("flops", 0, np.inf)):
        bad = ~frame[name].between(low, high) | ~np.isfinite(frame[name])
        if bad.any():
            row = frame[bad].iloc[0]
            raise CatKerasError(
                f"{path}: {name} must be in [{low}, {high}]; received {row[name]} for example {row['id']!r} of "
                f"{row['task']} ({bad.sum()} such). {REMEDY}"
            )
