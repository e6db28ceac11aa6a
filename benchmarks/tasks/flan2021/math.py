"""Sums that have one answer."""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Task, register

register(
    Task(
        name="math_dataset",
        suites=("flan2021",),
        cluster="math",
        kind="generation",
        source=Dataset("math_dataset/algebra__linear_1d", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "{question}\nSolution:\n",
            "Work this out and give the number alone. {question}\nNumber:\n",
            "Algebra homework, one unknown: {question}\nResult:\n",
        ),
        target="answer",
        # FLAN calls it accuracy: whether a text is exactly the answer.
        metric="exact_match",
        max_lengths=(128, 16),
        license="Apache 2.0",
        citation="Saxton et al., 2019, Mathematics Dataset, arXiv 1904.01557",
        version=2,
    )
)
