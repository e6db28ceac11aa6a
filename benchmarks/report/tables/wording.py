"""The words of a report where models answered elsewhere: a method is a small model, and a seed is a run of it."""

import re
from collections.abc import Mapping
from dataclasses import replace

from benchmarks.report.tables.render import Table

# Whole words alone: a rule's name, such as seed-variance, stays what it is.
WORDS = {
    r"methods": "small models",
    r"method": "small model",
    r"Methods": "Small models",
    r"Method": "Small model",
    r"seeds": "runs",
    r"seed": "run",
}
# What captions say besides. The first small model stands in the place of `xent`, which the others are compared with.
CAPTIONS = {
    "training objectives": "small models",
    "training objective": "small model",
    "the cascade after `xent`": "the cascade of the first small model",
    "after `xent`": "of the first small model",
    "`xent`": "the first small model",
    "FLOPs per query": "cost per query",
}
PATTERN = re.compile(r"(?<![\w-])(" + "|".join(WORDS) + r")(?![\w-])")


def text(sentence: str) -> str:
    """A sentence in these words."""
    return PATTERN.sub(lambda match: WORDS[match[1]], sentence)


def caption(sentences: str) -> str:
    """The caption of a figure in these words."""
    for phrase, words in CAPTIONS.items():
        sentences = sentences.replace(phrase, words)
    return text(sentences)


def table(found: Table) -> Table:
    """A table in these words; its cells, which may be names, stay."""
    return replace(
        found, title=text(found.title), columns=tuple(map(text, found.columns)), notes=tuple(map(text, found.notes))
    )


def record(found: Mapping[str, object]) -> dict[str, object]:
    """A row of a CSV file: nothing of training, and a cost that is called one."""
    return {name.replace("flops", "cost"): value for name, value in found.items() if not name.startswith("live_")}


def charts(found: dict) -> dict:
    """What the script of a page draws, its notes in these words."""
    return found | {"member": "Run", "scopes": [scope | {"note": text(scope["note"])} for scope in found["scopes"]]}
