"""The examples of a run: read once for their lengths and their fingerprint, and read again when a run uses them."""

import hashlib
import json
import math
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.task import Task
from cat_keras.data.overlap import Contents
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

IN_MEMORY = 200_000  # so many training examples stay in memory, which takes a few hundred MiB
UNKNOWN_SPLIT = 3_000  # examples that an estimate assumes of a whole split whose rows are not on this machine
BYTES_PER_TOKEN = 4  # assumed of a text whose tokenizer is not known


@dataclass(frozen=True, eq=False)
class Lengths:
    """UTF-8 bytes of the texts of one task, one entry per example, (n,) int64.

    Attributes:
        prompt, target: bytes of each. options: bytes of all options of an example together. n_options: their number.
    """

    prompt: np.ndarray
    target: np.ndarray
    options: np.ndarray
    n_options: np.ndarray

    def __len__(self):
        return len(self.prompt)

    @classmethod
    def assumed(cls, task: Task, limit: int | None) -> "Lengths":
        """As many examples as the limit allows, with prompts and targets as long as the task allows."""
        n = limit or UNKNOWN_SPLIT
        prompt, target = (np.full(n, tokens * BYTES_PER_TOKEN) for tokens in task.max_lengths)
        options_each = len(task.options) if isinstance(task.options, tuple) else 4
        n_options = np.full(n, options_each if task.kind == "classification" else 0)
        return cls(prompt, target, n_options * target, n_options)

    @classmethod
    def of(cls, examples: list[Example]) -> "Lengths":
        def column(measure):
            return np.fromiter(map(measure, examples), np.int64, len(examples))

        return cls(
            column(lambda e: _bytes(e.prompt)),
            column(lambda e: _bytes(e.target)),
            column(lambda e: sum(map(_bytes, e.options))),
            column(lambda e: len(e.options)),
        )


class Examples:
    """One split of several tasks, in their order. It is not held in memory if it is large.

    A full run trains on two to three million examples, which would fill several GiB as objects. So a large split is
    read task by task whenever somebody iterates over it.

    Args:
        tasks: whose examples. read: task → its examples, the same each time; or their `Lengths` alone, for an estimate.
        keep: up to how many examples stay in memory.
        compared: task → the same examples with the prompts by which they are compared with other splits; by default
            those that are read.

    Attributes:
        lengths: task name → `Lengths`. contents: task name → `Contents`. fingerprint: sha256 (hex) of all examples.
        assumed: names of the tasks of which only `Lengths` are known.
    """

    def __init__(self, tasks: Sequence[Task], read: Callable[[Task], list[Example] | Lengths], keep: float = IN_MEMORY,
                 compared: Callable[[Task], list[Example]] | None = None):  # fmt: skip
        self._tasks, self._read = tasks, read
        self._in_memory: list[Example] | None = []
        digest, self.lengths, self.assumed = hashlib.sha256(), {}, []
        self.contents: dict[str, Contents] = {}
        for task in tasks:
            examples = read(task)
            if isinstance(examples, Lengths):
                self.lengths[task.name], self._in_memory = examples, None
                self.assumed.append(task.name)
                continue
            _update(digest, examples)
            self.lengths[task.name] = Lengths.of(examples)
            self.contents[task.name] = Contents.of(compared(task) if compared else examples)
            if self._in_memory is not None and len(self) <= keep:
                self._in_memory = self._in_memory + examples
            else:
                self._in_memory = None
        self.fingerprint = digest.hexdigest()

    def without(self, rows: Collection[tuple[str, str]]) -> "Examples":
        """The examples but for those of (task, id), if they are in memory."""
        kept: dict[str, list[Example]] = {task.name: [] for task in self._tasks}
        for example in self:
            if (example.task, example.id) not in rows:
                kept[example.task].append(example)
        return Examples(self._tasks, lambda task: kept[task.name], math.inf)

    def __len__(self):
        return sum(map(len, self.lengths.values()))

    def __iter__(self) -> Iterator[Example]:
        """All examples, task by task.

        Raises:
            CatKerasError: the data are no longer those that were read first. It is raised after the last example.
        """
        if self._in_memory is not None:
            yield from self._in_memory
            return
        digest = hashlib.sha256()
        for task in self._tasks:
            examples = self._read(task)
            _update(digest, examples)
            yield from examples
        if digest.hexdigest() != self.fingerprint:
            raise CatKerasError(
                "Data stay as they are while a run reads them. Received: other rows than at its start. Start it again"
            )


def _bytes(text: str) -> int:
    return len(text.encode())


def _update(digest, examples: list[Example]):
    for example in examples:
        # The same as `Example.asdict`, in a tenth of its time.
        fields = {name: getattr(example, name) for name in Example.__slots__ if name != "cut" or example.cut}
        digest.update(json.dumps(fields, sort_keys=True).encode())
