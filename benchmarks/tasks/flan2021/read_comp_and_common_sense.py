"""What a text implies without saying it. (ReCoRD of this cluster is declared with SuperGLUE.)"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register


def _answers(row: Row) -> list[str]:
    return [row[f"answer{index}"] for index in range(4)]


def _listed(row: Row) -> dict:
    choices = "\n".join(f"- {answer.strip()}" for answer in _answers(row))
    return {"context": row["context"], "question": row["question"], "choices": choices}


register(
    Task(
        name="cosmos_qa",
        suites=("flan2021",),
        cluster="read_comp_and_common_sense",
        kind="classification",
        source=Dataset("cosmos_qa", "1.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{context}\nQuestion: {question}\nChoices:\n{choices}\nMost likely:\n",
            "Somebody writes: {context}\nReading between the lines, {question}\n{choices}\nThe best explanation:\n",
            "{question}\nPossible answers:\n{choices}\nPick by this text: {context}\nPicked:\n",
        ),
        cut={"context": "end"},
        fields=_listed,
        target="label",
        options=_answers,
        metric="accuracy",
        max_lengths=(512, 64),
        license="CC BY 4.0",
        citation="Huang et al., 2019, Cosmos QA, https://aclanthology.org/D19-1243",
        version=2,
    )
)
