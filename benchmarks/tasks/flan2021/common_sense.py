"""Which continuation is the sensible one? (COPA of this cluster is declared with SuperGLUE.)"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register


def _solutions(row: Row) -> tuple[str, str]:
    return row["sol1"], row["sol2"]


def _counted_from_one(row: Row) -> int:
    return row["label"] - 1


register(
    Task(
        name="hellaswag",
        suites=("flan2021",),
        cluster="common_sense",
        kind="classification",
        source=Dataset("hellaswag", "1.1.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{activity_label}: {context} ...\nHow it goes on:\n",
            "Continue the description in the way that makes most sense.\n{context}\nContinuation:\n",
            "{context}\nComplete the last sentence above, as somebody who watches would:\n",
        ),
        cut={"context": "start"},
        target="label",
        options="endings",
        metric="accuracy",
        max_lengths=(256, 64),
        license="MIT",
        citation="Zellers et al., 2019, HellaSwag, https://aclanthology.org/P19-1472",
        version=2,
    )
)

register(
    Task(
        name="story_cloze",
        suites=("flan2021",),
        cluster="common_sense",
        kind="classification",
        source=Dataset("story_cloze/2016", "1.0.0", local=("story_cloze/2016", "_restricted/story_cloze/2016")),
        splits={"train": "validation[:-200]", "validation": "validation[-200:]", "test": "test"},
        templates=(
            "{context}\nThe story ends like this:\n",
            "Four sentences of a story: {context}\nWrite the fifth, so that it fits:\n",
            "How would this story most plausibly end?\n{context}\nEnding:\n",
        ),
        cut={"context": "start"},
        # The data number the endings from 1.
        target=_counted_from_one,
        options="endings",
        metric="accuracy",
        max_lengths=(256, 32),
        license="on request to the authors; no redistribution",
        citation="Mostafazadeh et al., 2016, ROCStories, https://aclanthology.org/N16-1098",
        version=2,
    )
)

register(
    Task(
        name="piqa",
        suites=("flan2021",),
        cluster="common_sense",
        kind="classification",
        source=Dataset("piqa", "1.0.0"),
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
        templates=(
            "Goal: {goal}\nHow to do it:\n",
            "{goal}\nAdvice that really works:\n",
            "Somebody wants to know: {goal}\nA practical person replies:\n",
        ),
        target="label",
        options=_solutions,
        metric="accuracy",
        max_lengths=(128, 128),
        license="AFL 3.0",
        citation="Bisk et al., 2020, PIQA, arXiv 1911.11641",
        version=2,
    )
)
