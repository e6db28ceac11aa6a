"""Public answers of language models, as pairs of a small and a large one: which files, whose answers, and their sizes.

The files are tables of other projects; they are no part of this one, and only numbers that follow from them are kept.
"""

from dataclasses import dataclass

# Parameters that a token passes through, in billions, as their makers say; the cost of an answer. Models whose makers
# do not say it are left out.
SIZES = {
    "Falcon-7b": 7, "Falcon-40b": 40, "Llama-7b": 7, "Llama-13b": 13, "Llama-70b": 70, "Llama3-8b": 8, "Llama3-70b": 70,
    "Mistral": 7, "Mixtral": 13, "Solar": 11, "Yi-6b": 6, "Yi-34b": 34,
    "Meta-Llama-3.1-8B-Instruct": 8, "Meta-Llama-3.1-70B-Instruct": 70, "deepseek-v3": 37,
}  # fmt: skip
# Models without a stated size that their maker sells as a smaller and a larger one: small → the larger ones.
FAMILIES = {
    "gpt-3.5-turbo": ("gpt-4-turbo",),
    "claude-3-haiku-20240307": ("claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514"),
    "gemini-2.5-flash": ("gemini-2.5-pro",),
}


@dataclass(frozen=True)
class Table:
    """A file of answers.

    Attributes:
        file: its name. source: what it is called in tables. tasks: in it; () of a file with one task, which has the
            name of the source. groups: models that answered the same questions.
    """

    file: str
    source: str
    groups: tuple[tuple[str, ...], ...]
    tasks: tuple[str, ...] = ()


_OPEN = ("Falcon-7b", "Falcon-40b", "Llama-7b", "Llama-13b", "Llama-70b", "Mistral", "Mixtral", "Solar", "Yi-6b",
         "Yi-34b")  # fmt: skip
_LLAMA3, _GPT = ("Llama3-8b", "Llama3-70b"), ("gpt-3.5-turbo", "gpt-4-turbo")
TABLES = (
    Table("arc_first_prompt.csv", "ARC", ((*_OPEN, *_LLAMA3), _GPT)),
    Table("mmlu_first_prompt.csv", "MMLU", (_OPEN, _LLAMA3, _GPT)),  # Llama 3 was asked other questions than the rest
    Table(
        "llm_confidence_correct.csv",
        "five sets",
        (
            ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct", "deepseek-v3"),
            ("claude-3-haiku-20240307", "claude-3-7-sonnet-20250219", "claude-sonnet-4-20250514"),
            ("gemini-2.5-flash", "gemini-2.5-pro"),
        ),
        ("boolq_valid", "halu_eval_qa", "lsat_ar_test", "sat_en", "sciq_test"),
    ),
)


def pairs(group: tuple[str, ...]) -> list[tuple[str, str]]:
    """(small, large) of a group: the large one has more parameters, or is the larger one of its family."""
    return [
        (small, large)
        for small in group
        for large in group
        if (small in SIZES and large in SIZES and SIZES[small] < SIZES[large]) or large in FAMILIES.get(small, ())
    ]
