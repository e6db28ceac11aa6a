"""Is it a sentence of the language?"""

from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(
    Task(
        name="cola",
        suites=("flan2021",),
        cluster="linguistic_acceptability",
        kind="classification",
        source=Dataset("glue/cola", "2.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        templates=("Sentence: {sentence}\nIts grammar is unacceptable or acceptable:\n",),
        target="label",
        options=("unacceptable", "acceptable"),
        metric="matthews",
        license="not stated (published linguistics literature)",
        citation="Warstadt, Singh and Bowman, 2019, CoLA, https://aclanthology.org/Q19-1040",
    )
)
