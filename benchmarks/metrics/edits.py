"""Metric of answers that copy a text with small changes: capitals, punctuation, blanks."""

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.metrics.classification import ExactMatch
from benchmarks.metrics.metric import percent
from cat_keras.data.records import Example


class EditDistance(ExactMatch):
    """Edit similarity 1 − d / max(length), the best over the references, and exact match; surrounding blanks aside.

    d counts the characters inserted, deleted and replaced. Characters, not lower-cased words as in T5's metric of the
    same name: words without case and punctuation are what true_case and fix_punct never change.
    """

    name = "edit_distance"
    per_example_name = "edit similarity"

    def per_example(self, text: str, example: Example) -> float:
        return max(similarity(text.strip(), reference.strip()) for reference in example.references)

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        exact, pairs = super().per_example, zip(texts, examples, strict=True)
        return [(self.per_example(text, example), exact(text, example)) for text, example in pairs]

    def combine(self, similar: Sequence[float], exact: Sequence[float]) -> dict[str, float]:
        return {"edit_similarity": percent(similar), "exact_match": percent(exact)}


def similarity(text: str, other: str) -> float:
    """1 − d / max(length) in characters, 1 for equal texts and 0 for texts with nothing in common."""
    if text == other:
        return 1.0
    return 1 - distance(text, other) / max(len(text), len(other))


def distance(text: str, other: str) -> int:
    """Levenshtein's distance, a few operations per column (Hyyrö, 2003, after Myers, doi 10.1145/316542.316550).

    Column j of the dynamic-programming table is kept as two numbers: bit i of `up` (`down`) says that its entry i + 1
    is one more (less) than entry i. Python's whole numbers are as wide as the text is long.
    """
    if not text:
        return len(other)
    full, last, places = (1 << len(text)) - 1, len(text) - 1, defaultdict(int)
    for place, character in enumerate(text):
        places[character] |= 1 << place
    up, down, result = full, 0, len(text)
    for character in other:
        match = places.get(character, 0)
        zero = (((match & up) + up) ^ up) | match | down
        right, left = down | (full & ~(zero | up)), up & zero
        result += (right >> last & 1) - (left >> last & 1)
        right, left = right << 1 | 1, left << 1
        up, down = (left | ~(zero | right)) & full, right & zero & full
    return result
