"""`load`: rows of a split, read from one of the sources and rendered."""

import contextlib
import hashlib
import random
from collections.abc import Iterator, Sequence
from pathlib import Path

from benchmarks.sources import tfds
from benchmarks.sources.recipes import own_rows, parse_recipe
from benchmarks.sources.rows import Rows
from benchmarks.tasks import sample_rows
from benchmarks.tasks.task import Task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name

SOURCES = ("local", "samples", "tfds")
# As `template`: every example has one of the templates of its task, drawn by its id and the seed.
MIXTURE = "mixture"


def load(
    task: Task,
    split: str,
    data: str | Path | None = None,
    limit: int | None = None,
    seed: int = 0,
    template: int | str = 0,
    source: str = "local",
) -> list[Example]:
    """Reads and renders one split of a task.

    No row is in two splits: a row that several recipes claim goes to test before validation before train.

    Args:
        task: what to read. split: `"train"`, `"validation"` or `"test"`.
        data: folder with local data, or where TFDS keeps its own; tasks that generate their rows need none.
        limit: at most so many rows, a sample without replacement in the order of the source; a sample of the same
            seed with a smaller limit is part of it.
        seed: of that sample and of the mixture. template: index of the prompt template, or `"mixture"`.
        source: `"local"`, `"samples"` or `"tfds"`; without meaning for tasks that generate their rows.

    Raises:
        CatKerasError: folder, file, split or field is missing, a line is malformed, a label is out of range, a file is
            not what the manifest lists, a download fails, or no row is left.
    """
    _check(task, split, limit, template, source)
    rows, chosen = _rows(task, split, data, source)
    if task.keep or task.together:
        found = list(_kept(task, rows, chosen))
        found = _whole_groups(task, found, limit, seed) if task.together else _sample(found, limit, seed)
    else:
        found = rows.read(_sample(chosen, limit, seed))  # nothing else depends on the rows: only the sample is read
    examples = [_render(task, id, row, template, seed, rows) for id, row in found]
    if not examples:
        raise CatKerasError(
            f"Split {split} of task {task.name} is empty: {task.splits[split]!r} of {rows.count} rows, less the rows "
            f"of the other splits ({dict(task.splits)}) and those without label or text. Provide more rows"
        )
    return examples


def available(task: Task, data: str | Path | None = None) -> list[str]:
    """Sources that have the test split of a task on this machine; reads and imports nothing.

    Args:
        data: folder with local data. TFDS counts where it has prepared the data set in its default folder.
    """
    if not hasattr(task.source, "open"):
        return list(SOURCES)
    if "test" not in task.splits:
        return []
    part = parse_recipe(task.splits["test"])[0]
    here = {
        "local": data is not None and bool(task.source.files(part, Path(data).expanduser())),
        "samples": sample_rows.path(task).is_file(),
        "tfds": tfds.info_file(task.source.identity()) is not None,
    }
    return [source for source in SOURCES if here[source]]


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


def _rows(task: Task, split: str, data: str | Path | None, source: str) -> tuple[Rows, list[int]]:
    part = parse_recipe(task.splits[split])[0]
    if not hasattr(task.source, "open"):
        rows = Rows.of(list(task.source.rows(part, data)))
    elif source == "samples":
        rows = sample_rows.rows(task)
        return rows, sample_rows.own_rows(task.splits, split, rows.count)
    else:
        rows = task.source.open(part, data, source)
    return rows, own_rows(task.splits, split, rows.count)


def _kept(task: Task, rows: Rows, chosen: Sequence[int]) -> Iterator[tuple[str, dict]]:
    for id, row in rows.read(chosen):
        with _place(rows, id):
            if task.keeps(row):
                yield id, row


def _sample(items: Sequence, limit: int | None, seed: int) -> Sequence:
    """At most `limit` of the items, in their order."""
    if limit is None or limit >= len(items):
        return items
    return [items[place] for place in sorted(_shuffled(len(items), seed)[:limit])]


def _whole_groups(task: Task, found: list[tuple[str, dict]], limit: int | None, seed: int) -> list[tuple[str, dict]]:
    """The same, but all rows of a group or none; fewer than `limit` where the next group does not fit."""
    groups: dict[str, list[int]] = {}
    for place, (_, row) in enumerate(found):
        groups.setdefault(task.group_of(row), []).append(place)
    if limit is None or limit >= len(found):
        return found
    members = list(groups.values())
    taken: list[int] = []
    for group in (members[place] for place in _shuffled(len(members), seed)):
        if len(taken) + len(group) > limit and taken:
            break
        taken += group
    return [found[place] for place in sorted(taken[:limit])]


def _shuffled(count: int, seed: int) -> list[int]:
    # Samples of different size are prefixes of one shuffle, so that they are nested.
    return random.Random(seed).sample(range(count), count)


def _render(task: Task, id: str, row: dict, template: int | str, seed: int, rows: Rows) -> Example:
    if template == MIXTURE:
        template = drawn_template(task, id, seed)
    with _place(rows, id):
        return task.example(row, id, template)


def drawn_template(task: Task, id: str, seed: int) -> int:
    """The template that the mixture gives an example. It depends on nothing else: no limit, order or other example."""
    digest = hashlib.blake2b(f"{seed}/{task.name}/{id}".encode(), digest_size=8).digest()
    return int.from_bytes(digest) % len(task.templates)


@contextlib.contextmanager
def _place(rows: Rows, id: str) -> Iterator[None]:
    try:
        yield
    except CatKerasError as error:
        raise CatKerasError(f"{rows.where(id)}: {error}") from error
