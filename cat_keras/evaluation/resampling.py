"""Bootstrap resamples of a task's examples: pairing of methods by id, random streams, and the work on many cores."""

import hashlib
import os
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import fields
from functools import lru_cache

import numpy as np

from cat_keras.errors import CatKerasError, check_number
from cat_keras.evaluation.curves import Outcomes

RESAMPLES = "[1, 10000000]"
_BLOCK = 1 << 16  # numbers that one random stream draws; another size would be other resamples
_BLOCKS = 8  # blocks that are computed together: few enough that a few such arrays stay in the processor's cache
_COLUMNS = 16  # resamples that are computed together at least: a line of the processor's cache holds so many counts
_HELD = 32  # counts of that many joint blocks are held, at 2 MiB each, for the next table of a report

ByMethod = Mapping[str, Outcomes]


def names(
    outcomes: Mapping[str, ByMethod], rng: np.random.Generator, resamples: int, threads: int | None = None
) -> tuple[tuple, tuple]:
    """Sorted names of the tasks and of the methods that are to be resampled.

    Raises:
        CatKerasError: no task, no generator, or a number of resamples or threads outside its range.
    """
    if not isinstance(rng, np.random.Generator):
        raise CatKerasError(f"rng must be a numpy Generator; received {rng!r}. Pass numpy.random.default_rng(seed)")
    if not outcomes:
        raise CatKerasError("A bootstrap needs a task; received none")
    check_number("resamples", resamples, RESAMPLES, whole=True)
    if threads is not None:
        check_number("threads", threads, "[1, 1024]", whole=True)
    return tuple(sorted(outcomes)), tuple(sorted({method for by_method in outcomes.values() for method in by_method}))


def paired(task: str, methods: tuple[str, ...], by_method: ByMethod) -> list[Outcomes]:
    """Outcomes in the order of `methods`, rows sorted by id.

    Raises:
        CatKerasError: a method missing, ids missing or different between methods.
    """
    missing = [method for method in methods if by_method.get(method) is None]
    if missing:
        raise CatKerasError(
            f"A paired bootstrap needs every method on every task; task {task!r} lacks {missing}. "
            "Run them, or leave the method or the task out everywhere"
        )
    rows = [_sorted_by_id(task, method, by_method[method]) for method in methods]
    for method, other in zip(methods, rows, strict=True):
        if not np.array_equal(other.ids, rows[0].ids):
            unpaired = np.setxor1d(other.ids, rows[0].ids)
            raise CatKerasError(
                f"Methods are paired by example id, so ids must agree; on task {task!r} {methods[0]!r} and {method!r} "
                f"differ in {unpaired.size} ids, e.g. {str(unpaired[0])!r}. Use the predictions on the same examples"
            )
    return rows


def _sorted_by_id(task: str, method: str, outcomes: Outcomes) -> Outcomes:
    if outcomes.ids is None:
        raise CatKerasError(f"A paired bootstrap needs example ids; {method!r} on {task!r} has none. Pass ids=...")
    order = np.argsort(outcomes.ids)
    return Outcomes(*(getattr(outcomes, field.name)[order] for field in fields(Outcomes)))


class Streams:
    """Random streams of resamples, which depend on the generator's state, the task's name and its size alone.

    So no resample changes with the other tasks or their order, the number of cores or the number of resamples.
    """

    def __init__(self, rng: np.random.Generator):
        self._entropy = int(rng.integers(2**63))

    def map(
        self,
        task: str,
        n: int,
        resamples: int,
        compute: Callable[..., np.ndarray],
        threads: int | None = None,
        beside: Sequence[np.ndarray] = (),
    ) -> np.ndarray:
        """`compute` of all resamples of a task, block by block.

        Args:
            task, n: its name and number of examples. resamples: R.
            compute: counts (n, B) float32, each column summing to n → (B, ...).
            threads: at most so many cores; by default all that the process may use.
            beside: arrays with a row per resample; `compute` gets those of its block as further arguments.

        Returns:
            (R, ...), what `compute` returned, in order.
        """
        size, threads = max(1, _BLOCK // n), threads or os.cpu_count() or 1
        joint = max(_BLOCKS, -(-_COLUMNS // size))
        step = size * min(joint, -(-resamples // (size * threads)))  # few resamples are shared among the cores
        draw = _counts if joint == _BLOCKS else _counts.__wrapped__  # those of so many examples are too large

        def block(start):
            counts = draw(self._entropy, task, n, start, min(step, resamples - start))
            return compute(counts, *(rows[start : start + step] for rows in beside))

        starts = range(0, resamples, step)
        if len(starts) == 1:
            return block(0)
        with ThreadPoolExecutor(threads) as pool:
            return np.concatenate(list(pool.map(block, starts)))


def counts_beside_data(rng: np.random.Generator, n: int, resamples: int) -> np.ndarray:
    """(n, 1 + R) float32 how often each resample has each of n examples; the data themselves, once each, come first."""
    counts = np.ones((n, 1 + resamples), np.float32)
    counts[:, 1:] = rng.multinomial(n, np.full(n, 1 / n), size=resamples).T
    return counts


@lru_cache(maxsize=_HELD)
def _counts(entropy: int, task: str, n: int, start: int, resamples: int) -> np.ndarray:
    """How often each resample from `start` on draws each example, (n, resamples) float32, read-only.

    Block k of `_BLOCK` numbers is drawn by a stream of its own, child k of the seed.
    """
    size = max(1, _BLOCK // n)
    digest = int.from_bytes(hashlib.blake2b(task.encode(), digest_size=16).digest(), "big")
    columns = np.empty((n, resamples), np.float32)
    for first in range(0, resamples, size):
        seed = np.random.SeedSequence([entropy, digest], spawn_key=((start + first) // size,))
        last = min(first + size, resamples)
        columns[:, first:last] = _drawn(np.random.default_rng(seed), n, last - first).T
    columns.flags.writeable = False  # several computations share it
    return columns


def _drawn(rng: np.random.Generator, n: int, rows: int) -> np.ndarray:
    """How often each resample draws each example, (rows, n) int64.

    For equal shares this is 8 times as fast as `rng.multinomial`.
    """
    examples = rng.integers(n, size=(rows, n))
    examples += n * np.arange(rows)[:, None]  # numbers the places of all rows through, so that one count serves all
    return np.bincount(examples.ravel(), minlength=rows * n).reshape(rows, n)
