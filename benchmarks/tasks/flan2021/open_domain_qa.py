"""Questions about the world, without a text to look them up in."""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

CHOICES = (
    "Question: {question}\nChoices:\n{choices}\nRight choice:\n",
    "A test in science asks: {question}\n{choices}\nThe best of these answers:\n",
    "{choices}\nOne of them answers this question: {question}\nNamely:\n",
)


def _listed(row: Row) -> dict:
    return {"question": row["question"], "choices": "\n".join(f"- {text.strip()}" for text in row["choices"]["text"])}


def _choices(row: Row) -> list[str]:
    return row["choices"]["text"]


def _key_position(row: Row) -> int:
    """Index of the choice whose label is the key, -1 if there is none. Labels need not start at A."""
    labels = list(row["choices"]["label"])
    return labels.index(row["answerKey"]) if row["answerKey"] in labels else -1


def _asked(row: Row) -> dict:
    return {"question": row["question"].strip().rstrip("?").rstrip() + "?"}


def _first_answer(row: Row) -> str:
    return row["answer"][0]


def _value(row: Row) -> str:
    return row["answer"]["value"]


def _every_alias(row: Row) -> list[str]:
    return list(dict.fromkeys([row["answer"]["value"], *row["answer"]["aliases"]]))


def _is_answered(row: Row) -> bool:
    return bool(row["answer"]["value"].strip())


def _arc(name: str, config: str) -> Task:
    return Task(
        name=name,
        suites=("flan2021",),
        cluster="open_domain_qa",
        kind="classification",
        source=Dataset(f"ai2_arc/{config}", "1.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        templates=CHOICES,
        fields=_listed,
        target=_key_position,
        options=_choices,
        metric="accuracy",
        max_lengths=(256, 64),
        license="CC BY-SA 4.0",
        citation="Clark et al., 2018, ARC, arXiv 1803.05457",
        version=2,
    )


register(_arc("arc_challenge", "ARC-Challenge"))
register(_arc("arc_easy", "ARC-Easy"))

register(
    Task(
        name="natural_questions",
        suites=("flan2021",),
        cluster="open_domain_qa",
        kind="generation",
        source=Dataset("natural_questions_open", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{question}\nIn a few words:\n",
            "Typed into a search engine: {question}\nThe answer one hopes to find:\n",
            "Do you know this? {question}\nYes, it is:\n",
        ),
        fields=_asked,
        target=_first_answer,
        references="answer",
        metric="trivia_qa",
        max_lengths=(64, 32),
        license="CC BY-SA 3.0",
        citation="Kwiatkowski et al., 2019, https://aclanthology.org/Q19-1026; Lee et al., 2019, arXiv 1906.00300",
        version=2,
    )
)

register(
    Task(
        name="trivia_qa",
        suites=("flan2021",),
        cluster="open_domain_qa",
        kind="generation",
        # No prompt shows the documents, so any config with the same questions will do; a local copy may have another.
        source=Dataset(
            "trivia_qa/rc",
            "1.1.0",
            local=("trivia_qa/rc", "trivia_qa/rc.nocontext", "trivia_qa/unfiltered.nocontext"),
            unread=("entity_pages", "search_results"),
        ),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "Quiz: {question}\nAnswer:\n",
            "{question}\nA good quizzer would say:\n",
            "Question for ten points. {question}\nReply:\n",
        ),
        target=_value,
        references=_every_alias,
        keep=_is_answered,
        metric="trivia_qa",
        max_lengths=(128, 32),
        license="Apache 2.0 (code); questions belong to their sites",
        citation="Joshi et al., 2017, TriviaQA, https://aclanthology.org/P17-1147",
        version=2,
    )
)
