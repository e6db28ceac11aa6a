"""Do two texts say the same?"""

from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(
    Task(
        name="glue_qqp",
        aliases=("qqp",),
        suites=("flan2021",),
        cluster="paraphrase",
        kind="classification",
        source=Dataset("glue/qqp", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=("Question 1: {question1}\nQuestion 2: {question2}\nSame question, yes or no:\n",),
        target="label",
        options=("no", "yes"),
        metric="f1",
        metric_args={"positive": "yes"},
        license="Quora terms (non-commercial)",
        citation="Iyer, Dandekar and Csernai, 2017, First Quora Dataset Release: Question Pairs",
    )
)
