"""Reads the rows of a split from one of the sources and renders them as examples: `load`."""

import contextlib
import hashlib
import random
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path

from benchmarks.sources import tfds
from benchmarks.sources.recipes import own_rows, parse_recipe
from benchmarks.sources.rows import Rows
from benchmarks.tasks import sample_rows
from benchmarks.tasks.task import Task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name

SOURCES = ("local", "samples", "tfds")
# As `template`: each example gets one of the templates of its task, drawn by its id and the seed.
MIXTURE = "mixture"
NAMED = 1000  # bad rows of a split that are named; the others are counted


@dataclass
class BadRows:
    """Rows that cannot be rendered, in the order of the source.

    Attributes:
        first: (id, place, problem) of the first ones. count: how many there are.
    """

    first: list[tuple[str, str, str]] = field(default_factory=list)
    count: int = 0

    def add(self, id: str, place: str, problem: str):
        self.count += 1
        if len(self.first) < NAMED:
            self.first.append((id, place, problem))


def load(
    task: Task,
    split: str,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    template: int | str = 0,
    source: str = "local",
    bad: BadRows | None = None,
) -> list[Example]:
    """Reads and renders one split of a task.

    No row is in two splits: a row that several recipes claim goes to test before validation before train.

    Args:
        task: what to read. split: `"train"`, `"validation"` or `"test"`.
        data: folder with local data, or where TFDS keeps its own; tasks that generate their rows need none.
        limit: the largest number of examples. They are a sample without replacement, in the order of the source; with
            the same seed a smaller sample is part of a larger one.
        seed: of that sample and of the mixture. template: index of the prompt template, or `"mixture"`.
        source: `"local"`, `"samples"` or `"tfds"`; without meaning for tasks that generate their rows.
        bad: takes the rows that cannot be rendered, which are then left out; without it the first one is an error.

    Raises:
        CatKerasError: folder, file, split or field is missing, a line is malformed, a label is out of range, a file is
            not what the manifest lists, a download fails, or no row is left.
    """
    _check(task, split, limit, template, source)
    rows, indices = _split_rows(task, split, data, source)
    if task.together:
        inputs = [[pair] for pair in _sample_groups(task, list(_kept_rows(task, rows, indices, bad)), limit, seed)]
    elif reads_rows(task, split):
        inputs = _sample(_inputs(task, split, rows, indices, bad), limit, seed)
    else:  # the sample does not depend on the rows: read only these
        inputs = ([pair] for pair in rows.read(_sample(indices, limit, seed)))
    examples = []
    for (id, row), *others in inputs:
        index = drawn_template(task, id, seed) if template == MIXTURE else template
        example, references = None, []
        for each_id, each in ((id, row), *others):
            with _naming_place(rows, each_id, bad):
                rendered = task.example(each, each_id, index)
                example = example or rendered
                references += rendered.references
        if example:
            examples.append(replace(example, references=tuple(dict.fromkeys(references))) if others else example)
    if not examples and bad is not None and bad.count:
        _, place, problem = bad.first[0]
        raise CatKerasError(f"{place}: {problem}. No row of split {split} of task {task.name} can be read")
    if not examples:
        raise CatKerasError(
            f"Split {split} of task {task.name} is empty: {task.splits[split]!r} of {rows.count} rows, less the rows "
            f"of the other splits ({dict(task.splits)}) and those without label or text. Provide more rows"
        )
    return examples


def place_of(task: Task, split: str, data: str | Path | None, source: str) -> Callable[[str], str]:
    """A function from the id of an example of a split to the place of its row, such as file and line."""
    return _split_rows(task, split, data, source)[0].where


def number(task: Task, split: str, data: str | Path | None = None, source: str = "local") -> int:
    """How many examples `load` returns without a limit; 0 where it would have none to return.

    Raises:
        CatKerasError: as `load`, but for what only rendering finds.
    """
    _check(task, split, None, 0, source)
    rows, indices = _split_rows(task, split, data, source)
    return len(_inputs(task, split, rows, indices)) if reads_rows(task, split) else len(indices)


def reads_rows(task: Task, split: str) -> bool:
    """Whether the number of examples of a split depends on what is in its rows, and not on their number alone."""
    return task.keep is not None or (task.pooled and split != "train")


def available(task: Task, data: str | Path | None = None, split: str = "test") -> list[str]:
    """Sources that have a split of a task on this machine; reads and imports nothing.

    Args:
        data: folder with local data. TFDS is among the sources if it has prepared the data set in its default folder.
    """
    if not hasattr(task.source, "open"):
        return list(SOURCES)
    if split not in task.splits:
        return []
    part = parse_recipe(task.splits[split])[0]
    has_rows = {
        "local": data is not None and bool(task.source.files(part, Path(data).expanduser())),
        "samples": sample_rows.path(task).is_file(),
        "tfds": tfds.info_file(task.source.identity()) is not None,
    }
    return [source for source in SOURCES if has_rows[source]]


def _check(task: Task, split: str, limit: int | None, template: int | str, source: str) -> None:
    if split not in task.splits:
        raise unknown_name(f"split of task {task.name}:", split, task.splits)
    if source not in SOURCES:
        raise unknown_name("source", source, SOURCES)
    if limit is not None and limit < 1:
        raise CatKerasError(f"limit is a number of rows, at least 1, or None for all; received {limit}")
    if template != MIXTURE and template not in range(len(task.templates)):
        valid = [MIXTURE, *map(str, range(len(task.templates)))]
        raise unknown_name(f"template of task {task.name}:", str(template), valid)


def _split_rows(task: Task, split: str, data: str | Path | None, source: str) -> tuple[Rows, list[int]]:
    """The rows of the part that a split is taken from, and the indices of those that belong to the split."""
    part = parse_recipe(task.splits[split])[0]
    if not hasattr(task.source, "open"):
        rows = Rows.of(list(task.source.rows(part, data)))
    elif source == "samples":
        rows = sample_rows.rows(task)
        return rows, sample_rows.own_rows(task.splits, split, rows.count)
    else:
        rows = task.source.open(part, data, source)
    return rows, own_rows(task.splits, split, rows.count)


def _kept_rows(
    task: Task, rows: Rows, indices: Sequence[int], bad: BadRows | None = None
) -> Iterator[tuple[str, dict]]:
    """(id, row) of the rows that are examples of the task, see `Task.keep`, and that have a group where one is read."""
    for id, row in rows.read(indices):
        kept = False
        with _naming_place(rows, id, bad):
            kept = task.keeps(row)
            if kept and task.together:
                task.group_of(row)
        if kept:
            yield id, row


def _inputs(
    task: Task, split: str, rows: Rows, indices: Sequence[int], bad: BadRows | None = None
) -> list[list[tuple[str, dict]]]:
    """(id, row) pairs of every example of a split: one, or where a task is pooled, all that ask the same."""
    pairs = _kept_rows(task, rows, indices, bad)
    if not (task.pooled and split != "train"):
        return [[pair] for pair in pairs]
    inputs: dict[str, list[tuple[str, dict]]] = {}
    for id, row in pairs:
        with _naming_place(rows, id, bad):
            inputs.setdefault(task.prompt(row), []).append((id, row))
    return list(inputs.values())


def _sample(items: Sequence, limit: int | None, seed: int) -> Sequence:
    """At most `limit` of the items, in their order."""
    if limit is None or limit >= len(items):
        return items
    return [items[position] for position in sorted(_shuffled(len(items), seed)[:limit])]


def _sample_groups(task: Task, pairs: list[tuple[str, dict]], limit: int | None, seed: int) -> list[tuple[str, dict]]:
    """At most `limit` of the (id, row) pairs in their order, with all rows of a group or none.

    There are fewer where the next group does not fit. Only a first group that is larger than the limit is cut.
    """
    groups: dict[str, list[int]] = {}
    for position, (_, row) in enumerate(pairs):
        groups.setdefault(task.group_of(row), []).append(position)
    if limit is None or limit >= len(pairs):
        return pairs
    members = list(groups.values())
    sample: list[int] = []
    for group in _shuffled(len(members), seed):
        if len(sample) + len(members[group]) > limit and sample:
            break
        sample += members[group]
    return [pairs[position] for position in sorted(sample[:limit])]


def _shuffled(count: int, seed: int) -> list[int]:
    # Samples of different sizes are prefixes of one shuffle, so a smaller one is part of a larger one.
    return random.Random(seed).sample(range(count), count)


def drawn_template(task: Task, id: str, seed: int) -> int:
    """The template that the mixture gives an example.

    It depends on task, id and seed alone, so the limit, the order and the other examples do not change it.
    """
    digest = hashlib.blake2b(f"{seed}/{task.name}/{id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % len(task.templates)


@contextlib.contextmanager
def _naming_place(rows: Rows, id: str, bad: BadRows | None = None) -> Iterator[None]:
    """Puts the place of a row, such as file and line, before the message of an error that it causes.

    Where there is a list of bad rows, the row goes there instead.
    """
    try:
        yield
    except CatKerasError as error:
        if bad is not None:
            bad.add(id, rows.where(id), str(error))
            return
        raise CatKerasError(f"{rows.where(id)}: {error}") from error
