"""FLAN 2021 (Wei et al., 2022, arXiv 2109.01652), one module per cluster.

Splits are FLAN's. The prompts are our own. No task is reversed here, while FLAN also asks for the question that belongs
to an answer.
"""

from benchmarks.tasks.flan2021 import (
    common_sense,
    conversational_qa,
    coreference,
    entailment,
    linguistic_acceptability,
    math,
    open_domain_qa,
    paraphrase,
    question_classification,
    read_comp_and_common_sense,
    reading_comprehension,
    sentiment,
    structure_to_text,
    summarization,
    text_formatting,
    translation,
)

# The order of declaration, which `list` shows and in which a run reads its tasks.
__all__ = [
    "common_sense",
    "conversational_qa",
    "coreference",
    "entailment",
    "linguistic_acceptability",
    "math",
    "open_domain_qa",
    "paraphrase",
    "question_classification",
    "read_comp_and_common_sense",
    "reading_comprehension",
    "sentiment",
    "structure_to_text",
    "summarization",
    "text_formatting",
    "translation",
]
