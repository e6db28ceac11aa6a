"""What sort of thing would answer the question?"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Task, register

register(
    Task(
        name="trec",
        suites=("flan2021",),
        cluster="question_classification",
        kind="classification",
        source=Dataset("trec", "1.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        templates=(
            "Question: {text}\nIt asks for a description, entity, abbreviation, person, number or location:\n",
            "{text}\nSort of answer wanted (description, entity, abbreviation, person, number, location):\n",
            "File this question under description, entity, abbreviation, person, number or location. {text}\nFile:\n",
        ),
        target="label-coarse",
        options=("description", "entity", "abbreviation", "person", "number", "location"),
        labels=("DESC", "ENTY", "ABBR", "HUM", "NUM", "LOC"),
        metric="accuracy",
        max_lengths=(128, 8),
        license="not stated (UIUC CogComp)",
        citation="Li and Roth, 2002, Learning Question Classifiers, https://aclanthology.org/C02-1150",
        version=2,
    )
)
