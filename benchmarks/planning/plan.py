"""A profile → the identities of everything a run builds. Reads the data; loads no TensorFlow.

The chain: data → tokenizer → encoded → large (pretrained, tuned) → teacher columns; small start per seed → one small
model per method and seed → predictions of each. Every key contains the keys of what it is built from.
"""

import functools
import math
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning.examples import Examples, Lengths
from benchmarks.planning.methods import OBJECTIVES
from benchmarks.planning.profile import Profile, Training
from benchmarks.tasks import embedded, loading, task
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

# Raised when the code of a stage changes what it writes.
STAGE_VERSION = {"tokenizer": 1, "encoded": 1, "train": 3, "teacher": 2, "predict": 2}

Model = tuple[str, int]  # of those that answer the test examples: method and seed
LARGE: Model = ("", -1)


@dataclass(frozen=True)
class Cell:
    """One model to train: where it starts, on what loss, and the key of its result."""

    key: str
    label: str
    start: "Cell | None"
    role: str  # "large" or "small"
    objective: str
    arguments: dict  # of the objective
    scope: str  # "all" (pretraining) or "target"
    training: Training
    seed: int
    needs_teacher: bool = False
    start_columns: str = ""  # key of what the model says of the training data before this training; "" if not asked


@dataclass(frozen=True)
class Plan:
    """Everything a run will make, by key."""

    profile: Profile
    tasks: tuple[task.Task, ...]
    train: Examples
    test: Examples
    tokenizer: str
    encoded: str
    large: Cell | None  # None: the preset as it is
    large_key: str
    teacher: str
    small: dict[tuple[str, int], Cell]  # (method, seed) → its last cell

    def models(self) -> list[Model]:
        """Each model that answers the test examples; the large one first."""
        return [LARGE, *self.small]

    def label(self, model: Model) -> str:
        return "large" if model == LARGE else f"{model[0]} seed {model[1]}"

    def name(self, model: Model) -> str:
        """As manifests and `--only` have it."""
        return "large" if model == LARGE else f"{model[0]}/{model[1]}"

    def named(self, name: str) -> Model:
        """The model of that name; raises CatKerasError where the plan has none."""
        models = {self.name(model): model for model in self.models()}
        if name not in models:
            raise unknown_name("model", name, models)
        return models[name]

    def last(self, model: Model) -> Cell | None:
        """The training that a model comes from; None for a preset as it is."""
        return self.large if model == LARGE else self.small[model]

    def model_key(self, model: Model) -> str:
        return self.large_key if model == LARGE else self.small[model].key

    def prediction_key(self, model_key: str) -> str:
        data = self.profile.data
        return _key(
            "predict",
            model=model_key,
            test=self.test.fingerprint,
            metrics={t.name: [t.metric, dict(t.metric_args)] for t in self.tasks},  # the quality is stored beside
            max_length=data.max_length,
            max_new_tokens=data.max_new_tokens,
            precision=self.profile.precision,
        )

    def made_from(self) -> list[tuple[str, str]]:
        """(stage, key) of everything that is built on the way to the predictions."""
        cells = self.cells()
        columns = [self.teacher, *dict.fromkeys(c.start_columns for c in cells if c.start_columns)]
        return [("tokenizer", self.tokenizer), ("encoded", self.encoded), *(("train", c.key) for c in cells),
                *(("teacher", key) for key in columns)]  # fmt: skip

    def cells(self, models: list[Model] | None = None) -> list[Cell]:
        """Every training that models come from (default: all models), each after what it starts from.

        Those of the large model are among them where a small one reads its columns.
        """
        models = self.models() if models is None else models
        ends = [self.last(m) for m in models]
        if any(c and c.needs_teacher for c in ends):
            ends = [self.large, *ends]
        out: dict[tuple[str, str], Cell] = {}  # two names may stand for one training
        for last in ends:
            chain = []
            while last is not None:
                chain.append(last)
                last = last.start
            out |= {(c.key, c.label): c for c in reversed(chain)}
        return list(out.values())


def _with_noise(tasks: tuple[task.Task, ...], noise: float) -> tuple[task.Task, ...]:
    if not any(isinstance(t.source, embedded.Embedded) for t in tasks):
        raise CatKerasError(f"data.noise is a share of embedded tasks. Received: {noise:g} without one. Leave it out")
    return embedded.with_noise(tasks, noise)


def make(profile: Profile, data: str | Path | None = None, source: str = "", assume: bool = False) -> Plan:
    """Reads the rows of a profile and names every result.

    Args:
        profile: what to run. data: folder of the data, see `loading.load`.
        source: where rows come from instead of the profile's `data.source`.
        assume: for an estimate, take tasks whose rows are not on this machine at the limits of the profile.

    Raises:
        CatKerasError: unknown task or source, or data that cannot be read (see `sources`).
    """
    skipped = task.select(profile.data.skip)
    tasks = tuple(t for t in task.select(profile.data.tasks) if t not in skipped)
    if profile.data.noise is not None:
        tasks = _with_noise(tasks, profile.data.noise)
    untrained = [t.name for t in task.select(profile.data.test_only)]
    source = source or profile.data.source
    if source not in loading.SOURCES:
        raise unknown_name("source", source, loading.SOURCES)
    # A diagnostic has no training data: it is tested on what the others taught.
    trained = [t for t in tasks if "train" in t.splits and t.name not in untrained]
    tested = [t for t in tasks if profile.data.evaluate in t.splits]
    for t in tested:
        metrics.of(t)  # better now than when all models are trained
    train = Examples(trained, _reader(profile, "train", data, source, assume))
    test = Examples(tested, _reader(profile, profile.data.evaluate, data, source, assume), keep=math.inf)
    if not len(train):
        raise CatKerasError(
            f"A run trains on something. Received: only tasks without training data, {profile.data.tasks}"
        )
    origin = {role: _origin(getattr(profile, role)) for role in ("small", "large")}
    rows = train.fingerprint
    if profile.large.preset or profile.small.preset:
        tokenizer = _key("tokenizer", preset=origin["small"] if profile.small.preset else origin["large"])
    else:
        tokenizer = _key("tokenizer", data=rows, vocabulary_size=profile.data.vocabulary_size)
    encoded = _key("encoded", data=rows, tokenizer=tokenizer, max_length=profile.data.max_length)
    large = _start(profile, "large", profile.large.seed, encoded, origin["large"])
    large_key = large.key if large else _key("train", origin=origin["large"])
    teacher = _key(
        "teacher", large=large_key, encoded=encoded, precision=profile.precision, **profile.teacher.model_dump()
    )
    small = {
        (method, seed): _objective(profile, method, seed, encoded, origin["small"], teacher)
        for seed in profile.seeds
        for method in profile.methods
    }
    return Plan(profile, tasks, train, test, tokenizer, encoded, large, large_key, teacher, small)


def _reader(profile, split, data, source, assume):
    cap = profile.data.train if split == "train" else profile.data.test
    limit = None if cap == "all" else cap
    template = profile.data.template if split == "train" else 0

    def read(t: task.Task):
        if assume and source not in loading.available(t, data):
            return Lengths.assumed(t, limit)
        try:
            return loading.load(t, split, data, limit=limit, seed=profile.data.seed, template=template, source=source)
        except CatKerasError as error:
            raise CatKerasError(f"{error}. Or leave the task out: --skip {t.name}") from error

    return read


def _start(profile, role, seed, encoded, origin) -> Cell | None:
    """The chain of pretraining and xent tuning of a model; None when neither is asked for."""
    model, cell = getattr(profile, role), None
    for phase, scope in (("pretrain", "all"), ("tune", "target")):
        training = getattr(model, phase)
        if training and training.epochs:
            label = f"{role} {phase}" + ("" if role == "large" else f" seed {seed}")
            cell = _cell(label, cell, role, ("xent", {}), scope, training, seed, encoded, origin, profile)
    return cell


def _objective(profile, method, seed, encoded, origin, teacher) -> Cell:
    start = _start(profile, "small", seed, encoded, origin)
    objective = profile.objective_of(method)
    reads = OBJECTIVES[objective[0]]
    columns = ""
    if objective[1].get("mask") == "start":
        before = start.key if start else [origin, seed]
        columns = _key("teacher", large=before, encoded=encoded, precision=profile.precision, distribution="none")
    return _cell(f"small {method} seed {seed}", start, "small", objective, "target", profile.training_of(method), seed,
                 encoded, origin, profile, teacher if reads else None, columns)  # fmt: skip


def _cell(
    label, start, role, objective, scope, training, seed, encoded, origin, profile, teacher=None, columns=""
) -> Cell:
    key = _key(
        "train",
        start=start.key if start else origin,
        encoded=encoded,
        objective=objective[0],
        arguments=objective[1],
        scope=scope,
        training=training.model_dump(),
        seed=seed,
        buckets=profile.buckets,
        precision=profile.precision,
        dropout=getattr(profile, role).dropout,
        teacher=teacher,
    )
    return Cell(key, label, start, role, *objective, scope, training, seed, teacher is not None, columns)


def _origin(model) -> dict:
    """What identifies the weights a model starts from: its shape and seed, or the files of its preset."""
    if not model.preset:
        return model.model_dump(include={"layers", "width", "heads", "feedforward"})
    folder = Path(model.preset)
    if folder.is_dir():
        return {str(p.relative_to(folder)): store.sha256_file(p) for p in sorted(folder.rglob("*")) if p.is_file()}
    if "/" in model.preset and "://" not in model.preset:
        raise CatKerasError(f"A preset is a KerasHub name or an existing folder. Received: {model.preset}")
    return {"preset": model.preset}


def _key(stage: str, **parts) -> str:
    return store.identity(stage=stage, version=STAGE_VERSION[stage], packages=packages(), **parts)


@functools.cache
def packages() -> dict[str, str]:
    """Versions of what computes the results; looked up once, since every key has them."""
    return {p: version(p) for p in ("tensorflow", "keras", "keras-hub", "sentencepiece")}
