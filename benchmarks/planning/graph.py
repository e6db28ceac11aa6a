"""What a run builds, as a graph: each result with the results that it is made from, for machines that share the work.

The columns of a model and its predictions are made in parts, where there are many examples: each part by whoever is
free, and put together at the end. Parts are cut at fixed numbers of examples, so that the bytes of a result are the
same however many machines made it.
"""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import dataclass

from benchmarks.planning.plan import LARGE, PART, Cell, Columns, Model, Plan
from cat_keras.storage.shards import SHARD


@dataclass(frozen=True, slots=True)
class Job:
    """One thing to build.

    Attributes:
        name: which no other job has. label: as in a run's progress.
        kind: of its entry in the store: "encoded", "train", "teacher" or "predict". key: of that entry.
        role: of the model that computes; "" if none does. model: for which it is made first, as `--only` names it.
        needs: names of the jobs that have to be done before.
        part: (i, n) of the i-th of n parts, which is no entry yet; None of what makes the entry.
    """

    name: str
    label: str
    kind: str
    key: str
    role: str
    model: str
    needs: tuple[str, ...]
    part: tuple[int, int] | None = None


def make(
    plan: Plan, models: Sequence[Model], has: Callable[[str, str], bool], again: Collection[str] = ()
) -> list[Job]:
    """The jobs that lead to the predictions of some models, each after those that it needs.

    Args:
        plan: what they are part of. models: in the order in which to think of them.
        has: (stage, key) → whether that entry is there, so that neither it nor what it is made from is built.
        again: keys of entries that were damaged, and are made also where no prediction needs them.
    """
    return _Graph(plan, has).of(models, again)


class _Graph:
    """Collects jobs by name, each once."""

    def __init__(self, plan: Plan, has: Callable[[str, str], bool]):
        self.plan, self.has, self.jobs = plan, has, {}
        self.model = ""  # for which jobs are collected

    def of(self, models: Sequence[Model], again: Collection[str]) -> list[Job]:
        for model in models:
            self.model = self.plan.name(model)
            self._predictions(model)
        self.model = ""
        if self.plan.encoded in again:
            self._encoded()
        for cell in self.plan.cells() if again else ():
            if cell.key in again:
                self._training(cell)
            if {cell.small_columns, cell.start_columns, *(source.key for source in cell.teachers)} & set(again):
                self._inputs(cell)
        return list(self.jobs.values())

    def _predictions(self, model: Model):
        plan, role = self.plan, self.plan.role(model)
        key = plan.prediction_key(plan.model_key(model))
        # An endpoint is asked by one process, which writes down each answer that is paid for.
        count = 1 if plan.profile.model_of(role).remote() else _parts(len(plan.test), PART)
        self._add("predict", key, f"predict {plan.label(model)}", role, lambda: self._training(plan.last(model)), count)

    def _encoded(self) -> tuple[str, ...]:
        return self._add("encoded", self.plan.encoded, "encode", "", tuple)

    def _training(self, cell: Cell | None) -> tuple[str, ...]:
        """Names of the jobs to wait for until the weights of a training are there; none of a preset as it is."""
        if cell is None:
            return ()
        return self._add("train", cell.key, cell.label, cell.role, lambda: self._inputs(cell))

    def _inputs(self, cell: Cell) -> tuple[str, ...]:
        needs = [*self._encoded(), *self._training(cell.start)]
        for source in cell.teachers:
            needs += self._columns(source)
        if cell.small_columns:
            columns, label = (cell.small_columns, "columns of the small model"), "small"
            needs += self._add("teacher", *columns, label, lambda: self._data_and(cell.small_teacher))
        if cell.start_columns:
            columns = (cell.start_columns, f"start of {cell.label}")
            needs += self._add("teacher", *columns, cell.role, lambda: self._data_and(cell.start))
        return tuple(needs)

    def _columns(self, source: Columns) -> tuple[str, ...]:
        count = _parts(len(self.plan.train), SHARD)
        return self._add("teacher", source.key, source.label, source.role, lambda: self._data_and(source.cell), count)

    def _data_and(self, cell: Cell | None) -> tuple[str, ...]:
        return (*self._encoded(), *self._training(cell))

    def _add(self, kind, key, label, role, needs: Callable[[], Iterable[str]], parts: int = 1) -> tuple[str, ...]:
        """The name of the job that makes an entry, () if it is there; adds it, and before it what it needs."""
        name = _name(kind, key)
        if name not in self.jobs:
            if self.has(kind, key):
                return ()
            before = tuple(dict.fromkeys(needs()))
            if parts > 1:
                pieces = [
                    Job(f"{name}-{i}", f"{label} {i + 1}/{parts}", kind, key, role, self.model, before, (i, parts))
                    for i in range(parts)
                ]
                self.jobs |= {piece.name: piece for piece in pieces}
                before = tuple(piece.name for piece in pieces)
            self.jobs[name] = Job(name, label, kind, key, role, self.model, before)
        return (name,)


def _name(kind: str, key: str) -> str:
    return f"{kind}-{key[:16]}"


def _parts(examples: int, size: int) -> int:
    return max(-(-examples // size), 1)


def ordered(plan: Plan, models: Sequence[Model]) -> list[Model]:
    """The large model first, then those that read no columns, then the others, each method by method.

    Where there are models between the large and the small one, they come before it, the largest first.

    The seeds of a method follow each other, so that what was compiled for one serves the next, and can be dropped then.
    """
    methods, roles = list(plan.profile.methods), plan.profile.roles

    def rank(model: Model):
        if model == LARGE:
            return (-len(roles),)
        return -roles.index(plan.role(model)), plan.last(model).needs_teacher, methods.index(model[0]), model[1]

    return sorted(models, key=rank)
