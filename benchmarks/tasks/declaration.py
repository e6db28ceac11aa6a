"""The checks of a task's declaration. They run when it is made, so that no listing and no run fails on it later."""

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
        _require(task, field, lambda v: isinstance(v, str), "a text")
    for field in LISTS:
        _require(task, field, _are_texts, "a tuple of texts")
    for field in GETTERS:
        _require(task, field, lambda v: isinstance(v, str | Callable | None), "a field of the row or a function")
    for field in FUNCTIONS:
        _require(task, field, lambda v: isinstance(v, Callable | None), "a function of the row")
    _require(task, "options", lambda v: isinstance(v, str | Callable) or _are_texts(v), "texts or a getter")
    _require(task, "splits", _are_recipes, "a recipe for each split")
    _require(task, "metric_args", _are_named, "arguments by name")
    _require(task, "max_lengths", _are_lengths, "a number of tokens for prompt and target")
    _require(task, "source", lambda v: hasattr(v, "rows") and hasattr(v, "identity"), "a `sources.Source`")
    if task.kind not in KINDS:
        raise unknown_name(f"kind of task {task.name}:", str(task.kind), KINDS)
    _check_templates(task)
    _check_options(task)


def _require(task, field: str, is_valid: Callable[[Any], bool], rule: str) -> None:
    value = getattr(task, field)
    if not is_valid(value):
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
        # Formatter.parse yields (text before the place, name, format, conversion); the name is None after the last one.
        parsed_places = [place[1:] for place in string.Formatter().parse(template) if place[1] is not None]
    except ValueError as error:
        raise CatKerasError(f"A template has places {{field}}; received {template!r} ({error})") from error
    for name, *formatting in parsed_places:
        if not name or name.isdecimal() or set(".[") & set(name) or any(formatting):
            raise CatKerasError(
                f"A place of a template is a field by its name, {{field}}; received {name!r} in {template!r}"
            )
    return tuple(name for name, *_ in parsed_places)
