"""The metric of summaries, computed by rouge-score (Lin, 2004, https://aclanthology.org/W04-1013)."""

import functools
import re
import unicodedata
from collections.abc import Callable, Mapping, Sequence
from importlib.metadata import version
from typing import ClassVar

from benchmarks.metrics.metric import Metric, percent
from benchmarks.metrics.scripts import NOT_ASCII, UNSPACED, is_mostly, letters_of, unread_note
from cat_keras.data.records import Example

# Punkt splits at `.`, `?` and `!` before a blank, but not after these. It knows initials and ordinals itself.
ABBREVIATIONS = (
    "mr mrs ms dr prof rev hon sen rep gov gen col capt lt sgt st jr sr inc ltd co corp no vs etc approx "
    "jan feb mar apr jun jul aug sep sept oct nov dec e.g i.e a.m p.m u.s u.k u.n d.c ph.d"
).split()
ENDS = re.compile("(?<=[。！？｡।॥؟۔።])")  # signs that end a sentence, also without a blank after them


class Rouge(Metric):
    """ROUGE-1, ROUGE-2 and ROUGE-Lsum (F-measure, no stemming): the best over the references, averaged over answers.

    ROUGE-Lsum compares sentence by sentence. The lines of a reference are its sentences; where it has a single line,
    and in answers, `sentences` finds them. Line breaks of an answer say nothing: whether a model can write them depends
    on its tokenizer, and equal text gets equal numbers.

    The official numbers count words of a–z and digits, as rouge-score does. The quality of an example is ROUGE-Lsum of
    the words of all scripts, see `words`; it is the official number where the letters are ASCII.
    """

    name = "rouge"
    per_example_name = "ROUGE-Lsum"
    scripts = "Latin, by words of a–z and digits"
    remedy = "Judge texts in other scripts with chrF (metric bleu+chrf)"
    version = 2  # sentences; quality of texts that are not ASCII
    needs: ClassVar = {"rouge_score": "rouge-score", "nltk": "nltk", "regex": "regex"}
    kinds = ("rouge1", "rouge2", "rougeLsum")

    def statistics(self, texts: Sequence[str], examples: Sequence[Example]) -> list[tuple[float, ...]]:
        scores = [_scores(text, example.references) for text, example in zip(texts, examples, strict=True)]
        return [tuple(score[kind] for kind in self.kinds) for score in scores]

    def combine(self, *columns: Sequence[float]) -> dict[str, float]:
        return {kind: percent(column) for kind, column in zip(self.kinds, columns, strict=True)}

    def signature(self, examples: Sequence[Example]) -> str:
        sentences = f"sentences:lines,punkt|nltk:{version('nltk')}"
        unread = unread_note(self.unread(examples))
        return f"rouge-score stemmer:no|refs:max|version:{version('rouge-score')}|{sentences}{unread}"

    def unread(self, examples: Sequence[Example]) -> int:
        def is_unread(reference):
            return not official_words(reference) or is_mostly(NOT_ASCII, reference)

        return sum(all(map(is_unread, example.references)) for example in examples)

    def _quality(self, text: str, example: Example) -> float:
        # A reference without any word (an emoji, punctuation) is compared by its characters.
        return max(lsum(text, truth, words if words(truth) else characters) for truth in example.references)


@functools.lru_cache(maxsize=1 << 16)  # models give equal answers, which a report judges in turn
def _scores(text: str, references: tuple[str, ...]) -> Mapping[str, float]:
    """Each kind of ROUGE of an answer, the best over the references."""
    grams = _scorer(Rouge.kinds[:2], official_words).score_multi(list(references), text)
    best = max(lsum(text, reference, official_words) for reference in references)
    return {kind: score.fmeasure for kind, score in grams.items()} | {"rougeLsum": best}


def lsum(text: str, reference: str, tokenize: Callable[[str], list[str]]) -> float:
    """ROUGE-Lsum in [0, 1], of an answer and one reference.

    Among the longest common subsequences rouge-score takes one. If sentences of equal words end at other places, it
    may be one that misses a word; equal words are therefore compared as equal sentences, which gives 1.
    """
    if tokenize(text) == tokenize(reference):
        return float(bool(tokenize(text)))
    lines = reference if len(reference.strip().splitlines()) > 1 else "\n".join(sentences(reference))
    scorer = _scorer(("rougeLsum",), tokenize)
    return scorer.score("\n".join(lines.splitlines()), "\n".join(sentences(text)))["rougeLsum"].fmeasure


def sentences(text: str) -> list[str]:
    """The sentences of a text, whatever its line breaks: as Punkt (Kiss and Strunk, 2006) splits with `ABBREVIATIONS`.

    Punkt is nltk's, without a trained model, which would be a download.
    """
    return [sentence for part in ENDS.split(" ".join(text.split())) for sentence in _punkt().tokenize(part)]


@functools.cache
def _punkt():
    from nltk.tokenize.punkt import PunktParameters, PunktSentenceTokenizer

    known = PunktParameters()
    known.abbrev_types = set(ABBREVIATIONS)
    return PunktSentenceTokenizer(known)


@functools.cache
def _scorer(kinds: tuple[str, ...], tokenize: Callable[[str], list[str]]):
    from rouge_score.rouge_scorer import RougeScorer

    return RougeScorer(list(kinds), tokenizer=_Tokenizer(tokenize))


class _Tokenizer:
    """A tokenizer as rouge-score takes it."""

    def __init__(self, tokenize: Callable[[str], list[str]]):
        self.tokenize = tokenize


# A reference is asked for again for every system, so tokenizers have a memory.
@functools.lru_cache(maxsize=1 << 14)
def official_words(text: str) -> list[str]:
    """rouge-score's tokens without stemming: runs of a–z and digits; everything else separates them."""
    from rouge_score.tokenize import tokenize

    return tokenize(text, None)


@functools.lru_cache(maxsize=1 << 14)
def words(text: str) -> list[str]:
    """Runs of letters, digits and their marks; in scripts without blanks between words, each letter with its marks.

    Case does not count. Of ASCII text these are `official_words`.
    """
    return _word().findall(unicodedata.normalize("NFC", text).lower())


@functools.cache
def _word():
    import regex

    letter = letters_of(UNSPACED)
    return regex.compile(rf"(?V1){letter}\p{{M}}*|[[\p{{L}}\p{{N}}\p{{M}}]--{letter}]+")


@functools.lru_cache(maxsize=1 << 14)
def characters(text: str) -> list[str]:
    """The characters of a text, but for blanks."""
    return [character for character in unicodedata.normalize("NFC", text) if not character.isspace()]
