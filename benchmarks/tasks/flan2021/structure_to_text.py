"""Put structured input into words."""

import re

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Filled, Row, Task, register

# GEM's own test references were withheld when FLAN was made, so FLAN tests on the validation part.
SPLITS = {"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"}


def _concept_list(row: Row) -> dict:
    return {"concepts": ", ".join(row["concepts"])}


def _fact_lines(row: Row) -> dict:
    return {"facts": "\n".join(_fact(triple) for triple in row["input"])}


def _fact(triple: str) -> str:
    """`Aarhus_Airport | runwayLength | 2702.0` → `Aarhus Airport | runway length | 2702.0`."""
    # Literals are in quotation marks, and some contain more of them, which are mistakes of the corpus.
    bare = triple.replace("_", " ").replace('"', " ").replace("''", " ")
    parts = [" ".join(part.split()) for part in bare.split(" | ")]
    parts[1:2] = [re.sub(r"(?<=[a-z])(?=[A-Z])", " ", part).lower() for part in parts[1:2]]
    return " | ".join(parts)


def _attributes(row: Row) -> dict:
    """`name[The Eagle], eatType[coffee shop]` → `name: The Eagle`, `eat type: coffee shop`, a line each."""
    attributes = re.findall(r"([^\[\],][^\[\]]*)\[([^\]]*)\]", row["meaning_representation"])
    lines = [f"{_spaced(name)}: {value.strip()}" for name, value in attributes]
    return {"attributes": "\n".join(lines) or row["meaning_representation"]}


def _spaced(name: str) -> str:
    return re.sub(r"(?<=[a-z])(?=[A-Z])", " ", name.strip(" ,")).lower()


def _statements(row: Row) -> dict:
    """TFDS joins the parts of a triple by blanks. The marks for the table's title and context are taken out."""
    lines = (re.sub(r"\[(TABLECONTEXT|TITLE)\]\s*", "", line) for line in row["tripleset"])
    return {"statements": "\n".join(line.replace("_", " ").strip() for line in lines)}


register(
    Task(
        name="common_gen",
        suites=("flan2021",),
        cluster="structure_to_text",
        kind="generation",
        source=Dataset("gem/common_gen", "1.1.0"),
        splits=SPLITS,
        templates=(
            "Words: {concepts}\nA sentence with all of them:\n",
            "Describe an everyday scene in which these come together: {concepts}\nScene:\n",
            "Use {concepts} in one plain sentence:\n",
        ),
        fields=_concept_list,
        target="target",
        references="references",
        pooled=True,
        metric="rouge",
        max_lengths=(64, 64),
        license="MIT",
        citation="Lin et al., 2020, CommonGen, https://aclanthology.org/2020.findings-emnlp.165",
        version=2,
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
        templates=(
            "Facts:\n{facts}\nIn words:\n",
            "Tell a reader what this table of facts says.\n{facts}\nText:\n",
            "{facts}\nThe same, written out in sentences:\n",
        ),
        cut={"facts": "end"},
        fields=_fact_lines,
        target="target",
        references="references",
        pooled=True,
        metric="rouge",
        max_lengths=(256, 128),
        license="CC BY-NC-SA 4.0",
        citation="Gardent et al., 2017, WebNLG, https://aclanthology.org/P17-1017",
        version=2,
    )
)

register(
    Task(
        name="e2e_nlg",
        suites=("flan2021",),
        cluster="structure_to_text",
        kind="generation",
        source=Dataset("gem/e2e_nlg", "1.1.0"),
        splits=SPLITS,
        templates=(
            "A place to eat:\n{attributes}\nIts description:\n",
            "Recommend or describe this restaurant to a visitor.\n{attributes}\nText:\n",
            "{attributes}\nAll of that as running text:\n",
        ),
        cut={"attributes": "end"},
        fields=_attributes,
        target="target",
        references="references",
        pooled=True,
        metric="rouge",
        max_lengths=(256, 128),
        license="CC BY-SA 4.0",
        citation="Dušek, Howcroft and Rieser, 2019, cleaned E2E, https://aclanthology.org/W19-8652",
        version=2,
    )
)

register(
    Task(
        name="dart",
        suites=("flan2021",),
        cluster="structure_to_text",
        kind="generation",
        source=Dataset("gem/dart", "1.1.0"),
        splits=SPLITS,
        templates=(
            "Data:\n{statements}\nIn a sentence or two:\n",
            "Each line below is a subject, a relation and a value. Say them in plain English.\n{statements}\nText:\n",
            "{statements}\nWhat these entries of a table tell us:\n",
        ),
        cut={"statements": "end"},
        fields=_statements,
        target="target",
        references="references",
        pooled=True,
        # Some entries have no annotation.
        keep=Filled(("target",)),
        metric="rouge",
        max_lengths=(256, 128),
        license="MIT",
        citation="Nan et al., 2021, DART, https://aclanthology.org/2021.naacl-main.37",
        version=2,
    )
)
