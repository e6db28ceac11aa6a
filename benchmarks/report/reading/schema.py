"""What the files of a run folder say, key by key and column by column: of the right kind, or not used at all."""

from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated

import pyarrow
import pyarrow.compute
from pyarrow import types
from pydantic import AfterValidator, BaseModel, ConfigDict, Field, ValidationError, model_validator

from benchmarks.planning.profile import each_once
from cat_keras.errors import CatKerasError

Names = Annotated[list[str], AfterValidator(each_once)]


class Part(BaseModel):
    """Keys that a report reads; a manifest has more, which early ones lack."""

    model_config = ConfigDict(strict=True)


class Course(Part):
    """Share of live target tokens over the steps of a training."""

    step: list[float]
    live: list[float]

    @model_validator(mode="after")
    def _pairs(self):
        if len(self.step) != len(self.live):
            raise ValueError(f"a number for every step; received {len(self.live)} for {len(self.step)}")
        return self


class Training(Part):
    """What one training noted. live: mean share of live target tokens."""

    live: float | None = None
    history: Course | None = None


class Objective(Part):
    """The objective behind a method."""

    objective: str
    arguments: dict | None = None


class Settings(Part):
    """The profile, as far as a report reads it. arguments: method → those of its objective."""

    arguments: dict[str, dict | None] | None = None
    data: dict = {}


class Cut(Part):
    """Numbers of examples that did not fit the context."""

    prompts_cut: int = 0
    targets_too_long: int = 0


class Kept(Part):
    """What `keep` noted. extra: methods left out. examples: task → hash. signatures: task → that of its metric."""

    scheme: int = 1
    of: dict[str, str] = {}
    extra: list[str]
    examples: dict[str, str]
    signatures: dict[str, str]
    packages: dict[str, str] = {}


class Cost(Part):
    """What the cost of imported answers is counted in. label: on axes. unit: its name, which may be ""."""

    label: str
    unit: str


class Imported(Part):
    """What `import` noted. models: method → the model's name where it came from. warnings: sentences, gravest first."""

    scheme: int = 1
    large: str
    models: dict[str, str]
    cost: Cost
    warnings: list[str] = []


class Manifest(Part):
    """`manifest.json`. What has a default may be missing; what may also be null, older code wrote as null."""

    profile: str
    methods: Names
    seeds: Annotated[list[int], AfterValidator(each_once)]
    tasks: Names
    rule: str
    missing: list[str | list] | None = None  # cells without answers
    training: dict[str, Training] | None = None  # method/seed → its training
    objectives: dict[str, Objective] | None = None  # by method
    settings: Settings = Field(default=None)
    bayes_quality: dict[str, float | None] = {}  # by task
    encoded: Cut | None = None
    predictions: dict[str, str] | None = None  # method/seed → key
    cells: dict[str, dict] | None = None  # trainings by label
    packages: dict[str, str] | None = None  # versions
    hardware: str | None = None
    task_identities: dict[str, dict] | None = None
    files: dict[str, str] | None = None  # name → sha256
    kept: Kept = Field(default=None)  # only of kept results
    imported: Imported = Field(default=None)  # only of imported answers

    @model_validator(mode="after")
    def _every_task_is_kept(self):
        known = self.kept.examples.keys() & self.kept.signatures if self.kept else self.tasks
        if absent := [name for name in self.tasks if name not in known]:
            raise ValueError(f"kept results name examples and signature of every task, and not of {absent[0]}")
        return self


def check_manifest(facts: Mapping, path: Path, remedy: str):
    """Raises CatKerasError where a key of a manifest holds something that none does."""
    try:
        Manifest.model_validate(dict(facts))
    except ValidationError as error:
        first = error.errors()[0]
        key = ".".join(map(str, first["loc"]))
        rule = first["msg"].removeprefix("Value error, ")
        raise CatKerasError(f"{path}, key {key}: {rule}; received {first['input']!r:.80}. {remedy}") from error


def _text(kind: pyarrow.DataType) -> bool:
    return types.is_string(kind) or types.is_large_string(kind)


def _number(kind: pyarrow.DataType) -> bool:
    return types.is_floating(kind) or types.is_integer(kind)


def _list_of(inner: Callable[[pyarrow.DataType], bool]) -> Callable[[pyarrow.DataType], bool]:
    # Where all lists are empty nobody knows of what.
    return lambda kind: types.is_list(kind) and (inner(kind.value_type) or types.is_null(kind.value_type))


# Options of one question, and tokens of one text: whatever claims more would fill the memory with empty ones.
MOST = 10**6
COUNTS = ("n_prompt", "n_answer", "n_options")
GIVEN = ("confidence", "stated_confidence", "p_true", "agreement")  # what imported answers may say of themselves
COLUMNS = {
    **dict.fromkeys(("model", "method", "task", "id", "group", "prompt", "target", "text"), (_text, "text")),
    **dict.fromkeys(("seed", "n_prompt", "n_answer", "n_options", "answer"), (types.is_integer, "whole numbers")),
    **dict.fromkeys(("flops", "seconds", "quality"), (_number, "numbers")),
    **dict.fromkeys(GIVEN, (_number, "numbers")),
    **dict.fromkeys(("options", "references"), (_list_of(_text), "lists of texts")),
    **dict.fromkeys(("token_logprobs", "option_logprobs", "statistics"), (_list_of(_number), "lists of numbers")),
}


def check_columns(table: pyarrow.Table, path: Path, remedy: str):
    """Raises CatKerasError where a column of a table is not of its kind, or has empty cells, in its lists too."""
    for name in table.column_names:
        holds, words = COLUMNS[name]
        kind, column = table.schema.field(name).type, table[name]
        if not holds(kind):
            raise CatKerasError(f"{path}: column {name} holds {words}; received {kind}. {remedy}")
        inner = sum(part.flatten().null_count for part in column.chunks) if types.is_list(kind) else 0
        if column.null_count or inner:
            raise CatKerasError(f"{path} must have a value in every cell; {name} has not. {remedy}")
        least, most = pyarrow.compute.min_max(column).as_py().values() if name in COUNTS else (None, None)
        if least is not None and not (least >= 0 and most <= MOST):
            raise CatKerasError(f"{path}: {name} lies in [0, {MOST}]; received {least} to {most}. {remedy}")
