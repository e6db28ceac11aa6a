"""What a call of `run` asks for, and what of it is still to be made: the same on this machine and on a cluster."""

from dataclasses import dataclass
from pathlib import Path

from benchmarks.planning.plan import Model, Plan
from benchmarks.running.journal import Journal
from cat_keras.errors import unknown_name
from cat_keras.storage.remote import Remote
from cat_keras.storage.store import Store

LOGS = ("csv", "tensorboard")


@dataclass(frozen=True)
class Request:
    """What a call of `run` asks for.

    Attributes:
        plan: of the run, with all of its rows. models: to make, in this order.
        out: folder of the cache, of code that XLA compiled and of logs.
        data, source: where rows come from, as for `run`.
        kept: names of cache entries whose predictions are in kept results, and are not made again.
        strategy: how devices train together. logs: kinds of logs of every training.
        address: where the entries of the cache travel between machines, see `storage.remote`; "" where `out` is shared.
    """

    plan: Plan
    models: tuple[Model, ...]
    out: Path
    data: Path | None = None
    source: str = ""
    kept: frozenset[str] = frozenset()
    strategy: str = "auto"
    logs: tuple[str, ...] = ()
    address: str = ""

    @property
    def remote(self) -> Remote | None:
        """What is at the address."""
        return Remote(self.address) if self.address else None

    def missing(self, todo: Plan, cache: Store) -> list[Model]:
        """The models whose predictions are neither among the kept results nor in the cache.

        Args:
            todo: the plan, perhaps without some of its test rows.
        """
        missing = []
        for model in self.models:
            key = todo.prediction_key(todo.model_key(model))
            if cache.path("predict", key).name not in self.kept and not cache.has("predict", key):
                missing.append(model)
        return missing

    def announce(self, todo: Plan, missing: list[Model], journal: Journal):
        """Says how much the run takes on, which rows are left out, and which test rows a model has seen in training."""
        for split, tasks in todo.left_out.items():
            counts = ", ".join(f"{name} {count:,}" for name, count in tasks.items())
            journal.notice(f"left out of {split} as bad rows: {counts}")
        for name, (rows, exact, normalised) in todo.overlap.items():
            journal.notice(
                f"overlap: of {rows:,} test rows of {name}, {exact:,} are training rows too, {normalised:,} up to "
                "case, blanks and punctuation"
            )
        journal.console.print(
            f"{todo.profile.name}: {len(todo.tasks)} tasks, {len(todo.train):,} training and {len(todo.test):,} test "
            f"examples, {len(self.models)} models; {len(missing) or 'nothing'} to do",
            soft_wrap=True,
        )
        journal("plan", f"{len(self.models)} models, {len(missing)} to do: {', '.join(map(todo.name, missing))}")

    def log_maker(self):
        """A function that makes the logs of a training from its label.

        Raises:
            CatKerasError: a kind of log is unknown.
        """
        if unknown := [kind for kind in self.logs if kind not in LOGS]:
            raise unknown_name("log", unknown[0], LOGS)

        def logs(label: str):
            from cat_keras.training import log

            name, folder = label.replace(" ", "-"), self.out / "logs"
            makers = {
                "csv": lambda: log.CsvLog(folder / f"{name}.csv"),
                "tensorboard": lambda: log.TensorBoardLog(folder / name),
            }
            return [makers[kind]() for kind in self.logs]

        return logs


def damaged(todo: Plan, cache: Store) -> list[str]:
    """Keys of entries that exist and are not as they were written. An entry that somebody deleted stays deleted."""
    return [key for stage, key in todo.made_from() if cache.path(stage, key).exists() and not cache.has(stage, key)]
