"""FLAN 2021 (Wei et al., 2022, arXiv 2109.01652), one module per cluster.

Splits are FLAN's. The prompts are our own, and no task is reversed (FLAN also asks for the question of an answer).
"""

from benchmarks.flan2021 import (
    entailment,
    linguistic_acceptability,
    paraphrase,
    question_classification,
    sentiment,
    structure_to_text,
    summarization,
)

__all__ = [
    "entailment",
    "linguistic_acceptability",
    "paraphrase",
    "question_classification",
    "sentiment",
    "structure_to_text",
    "summarization",
]
