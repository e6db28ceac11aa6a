"""Turns a profile into the identities of everything that a run builds. Reads the data, but loads no TensorFlow.

The chain is: data → tokenizer → encoded → large (pretrained, tuned) → teacher columns; small start per seed → one small
model per method and seed → predictions of each. With SALT, the small start of the large model's seed and its columns
come before the large model. A model between the two is made as the small one is, and its columns teach the models
before it. The key of every result contains the keys of what it is built from.
"""

import functools
import math
import re
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field, replace
from importlib.metadata import version
from pathlib import Path

from benchmarks import metrics
from benchmarks.planning import chains, ladder, sizes
from benchmarks.planning.examples import Examples, Lengths
from benchmarks.planning.findings import BadInput, Finding
from benchmarks.planning.methods import ASKING, OBJECTIVES
from benchmarks.planning.profile import Lora, Profile, Training
from benchmarks.tasks import embedded, loading, task
from cat_keras.data.overlap import Overlap
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

# The version of a stage is raised when its code changes what it writes.
STAGE_VERSION = {"tokenizer": 1, "encoded": 2, "train": 3, "teacher": 2, "predict": 4, "checks": 1}

PART = 16_384  # test examples that a model answers at once; more are answered in parts, and what is done stays

# Method and seed of a model that answers the test examples; of one between the small and the large one also its name.
Model = tuple[str, int] | tuple[str, int, str]
LARGE: Model = ("", -1)


@dataclass(frozen=True)
class Columns:
    """What a model says of every target token of the training data: what the objectives of others read.

    Attributes:
        key: of the columns. role: of the model. cell: the training it comes from; None for a preset as it is.
    """

    key: str
    role: str
    cell: "Cell | None"

    @property
    def label(self) -> str:
        """As in a run's progress."""
        return "teacher cache" if self.role == "large" else f"columns of {self.cell.label}"


@dataclass(frozen=True)
class Cell:
    """One model to train: where it starts, on what loss, and the key of its result."""

    key: str
    label: str
    start: "Cell | None"
    role: str  # "small", "large", or the name of a model between them
    objective: str
    arguments: dict  # of the objective
    scope: str  # "all" (pretraining) or "target"
    training: Training
    seed: int
    teachers: tuple[Columns, ...] = ()  # of the later models whose columns the objective reads, the next one's first
    start_columns: str = ""  # key of the model's own columns before this training; "" if the objective reads none
    small_teacher: "Cell | None" = None  # of the large model with SALT: the training that the small start comes from
    small_columns: str = ""  # of the large model with SALT: key of the columns of the small start
    lora: Lora | None = None  # what is trained in place of all weights
    size: dict | None = None  # numbers of a part of the small model, of an elastic method; None of all other models

    @property
    def needs_teacher(self) -> bool:
        """Whether the objective reads the columns of another model."""
        return bool(self.teachers)


@dataclass(frozen=True)
class Plan:
    """Everything that a run will build, by key."""

    profile: Profile
    tasks: tuple[task.Task, ...]
    train: Examples
    test: Examples
    tokenizer: str
    encoded: str
    large: Cell | None  # its last cell; None for a preset as it is
    large_key: str
    teacher: str
    small: dict[tuple[str, int], Cell]  # (method, seed) → its last cell
    left_out: dict[str, dict[str, int]]  # split → task → bad rows that are left out, where there are any
    middle: dict[tuple[str, int, str], Cell] = field(default_factory=dict)  # likewise, of the models between

    def models(self) -> list[Model]:
        """The models that answer the test examples, the large one first."""
        return [LARGE, *self.middle, *self.small]

    def role(self, model: Model) -> str:
        """Which model of the profile it is."""
        return "large" if model == LARGE else model[2] if model in self.middle else "small"

    def label(self, model: Model) -> str:
        """The name of a model in the progress of a run."""
        between = f"{model[2]} " if model in self.middle else ""
        return "large" if model == LARGE else f"{between}{model[0]} seed {model[1]}"

    def name(self, model: Model) -> str:
        """The name of a model in manifests and for `--only`."""
        between = f"{model[2]}/" if model in self.middle else ""
        return "large" if model == LARGE else f"{between}{model[0]}/{model[1]}"

    def named(self, name: str) -> Model:
        """The model of that name; raises CatKerasError where the plan has none."""
        models = {self.name(model): model for model in self.models()}
        if name not in models:
            raise unknown_name("model", name, models)
        return models[name]

    def last(self, model: Model) -> Cell | None:
        """The training that a model comes from; None for a preset as it is."""
        return self.large if model == LARGE else (self.middle if model in self.middle else self.small)[model]

    def model_key(self, model: Model) -> str:
        """The key of a model's weights."""
        return self.large_key if model == LARGE else self.last(model).key

    def prediction_key(self, model_key: str) -> str:
        """The key of a model's answers to the test examples."""
        data = self.profile.data
        role = "large" if model_key == self.large_key else self._middle_roles.get(model_key, "small")
        return _key(
            "predict",
            model=model_key,
            test=self.test.fingerprint,
            metrics=self._metrics,  # predictions contain the quality
            max_length=data.max_length,
            max_new_tokens=data.max_new_tokens,
            precision=self.profile.precision,
            # Keys of profiles without these stay as they were.
            **({"stop": data.stop} if data.stop else {}),
            **({"compare": data.compare} if data.compare != "sum" else {}),
            # Which examples share a batch may move a log-probability by its last digit.
            **({"part": PART} if len(self.test) > PART else {}),
            **_chat(self.profile),
            **_experts(self.profile.model_of(role)),
            **({"measures": ["defer"]} if model_key in self._asking else {}),
        )

    @functools.cached_property
    def _asking(self) -> frozenset[str]:
        """Keys of models that have learned a token that asks for help, which their answers are then without."""
        cells = (*self.middle.values(), *self.small.values())
        return frozenset(cell.key for cell in cells if cell.objective == ASKING)

    @functools.cached_property
    def _middle_roles(self) -> dict[str, str]:
        return {cell.key: cell.role for cell in self.middle.values()}

    @functools.cached_property
    def overlap(self) -> dict[str, Overlap]:
        """Task → how many of its test rows are also training rows, of whatever task; only tasks that have any."""
        found = {name: rows.within(self.train.contents.values()) for name, rows in self.test.contents.items()}
        return {name: overlap for name, overlap in found.items() if overlap.normalised}

    def without(self, bad: Collection[Finding]) -> "Plan":
        """The same plan without some of its test rows."""
        if not bad:
            return self
        rows = {(row.task, row.id) for row in bad if row.split == self.profile.data.evaluate}
        counts = {split: dict(tasks) for split, tasks in self.left_out.items()}
        for row in bad:
            tasks = counts.setdefault(row.split, {})
            tasks[row.task] = tasks.get(row.task, 0) + 1
        return replace(self, test=self.test.without(rows), left_out=counts)

    @functools.cached_property
    def _metrics(self) -> dict:
        return {t.name: metrics.identity(t) for t in self.tasks}

    @property
    def checks(self) -> str:
        """The key of what is noted of rows that no model can be given."""
        return _key(
            "checks",
            rows=[self.train.fingerprint, self.test.fingerprint],
            tokenizer=self.tokenizer,
            max_length=self.profile.data.max_length,
            metrics=self._metrics,
            **_chat(self.profile),
        )

    def made_from(self) -> list[tuple[str, str]]:
        """(stage, key) of everything that is built on the way to the predictions."""
        cells = self.cells()
        columns = [self.teacher, *(source.key for source in self.columns(cells))]
        columns = dict.fromkeys([*columns, *(k for c in cells for k in (c.start_columns, c.small_columns) if k)])
        return [
            ("tokenizer", self.tokenizer),
            ("encoded", self.encoded),
            *(("train", cell.key) for cell in cells),
            *(("teacher", key) for key in columns),
        ]

    def cells(self, models: list[Model] | None = None) -> list[Cell]:
        """Every training that models come from (default: all models), each after the one that it starts from.

        The trainings of the large model come first if another model reads its columns.
        """
        models = self.models() if models is None else models
        cells = [cell for model in models for cell in _in_order(self.last(model))]
        if any(source.role == "large" for source in self.columns(cells)):
            cells = [*_in_order(self.large), *cells]
        # By key and label, since two labels may stand for one training.
        return list({(cell.key, cell.label): cell for cell in cells}.values())

    @staticmethod
    def columns(cells: Iterable[Cell]) -> list[Columns]:
        """The columns of later models that these trainings read, each once, those of the large model first."""
        sources = {source.key: source for cell in cells for source in cell.teachers}
        return sorted(sources.values(), key=lambda source: source.role != "large")


def _in_order(cell: Cell | None) -> list[Cell]:
    """A training after all that it needs: the models that teach it, and what it starts from."""
    if cell is None:
        return []
    taught = [each for source in cell.teachers for each in _in_order(source.cell)]
    return [*_in_order(cell.small_teacher), *taught, *_in_order(cell.start), cell]


def make(
    profile: Profile, data: str | Path | None = None, source: str = "", assume: bool = False, like: Plan | None = None
) -> Plan:
    """Reads the rows of a profile and names every result.

    Args:
        profile: what to run. data: folder of the data, see `loading.load`.
        source: where rows come from instead of the profile's `data.source`.
        assume: for an estimate, take tasks whose rows are not on this machine at the limits of the profile.
        like: a plan of the same `profile.data`, whose rows are taken and not read again.

    Raises:
        CatKerasError: unknown task or source; or, as `BadInput`, everything about the data of all splits that cannot be
            read (see `sources`).
    """
    _check_sizes(profile)
    _check_ranks(profile)
    if like:
        tasks, train, test, left_out = like.tasks, like.train, like.test, like.left_out
    else:
        tasks = _select_tasks(profile)
        train, test, left_out = _read_examples(profile, tasks, data, source, assume)
        unasked = task.select(profile.data.train_only)
        tasks = tuple(t for t in tasks if t not in unasked)
    rows = train.fingerprint
    origin = {role: _origin(profile.model_of(role)) for role in profile.roles}
    if presets := [role for role in profile.roles if profile.model_of(role).preset]:
        tokenizer = _key("tokenizer", preset=origin[presets[0]])
    else:
        tokenizer = _key("tokenizer", data=rows, vocabulary_size=profile.data.vocabulary_size)
    encoded = _key("encoded", data=rows, tokenizer=tokenizer, max_length=profile.data.max_length, **_chat(profile))
    large = _start_cell(profile, "large", profile.large.seed, encoded, origin["large"])
    large_key = large.key if large else _key("train", origin=origin["large"])
    teacher = Columns(_columns_key(profile, "large", large_key, encoded, origin), "large", large)
    small, middle = {}, {}
    for seed in profile.seeds:
        for method in profile.methods:
            cells = _before_large(profile, method, seed, encoded, origin, teacher)
            small[method, seed] = cells.pop("small")
            middle |= {(method, seed, role): cell for role, cell in cells.items()}
    return Plan(profile, tasks, train, test, tokenizer, encoded, large, large_key, teacher.key, small, left_out, middle)


def _check_sizes(profile: Profile):
    """Raises CatKerasError where models of a longer cascade do not grow; of two models nobody asks."""
    if profile.middle:
        counts = {r: sizes.of(profile.model_of(r), profile.data.vocabulary_size).flops for r in profile.roles}
        chains.check_sizes({role: flops.per_token + flops.per_logit for role, flops in counts.items()})


def _check_ranks(profile: Profile):
    """Raises CatKerasError where a rank of LoRA is larger than the width of a preset whose folder is here."""
    for role in profile.roles:
        preset = profile.model_of(role).preset
        ranks = {lora.rank for method in ("", *profile.methods) if (lora := profile.lora_of(role, method))}
        if not ranks or not preset or not Path(preset).is_dir():
            continue
        width = sizes.of(profile.model_of(role), 0).width
        if width and max(ranks) > width:
            raise CatKerasError(
                f"The rank of LoRA is at most the width of the model. Received: rank {max(ranks)} for {preset}, whose "
                f"width is {width}. Lower it"
            )


def _before_large(profile, method, seed, encoded, origin, teacher: Columns) -> dict[str, Cell]:
    """Role → the training by a method, of all models but the large one, each made for what comes after it."""
    cells, later = {}, (teacher,)
    for role in reversed(profile.roles[:-1]):
        read = {"next": later[:1], "any": later, "last": later[-1:]}[profile.later_of(method)]
        cell = cells[role] = _method_cell(profile, role, method, seed, encoded, origin[role], read)
        later = (Columns(_columns_key(profile, role, cell.key, encoded, origin), role, cell), *later)
    return cells


def _columns_key(profile, role: str, model_key: str, encoded: str, origin: dict) -> str:
    """The key of the columns of a model that teaches smaller ones."""
    return _key(
        "teacher",
        large=model_key,
        encoded=encoded,
        precision=profile.precision,
        **profile.teacher.model_dump(),
        **_tokenizers(profile, origin, role),
    )


def _select_tasks(profile: Profile) -> tuple[task.Task, ...]:
    """The tasks of a profile, the embedded ones with the share of noise that it asks for."""
    skipped = task.select(profile.data.skip)
    tasks = tuple(t for t in task.select(profile.data.tasks) if t not in skipped)
    noise = profile.data.noise
    if noise is None:
        return tasks
    if not any(isinstance(t.source, embedded.Embedded) for t in tasks):
        raise CatKerasError(f"data.noise is a share of embedded tasks. Received: {noise:g} without one. Leave it out")
    return embedded.with_noise(tasks, noise)


def _read_examples(profile: Profile, tasks, data, source: str, assume: bool):
    """The training and the test examples, and how many rows of each split and task are left out as bad ones.

    Raises:
        BadInput: everything that cannot be read, of all splits and tasks.
    """
    test_only = [t.name for t in task.select(profile.data.test_only)]
    source = source or profile.data.source
    if source not in loading.SOURCES:
        raise unknown_name("source", source, loading.SOURCES)
    # A diagnostic has no training data: the models answer it with what the other tasks taught them.
    train_tasks = [t for t in tasks if "train" in t.splits and t.name not in test_only]
    train_only = [t.name for t in task.select(profile.data.train_only)]
    test_tasks = [t for t in tasks if profile.data.evaluate in t.splits and t.name not in train_only]
    if not test_tasks and train_only:
        raise CatKerasError(
            f"A run asks its models something. Received: data.train_only with all tasks, {', '.join(train_only)}"
        )
    for t in test_tasks:
        metrics.of(t)  # a wrong metric fails now, and not after all models are trained
    split = profile.data.evaluate
    train_reader, test_reader = (_Reader(profile, name, data, source, assume) for name in ("train", split))
    train = Examples(train_tasks, train_reader, compared=train_reader.canonical if profile.data.template else None)
    test = Examples(test_tasks, test_reader, keep=math.inf)
    findings, count = [], 0
    for reader in (train_reader, test_reader):
        findings += reader.findings(rows=profile.data.bad_rows == "error")
        count += len(reader.faults) + (sum(reader.counts.values()) if profile.data.bad_rows == "error" else 0)
    if findings:
        raise BadInput(findings, count)
    if not len(train):
        raise CatKerasError(
            f"A run trains on something. Received: only tasks without training data, {profile.data.tasks}"
        )
    readers = {"train": train_reader, split: test_reader}
    return train, test, {name: reader.counts for name, reader in readers.items() if reader.counts}


class _Reader:
    """Reads the examples of a split, task by task, and notes what cannot be read instead of failing.

    Attributes:
        faults: of whole tasks. counts: task → bad rows, where there are any.
    """

    def __init__(self, profile: Profile, split: str, data, source: str, assume: bool):
        self.split, self.data, self.source, self.assume = split, data, source, assume
        self.settings, cap = profile.data, profile.data.train if split == "train" else profile.data.test
        self.limit = None if cap == "all" else cap
        self.faults: list[Finding] = []
        self._bad: dict[str, loading.BadRows] = {}  # by task

    def __call__(self, t: task.Task) -> list[Example] | Lengths:
        """The examples of a task, or their assumed `Lengths`."""
        if self.assume and self.source not in loading.available(t, self.data, self.split):
            return Lengths.assumed(t, self.limit)
        bad = self._bad[t.name] = loading.BadRows()  # anew, since a large split is read more than once
        try:
            return self._load(t, self.settings.template if self.split == "train" else 0, bad)
        except CatKerasError as error:
            self.faults.append(Finding("", str(error), t.name))
            return []

    def canonical(self, t: task.Task) -> list[Example]:
        """The same examples with the prompts that test examples have."""
        faulty = any(finding.task == t.name for finding in self.faults)
        return [] if faulty else self._load(t, 0, loading.BadRows())

    def _load(self, t, template, bad) -> list[Example]:
        return loading.load(
            t, self.split, self.data, self.limit, self.settings.seed, template=template, source=self.source, bad=bad
        )

    @property
    def counts(self) -> dict[str, int]:
        return {name: bad.count for name, bad in self._bad.items() if bad.count}

    def findings(self, rows: bool) -> list[Finding]:
        """What cannot be read: tasks, and bad rows if they are asked for."""
        bad = [
            Finding(place, problem, name, self.split, id)
            for name, bad in self._bad.items()
            for id, place, problem in bad.first
        ]
        whole = {finding.task for finding in self.faults}  # their message names the first of their rows
        return self.faults + [finding for finding in bad if rows and finding.task not in whole]


def _start_cell(profile, role, seed, encoded, origin) -> Cell | None:
    """The last cell of a model's pretraining and xent tuning, whose `start` is the one before; None without either."""
    model, cell = profile.model_of(role), None
    for phase, scope in (("pretrain", "all"), ("tune", "target")):
        training = getattr(model, phase)
        if training and training.epochs:
            label = f"{role} {phase}" + ("" if role == "large" else f" seed {seed}")
            objective, teaching = ("xent", {}), {}
            if phase == "tune" and training.objective != "xent":
                objective, teaching = (training.objective, training.arguments), _small_teaching(profile, seed, encoded)
            lora = profile.lora_of(role) if phase == "tune" else None
            cell = _cell(
                label, cell, role, objective, scope, training, seed, encoded, origin, profile, lora=lora, **teaching
            )
    return cell


def _small_teaching(profile, seed, encoded) -> dict:
    """The small start that teaches the large model of a seed with SALT, and the key of its columns."""
    origin = {role: _origin(getattr(profile, role)) for role in ("small", "large")}
    cell = _start_cell(profile, "small", seed, encoded, origin["small"])
    key = _key(
        "teacher",
        small=cell.key if cell else origin["small"],
        encoded=encoded,
        precision=profile.precision,
        temperature=profile.large.tune.salt.temperature,
        **profile.teacher.model_dump(),
        **_tokenizers(profile, origin, "large"),
    )
    return {"small_teacher": cell, "small_columns": key}


def _method_cell(profile, role, method, seed, encoded, origin, teachers: tuple[Columns, ...]) -> Cell:
    """The training of the small model, or of one between, by a method."""
    if method in profile.elastic_methods:
        return _elastic_cell(profile, method, seed, encoded, origin, teachers)
    start = _start_cell(profile, role, seed, encoded, origin)
    objective, arguments = profile.objective_of(method)
    start_columns = ""
    if arguments.get("mask") == "start" or (objective == ASKING and arguments.get("helps", "gain") == "gain"):
        model = start.key if start else [origin, seed]
        start_columns = _key("teacher", large=model, encoded=encoded, precision=profile.precision, distribution="none")
    return _cell(
        f"{role} {method} seed {seed}",
        start,
        role,
        (objective, arguments),
        "target",
        profile.training_of(method),
        seed,
        encoded,
        origin,
        profile,
        teachers=teachers if OBJECTIVES[objective] else (),
        start_columns=start_columns,
        lora=profile.lora_of(role, method),
    )


def _elastic_cell(profile, method, seed, encoded, origin, teachers: tuple[Columns, ...]) -> Cell:
    """A small model at a size: the start is reordered, and then trained at all sizes and cut, or cut and then trained.

    Reordering and cutting are cells without an epoch, whose objective says what they do.
    """
    meaning, settings = profile.elastic_methods[method], profile.elastic
    size = ladder.numbers(settings.ladder, meaning.size, profile.small)
    still = profile.objective.model_copy(update={"epochs": 0.0})

    def edited(label, start, objective, **arguments):
        return _cell(label, start, "small", (objective, arguments), "target", still, seed, encoded, origin, profile)

    def trained(label, start, **arguments):
        columns = teachers if OBJECTIVES[meaning.objective] else ()
        objective, training = (meaning.objective, arguments), profile.training_of(method)
        return _cell(
            label, start, "small", objective, "target", training, seed, encoded, origin, profile, teachers=columns
        )

    start = _start_cell(profile, "small", seed, encoded, origin)
    if settings.importance:
        start = edited(f"small reordered seed {seed}", start, "reorder", batches=settings.importance)
    if meaning.shared:
        sizes = list(settings.ladder.values())
        start = trained(f"small {meaning.kind} seed {seed}", start, sizes=sizes, distil=settings.distil)
    cut = replace(edited(f"small cut-{meaning.size} seed {seed}", start, "cut", size=size), size=size)
    if meaning.shared:
        return replace(cut, label=f"small {method} seed {seed}", teachers=start.teachers)
    return replace(trained(f"small {method} seed {seed}", cut), size=size)


def _cell(
    label, start, role, objective, scope, training, seed, encoded, origin, profile, teachers=(), start_columns="",
    small_teacher=None, small_columns="", lora=None,
) -> Cell:  # fmt: skip
    """A cell with its key. A change of what enters the key makes every cached result anew.

    Args:
        objective: its name and arguments. encoded: key of the training data. origin: of the weights without a `start`.
        teachers: columns of later models; () if the objective does not read them.
        small_teacher, small_columns, lora: see `Cell`.
    """
    # One teacher is named by its key alone, as before there could be several.
    teacher = [source.key for source in teachers] if len(teachers) > 1 else teachers[0].key if teachers else None
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
        dropout=profile.model_of(role).dropout,
        teacher=small_columns or teacher,
        **({"lora": lora.arguments} if lora else {}),  # keys of trainings of all weights stay as they were
    )
    return Cell(
        key, label, start, role, *objective, scope, training, seed, teachers, start_columns, small_teacher,
        small_columns, lora,
    )  # fmt: skip


def _origin(model) -> dict:
    """What identifies the weights that a model starts from: its shape, its address, its preset's files or name."""
    if remote := model.remote():
        return {"endpoint": remote.identity()}
    if not model.preset:
        return model.model_dump(include={"layers", "width", "heads", "feedforward"})
    folder = Path(model.preset)
    weights = {"weights": model.weights} if model.weights != "float32" else {}
    if folder.is_dir():
        files = (p for p in sorted(folder.rglob("*")) if p.is_file())
        return {str(p.relative_to(folder)): store.sha256_file(p) for p in files} | weights
    if "/" in model.preset and "://" not in model.preset:
        raise CatKerasError(f"A preset is a KerasHub name or an existing folder. Received: {model.preset}")
    return {"preset": model.preset} | weights


def _experts(model) -> dict:
    """What the key of answers says of a mixture of experts; nothing of any other model.

    Version 0.1 priced all experts, of which the price now has those in use, so its answers hold other FLOPs.
    """
    config = Path(model.preset) / "config.json" if model.preset else None
    if config is None or not config.is_file():
        return {"flops": 2} if re.search(r"moe|mixtral|gpt_oss|a\d+b", model.preset or "", re.IGNORECASE) else {}
    facts = store.read_json(config)
    facts = facts.get("config") if isinstance(facts, dict) else None
    return {"flops": 2} if isinstance(facts, dict) and facts.get("num_experts") else {}


def _tokenizers(profile: Profile, origin: dict, role: str) -> dict:
    """What the key of the columns of a model says of tokenizers: nothing where the small one surely has the same one.

    Version 0.1 took two presets for models of one tokenizer when their vocabularies were equal. Columns that it made of
    such presets are known by the key without this part, and are not used any more.
    """
    pair = ("small", role)
    presets = [profile.model_of(each).preset for each in pair]
    if not all(presets) or presets[0] == presets[1]:
        return {}
    files = [_tokenizer_files(preset, origin[each]) for each, preset in zip(pair, presets, strict=True)]
    return {} if files[0] and files[0] == files[1] else {"tokenizers": 2}


def _tokenizer_files(preset: str, origin: dict) -> dict:
    """What the folder of a preset holds of its tokenizer: file → hash, and its settings; {} of a preset by name."""
    folder = Path(preset)
    if not (folder / "tokenizer.json").is_file():
        return {}
    settings = store.read_json(folder / "tokenizer.json")
    files = {name: digest for name, digest in origin.items() if name.startswith("assets/tokenizer/")}
    if not files or not isinstance(settings, dict):
        return {}
    config = {k: v for k, v in (settings.get("config") or {}).items() if k not in ("name", "dtype", "trainable")}
    return files | {"class": settings.get("class_name"), "config": config}


def _chat(profile) -> dict:
    """What a chat adds to the keys of what depends on prompts."""
    return {"chat": profile.data.chat.model_dump()} if profile.data.chat else {}


def _key(stage: str, **parts) -> str:
    return store.identity(stage=stage, version=STAGE_VERSION[stage], packages=packages(), **parts)


@functools.cache
def packages() -> dict[str, str]:
    """Versions of the packages that compute the results. They are looked up once, since every key contains them."""
    return {p: version(p) for p in ("tensorflow", "keras", "keras-hub", "sentencepiece")}
