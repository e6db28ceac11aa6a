"""Restore what was taken out of a sentence: capitals, punctuation, blanks.

The sentences are the English side of English-Danish ParaCrawl. A local copy of another pair of languages will do as
well, since the other side is not read.
"""

import re

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

PARA_CRAWL = Dataset(
    "para_crawl/enda",
    "1.2.0",
    local=("para_crawl/enda", "para_crawl/ende", "para_crawl/enfr", "para_crawl/enes"),
)
COMMON = {
    "suites": ("flan2021",),
    "cluster": "text_formatting",
    "kind": "generation",
    "source": PARA_CRAWL,
    "target": "en",
    "text": "verbatim",  # characters are what is asked for
    "cut": {"text": "end"},
    "metric": "edit_distance",
    "max_lengths": (128, 128),
    "license": "CC0 (ParaCrawl)",
    "citation": "Bañón et al., 2020, ParaCrawl, https://aclanthology.org/2020.acl-main.417",
    "version": 2,
}


def _lower_cased(row: Row) -> dict:
    return {"text": row["en"].lower()}


def _unpunctuated(row: Row) -> dict:
    return {"text": re.sub(r"[^\w\s]", "", row["en"])}


def _unspaced(row: Row) -> dict:
    return {"text": "".join(row["en"].split())}


def _has_capitals(row: Row) -> bool:
    return _differs(row, _lower_cased)


def _has_punctuation(row: Row) -> bool:
    return _differs(row, _unpunctuated)


def _has_blanks(row: Row) -> bool:
    return _differs(row, _unspaced)


def _differs(row: Row, reduce) -> bool:
    """Whether something was taken out of the text and something is left."""
    text, reduced = row["en"].strip(), reduce(row)["text"].strip()
    return bool(reduced) and reduced != text


register(
    Task(
        name="true_case",
        splits={"train": "train[:30000]", "validation": "train[30000:30200]", "test": "train[-3000:]"},
        templates=(
            "{text}\nWith capitals:\n",
            "Somebody typed without the shift key: {text}\nAs it should be typed:\n",
            "Upper and lower case are lost here. {text}\nRestored:\n",
        ),
        fields=_lower_cased,
        keep=_has_capitals,
        **COMMON,
    )
)

register(
    Task(
        name="fix_punct",
        splits={"train": "train[30200:60200]", "validation": "train[60200:60400]", "test": "train[-3000:]"},
        templates=(
            "{text}\nWith punctuation:\n",
            "Put in the commas, full stops and other marks that are missing. {text}\nComplete:\n",
            "Taken down by ear, without punctuation: {text}\nFair copy:\n",
        ),
        fields=_unpunctuated,
        keep=_has_punctuation,
        **COMMON,
    )
)

register(
    Task(
        name="word_segment",
        splits={"train": "train[60400:90400]", "validation": "train[90400:90600]", "test": "train[-3000:]"},
        templates=(
            "{text}\nWith blanks between the words:\n",
            "The space bar was broken: {text}\nThe same, readable:\n",
            "Separate the words. {text}\nSeparated:\n",
        ),
        fields=_unspaced,
        keep=_has_blanks,
        **COMMON,
    )
)
