"""Profiles: what a run trains, on what, and how long; TOML files in `profiles/`, checked when they are read."""

import itertools
import math
import tomllib
from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, BaseModel, ConfigDict, Field, PlainValidator, ValidationError, model_validator

from benchmarks.planning.methods import OBJECTIVES, SEPARATOR, VARIANTS
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage.untrusted import plain_name

FOLDER = Path(__file__).parents[1] / "profiles"
BESIDE = ("cache", "logs", "log.txt")  # what lies beside the folders of runs
PRESETS = "full"  # the profile that says how presets are fine-tuned
POINTS = 1000  # of a grid, at most
LARGEST = 2**31  # what counts and seeds stay below, whoever stores them
Positive = Annotated[int, Field(gt=0, lt=LARGEST)]
Count = Annotated[int, Field(ge=0, lt=LARGEST)]
Share = Annotated[float, Field(ge=0, le=1)]


def _cap(value):
    if value == "all" or (type(value) is int and value > 0):
        return value
    raise ValueError('a number of examples is "all" or greater than 0')


Cap = Annotated[int | Literal["all"], PlainValidator(_cap)]


def each_once(values):
    """The names or numbers, of which there is at least one and none twice; for pydantic."""
    if not values or len(set(values)) < len(values):
        raise ValueError("at least one is named, and each once")
    return values


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Data(Section):
    """Which tasks, and at most how many examples of each (a seeded sample of what is there), or "all"."""

    tasks: tuple[str, ...]
    skip: tuple[str, ...] = ()  # of these tasks
    test_only: tuple[str, ...] = ()  # tasks whose training data is not read
    source: Literal["local", "samples", "tfds"] = "local"
    train: Cap
    test: Cap
    evaluate: Literal["test", "validation"] = "test"  # which split models answer; choices are made on validation
    max_length: Positive  # context in tokens, specials included
    max_new_tokens: Positive
    vocabulary_size: Annotated[int, Field(ge=300, lt=LARGEST)] = 4096
    template: Count | Literal["mixture"] = 0  # of training prompts; tests use the canonical one
    seed: Count = 0
    noise: Share | None = None  # of the embedded tasks, instead of their own: share of what nobody can answer

    @model_validator(mode="after")
    def _room_for_prompts(self):
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens leaves room for a prompt within max_length, {self.max_length}. "
                f"Received: {self.max_new_tokens}"
            )
        return self


class Training(Section):
    """One phase of training."""

    epochs: Annotated[float, Field(ge=0)]
    learning_rate: Annotated[float, Field(gt=0)]
    batch_size: Positive = 32  # examples per global batch
    batch_tokens: Positive | None = None  # or tokens, padding included, instead
    accumulate: Positive = 1  # slices of a replica's share of a batch, one after the other
    warmup: Share = 0.05  # share of the steps
    weight_decay: Annotated[float, Field(ge=0)] = 0.01


class Model(Section):
    """A model and how it becomes a language model: either a new one, or a KerasHub preset (then shape is not given)."""

    preset: str = ""
    layers: Count = 0
    width: Count = 0
    heads: Count = 0
    feedforward: Count = 0
    dropout: Annotated[float, Field(ge=0, lt=1)] = 0.0
    seed: Count = 0
    pretrain: Training | None = None  # plain next-token loss on prompts and targets
    tune: Training | None = None  # xent on the targets

    @model_validator(mode="after")
    def _one_origin(self):
        shape = (self.layers, self.width, self.heads, self.feedforward)
        if bool(self.preset) == any(shape) or (any(shape) and not all(shape)):
            raise ValueError(
                "give either preset, or all of layers, width, heads and feedforward. "
                f"Received: preset={self.preset!r}, {shape}"
            )
        if self.heads and self.width % self.heads:
            raise ValueError(f"width is a multiple of heads. Received: width={self.width}, heads={self.heads}")
        return self


class Teacher(Section):
    """How probabilities of the large model are stored."""

    distribution: Literal["none", "topk", "sampled"] = "topk"
    k: Positive = 32


class Variant(Section):
    """A method of a name of its own: one of the objectives with arguments that differ."""

    objective: str
    arguments: dict = {}

    @model_validator(mode="after")
    def _known(self):
        if self.objective not in OBJECTIVES:
            raise unknown_name("objective", self.objective, OBJECTIVES)
        return self


class Profile(Section):
    """One run, whole.

    `small.pretrain` and `small.tune` make the common start of all methods; `objective` is the phase that differs.
    """

    name: str
    data: Data
    large: Model
    small: Model
    objective: Training
    teacher: Teacher = Teacher()
    methods: Annotated[tuple[str, ...], AfterValidator(each_once)] = (
        "xent", "dist", "cat-xent", "cat-dist", "gatekeeper"
    )  # fmt: skip
    arguments: dict[str, dict] = {}  # method → arguments of its objective, e.g. {"cat-dist": {"w": 0.25}}
    tuned: dict[str, dict] = {}  # method → what differs in its `objective` phase, e.g. {"gatekeeper": {"epochs": 2.0}}
    grid: dict[str, tuple[float, ...]] = {}  # key of the `objective` phase → values: every method with all combinations
    variants: dict[str, Variant] = {}  # name of a method → its objective, e.g. {"cat-gap": {…, mask = "gap"}}
    seeds: Annotated[tuple[Count, ...], AfterValidator(each_once)] = (0,)
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    rule: str = "chow-average"
    buckets: Positive = 2

    @model_validator(mode="after")
    def _known(self):
        known = [*OBJECTIVES, *VARIANTS, *self.variants]
        for name in self.variants:
            plain_name("method", name)
        if plain_name("run", self.name).lower() in BESIDE:
            raise CatKerasError(f"A run has a folder of its own. Received: {self.name!r}, which all runs share")
        taken = [name for name in self.variants if name in OBJECTIVES or name in VARIANTS]
        if taken:
            raise CatKerasError(f"A variant has a name of its own. Received: {taken[0]}, which is known already")
        unknown = [m for m in (*self.methods, *self.tuned) if m not in known]
        unknown += [m for m in self.arguments if m not in OBJECTIVES]
        if unknown:
            raise unknown_name("method", unknown[0], known)
        for method in self.tuned:
            try:
                self.training_of(method)
            except ValidationError as error:
                raise _readable(self.name, error, f"tuned.{method}.") from error
        deferral.get(self.rule)
        if math.prod(map(len, self.grid.values())) > POINTS:
            raise CatKerasError(f"A grid has at most {POINTS:,} points. Received: {self.grid!r:.80}")
        return self

    def objective_of(self, method: str) -> tuple[str, dict]:
        """The objective behind a method, by name, and its arguments."""
        if method in self.variants:
            return self.variants[method].objective, self.variants[method].arguments
        if method in VARIANTS:
            return VARIANTS[method]
        return method, self.arguments.get(method, {})

    def training_of(self, method: str) -> Training:
        """The phase that differs between methods, as this one is trained."""
        return Training.model_validate(self.objective.model_dump() | self.tuned.get(method, {}))


def names() -> list[str]:
    return sorted(p.stem for p in FOLDER.glob("*.toml"))


def read(name: str, changes: dict | None = None, models: dict[str, str] | None = None) -> Profile:
    """A profile by name or by path of a TOML file, with some of its keys changed.

    Args:
        name: of a file in `profiles/`, or a path ending in .toml.
        changes: dotted key → value, e.g. {"data.train": 100}.
        models: "small" or "large" → another model: that of the profile so named, or a KerasHub preset.

    Raises:
        CatKerasError: unknown profile or key (with the nearest), or a value that breaks its rule.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    values = _toml(path, name) | {"name": path.stem}
    for role, wanted in (models or {}).items():
        _put_model(values, role, wanted)
    for key, value in (changes or {}).items():
        _set(values, key, value)
    try:
        if values.get("grid"):
            values = _spread(Profile.model_validate(values))
        return Profile.model_validate(values)
    except ValidationError as error:
        raise _readable(path.stem, error) from error


def _toml(path: Path, name: str, above: tuple[str, ...] = ()) -> dict:
    """The values of a profile, laid over those of the one it names as its `base`."""
    if name in above:
        raise CatKerasError(f"A profile is not its own base. Received: {' → '.join((*above, name))}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise unknown_name("profile", name, names()) from None
    except (ValueError, RecursionError) as error:  # no TOML, no UTF-8, or a number of thousands of digits
        raise CatKerasError(f"A profile is TOML. Received: {path}: {error}") from error
    base = values.pop("base", None)
    if base is None:
        return values
    below = path.with_name(f"{plain_name('profile', base)}.toml")
    if not below.exists():  # a profile of one's own over one of these
        below = FOLDER / below.name
    return _over(_toml(below, base, (*above, name)), values)


def _over(below: dict, above: dict) -> dict:
    """Tables are merged key by key; any other value of `above` replaces that of `below`."""
    merged = {
        key: _over(below[key], value) if isinstance(value, dict) and isinstance(below.get(key), dict) else value
        for key, value in above.items()
    }
    return below | merged


def _spread(profile: Profile) -> dict:
    """The values of a profile in which each method stands once for every point of the grid, as a variant."""
    values = profile.model_dump()
    values["methods"] = []
    for method in profile.methods:
        objective, arguments = profile.objective_of(method)
        for point in itertools.product(*profile.grid.values()):
            changes = dict(zip(profile.grid, point, strict=True))
            name = method + SEPARATOR + ",".join(f"{key}={value:g}" for key, value in changes.items())
            values["methods"].append(name)
            values["variants"][name] = {"objective": objective, "arguments": arguments}
            values["tuned"][name] = profile.tuned.get(method, {}) | changes
    return values


def _put_model(values: dict, role: str, wanted: str):
    """Another model with phases that suit it: those of its profile, or for a preset those of a profile of presets.

    The phase that differs between methods is one of the small model, and goes with it.
    """
    if wanted in names():
        origin = _toml(FOLDER / f"{wanted}.toml", wanted)
        values[role] = origin[role]
    else:
        tuned = isinstance(values.get(role), dict) and "preset" in values[role]
        origin = values if tuned else _toml(FOLDER / f"{PRESETS}.toml", PRESETS)
        values[role] = (
            {"preset": wanted, "tune": origin[role]["tune"]} if "tune" in origin[role] else {"preset": wanted}
        )
    if role == "small" and "objective" in origin:
        values["objective"] = origin["objective"]


def parse_change(text: str) -> tuple[str, object]:
    """`"data.train=100"` → ("data.train", 100); the value is read as TOML, or else as text."""
    key, sep, value = text.partition("=")
    if not sep or not key:
        raise CatKerasError(f"A change is key=value, e.g. data.train=100. Received: {text!r}")
    try:
        parsed = tomllib.loads(f"x = {value}")
    except (ValueError, RecursionError):
        parsed = {}
    return key.strip(), parsed["x"] if parsed.keys() == {"x"} else value.strip()


def _set(values: dict, key: str, value):
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise unknown_name("profile key", key, keys())
    values[last] = value


def keys(model=Profile, prefix="") -> list[str]:
    """Every dotted key a profile may hold."""
    out = []
    for name, info in model.model_fields.items():
        inner = next((t for t in (info.annotation, *getattr(info.annotation, "__args__", ())) if _is_section(t)), None)
        out += keys(inner, f"{prefix}{name}.") if inner else [prefix + name]
    return out


def _is_section(kind):
    return isinstance(kind, type) and issubclass(kind, Section)


def _readable(name: str, error: ValidationError, within: str = "") -> CatKerasError:
    """The first complaint in one line, with the nearest key when a key does not exist."""
    first = error.errors()[0]
    cause = first.get("ctx", {}).get("error")
    if isinstance(cause, CatKerasError):
        return cause
    key = within + ".".join(map(str, first["loc"]))
    if first["type"] == "extra_forbidden":
        return unknown_name("profile key", key, keys())
    message = first["msg"].removeprefix("Value error, ")
    received = "" if isinstance(first["input"], dict) else f". Received: {first['input']!r:.80}"
    return CatKerasError(f"Profile {name}, key {key or '(all)'}: {message}{received}")
