"""Tasks of imported answers: a name and nothing to render, since questions were asked and judged elsewhere.

Such a task is in no registry and in no listing: its name says what it is, so that a run folder is read anywhere.
"""

from functools import cache

from cat_keras.errors import CatKerasError

PREFIX = "imported_"


class Elsewhere:
    """The source of an imported task: it has no rows here."""

    bayes_quality = None

    def rows(self, *_arguments):
        raise CatKerasError("Imported tasks have no rows to ask a model. Received: one. Name a task of the benchmark")

    def identity(self) -> str:
        return "imported"


def is_one(name: str) -> bool:
    """Whether a task of that name was imported."""
    return name.startswith(PREFIX)


@cache
def declared(task: type, name: str):
    """The task of that name, which begins with `PREFIX`, as an instance of the class `task`."""
    return task(
        name=name,
        suites=("imported",),
        cluster="imported",
        kind="generation",
        source=Elsewhere(),
        splits={"test": "test"},
        templates=("{prompt}",),
        target="target",
        metric="given",
    )
