"""Say it in fewer words. FLAN counts the topic of a news item among the summaries."""

import re

from benchmarks.sources import Dataset
from benchmarks.task import Row, Task, register

_ENTITIES = {"quot;": '"', " amp;": " &", "&lt;": "<", "&gt;": ">", "nbsp;": " "}


def _readable(text: str) -> str:
    """Takes back what the corpus did to its text: `\\` for a line break, tags, entities without their ampersand."""
    text = re.sub(r"&?#(\d+);", lambda match: chr(int(match[1])), text.replace("\\", " "))
    for entity, character in _ENTITIES.items():
        text = text.replace(entity, character)
    return " ".join(re.sub(r"</?[A-Za-z][^<>]*>", "", text).split())


def _readable_news(row: Row) -> dict:
    return {name: _readable(row[name]) for name in ("title", "description")}


register(
    Task(
        name="ag_news_subset",
        aliases=("ag_news",),
        suites=("flan2021",),
        cluster="summarization",
        kind="classification",
        source=Dataset("ag_news_subset", "1.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "test"},
        templates=("{title}\n{description}\nThis news is about the world, sports, business or technology:\n",),
        fields=_readable_news,
        target="label",
        # The data's World, Sports, Business, Sci/Tech.
        options=("world", "sports", "business", "technology"),
        metric="accuracy",
        license="AG corpus: non-commercial research",
        citation="Zhang, Zhao and LeCun, 2015, arXiv 1509.01626",
    )
)
