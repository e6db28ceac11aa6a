"""The checks of a task's declaration. They run when it is made, so that no listing and no run fails on it later."""

import functools
import string
from collections.abc import Callable, Mapping
from typing import Any

from benchmarks.tasks import residue
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import untrusted

KINDS = ("classification", "generation")
SIDES = ("start", "end")
TEXTS = ("cluster", "metric", "trained_on", "license", "citation")
LISTS = ("suites", "templates", "labels", "aliases")
GETTERS = ("target", "references", "group")  # a field of the row, or a function of it
FUNCTIONS = ("fields", "keep")


def check(task) -> None:
    """Raises CatKerasError unless a `Task` is one that can be listed, named and rendered."""
    untrusted.plain_name("task", task.name)
    for field in TEXTS:
        _require(task, field, lambda v: isinstance(v, str), "a text")
    for field in LISTS:
        _require(task, field, are_texts, "a tuple of texts")
    for field in GETTERS:
        _require(task, field, lambda v: isinstance(v, str | Callable | None), "a field of the row or a function")
    for field in FUNCTIONS:
        _require(task, field, lambda v: isinstance(v, Callable | None), "a function of the row")
    _require(task, "options", lambda v: isinstance(v, str | Callable) or are_texts(v), "texts or a getter")
    _require(task, "splits", _are_recipes, "a recipe for each split")
    _require(task, "metric_args", _are_named, "arguments by name")
    _require(
        task, "cut", lambda v: _are_named(v) and set(v.values()) <= set(SIDES), "start or end for each field to cut"
    )
    _require(task, "max_lengths", _are_lengths, "a number of tokens for prompt and target")
    _require(task, "source", lambda v: hasattr(v, "rows") and hasattr(v, "identity"), "a `sources.Source`")
    if task.kind not in KINDS:
        raise unknown_name(f"kind of task {task.name}:", str(task.kind), KINDS)
    if task.text not in residue.CLEANERS:
        raise unknown_name(f"text of task {task.name}:", str(task.text), residue.CLEANERS)
    _check_templates(task)
    _check_options(task)


def _require(task, field: str, is_valid: Callable[[Any], bool], rule: str) -> None:
    value = getattr(task, field)
    if not is_valid(value):
        raise CatKerasError(f"Task {task.name}: {field} is {rule}; received {value!r}")


def are_texts(value) -> bool:
    """Whether a value is a tuple of texts."""
    return isinstance(value, tuple) and all(isinstance(text, str) for text in value)


def _are_named(value) -> bool:
    return isinstance(value, Mapping) and all(isinstance(name, str) for name in value)


def _are_recipes(value) -> bool:
    return _are_named(value) and len(value) > 0 and all(isinstance(recipe, str) for recipe in value.values())


def _are_lengths(value) -> bool:
    return isinstance(value, tuple) and len(value) == 2 and all(isinstance(n, int) and n > 0 for n in value)


def _check_templates(task) -> None:
    if not task.templates or any(t != t.rstrip(" \t") for t in task.templates):
        raise CatKerasError(
            f"Task {task.name} needs a template, and none may end with a blank; received {task.templates!r}"
        )
    fields = {name for template in task.templates for name in places(template)}
    for name in task.cut:
        if name not in fields:
            raise unknown_name(f"field to cut of task {task.name}:", name, fields)


def _check_options(task) -> None:
    if (task.kind == "classification") != bool(task.options):
        raise CatKerasError(
            f"Task {task.name}: a classification has options and a generation has none; "
            f"received kind {task.kind!r} with options {task.options!r}"
        )
    if task.labels and len(task.labels) != len(task.options):
        raise CatKerasError(f"Task {task.name}: labels {task.labels} do not match options {task.options} one by one")
    if are_texts(task.options):
        check_distinct(f"Options of task {task.name}", task.options, "Correct its declaration")


def check_distinct(what: str, options: tuple[str, ...], remedy: str) -> None:
    """Raises CatKerasError if an option is empty or two are the same, since then none of the two is the right one."""
    if len(set(options)) < len(options) or not all(options):
        raise CatKerasError(f"{what} differ and are not empty; received {list(options)}. {remedy}")


def places(template: str) -> tuple[str, ...]:
    """Names of the fields that a template has places for; raises as `pieces`."""
    return tuple(name for _, name in pieces(template) if name is not None)


@functools.cache
def pieces(template: str) -> tuple[tuple[str, str | None], ...]:
    """A template as (text, name of the field whose place follows) pairs; None where no place follows.

    Raises:
        CatKerasError: a place is not simply `{field}`, or a brace stands alone.
    """
    try:
        # Formatter.parse yields (text before the place, name, format, conversion); the name is None after the last one.
        parsed = list(string.Formatter().parse(template))
    except ValueError as error:
        raise CatKerasError(f"A template has places {{field}}; received {template!r} ({error})") from error
    for _, name, *formatting in parsed:
        if name is not None and (not name or name.isdecimal() or set(".[") & set(name) or any(formatting)):
            raise CatKerasError(
                f"A place of a template is a field by its name, {{field}}; received {name!r} in {template!r}"
            )
    return tuple((text, name) for text, name, *_ in parsed)
