"""Profiles: what a run trains, on what, and how long. A profile is a TOML file, checked when it is read."""

import itertools
import math
import tomllib
from dataclasses import replace
from pathlib import Path
from typing import Annotated, Literal

from pydantic import (
    AfterValidator,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    PlainValidator,
    ValidationError,
    model_serializer,
    model_validator,
)

from benchmarks.planning import chains, ladder
from benchmarks.planning.methods import ASKING, ELASTIC, OBJECTIVES, SEPARATOR, VARIANTS
from cat_keras.cascades import deferral
from cat_keras.data.chat import Chat as DataChat
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.modeling.costs import check_token_price
from cat_keras.storage.untrusted import plain_name

FOLDER = Path(__file__).parents[1] / "profiles"
SWEEPS = FOLDER / "sweeps"  # grids of profiles, see `planning.sweep`
BESIDE = ("cache", "logs", "log.txt")  # what lies beside the folders of runs, so that no run may have these names
PRESETS = "full"  # the profile that says how presets are fine-tuned
POINTS = 1000  # the largest number of points of a grid
LARGEST = 2**31  # counts and seeds are below this, so that every format can store them


def _number(value):
    if isinstance(value, bool | str):
        raise ValueError("a number is neither true, false nor a text")
    return value


Whole = Annotated[int, BeforeValidator(_number)]
Number = Annotated[float, BeforeValidator(_number)]
Positive = Annotated[Whole, Field(gt=0, lt=LARGEST)]
Count = Annotated[Whole, Field(ge=0, lt=LARGEST)]
Share = Annotated[Number, Field(ge=0, le=1)]
Rows = Annotated[Whole, Field(gt=0, le=2**20)]  # what is computed at a time
Tokens = Annotated[Whole, Field(gt=0, le=2**24)]  # the length of a text


def _cap(value):
    if value == "all" or (type(value) is int and value > 0):
        return value
    raise ValueError('a number of examples is "all" or greater than 0')


Cap = Annotated[int | Literal["all"], PlainValidator(_cap)]


def _finite(arguments: dict) -> dict:
    """Arguments of an objective, which pydantic does not look into; the objective itself knows their ranges."""
    for name, value in arguments.items():
        if isinstance(value, float) and not math.isfinite(value):
            raise ValueError(f"{name} is a finite number")
    return arguments


Arguments = Annotated[dict, AfterValidator(_finite)]


def each_once(values):
    """A validator for pydantic: there is at least one name or number, and none twice."""
    if not values or len(set(values)) < len(values):
        raise ValueError("at least one is named, and each once")
    return values


class Section(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


class Chat(Section):
    """How instruct models are asked, see `cat_keras.Chat`."""

    system: str = ""
    template: str = ""  # jinja2; "" for that of the preset or of its family


class Data(Section):
    """Which tasks, and of each at most how many examples (a seeded sample of what there is), or "all"."""

    tasks: tuple[str, ...]
    skip: tuple[str, ...] = ()  # those of the tasks to leave out
    test_only: tuple[str, ...] = ()  # tasks whose training data is not read
    train_only: tuple[str, ...] = ()  # tasks that models are trained on and not asked
    source: Literal["local", "samples", "tfds"] = "local"
    train: Cap
    test: Cap
    evaluate: Literal["test", "validation"] = "test"  # the split that models answer; choices are made on validation
    max_length: Tokens  # context in tokens, start and end included
    max_new_tokens: Tokens
    stop: tuple[Annotated[str, Field(min_length=1)], ...] = ()  # texts that end a generated answer
    compare: Literal["sum", "token", "character", "byte"] = "sum"  # options, by log-likelihood or that per …
    chat: Chat | None = None  # for instruct models; prompts of training and of the test are then turns
    vocabulary_size: Annotated[Whole, Field(ge=300, le=2**24)] = 4096
    template: Count | Literal["mixture"] = 0  # of the training prompts; test prompts have the canonical one
    seed: Count = 0
    bad_rows: Literal["error", "leave out"] = "error"  # what becomes of rows that no model can be given
    noise: Share | None = None  # replaces the embedded tasks' own share of questions that nobody can answer

    @model_serializer(mode="wrap")
    def _without_default(self, handler):
        """What stands in manifests: a run that asks about all of its tasks is written as before there were others."""
        return {key: value for key, value in handler(self).items() if key != "train_only" or value}

    @model_validator(mode="after")
    def _check_lengths(self):
        if self.max_new_tokens >= self.max_length:
            raise ValueError(
                f"max_new_tokens leaves room for a prompt within max_length, {self.max_length}. "
                f"Received: {self.max_new_tokens}"
            )
        return self


NO_SAVING = {"chunk": None, "recompute": False}  # of memory


class Training(Section):
    """One phase of training."""

    epochs: Annotated[Number, Field(ge=0, le=1e6)]
    learning_rate: Annotated[Number, Field(gt=0, le=1e6)]
    batch_size: Rows = 32  # examples per global batch
    # tokens per global batch, padding included, instead of a number of examples
    batch_tokens: Annotated[Whole, Field(gt=0, le=2**26)] | None = None
    accumulate: Rows = 1  # a replica computes its share of a batch in so many slices, one after the other
    warmup: Share = 0.05  # share of the steps
    weight_decay: Annotated[Number, Field(ge=0, le=1e6)] = 0.01
    chunk: Rows | None = None  # so many tokens have their logits in memory at one time, for large vocabularies
    recompute: bool = False  # layers keep their input alone, and the backward pass computes the rest again

    @model_serializer(mode="wrap")
    def _without_younger(self, handler):
        """What stands in manifests and keys: what does not save memory is written as before it could."""
        return _without(handler(self), **NO_SAVING)


class Salt(Section):
    """Arguments of `salt` and `salt-ds`, see `cat_keras.losses.Salt` and `cat_keras.training.selection`."""

    share: Share = 0.173  # of the steps, the first ones: they distil from the small model; 36 of 208 in the paper
    omega: Share = 2 / 3  # weight of the small model's distribution in them
    temperature: Annotated[Number, Field(ge=1e-6, le=1e6)] = 1.0
    kept: Annotated[Number, Field(gt=0, le=1)] = 0.5  # salt-ds: share of the sequences that they read
    top: Rows = 10  # salt-ds: a token whose label is among so many most probable ones is learnable


class Tuning(Training):
    """Fine-tuning on the targets: with xent, or of the large model with the small one's help."""

    objective: Literal["xent", "salt", "salt-ds"] = "xent"
    salt: Salt = Salt()

    @property
    def arguments(self) -> dict:
        """Those of `salt` that the objective reads."""
        selection = {"kept", "top"} if self.objective == "salt" else set()
        return self.salt.model_dump(exclude=selection) if self.objective != "xent" else {}

    @model_serializer(mode="wrap")
    def _without_younger(self, handler):
        """What stands in manifests and keys: fine-tuning with xent is written as before there was anything else."""
        values = _without(handler(self), **NO_SAVING)
        values = {k: v for k, v in values.items() if k not in ("objective", "salt")}
        return values if self.objective == "xent" else values | {"objective": self.objective, "salt": self.arguments}


class Lora(Section):
    """Fine-tuning of factors beside frozen weights, see `cat_keras.modeling.lora`."""

    rank: Annotated[Whole, Field(gt=0, le=2**20)]
    alpha: Annotated[Number, Field(ge=1e-6, le=1e6)] | None = None  # the rank, where it is not given
    layers: Literal["default", "attention", "all"] = "default"

    @property
    def arguments(self) -> dict:
        """Those of `lora.enable`, without a seed."""
        return {"rank": self.rank, "alpha": float(self.alpha or self.rank), "layers": self.layers}


ENDPOINT = ("model", "key", "chat", "options", "logprobs", "concurrency", "timeout", "retries", "fields")


class Model(Section):
    """A model and how it becomes a language model: a new one of a given shape, a KerasHub preset, or an endpoint.

    An endpoint answers and is not trained; its fields are those of `cat_keras.Endpoint`.
    """

    preset: str = ""
    layers: Count = 0
    width: Count = 0
    heads: Count = 0
    feedforward: Count = 0
    dropout: Annotated[Number, Field(ge=0, lt=1)] = 0.0
    seed: Count = 0
    pretrain: Training | None = None  # plain next-token loss on prompts and targets
    tune: Tuning | None = None  # on the targets
    lora: Lora | None = None  # of all phases after pretraining
    weights: Literal["float32", "bfloat16"] = "float32"  # the type of those that are not trained, of a preset
    price: tuple[Number, Number] | None = None  # of a million tokens read and of a million written, of any model
    endpoint: str = ""  # the address of a server that answers, e.g. "http://127.0.0.1:8000/v1"
    model: str = ""  # the name that the server knows it by
    key: str = ""  # the name of the environment variable that holds its key
    chat: Chat | None = None  # how it is asked, where that is not data.chat
    options: Literal["", "likelihood", "match"] = ""
    logprobs: bool = True
    concurrency: Positive = 8
    timeout: Number = 60.0
    retries: Count = 5
    fields: dict = {}  # of every request

    @model_validator(mode="after")
    def _check_origin(self):
        shape = (self.layers, self.width, self.heads, self.feedforward)
        if self.endpoint:
            self._check_endpoint(shape)
            return self
        if bool(self.preset) == any(shape) or (any(shape) and not all(shape)):
            raise ValueError(
                "give either preset, or all of layers, width, heads and feedforward, or endpoint and model. "
                f"Received: preset={self.preset!r}, {shape}"
            )
        if self.heads and self.width % self.heads:
            raise ValueError(f"width is a multiple of heads. Received: width={self.width}, heads={self.heads}")
        if given := [name for name in ENDPOINT if getattr(self, name) != Model.model_fields[name].default]:
            raise ValueError(f"{given[0]} is of an endpoint. Received: a model without one. Give endpoint, or leave it")
        check_token_price("price", self.price)
        return self

    def _check_endpoint(self, shape):
        """An endpoint is neither built nor trained here; `Endpoint` checks its fields."""
        if self.preset or any(shape) or self.pretrain or self.tune or self.lora:
            raise ValueError(
                "a model behind an address is not made and not trained here. Received: endpoint beside preset, a "
                "shape, pretrain, tune or lora. Leave these out"
            )
        self.remote()

    def remote(self) -> Endpoint | None:
        """The endpoint that answers; None of a model that is made here."""
        if not self.endpoint:
            return None
        chat = self.chat and DataChat(**self.chat.model_dump())
        fields = {name: getattr(self, name) for name in ENDPOINT if name != "chat"}
        return Endpoint(self.endpoint, price=self.price, chat=chat, **fields)

    @model_serializer(mode="wrap")
    def _without_defaults(self, handler):
        """What stands in manifests: what a model has nothing of is written as before there was any."""
        values = handler(self)
        new = ("endpoint", "price", "lora", "weights", *ENDPOINT)
        return {k: v for k, v in values.items() if k not in new or v != Model.model_fields[k].default}


class Teacher(Section):
    """How probabilities of the large model are stored."""

    distribution: Literal["none", "topk", "sampled"] = "topk"
    k: Rows = 32


Later = Literal["next", "any", "last"]  # of the models after one, those whose columns its objective reads


class Variant(Section):
    """A method with a name of its own: one of the objectives with other arguments, or for other later models."""

    objective: str
    arguments: Arguments = {}
    later: Later | None = None  # where it is not that of the profile
    lora: Lora | None = None  # where it is not that of the models

    @model_validator(mode="after")
    def _check_objective(self):
        if self.objective not in OBJECTIVES:
            raise unknown_name("objective", self.objective, OBJECTIVES)
        return self

    @model_serializer(mode="wrap")
    def _without_default(self, handler):
        return _without(handler(self), later=None, lora=None)


class Size(Section):
    """A size of an elastic small model, see `cat_keras.modeling.elastic`; what is left out is that of the whole."""

    layers: Positive | None = None
    width: Positive | None = None
    heads: Positive | None = None
    feedforward: Positive | None = None


class Elastic(Section):
    """Sizes of the small model, for the methods of `planning.ladder`; these names mean it at every size.

    The start is reordered by importance first, for the shared sizes and for those trained alone.
    """

    sizes: dict[str, Size]
    distil: Share = 0.5  # weight of the whole model's distribution in the loss of the smaller sizes
    importance: Count = 8  # batches that the importance of heads and units is computed on; 0 keeps their order

    @property
    def ladder(self) -> dict[str, dict]:
        """Name → the numbers that are given."""
        return {name: size.model_dump(exclude_none=True) for name, size in self.sizes.items()}


class Profile(Section):
    """Everything about one run.

    `small.pretrain` and `small.tune` make the start that all methods share; `objective` is the phase in which methods
    differ.
    """

    name: str
    data: Data
    large: Model
    small: Model
    middle: dict[str, Model] = {}  # name → a model between them, each larger than the one before; see `chains`
    later: Later = "next"  # with such models: what each smaller one is trained for
    objective: Training
    teacher: Teacher = Teacher()
    methods: Annotated[tuple[str, ...], AfterValidator(each_once)] = (
        "xent", "dist", "cat-xent", "cat-dist", "gatekeeper"
    )  # fmt: skip
    arguments: dict[str, Arguments] = {}  # method → arguments of its objective, e.g. {"cat-dist": {"w": 0.25}}
    tuned: dict[str, dict] = {}  # method → what differs in its `objective` phase, e.g. {"gatekeeper": {"epochs": 2.0}}
    grid: dict[
        str, tuple[Number, ...]
    ] = {}  # key of the `objective` phase → values: every method with all combinations
    elastic: Elastic | None = None
    variants: dict[str, Variant] = {}  # name of a method → its objective, e.g. {"cat-gap": {…, mask = "gap"}}
    seeds: Annotated[tuple[Count, ...], AfterValidator(each_once)] = (0,)
    precision: Literal["float32", "mixed_bfloat16", "mixed_float16"] = "float32"
    rule: str = "chow-average"
    buckets: Positive = 2

    @model_validator(mode="after")
    def _check_names(self):
        methods = [*OBJECTIVES, *VARIANTS, *self.variants, *((*ELASTIC, *self.elastic_methods) if self.elastic else ())]
        for name in self.variants:
            plain_name("method", name)
        if plain_name("run", self.name).lower() in BESIDE:
            raise CatKerasError(f"A run has a folder of its own. Received: {self.name!r}, which all runs share")
        duplicates = [name for name in self.variants if name in OBJECTIVES or name in VARIANTS]
        if duplicates:
            raise CatKerasError(f"A variant has a name of its own. Received: {duplicates[0]}, which is known already")
        unknown = [m for m in (*self.methods, *self.tuned) if m not in methods]
        unknown += [m for m in self.arguments if m not in OBJECTIVES]
        if unknown:
            raise unknown_name("method", unknown[0], methods)
        for method in self.tuned:
            try:
                self.training_of(method)
            except ValidationError as error:
                raise _readable(self.name, error, f"tuned.{method}.") from error
        deferral.get(self.rule)
        unasked = [m for m in self.methods if self.objective_of(m)[0] != ASKING]
        if self.rule in deferral.ASKING and unasked:
            raise CatKerasError(
                f"rule is one that all methods have. Received: {self.rule}, which reads a token that {unasked[0]} does "
                "not learn. Leave rule out: the report compares each method by its own rule too"
            )
        chains.check(self)
        self._check_endpoints()
        self._check_salt()
        self._check_lora()
        if self.elastic and self.middle:
            raise CatKerasError(
                f"Elastic methods are of a pair of models. Received: elastic beside {len(self.middle) + 2} models. "
                "Leave one of both out"
            )
        if self.elastic:
            ladder.check(self.elastic.ladder, self.small, [*OBJECTIVES, *VARIANTS, *self.variants])
        if math.prod(map(len, self.grid.values())) > POINTS:
            raise CatKerasError(f"A grid has at most {POINTS:,} points. Received: {self.grid!r:.80}")
        return self

    def _check_endpoints(self):
        """The large model alone may be behind an address; then there are no columns of it to train with."""
        if self.small.endpoint:
            raise CatKerasError(
                "The small model of a profile is trained. Received: small.endpoint. Give a preset or a shape; a pair "
                "of endpoints is a ck.Cascade, or two tables for `python -m benchmarks import`"
            )
        if not self.large.endpoint:
            return
        teaching = [m for m in self.methods if OBJECTIVES[self.objective_of(m)[0]]]
        if teaching:
            free = [name for name, teaches in OBJECTIVES.items() if not teaches]
            raise CatKerasError(
                f"{', '.join(teaching)} trains on what the large model gives every token of the training data, which "
                f"no endpoint does. Received: large.endpoint={self.large.endpoint!r}. Take methods such as "
                f"{' and '.join(free)}, or a large model that is made here"
            )
        if self.data.chat and not self.large.chat:  # the chat of all models is that of the endpoint too
            replace(self.large.remote(), chat=DataChat(**self.data.chat.model_dump()))

    def _check_salt(self):
        """SALT trains the large model, with probabilities of a small model that has learned something already."""
        small, large = self.small, self.large
        if small.tune and small.tune.objective != "xent":
            raise CatKerasError(
                f"The small model starts from xent. Received: small.tune.objective={small.tune.objective!r}, which is "
                "of the large model. Set large.tune.objective, or name objectives of the small model in methods"
            )
        if not large.tune or large.tune.objective == "xent":
            return
        objective, least = large.tune.objective, large.tune.salt.top if large.tune.objective == "salt-ds" else 1
        if not (small.preset or any(phase and phase.epochs for phase in (small.pretrain, small.tune))):
            raise CatKerasError(
                f"{objective} learns from a small model that is trained already. Received: a small model without "
                "preset, pretrain and tune. Give it one of them"
            )
        distribution, k = self.teacher.distribution, self.teacher.k
        if distribution == "none" or (objective == "salt-ds" and (distribution != "topk" or k < least)):
            need = f'teacher.distribution="topk", teacher.k of {least} or more' if least > 1 else "probabilities"
            raise CatKerasError(
                f"{objective} reads {need} of the small model. Received: teacher.distribution={distribution!r}, "
                f'teacher.k={k}. Set teacher.distribution="topk"' + (f" and teacher.k={least}" if least > 1 else "")
            )

    def _check_lora(self):
        """LoRA adapts a model that is trained already, whose width is the largest rank."""
        if self.large.lora and not self.large.tune:
            raise CatKerasError(
                "large.lora is of its fine-tuning. Received: large.lora without large.tune. Give large.tune, or leave "
                "large.lora out"
            )
        if self.elastic and self.small.lora:
            raise CatKerasError(
                "Elastic methods train all weights of their sizes. Received: small.lora beside elastic. Give lora to a "
                "variant, or leave one of both out"
            )
        for role in self.roles:
            self._check_base(f"{role}.lora", self.lora_of(role), role)
            self._check_weights(role)
            for method in self.variants if role != "large" else ():
                self._check_base(f"variants.{method}.lora", self.variants[method].lora, role)

    def _check_base(self, key: str, lora: Lora | None, role: str):
        """As `_check_lora`, of one key and the model of a role that it is of."""
        model = self.model_of(role)
        # What comes before a phase with LoRA: pretraining, and before a method also fine-tuning of all weights.
        before = [model.pretrain] if model.lora else [model.pretrain, model.tune]
        if lora and not model.preset and not any(phase and phase.epochs for phase in before):
            raise CatKerasError(
                f"LoRA adapts a model that is trained already. Received: {key} of a {role} model without preset and "
                f"without {role}.pretrain. Give one of them, or leave lora out"
            )
        if lora and model.width and lora.rank > model.width:
            raise CatKerasError(
                f"The rank of LoRA is at most the width of the model. Received: {key} of rank {lora.rank} for a width "
                f"of {model.width}. Lower it"
            )

    def _check_weights(self, role: str):
        """Of 16 bits are weights that stay as they are loaded: AdamW would round most of its updates away."""
        model = self.model_of(role)
        if model.weights == "float32":
            return
        changed = [] if model.preset else ["a shape"]
        changed += [f"{role}.pretrain of all weights"] if model.pretrain else []
        changed += [f"{role}.tune of all weights"] if model.tune and not model.lora else []
        changed += ["methods that train all weights"] if role != "large" and not model.lora else []
        if changed:
            raise CatKerasError(
                f"Weights of {model.weights} are those of a preset that are not trained. Received: {role}.weights with "
                f"{changed[0]}. Give {role}.lora, or leave {role}.weights out"
            )

    @property
    def elastic_methods(self) -> dict[str, ladder.Trained]:
        """Method at a size → what it means; {} without `elastic`."""
        return ladder.names(self.elastic.ladder) if self.elastic else {}

    @model_serializer(mode="wrap")
    def _without_middle(self, handler):
        """What stands in manifests: a profile of two models of one size is written as before there were others."""
        return _without(handler(self), middle={}, later="next", elastic=None)

    @property
    def roles(self) -> tuple[str, ...]:
        """Names of the models, in the order in which a cascade asks them."""
        return ("small", *self.middle, "large")

    def model_of(self, role: str) -> Model:
        """The model of a role."""
        return self.middle[role] if role in self.middle else getattr(self, role)

    def later_of(self, method: str) -> Later:
        """Of which later models a method reads the columns."""
        return (method in self.variants and self.variants[method].later) or self.later

    def lora_of(self, role: str, method: str = "") -> Lora | None:
        """The LoRA of the fine-tuning of a model, or of its training by a method; None where all weights train."""
        return (method in self.variants and self.variants[method].lora) or self.model_of(role).lora

    def objective_of(self, method: str) -> tuple[str, dict]:
        """The objective behind a method, by name, and its arguments."""
        if method in ELASTIC:
            return ELASTIC[method][0], {}
        if method in (at_size := self.elastic_methods):
            return at_size[method].objective, {}
        if method in self.variants:
            return self.variants[method].objective, self.variants[method].arguments
        if method in VARIANTS:
            return VARIANTS[method]
        return method, self.arguments.get(method, {})

    def training_of(self, method: str) -> Training:
        """How this method trains in the phase in which methods differ."""
        if method in (at_size := self.elastic_methods):
            method = at_size[method].kind  # all sizes of a kind train alike
        return Training.model_validate(self.objective.model_dump() | self.tuned.get(method, {}))


def _without(values: dict, **defaults) -> dict:
    """Values without keys that are younger than manifests and are not set."""
    return {k: v for k, v in values.items() if k not in defaults or v != defaults[k]}


def names() -> list[str]:
    """Names of the profiles in `profiles/`."""
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
    path = path_of(name)
    values = toml(path, name) | {"name": path.stem}
    if "sweep" in values:
        raise CatKerasError(
            f"A profile is one run. Received: {path.stem}, which is a grid of them. Run it as one: "
            f"python -m benchmarks sweep {name}"
        )
    for role, model in (models or {}).items():
        _replace_model(values, role, model)
    return of_values(values, changes)


def path_of(name: str) -> Path:
    """The file of a profile: of that name in `profiles/` or in the folder of sweeps there, or a path."""
    inside = FOLDER / f"{name}.toml"
    path = Path(name) if name.endswith(".toml") else inside
    is_sweep = path == inside and inside.name in {sweep.name for sweep in SWEEPS.glob("*.toml")}
    return SWEEPS / inside.name if is_sweep else path


def of_values(values: dict, changes: dict | None = None) -> Profile:
    """The profile of a table of values, with its name, and with some of its keys changed.

    Raises:
        CatKerasError: unknown key (with the nearest), or a value that breaks its rule.
    """
    for key, value in (changes or {}).items():
        _set_key(values, key, value)
    try:
        if values.get("grid"):
            values = _expand_grid(Profile.model_validate(values))
        if values.get("elastic"):
            values = _expand_sizes(Profile.model_validate(values))
        return Profile.model_validate(values)
    except ValidationError as error:
        raise _readable(str(values.get("name", "")), error) from error


def toml(path: Path, name: str, above: tuple[str, ...] = ()) -> dict:
    """The values of a profile, laid over those of the profile that it names as its `base`.

    Args:
        above: the profiles that led to this one as their base, to find circles.
    """
    if name in above:
        raise CatKerasError(f"A profile is not its own base. Received: {' → '.join((*above, name))}")
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise unknown_name("profile", name, names()) from None
    except (ValueError, RecursionError) as error:  # not TOML, not UTF-8, or a number of thousands of digits
        raise CatKerasError(f"A profile is TOML. Received: {path}: {error}") from error
    base = values.pop("base", None)
    models = chains.roles_of(values)
    if base is None:
        return values | models
    base_path = path.with_name(f"{plain_name('profile', base)}.toml")
    if not base_path.exists():  # a user's own profile may have one of `profiles/` as its base
        base_path = FOLDER / base_path.name
    return _merge(toml(base_path, base, (*above, name)), values) | models


def _merge(base: dict, values: dict) -> dict:
    """Tables are merged key by key; any other value replaces that of the base."""
    merged = {
        key: _merge(base[key], value) if isinstance(value, dict) and isinstance(base.get(key), dict) else value
        for key, value in values.items()
    }
    return base | merged


def _expand_grid(profile: Profile) -> dict:
    """The values of a profile that has, in place of each method, one variant of it for every point of the grid."""
    values = profile.model_dump()
    values["methods"] = []
    for method in profile.methods:
        objective, arguments = profile.objective_of(method)
        for point in itertools.product(*profile.grid.values()):
            changes = dict(zip(profile.grid, point, strict=True))
            name = method + SEPARATOR + ",".join(f"{key}={value:g}" for key, value in changes.items())
            values["methods"].append(name)
            values["variants"][name] = {"objective": objective, "arguments": arguments}
            if profile.middle:
                values["variants"][name]["later"] = profile.later_of(method)
            if method in profile.variants and (lora := profile.variants[method].lora):
                values["variants"][name]["lora"] = lora.model_dump()
            values["tuned"][name] = profile.tuned.get(method, {}) | changes
    return values


def _expand_sizes(profile: Profile) -> dict:
    """The values of a profile that has, in place of each elastic kind of method, that kind at every size."""
    at_size = profile.elastic_methods
    expanded = [
        [name for name, meaning in at_size.items() if meaning.kind == method] if method in ELASTIC else [method]
        for method in profile.methods
    ]
    return profile.model_dump() | {"methods": list(itertools.chain.from_iterable(expanded))}


def _replace_model(values: dict, role: str, model: str):
    """Puts in another model, with phases of training that suit it.

    They are those of the profile that `model` names. For a preset they are those of `values` if these train a preset
    already, else those of the profile PRESETS. A small model also brings the phase in which methods differ.
    """
    if model in names():
        origin = toml(FOLDER / f"{model}.toml", model)
        values[role] = origin[role]
    else:
        has_preset = isinstance(values.get(role), dict) and "preset" in values[role]
        origin = values if has_preset else toml(FOLDER / f"{PRESETS}.toml", PRESETS)
        values[role] = {"preset": model} | {k: origin[role][k] for k in ("tune", "lora") if k in origin[role]}
    if role == "small" and "objective" in origin:
        values["objective"] = origin["objective"]


def parse_change(text: str) -> tuple[str, object]:
    """`"data.train=100"` → ("data.train", 100). The value is read as TOML, or taken as text if it is none.

    Raises:
        CatKerasError: there is no `=`, or no key before it.
    """
    key, sep, value = text.partition("=")
    if not sep or not key:
        raise CatKerasError(f"A change is key=value, e.g. data.train=100. Received: {text!r}")
    try:
        parsed = tomllib.loads(f"x = {value}")
    except (ValueError, RecursionError):
        parsed = {}
    return key.strip(), parsed["x"] if parsed.keys() == {"x"} else value.strip()


def _set_key(values: dict, key: str, value):
    """Sets the value of a dotted key, in tables that are made where they are missing."""
    *parents, last = key.split(".")
    for parent in parents:
        values = values.setdefault(parent, {})
        if not isinstance(values, dict):
            raise unknown_name("profile key", key, keys())
    values[last] = value


def keys(model=Profile, prefix="") -> list[str]:
    """Every dotted key that a profile may hold."""
    dotted = []
    for name, info in model.model_fields.items():
        # An annotation is a section, or may contain one: `Training | None`, `dict[str, Variant]`.
        types = (info.annotation, *getattr(info.annotation, "__args__", ()))
        section = next((t for t in types if isinstance(t, type) and issubclass(t, Section)), None)
        dotted += keys(section, f"{prefix}{name}.") if section else [prefix + name]
    return dotted


def _readable(name: str, error: ValidationError, within: str = "") -> CatKerasError:
    """Pydantic's first complaint in one line, with the nearest key if a key does not exist.

    Args:
        name: of the profile. within: dotted prefix of the keys in the complaint.
    """
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
