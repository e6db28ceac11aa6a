"""What the files of a run folder may hold, key by key and column by column.

A file that holds anything else is refused as a whole.
"""

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
    """A part of the manifest: the keys that a report reads. Others are ignored, and early manifests lack some."""

    model_config = ConfigDict(strict=True)


class Course(Part):
    """Share of live target tokens over the steps of a training."""

    step: list[float]
    live: list[float]

    @model_validator(mode="after")
    def _as_many_shares_as_steps(self):
        if len(self.step) != len(self.live):
            raise ValueError(f"a number for every step; received {len(self.live)} for {len(self.step)}")
        return self


class Training(Part):
    """What one training noted. live: mean share of live target tokens. history: that share step by step."""

    live: float | None = None
    history: Course | None = None


class Objective(Part):
    """The objective behind a method."""

    objective: str
    arguments: dict | None = None


class Settings(Part):
    """The keys of the profile that a report reads. arguments: method → those of its objective."""

    arguments: dict[str, dict | None] | None = None
    data: dict = {}


class Cut(Part):
    """Numbers of examples that did not fit the context."""

    prompts_cut: int = 0
    targets_too_long: int = 0


class Shared(Part):
    """Of a task's test rows, how many are training rows too."""

    rows: int
    exact: int
    normalised: int


class Kept(Part):
    """What `keep` noted. extra: methods that were left out. examples: task → hash. signatures: task → its metric's."""

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
    """`manifest.json`. A key with a default may be missing; one that may also be null was written so by older code."""

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
    left_out: dict[str, dict[str, int]] = {}  # split → task → bad rows
    overlap: dict[str, Shared] = {}  # by task, those that have any
    predictions: dict[str, str] | None = None  # method/seed → key
    cells: dict[str, dict] | None = None  # trainings by label
    middle: list[str] = []  # models between the small and the large one, in the order in which a cascade asks them
    packages: dict[str, str] | None = None  # versions
    hardware: str | None = None
    task_identities: dict[str, dict] | None = None
    files: dict[str, str] | None = None  # name → sha256
    kept: Kept = Field(default=None)  # only of kept results
    imported: Imported = Field(default=None)  # only of imported answers

    @model_validator(mode="after")
    def _kept_results_name_every_task(self):
        known = self.kept.examples.keys() & self.kept.signatures if self.kept else self.tasks
        if unknown := [name for name in self.tasks if name not in known]:
            raise ValueError(f"kept results name examples and signature of every task, and not of {unknown[0]}")
        return self


def check_manifest(facts: Mapping, path: Path, remedy: str):
    """Raises CatKerasError if a key of a manifest holds a value that the key of no manifest holds, see `Manifest`."""
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
    # Where all lists are empty, Arrow does not know what they are lists of.
    return lambda kind: types.is_list(kind) and (inner(kind.value_type) or types.is_null(kind.value_type))


COUNTS = ("n_prompt", "n_answer", "n_options")
GIVEN = ("confidence", "stated_confidence", "p_true", "agreement")  # what imported answers may say of themselves
ASKED = ("defer_logprob",)  # of models with a token that asks for help; NaN of all other models of the run
# Limit of the options of one question and the tokens of one text. A file that claims more options would fill the memory
# with empty ones, see `columns.Examples`.
LARGEST_COUNT = 10**6
# Column → what its type must satisfy, and that in words.
COLUMNS = {
    **dict.fromkeys(("model", "method", "task", "id", "group", "prompt", "target", "text"), (_text, "text")),
    **dict.fromkeys(
        ("seed", "n_prompt", "n_answer", "n_options", "answer", "step"), (types.is_integer, "whole numbers")
    ),
    **dict.fromkeys(("flops", "seconds", "quality", "loss", "live"), (_number, "numbers")),
    **dict.fromkeys((*GIVEN, *ASKED), (_number, "numbers")),
    **dict.fromkeys(("options", "references"), (_list_of(_text), "lists of texts")),
    "route": (_list_of(types.is_integer), "lists of whole numbers"),
    "cut": (_list_of(_list_of(types.is_integer)), "lists of pairs of whole numbers"),
    **dict.fromkeys(
        ("token_logprobs", "option_logprobs", "option_scores", "statistics"), (_list_of(_number), "lists of numbers")
    ),
}


def check_columns(table: pyarrow.Table, path: Path, remedy: str):
    """Raises CatKerasError if a column of a table has another type than its own, empty cells (also within lists), or
    counts out of range.
    """
    for name in table.column_names:
        is_valid, words = COLUMNS[name]
        kind, column = table.schema.field(name).type, table[name]
        if not is_valid(kind):
            raise CatKerasError(f"{path}: column {name} holds {words}; received {kind}. {remedy}")
        nulls_in_lists = sum(part.flatten().null_count for part in column.chunks) if types.is_list(kind) else 0
        if column.null_count or nulls_in_lists:
            raise CatKerasError(f"{path} must have a value in every cell; {name} has not. {remedy}")
        low, high = pyarrow.compute.min_max(column).as_py().values() if name in COUNTS else (None, None)
        if low is not None and not (low >= 0 and high <= LARGEST_COUNT):
            raise CatKerasError(f"{path}: {name} lies in [0, {LARGEST_COUNT}]; received {low} to {high}. {remedy}")
