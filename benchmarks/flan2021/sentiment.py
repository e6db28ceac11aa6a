"""Is it meant well or ill?"""

from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(
    Task(
        name="sst2",
        suites=("flan2021",),
        cluster="sentiment",
        kind="classification",
        source=Dataset("glue/sst2", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=("Review: {sentence}\nVerdict, negative or positive:\n",),
        target="label",
        options=("negative", "positive"),
        metric="accuracy",
        license="not stated",
        citation="Socher et al., 2013, SST, https://aclanthology.org/D13-1170",
    )
)
