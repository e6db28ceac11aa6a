"""The profile of a retrieval run: a TOML file, checked when it is read."""

import tomllib
from pathlib import Path
from typing import Annotated

from pydantic import Field, ValidationError, model_serializer, model_validator

from benchmarks.planning.ladder import WHOLE
from benchmarks.planning.profile import Count, Number, Positive, Rows, Section, Share, Tokens
from benchmarks.planning.profile import keys as dotted_keys
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.modeling.elastic import Size, sizes

FOLDER = Path(__file__).parent
Weight = Annotated[Number, Field(ge=0, le=1e6)]


class Training(Section):
    """One training of a retriever."""

    epochs: Annotated[Number, Field(ge=0, le=1e6)]
    learning_rate: Annotated[Number, Field(gt=0, le=1e6)]
    batch_size: Rows = 64
    warmup: Share = 0.05


class Shape(Section):
    """A decoder-only model of the Gemma architecture."""

    layers: Positive
    width: Positive
    heads: Positive
    feedforward: Positive


class Data(Section):
    """Corpus and queries: `squad` of the data folder, or the name of a collection of ir_datasets."""

    collection: str = "squad"
    train_collection: str = ""  # of ir_datasets, whose queries are trained on; it has the same corpus
    documents: Count = 0  # at most so many, the relevant ones first; 0 for all
    train: Count = 0  # queries, 0 for all
    test: Count = 0
    query_length: Tokens = 40
    document_length: Tokens = 128
    vocabulary_size: Annotated[Positive, Field(ge=300)] = 4096


class Model(Shape):
    """A model, its pretraining on sentences of the corpus, and its training on queries."""

    pretrain: Training
    tune: Training


class Ranker(Section):
    """The cross-encoder, which begins with the weights of the teacher."""

    tune: Training
    hard: Positive = 3  # hard negatives of a query in a batch


class Generator(Shape):
    """The decoder that writes queries for documents."""

    tune: Training
    per_document: Positive = 2
    temperature: Annotated[Number, Field(ge=0, le=1e6)] = 0.8
    top_k: Count = 20
    max_new_tokens: Positive = 24


class Distillation(Section):
    """Weights of EmbedDistill, see `cat_keras.retrieval.Objective`; none of them is attested."""

    scores: Weight = 1.0
    queries: Weight = 1.0
    documents: Weight = 1.0


class Cut(Section):
    """A size of the teacher, see `cat_keras.modeling.elastic`; what is left out is that of the whole."""

    layers: Positive | None = None
    heads: Positive | None = None
    feedforward: Positive | None = None


class Elastic(Section):
    """The teacher at several sizes that are trained together, as a bi-encoder and then as a ranker.

    The bi-encoder begins with the pretraining of the teacher; the ranker begins with the bi-encoder's weights, and is
    trained as long as `ranker` says.
    """

    sizes: dict[str, Cut]
    seeds: tuple[Count, ...] = (0,)  # each has a pretraining of its own; 0 has that of the teacher
    distil: Weight = 1.0  # of the divergence from the whole's scores, see `cat_keras.retrieval.ElasticObjective`
    tune: Training

    @property
    def ladder(self) -> dict[str, dict]:
        """Name → the numbers that are given, in the order of the profile."""
        return {name: size.model_dump(exclude_none=True) for name, size in self.sizes.items()}

    @property
    def training(self) -> dict:
        """What decides the weights of a seed, names apart."""
        return {"sizes": list(self.ladder.values()), "distil": self.distil, "tune": self.tune.model_dump()}

    def check(self, teacher: Model):
        """Raises CatKerasError where no elastic model of the teacher's shape has these sizes."""
        if not self.sizes or WHOLE in self.sizes:
            raise CatKerasError(
                f"elastic.sizes names the sizes beside {WHOLE!r}, at least one. Received: {sorted(self.sizes)}. Give "
                "tables such as half = {layers = 1}"
            )
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise CatKerasError(f"elastic.seeds has at least one seed, and each once. Received: {list(self.seeds)}")
        whole = Size(**{axis: getattr(teacher, axis) for axis in sizes.AXES})
        sizes.nested(self.ladder.values(), whole, teacher.heads)


class Profile(Section):
    """What a retrieval run trains, on what, how long, and what it is judged by."""

    name: str
    seeds: tuple[Count, ...] = (0,)
    temperature: Annotated[Number, Field(gt=1e-6, le=1e6)] = 0.05
    negatives: Positive = 8  # hard negatives of each query that the teacher finds
    hard: Positive = 1  # of them in a batch
    depth: Positive = 100  # documents in a ranking
    rerank: Positive = 20  # most documents that the ranker reads
    rungs: tuple[str, ...] = ()  # () for all
    data: Data = Data()
    teacher: Model
    student: Model
    ranker: Ranker
    generator: Generator | None = None
    distil: Distillation = Distillation()
    elastic: Elastic | None = None

    @model_validator(mode="after")
    def _check(self):
        for role, model in (("teacher", self.teacher), ("student", self.student)):
            if model.width % model.heads:
                raise ValueError(f"{role}: width is a multiple of heads. Received: {model.width} and {model.heads}")
        if self.hard > self.negatives or self.ranker.hard > self.negatives:
            raise ValueError(f"a batch has at most the {self.negatives} hard negatives that there are")
        if not self.seeds or len(set(self.seeds)) < len(self.seeds):
            raise ValueError("at least one seed, and each once")
        if self.elastic:
            self.elastic.check(self.teacher)
        return self

    @model_serializer(mode="wrap")
    def _without_elastic(self, handler):
        """What stands in the facts of a run: one without elastic models is written as before there were any."""
        values = handler(self)
        return values if self.elastic else {name: value for name, value in values.items() if name != "elastic"}


def read(name: str, changes: dict | None = None) -> Profile:
    """A profile by the name of one beside this module, or by the path of a TOML file.

    Args:
        changes: dotted key → value, laid over it.

    Raises:
        CatKerasError: there is no such profile or key, or a value breaks its rule.
    """
    path = Path(name) if name.endswith(".toml") else FOLDER / f"{name}.toml"
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
    except OSError:
        raise unknown_name("retrieval profile", name, [found.stem for found in FOLDER.glob("*.toml")]) from None
    except ValueError as error:
        raise CatKerasError(f"A profile is TOML. Received: {path}: {error}") from error
    for key, value in (changes or {}).items():
        *parents, last = key.split(".")
        table = values
        for parent in parents:
            table = table.setdefault(parent, {})
            if not isinstance(table, dict):
                raise unknown_name("profile key", key, dotted_keys(Profile))
        table[last] = value
    try:
        return Profile.model_validate(values | {"name": path.stem})
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"])) or "(all)"
        if first["type"] == "extra_forbidden":
            raise unknown_name("profile key", key, dotted_keys(Profile)) from error
        message = first["msg"].removeprefix("Value error, ")
        raise CatKerasError(f"Profile {path.stem}, key {key}: {message}. Received: {first['input']!r:.80}") from error
