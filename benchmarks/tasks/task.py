"""What a task is: a declaration without I/O, and the registry of all declarations.

Prompt and target are tokenized separately and then joined. So a template ends with `:` and a newline, a target begins
with its first word, and there is no blank between the two.
"""

import importlib
import math
import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from benchmarks.tasks import declaration, extensions, imported, residue
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name

# These modules are imported at the first look-up. Each one registers its tasks when it is imported.
MODULES = tuple(f"benchmarks.tasks.{suite}" for suite in ("embedded", "superglue", "wmt22", "flan2021"))

# FLAN's code has 17 clusters, and its paper shows 12: eleven of the 17 as they are, and these six together as "misc.".
MISC = (
    *("conversational_qa", "linguistic_acceptability", "math"),
    *("question_classification", "text_formatting", "word_disambiguation"),
)

Row = Mapping[str, Any]
Getter = str | Callable[[Row], Any]


@dataclass(frozen=True, eq=False, kw_only=True)
class Task:
    """How rows of a data set become examples, and how answers to them are judged.

    Where an attribute names a field of the row, it may be a function of the row instead. A function enters `identity`
    by its name only, so whoever changes its body must raise `version`.

    Attributes:
        name: unique, as in the registry of the benchmark. aliases: other names that `get` and `select` accept.
        suites: the suites it belongs to. cluster: its FLAN cluster, or the like.
        kind: `"classification"` (one of `options`) or `"generation"`.
        source: where rows come from (see `sources.Source`).
        splits: `"train"`, `"validation"`, `"test"` → recipe over the source's parts, e.g. `"train[:-200]"`.
        templates: prompts with `{field}` places, the canonical one first.
        text: how texts of the data set are cleaned, of `residue.CLEANERS`: `"plain"`; `"html"` where tags are residue
            too; `"verbatim"` where characters are what is asked for or scored. Fields, targets, options and references
            are cleaned alike, and lose their surrounding blanks.
        cut: field of the templates → the side, `"start"` or `"end"`, from which it is cut where a prompt is too long.
            Instruction, question and options are not among them. By default the whole prompt is cut from its beginning.
        target: the answer: text, or the index of the right option.
        options: of a classification, in the order of the labels; or a field or function of the row that gives them.
        labels: the data's own names of those labels in the same order, where `options` uses other words.
        references: all accepted answers; by default the target alone.
        pooled: whether rows of one prompt differ in their targets only. Outside training they are then one example,
            with the references of all.
        fields: a function that turns a row into the fields that templates name; by default the row itself.
        group: the stratum by which reports split, or the question or pair that a row belongs to; by default none.
        together: whether a metric counts the rows of a group together, so that a sample holds all of them or none.
        keep: whether a row is an example at all (it has a label, its text is not empty). By default every row is one.
        metric: a name of `metrics`. metric_args: its arguments, e.g. the positive option of F1.
        max_lengths: tokens of prompt and of target that a full run allows.
        trained_on: the task whose training split stands in where a diagnostic or a test set has none.
        license, citation: of the data. version: raised with every change of what is rendered.
    """

    name: str
    suites: tuple[str, ...]
    cluster: str
    kind: str
    source: Any
    splits: Mapping[str, str]
    templates: tuple[str, ...]
    target: Getter
    metric: str
    text: str = "plain"
    cut: Mapping[str, str] = field(default_factory=dict)
    options: tuple[str, ...] | Getter = ()
    labels: tuple[str, ...] = ()
    references: Getter | None = None
    pooled: bool = False
    fields: Callable[[Row], Row] | None = None
    group: Getter | None = None
    together: bool = False
    keep: Callable[[Row], bool] | None = None
    metric_args: Mapping[str, Any] = field(default_factory=dict)
    aliases: tuple[str, ...] = ()
    max_lengths: tuple[int, int] = (512, 128)
    trained_on: str = ""
    license: str = ""
    citation: str = ""
    version: int = 1

    def __post_init__(self):
        if declaration.are_texts(self.options):
            object.__setattr__(self, "options", tuple(option.strip() for option in self.options))
        declaration.check(self)

    @property
    def groups(self) -> tuple[str, ...]:
        """The names of more than one task that select it: `"all"`, its suites, its cluster, FLAN's `"misc"`."""
        return ("all", *self.suites, self.cluster, *(("misc",) if self.cluster in MISC else ()))

    def group_of(self, row: Row) -> str:
        """The group of a row; "" without groups."""
        group = self._read(self.group, row) if self.group else ""
        return group if isinstance(group, str) else self._text("group", group)

    def keeps(self, row: Row) -> bool:
        """Whether the row is an example of this task.

        Raises:
            CatKerasError: a field that `keep` reads is missing or of the wrong type.
        """
        return self.keep is None or bool(self._read(self.keep, row))

    def example(self, row: Row, id: str, template: int = 0) -> Example:
        """Renders one row.

        Args:
            row: fields by name, plain Python values as JSON yields them.
            id: of the example, unique within task and split.
            template: index into `templates`.

        Raises:
            CatKerasError: a field is missing or of the wrong type, a label is out of range, two options are the same,
                or the target is empty.
        """
        options = self._options(row)
        if self.kind == "classification":
            target = self._right_option(row, options)
        else:
            target = self._text("target", self._read(self.target, row))
        if not target:
            raise CatKerasError(f"A target of task {self.name} must not be empty. Remove the row, or fill it in")
        references = self._texts("references", self._read(self.references, row)) if self.references else ()
        # Some corpora hold empty references, which no answer can match.
        references = tuple(filter(None, references))
        prompt, cut = self._prompt(row, template)
        return Example(id, prompt, target, self.name, options, references, self.group_of(row), cut)

    def prompt(self, row: Row, template: int = 0) -> str:
        """What a model is asked about a row; see `example`."""
        return self._prompt(row, template)[0]

    def identity(self) -> dict:
        """Everything that changes a rendered example or its score, as JSON-able values, for hashing."""
        return {
            "name": self.name,
            "version": self.version,
            "kind": self.kind,
            "source": self.source.identity(),
            "splits": dict(self.splits),
            "templates": list(self.templates),
            "fields": _identity(self.fields),
            "target": _identity(self.target),
            "options": list(self.options) if isinstance(self.options, tuple) else _identity(self.options),
            "references": _identity(self.references),
            "group": _identity(self.group),
            "together": self.together,
            "keep": _identity(self.keep),
            "metric": self.metric,
            "metric_args": dict(self.metric_args),
            # Identities of older results have none of these, so each is named only where a task has it.
            **({"text": self.text} if self.text != "plain" else {}),
            **({"cut": dict(self.cut)} if self.cut else {}),
            **({"pooled": True} if self.pooled else {}),
        }

    def declaration(self) -> dict:
        """The whole declaration, as JSON-able values: `identity`, and what changes neither an example nor a score."""
        return {
            **self.identity(),
            "aliases": list(self.aliases),
            "suites": list(self.suites),
            "cluster": self.cluster,
            "template_count": len(self.templates),
            "labels": list(self.labels),
            "max_lengths": dict(zip(("prompt", "target"), self.max_lengths, strict=True)),
            "trained_on": self.trained_on,
            "license": self.license,
            "citation": self.citation,
        }

    def _prompt(self, row: Row, template: int) -> tuple[str, tuple[tuple[int, int], ...]]:
        """The prompt, and what of it may be cut, see `Example.cut`."""
        if not 0 <= template < len(self.templates):
            raise CatKerasError(f"Task {self.name} has templates 0..{len(self.templates) - 1}; received {template}")
        values = self._read(self.fields, row) if self.fields else row
        prompt, cut = "", []
        for literal, name in declaration.pieces(self.templates[template]):
            prompt += literal
            if name is None:
                continue
            start = len(prompt)
            prompt += self._text(name, self._read(name, values))
            if name in self.cut and start < len(prompt):
                cut.append((start, len(prompt)) if self.cut[name] == "end" else (len(prompt), start))
        return prompt, tuple(cut)

    def _options(self, row: Row) -> tuple[str, ...]:
        if isinstance(self.options, tuple):
            return self.options
        options = tuple(self._texts("options", self._read(self.options, row)))
        if not options:
            raise CatKerasError(f"A row of task {self.name} has options to choose from; received none. Remove the row")
        declaration.check_distinct(f"Options of a row of task {self.name}", options, "Remove the row, or correct it")
        return options

    def _right_option(self, row: Row, options: tuple[str, ...]) -> str:
        label = self._read(self.target, row)
        if isinstance(label, str) and (text := self._text("target", label)) in options:
            return text
        # Data sets hide the labels of test rows as negative numbers. As an index, -1 would mean the last option, and
        # nobody would notice.
        if isinstance(label, int) and 0 <= label < len(options):
            return options[label]
        raise CatKerasError(
            f"A label of task {self.name} is 0..{len(options) - 1} ({', '.join(options)}); received {label!r}. "
            "Remove the row, or correct its label"
        )

    def _text(self, name: str, value: Any) -> str:
        if isinstance(value, str):
            return residue.CLEANERS[self.text](value).strip()
        # Some exports write NaN for a missing text, so NaN is not a number to print.
        if isinstance(value, int) or (isinstance(value, float) and math.isfinite(value)):
            return str(value)
        raise CatKerasError(f"Task {self.name} needs text in field {name!r}; received {value!r}")

    def _texts(self, name: str, value: Any) -> list[str]:
        if isinstance(value, list | tuple) and all(isinstance(text, str) for text in value):
            return [self._text(name, text) for text in value]
        raise CatKerasError(f"Task {self.name} needs a list of texts in field {name!r}; received {value!r}")

    def _read(self, getter: Getter, row: Row) -> Any:
        try:
            return row[getter] if isinstance(getter, str) else getter(row)
        except KeyError as error:
            raise CatKerasError(
                f"Task {self.name} needs field {error.args[0]!r}; the row has {', '.join(map(str, row))}. "
                "Field names are those of TensorFlow Datasets"
            ) from error
        except CatKerasError:
            raise
        except Exception as error:  # a function of the row can fail in any way
            raise CatKerasError(
                f"Task {self.name} cannot read a row with a field of the wrong type or length: {error!r}"
            ) from error


def _identity(getter: Getter | None) -> str | None:
    if not callable(getter):
        return getter
    # A function is identified by its name, an instance such as `Filled(...)` by its repr, which holds its arguments.
    if not hasattr(getter, "__qualname__"):
        return repr(getter)
    # Names of our own functions are written as they were before the declarations moved into `tasks/`, because
    # committed identities contain them.
    module = re.sub(r"^benchmarks\.tasks\.", "benchmarks.", getter.__module__)
    return f"{module}.{getter.__qualname__}"


@dataclass(frozen=True)
class Filled:
    """For `Task.keep`: keeps the rows in which none of these text fields is empty.

    Some corpora have articles without text.
    """

    names: tuple[str, ...]

    def __call__(self, row: Row) -> bool:
        return all(residue.plain(row[name]).strip() for name in self.names)


_TASKS: dict[str, Task] = {}


def register(task: Task) -> Task:
    """Adds a task to the registry and returns it.

    Raises:
        CatKerasError: its name or one of its aliases is taken.
    """
    owners = {alias: other.name for other in _TASKS.values() for alias in (other.name, *other.aliases)}
    for name in (task.name, *task.aliases):
        if name in owners:
            raise CatKerasError(f"A task name is used once; {name!r} of {task.name} belongs to {owners[name]}")
    _TASKS[task.name] = task
    return task


def names() -> list[str]:
    """Names of all tasks, in the order of their declaration."""
    return list(_registry())


def get(name: str) -> Task:
    """The task of that name or alias.

    Raises:
        CatKerasError: there is none; the nearest names are given.
    """
    if imported.is_one(name):
        return imported.declared(Task, name)
    tasks = _registry()
    aliases = _aliases(tasks)
    canonical = aliases.get(name, name)
    if canonical not in tasks:
        raise unknown_name("task", name, [*tasks, *aliases])
    return tasks[canonical]


def select(wanted: Iterable[str] | str) -> list[Task]:
    """Tasks by names, aliases, suites or clusters (see `Task.groups`), each once, in order of declaration.

    `"flan2021/translation"` names the tasks that are in both the suite and the cluster.

    Raises:
        CatKerasError: a word names none of these.
    """
    tasks = _registry()
    aliases = _aliases(tasks)
    selected = set()
    for word in [wanted] if isinstance(wanted, str) else wanted:
        if word in tasks or word in aliases:
            selected.add(aliases.get(word, word))
            continue
        members = [name for name, task in tasks.items() if set(word.split("/")) <= set(task.groups)]
        if not members:
            groups = {group for task in tasks.values() for group in task.groups}
            raise unknown_name("task, suite or cluster", word, {*tasks, *aliases, *groups})
        selected.update(members)
    return [task for name, task in tasks.items() if name in selected]


def _aliases(tasks: Mapping[str, Task]) -> dict[str, str]:
    return {alias: task.name for task in tasks.values() for alias in task.aliases}


def load_module(path: str | Path) -> list[str]:
    """Runs a user's Python file that registers tasks, once per process, and returns the names of the tasks it added.

    Raises:
        CatKerasError: there is no such file, it fails, or a name is taken. Then none of its tasks stays registered.
    """
    return extensions.run_file(path, _registry())


def _registry() -> dict[str, Task]:
    for module in MODULES:
        importlib.import_module(module)
    extensions.load_entry_points(_TASKS)
    return _TASKS
