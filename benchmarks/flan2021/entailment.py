"""Does one text follow from another?"""

from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(
    Task(
        name="mnli_matched",
        aliases=("mnli",),
        suites=("flan2021",),
        cluster="entailment",
        kind="classification",
        source=Dataset("glue/mnli", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation_matched"},
        templates=("Text: {premise}\nClaim: {hypothesis}\nGiven the text, the claim is true, unclear or false:\n",),
        target="label",
        # The data's entailment, neutral, contradiction.
        options=("true", "unclear", "false"),
        metric="accuracy",
        license="OANC and CC BY(-SA) 3.0, by genre",
        citation="Williams, Nangia and Bowman, 2018, MultiNLI, https://aclanthology.org/N18-1101",
    )
)
