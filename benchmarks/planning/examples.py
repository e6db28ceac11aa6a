"""The examples of a run, read once to be counted and named, and again where they are used."""

import hashlib
import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np

from benchmarks.tasks.task import Task
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

KEPT = 200_000  # so many examples stay in memory: a few hundred MiB
UNKNOWN_SPLIT = 3_000  # examples that an estimate takes a whole split to hold whose rows are not here
BYTES_PER_TOKEN = 4


@dataclass(frozen=True, eq=False)
class Lengths:
    """UTF-8 bytes of the texts of one task, one entry per example, (n,) int64.

    Attributes:
        prompt, target: of each. options: of all options of an example together; n_options: how many.
    """

    prompt: np.ndarray
    target: np.ndarray
    options: np.ndarray
    n_options: np.ndarray

    def __len__(self):
        return len(self.prompt)

    @classmethod
    def assumed(cls, task: Task, limit: int | None) -> "Lengths":
        """As many examples as the limit allows, prompt and target as long as the task allows."""
        n = limit or UNKNOWN_SPLIT
        prompt, target = (np.full(n, tokens * BYTES_PER_TOKEN) for tokens in task.max_lengths)
        known = len(task.options) if isinstance(task.options, tuple) else 4
        n_options = np.full(n, known if task.kind == "classification" else 0)
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
    """One split of several tasks, in their order; not in memory where there are many.

    Two to three million examples, which a full run trains on, would fill several GiB as objects. So a large split is
    read task by task whenever it is iterated over.

    Args:
        tasks: whose examples. read: task → its examples, the same each time; or their `Lengths` alone, for an estimate.
        keep: how many stay in memory.

    Attributes:
        lengths: task name → `Lengths`. fingerprint: sha256 (hex) of all examples.
        assumed: names of the tasks of which only `Lengths` are known.
    """

    def __init__(self, tasks: Sequence[Task], read: Callable[[Task], list[Example] | Lengths], keep: float = KEPT):
        self._tasks, self._read = tasks, read
        self._kept: list[Example] | None = []
        digest, self.lengths, self.assumed = hashlib.sha256(), {}, []
        for task in tasks:
            examples = read(task)
            if isinstance(examples, Lengths):
                self.lengths[task.name], self._kept = examples, None
                self.assumed.append(task.name)
                continue
            _update(digest, examples)
            self.lengths[task.name] = Lengths.of(examples)
            self._kept = self._kept + examples if self._kept is not None and len(self) <= keep else None
        self.fingerprint = digest.hexdigest()

    def __len__(self):
        return sum(map(len, self.lengths.values()))

    def __iter__(self) -> Iterator[Example]:
        """Raises CatKerasError when the data are no longer those that were read first."""
        if self._kept is not None:
            yield from self._kept
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
        # What `asdict` gives, in a tenth of its time.
        fields = {name: getattr(example, name) for name in Example.__slots__}
        digest.update(json.dumps(fields, sort_keys=True).encode())
