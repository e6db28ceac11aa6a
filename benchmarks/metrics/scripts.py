"""Which letters of a text a metric can read: those of scripts whose words its tokenizer finds."""

import functools
from collections.abc import Iterable, Sequence

from cat_keras.data.records import Example

# Scripts written without blanks between words, by their names in Unicode.
UNSPACED = ("Han", "Hiragana", "Katakana", "Thai", "Lao", "Khmer", "Myanmar", "Tibetan")
NOT_ASCII = r"[^\P{L}a-zA-Z]"  # letters other than a–z
SPACED = "those that put blanks between words"


def letters_of(names: Iterable[str]) -> str:
    """A class of a regular expression, for the package `regex`: the letters of these scripts."""
    return "[" + "".join(r"\p{Script=" + name + "}" for name in names) + "]"


def is_mostly(letters: str, text: str) -> bool:
    """Whether more than half of the letters of a text are of this class."""
    return 2 * len(_pattern(letters).findall(text)) > len(_pattern(r"\p{L}").findall(text))


def count_unread(letters: str, examples: Sequence[Example]) -> int:
    """The number of examples of which every reference is mostly in letters of this class."""
    return sum(all(is_mostly(letters, reference) for reference in example.references) for example in examples)


def unread_note(count: int) -> str:
    """What the signature of a metric says of so many examples; "" if it can read all."""
    return f"|unread:{count}" if count else ""


@functools.cache
def _pattern(pattern: str):
    import regex

    return regex.compile(pattern)
