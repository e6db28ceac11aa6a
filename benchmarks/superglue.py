"""SuperGLUE (Wang et al., 2019, arXiv 1905.00537). Its tasks are FLAN 2021 tasks too, with FLAN's splits."""

from benchmarks.sources import Dataset
from benchmarks.task import Row, Task, register

SPLITS = {"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"}


def _passage_and_question(row: Row) -> dict:
    """SuperGLUE writes the title into the passage; the older `bool_q` keeps it apart. Same rows, same prompt."""
    passage = f"{row['title']} -- {row['passage']}" if "title" in row else row["passage"]
    return {"passage": passage, "question": row["question"].strip().rstrip("?") + "?"}


def _answer(row: Row) -> int:
    return int(row["answer"]) if "answer" in row else row["label"]


register(
    Task(
        name="bool_q",
        aliases=("boolq",),
        suites=("superglue", "flan2021"),
        cluster="reading_comprehension",
        kind="classification",
        # TFDS has the data twice: FLAN reads bool_q (field `answer`), SuperGLUE's form is super_glue/boolq (`label`).
        source=Dataset("bool_q", "1.0.0", local=("bool_q", "super_glue/boolq")),
        splits=SPLITS,
        templates=("{passage}\nQuestion: {question}\nAnswer yes or no:\n",),
        fields=_passage_and_question,
        target=_answer,
        options=("no", "yes"),
        metric="accuracy",
        license="CC BY-SA 3.0",
        citation="Clark et al., 2019, BoolQ, https://aclanthology.org/N19-1300",
    )
)

register(
    Task(
        name="wic",
        suites=("superglue", "flan2021"),
        cluster="word_disambiguation",
        kind="classification",
        source=Dataset("super_glue/wic", "1.0.2"),
        splits=SPLITS,
        templates=('{sentence1}\n{sentence2}\nSame meaning of "{word}" in both sentences, yes or no:\n',),
        target="label",
        options=("no", "yes"),
        metric="accuracy",
        license="CC BY-NC 4.0",
        citation="Pilehvar and Camacho-Collados, 2019, WiC, https://aclanthology.org/N19-1128",
    )
)
