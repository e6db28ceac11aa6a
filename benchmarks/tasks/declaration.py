"""What a declaration of a task says, checked when it is made: no listing and no run fails on it later."""

import functools
import string
from collections.abc import Callable, Mapping
from typing import Any

from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import untrusted

KINDS = ("classification", "generation")
TEXTS = ("cluster", "metric", "trained_on", "license", "citation")
LISTS = ("suites", "templates", "labels", "aliases")
GETTERS = ("target", "references", "group")  # a field of the row, or a function of it
FUNCTIONS = ("fields", "keep")


def check(task) -> None:
    """Raises CatKerasError unless a `Task` is one that can be listed, named and rendered."""
    untrusted.plain_name("task", task.name)
    for field in TEXTS:
        _must(task, field, lambda value: isinstance(value, str), "a text")
    for field in LISTS:
        _must(task, field, _are_texts, "a tuple of texts")
    for field in GETTERS:
        _must(task, field, lambda value: isinstance(value, str | Callable | None), "a field of the row or a function")
    for field in FUNCTIONS:
        _must(task, field, lambda value: isinstance(value, Callable | None), "a function of the row")
    _must(task, "options", lambda value: isinstance(value, str | Callable) or _are_texts(value), "texts or a getter")
    _must(task, "splits", _are_recipes, "a recipe for each split")
    _must(task, "metric_args", _are_named, "arguments by name")
    _must(task, "max_lengths", _are_lengths, "a number of tokens for prompt and target")
    _must(task, "source", lambda value: hasattr(value, "rows") and hasattr(value, "identity"), "a `sources.Source`")
    if task.kind not in KINDS:
        raise unknown_name(f"kind of task {task.name}:", str(task.kind), KINDS)
    _check_templates(task)
    _check_options(task)


def _must(task, field: str, holds: Callable[[Any], bool], rule: str) -> None:
    value = getattr(task, field)
    if not holds(value):
        raise CatKerasError(f"Task {task.name}: {field} is {rule}; received {value!r}")


def _are_texts(value) -> bool:
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
    for template in task.templates:
        places(template)


def _check_options(task) -> None:
    if (task.kind == "classification") != bool(task.options):
        raise CatKerasError(
            f"Task {task.name}: a classification has options and a generation has none; "
            f"received kind {task.kind!r} with options {task.options!r}"
        )
    if task.labels and len(task.labels) != len(task.options):
        raise CatKerasError(f"Task {task.name}: labels {task.labels} do not match options {task.options} one by one")


@functools.cache
def places(template: str) -> tuple[str, ...]:
    """Names of the fields that a template has places for.

    Raises:
        CatKerasError: a place is not simply `{field}`, or a brace stands alone.
    """
    try:
        found = [place[1:] for place in string.Formatter().parse(template) if place[1] is not None]
    except ValueError as error:
        raise CatKerasError(f"A template has places {{field}}; received {template!r} ({error})") from error
    for name, *more in found:
        if not name or name.isdecimal() or set(".[") & set(name) or any(more):
            raise CatKerasError(
                f"A place of a template is a field by its name, {{field}}; received {name!r} in {template!r}"
            )
    return tuple(name for name, *_ in found)
