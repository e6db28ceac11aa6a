"""Put structured input into words."""

import re

from benchmarks.sources import Dataset
from benchmarks.task import Row, Task, register

# GEM's own test references were withheld when FLAN was made, so FLAN tests on the validation part.
SPLITS = {"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"}


def _concept_list(row: Row) -> dict:
    return {"concepts": ", ".join(row["concepts"])}


def _fact_lines(row: Row) -> dict:
    return {"facts": "\n".join(_fact(triple) for triple in row["input"])}


def _fact(triple: str) -> str:
    """`Aarhus_Airport | runwayLength | 2702.0` → `Aarhus Airport | runway length | 2702.0`."""
    # Quotation marks stand around literals and, by accident of the corpus, inside some.
    bare = triple.replace("_", " ").replace('"', " ").replace("''", " ")
    parts = [" ".join(part.split()) for part in bare.split(" | ")]
    parts[1:2] = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower() for part in parts[1:2]]
    return " | ".join(parts)


register(
    Task(
        name="common_gen",
        suites=("flan2021",),
        cluster="structure_to_text",
        kind="generation",
        source=Dataset("gem/common_gen", "1.1.0"),
        splits=SPLITS,
        templates=("Words: {concepts}\nA sentence with all of them:\n",),
        fields=_concept_list,
        target="target",
        references="references",
        metric="rouge",
        license="MIT",
        citation="Lin et al., 2020, CommonGen, https://aclanthology.org/2020.findings-emnlp.165",
    )
)

register(
    Task(
        name="web_nlg_en",
        suites=("flan2021",),
        cluster="structure_to_text",
        kind="generation",
        source=Dataset("gem/web_nlg_en", "1.1.0"),
        splits=SPLITS,
        templates=("Facts:\n{facts}\nIn words:\n",),
        fields=_fact_lines,
        target="target",
        references="references",
        metric="rouge",
        license="CC BY-NC-SA 4.0",
        citation="Gardent et al., 2017, WebNLG, https://aclanthology.org/P17-1017",
    )
)
