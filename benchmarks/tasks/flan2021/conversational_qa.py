"""Questions about a text, asked in a conversation."""

from benchmarks.sources import Dataset
from benchmarks.tasks.flan2021.reading_comprehension import UNANSWERABLE
from benchmarks.tasks.task import Row, Task, register

# QuAC appends this to every text, and gives it as the answer to a question that the text does not answer.
NO_ANSWER = "CANNOTANSWER"


def _last_turn(row: Row) -> dict:
    """A conversation becomes one example, which asks its last question after the earlier questions and answers."""
    turns = list(zip(row["questions"], row["answers"]["input_text"], strict=True))
    history = "".join(f"Q: {question.strip()}\nA: {answer.strip()}\n" for question, answer in turns[:-1])
    return {"story": row["story"], "history": history or "(nothing yet)", "question": row["questions"][-1]}


def _last_answer(row: Row) -> str:
    return row["answers"]["input_text"][-1]


def _has_answer(row: Row) -> bool:
    return bool(row["questions"]) and bool(_last_answer(row).strip())


def _section(row: Row) -> dict:
    texts = {name: row[name].replace(NO_ANSWER, "").strip() for name in ("title", "section_title", "background")}
    return texts | {"context": row["context"].replace(NO_ANSWER, "").strip(), "question": row["question"]}


def _original_answer(row: Row) -> str:
    return _plain(row["orig_answer"]["text"])


def _every_answer(row: Row) -> list[str]:
    return list(dict.fromkeys([_original_answer(row), *map(_plain, row["answers"]["text"])]))


def _plain(answer: str) -> str:
    return UNANSWERABLE if answer.strip() == NO_ANSWER else answer.strip()


def _is_answered(row: Row) -> bool:
    return bool(row["orig_answer"]["text"].strip())


register(
    Task(
        name="coqa",
        suites=("flan2021",),
        cluster="conversational_qa",
        kind="generation",
        # TFDS calls the official development part test; a local copy may call it validation.
        source=Dataset("coqa", "1.0.0", renamed={"test": "validation"}),
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "test"},
        templates=(
            "{story}\n\nQuestions and answers about it so far:\n{history}\nNow: {question}\nA short answer:\n",
            "Two people talk about a text.\n{story}\n\n{history}\nQ: {question}\nA:\n",
            "Text: {story}\nWhat was said: {history}\nReply to the next question, {question}\nReply:\n",
        ),
        cut={"story": "end", "history": "start"},
        fields=_last_turn,
        target=_last_answer,
        keep=_has_answer,
        metric="squad",
        max_lengths=(1024, 32),
        license="mixed, by source of the text",
        citation="Reddy, Chen and Manning, 2019, CoQA, https://aclanthology.org/Q19-1016",
        version=2,
    )
)

register(
    Task(
        name="quac",
        suites=("flan2021",),
        cluster="conversational_qa",
        kind="generation",
        source=Dataset("quac", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{title}: {section_title}\n{context}\nQuestion: {question}\n"
            f"Answer with words of the text, or say {UNANSWERABLE}:\n",
            f'A student asks about "{{title}}"; a teacher quotes the text, or says "{UNANSWERABLE}".\n'
            "{background}\n{context}\nStudent: {question}\nTeacher:\n",
            f"{{question}}\nFind it in the section below ({UNANSWERABLE} if it is not there).\n{{context}}\nFound:\n",
        ),
        cut={"context": "end", "background": "end"},
        fields=_section,
        target=_original_answer,
        references=_every_answer,
        keep=_is_answered,
        metric="trivia_qa",
        max_lengths=(1024, 64),
        license="CC BY-SA 4.0",
        citation="Choi et al., 2018, QuAC, https://aclanthology.org/D18-1241",
        version=2,
    )
)
