"""Metric of answers that copy a text with small changes: capitals, punctuation, blanks."""

from collections import defaultdict
from collections.abc import Sequence

from benchmarks.metrics.classification import ExactMatch
from benchmarks.metrics.metric import percent
from cat_keras.data.records import Example


class EditDistance(ExactMatch):
    """Edit similarity 1 − d / max(length), the best over the references, and exact match.

    Surrounding blanks do not count. d is the number of characters inserted, deleted and replaced. T5's metric of the
    same name compares lower-cased words instead; but true_case and fix_punct change case and punctuation only, so that
    words without these would be equal already.
    """

    name = "edit_distance"
    per_example_name = "edit similarity"

    def _quality(self, text: str, example: Example) -> float:
        return max(similarity(text.strip(), reference.strip()) for reference in example.references)

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        exact_match = ExactMatch().statistics(texts, examples)
        pairs = zip(texts, examples, exact_match, strict=True)
        return [(self.per_example(text, example), *exact) for text, example, exact in pairs]

    def combine(self, similar: Sequence[float], exact: Sequence[float]) -> dict[str, float]:
        return {"edit_similarity": percent(similar), "exact_match": percent(exact)}


def similarity(text: str, other: str) -> float:
    """1 − d / max(length) in characters, 1 for equal texts and 0 for texts with nothing in common."""
    if text == other:
        return 1.0
    return 1 - distance(text, other) / max(len(text), len(other))


def distance(text: str, other: str) -> int:
    """Levenshtein's distance, with a few operations per column (Hyyrö, 2003, after Myers, doi 10.1145/316542.316550).

    The dynamic-programming table has a column per character of `other` and a row per character of `text`. A column is
    kept as two whole numbers: bit i of `up` (`down`) says that its entry i + 1 is one more (less) than entry i. The
    bits of `right` (`left`) say the same of entries beside each other in a row. Python's whole numbers have as many
    bits as the text has characters.
    """
    if not text:
        return len(other)
    full, last, positions = (1 << len(text)) - 1, len(text) - 1, defaultdict(int)
    for position, character in enumerate(text):
        positions[character] |= 1 << position
    up, down, result = full, 0, len(text)
    for character in other:
        match = positions.get(character, 0)
        zero = (((match & up) + up) ^ up) | match | down  # diagonal neighbours that are equal
        right, left = down | (full & ~(zero | up)), up & zero
        result += (right >> last & 1) - (left >> last & 1)
        right, left = right << 1 | 1, left << 1
        up, down = (left | ~(zero | right)) & full, right & zero & full
    return result
