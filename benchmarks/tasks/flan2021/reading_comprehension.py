"""Questions that a given text answers. (BoolQ and MultiRC of this cluster are declared with SuperGLUE.)"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

# What a model answers where the text does not say; the prompts of tasks with such questions name it.
UNANSWERABLE = "unanswerable"


def _accepted(row: Row) -> list[str]:
    """Every annotator's answer; for an impossible question `UNANSWERABLE` alone."""
    answers = [text for text in row["answers"]["text"] if text.strip()]
    return [UNANSWERABLE] if row.get("is_impossible") or not answers else answers


def _first(row: Row) -> str:
    return _accepted(row)[0]


def _drop_accepted(row: Row) -> list[str]:
    """TFDS gives a number, a whole date or the first span; for a date without a day it gives an empty text."""
    return [answer for answer in dict.fromkeys([row["answer"], *row["validated_answers"]]) if answer.strip()]


def _drop_first(row: Row) -> str:
    return _drop_accepted(row)[0]


def _drop_answered(row: Row) -> bool:
    return bool(_drop_accepted(row))


def _stem_and_choices(row: Row) -> dict:
    choices = "\n".join(f"- {text.strip()}" for text in _openbook_choices(row))
    return {"stem": row["question"]["stem"], "choices": choices}


def _openbook_choices(row: Row) -> list[str]:
    return [row["question"][f"choice_{letter}"] for letter in "ABCD"]


register(
    Task(
        name="squad_v1",
        aliases=("squad",),
        suites=("flan2021",),
        cluster="reading_comprehension",
        kind="generation",
        source=Dataset("squad/v1.1", "3.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{context}\nQuestion: {question}\nAnswer with words of the text:\n",
            "Copy from the text what answers the question.\nText: {context}\nQuestion: {question}\nCopied:\n",
            "{question}\nIt says so somewhere in here: {context}\nNamely:\n",
        ),
        cut={"context": "end"},
        target=_first,
        references=_accepted,
        metric="squad",
        max_lengths=(512, 32),
        license="CC BY-SA 4.0",
        citation="Rajpurkar et al., 2016, SQuAD, https://aclanthology.org/D16-1264",
        version=2,
    )
)

register(
    Task(
        name="squad_v2",
        suites=("flan2021",),
        cluster="reading_comprehension",
        kind="generation",
        source=Dataset("squad/v2.0", "3.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            f"{{context}}\nQuestion: {{question}}\nAnswer with words of the text, or say {UNANSWERABLE}:\n",
            f"Copy from the text what answers the question; if nothing does, write {UNANSWERABLE}.\n"
            "Text: {context}\nQuestion: {question}\nCopied:\n",
            f"{{question}}\nThe text below may tell, or leave it {UNANSWERABLE}.\n{{context}}\nWell:\n",
        ),
        cut={"context": "end"},
        target=_first,
        references=_accepted,
        metric="squad",
        metric_args={"no_answer": UNANSWERABLE},
        max_lengths=(512, 32),
        license="CC BY-SA 4.0",
        citation="Rajpurkar, Jia and Liang, 2018, SQuAD 2.0, https://aclanthology.org/P18-2124",
        version=2,
    )
)

register(
    Task(
        name="drop",
        suites=("flan2021",),
        cluster="reading_comprehension",
        kind="generation",
        # TFDS calls the development part dev; a local copy may call it validation.
        source=Dataset("drop", "2.0.0", renamed={"dev": "validation"}),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "dev"},
        templates=(
            "{passage}\nQuestion: {question}\nCount or look it up, then answer:\n",
            "Read: {passage}\nNow work out the answer to this: {question}\nIt is:\n",
            "{question}\nThe facts are in this passage: {passage}\nShort answer:\n",
        ),
        cut={"passage": "end"},
        target=_drop_first,
        references=_drop_accepted,
        keep=_drop_answered,
        metric="squad",
        max_lengths=(1024, 32),
        license="CC BY-SA 4.0",
        citation="Dua et al., 2019, DROP, https://aclanthology.org/N19-1246",
        version=2,
    )
)

register(
    Task(
        name="openbookqa",
        suites=("flan2021",),
        cluster="reading_comprehension",
        kind="classification",
        source=Dataset("openbookqa", "0.1.0"),
        splits={"train": "train", "validation": "validation[:200]", "test": "test"},
        # `fact1` is not in the prompt: it gives the solution away, and the official main release does not have it.
        templates=(
            "{stem}\nChoices:\n{choices}\nRight choice:\n",
            "Finish or answer, as a science book would: {stem}\n{choices}\nBest:\n",
            "{choices}\nWhich of these goes with: {stem}\nThis one:\n",
        ),
        fields=_stem_and_choices,
        target="answerKey",
        options=_openbook_choices,
        metric="accuracy",
        max_lengths=(256, 32),
        license="Apache 2.0",
        citation="Mihaylov et al., 2018, OpenBookQA, https://aclanthology.org/D18-1260",
        version=2,
    )
)
