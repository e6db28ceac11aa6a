"""Is it a sentence of the language?"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Task, register

register(
    Task(
        name="cola",
        suites=("flan2021",),
        cluster="linguistic_acceptability",
        kind="classification",
        source=Dataset("glue/cola", "2.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "Sentence: {sentence}\nIts grammar is unacceptable or acceptable:\n",
            "Would a native speaker put it this way? {sentence}\nUnacceptable or acceptable:\n",
            "A linguist marks sentences as unacceptable or acceptable. This one: {sentence}\nMark:\n",
        ),
        cut={"sentence": "end"},
        target="label",
        options=("unacceptable", "acceptable"),
        # Matthews correlation is GLUE's metric of CoLA; accuracy, which FLAN reports, comes with it.
        metric="matthews",
        max_lengths=(128, 8),
        license="not stated (published linguistics literature)",
        citation="Warstadt, Singh and Bowman, 2019, CoLA, https://aclanthology.org/Q19-1040",
        version=2,
    )
)
