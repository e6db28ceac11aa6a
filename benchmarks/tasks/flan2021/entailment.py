"""Does one text follow from another? (CB and RTE of this cluster are declared with SuperGLUE.)"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

# The three answers are words for the data's entailment, neutral and contradiction, in the order of each data set.
THREE_WAY = (
    "Text: {premise}\nClaim: {hypothesis}\nGiven the text, the claim is true, unclear or false:\n",
    "Suppose this is so: {premise}\nWhat about this: {hypothesis}\nTrue, unclear or false:\n",
    "{hypothesis}\nJudge that by what follows, as true, unclear or false.\n{premise}\nJudgement:\n",
)
MNLI = {
    "suites": ("flan2021",),
    "cluster": "entailment",
    "kind": "classification",
    "source": Dataset("glue/mnli", "2.0.0"),
    "templates": THREE_WAY,
    "cut": {"premise": "end"},
    "target": "label",
    "options": ("true", "unclear", "false"),
    "labels": ("entailment", "neutral", "contradiction"),
    "metric": "accuracy",
    "max_lengths": (256, 8),
    "license": "OANC and CC BY(-SA) 3.0, by genre",
    "citation": "Williams, Nangia and Bowman, 2018, MultiNLI, https://aclanthology.org/N18-1101",
    "version": 2,
}
MNLI_TRAINING = {"train": "train[:30000]", "validation": "train[-200:]"}


def _has_gold_label(row: Row) -> bool:
    """SNLI has label -1 where the annotators did not agree."""
    return row["label"] >= 0


def _anli(round: str, train: str) -> Task:
    return Task(
        name=f"anli_{round}",
        suites=("flan2021",),
        cluster="entailment",
        kind="classification",
        source=Dataset(f"anli/{round}", "0.1.0"),
        splits={"train": train, "validation": "validation[:200]", "test": "test"},
        templates=(
            "Text: {context}\nClaim: {hypothesis}\nGiven the text, the claim is true, unclear or false:\n",
            "Read with care: {context}\nIs it true, unclear or false that: {hypothesis}\nAnswer:\n",
            "{hypothesis}\nAccording to the passage below that is true, unclear or false.\n{context}\nIt is:\n",
        ),
        text="html",
        cut={"context": "end"},
        target="label",
        options=("true", "unclear", "false"),
        labels=("e", "n", "c"),
        metric="accuracy",
        max_lengths=(512, 8),
        license="CC BY-NC 4.0",
        citation="Nie et al., 2020, Adversarial NLI, https://aclanthology.org/2020.acl-main.441",
        version=2,
    )


register(Task(name="mnli_matched", aliases=("mnli",), splits=MNLI_TRAINING | {"test": "validation_matched"}, **MNLI))
register(Task(name="mnli_mismatched", splits=MNLI_TRAINING | {"test": "validation_mismatched"}, **MNLI))

register(_anli("r1", train="train"))
register(_anli("r2", train="train[:30000]"))
register(_anli("r3", train="train[:30000]"))

register(
    Task(
        name="qnli",
        suites=("flan2021",),
        cluster="entailment",
        kind="classification",
        source=Dataset("glue/qnli", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "Question: {question}\nSentence: {sentence}\nDoes the sentence answer the question, yes or no:\n",
            "{sentence}\nWhoever has read this knows the answer to: {question}\nYes or no:\n",
            "Somebody looks for: {question}\nThey find: {sentence}\nHave they found it, yes or no:\n",
        ),
        cut={"sentence": "end"},
        target="label",
        options=("yes", "no"),
        labels=("entailment", "not_entailment"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="CC BY-SA 4.0",
        citation="Wang et al., 2019, GLUE, arXiv 1804.07461 (after Rajpurkar et al., 2016)",
        version=2,
    )
)

register(
    Task(
        name="wnli",
        suites=("flan2021",),
        cluster="entailment",
        kind="classification",
        source=Dataset("glue/wnli", "2.0.0"),
        splits={"train": "train[:-30]", "validation": "train[-30:]", "test": "validation"},
        templates=(
            "Text: {sentence1}\nReading: {sentence2}\nIs that what the text means, yes or no:\n",
            "{sentence1}\nSo one may say: {sentence2}\nRight, yes or no:\n",
            "Does the first sentence tell us the second, yes or no?\n1. {sentence1}\n2. {sentence2}\nAnswer:\n",
        ),
        cut={"sentence1": "start"},
        target="label",
        options=("no", "yes"),
        labels=("not_entailment", "entailment"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="CC BY 4.0",
        citation="Levesque, Davis and Morgenstern, 2012; Wang et al., 2019, GLUE, arXiv 1804.07461",
        version=2,
    )
)

register(
    Task(
        name="snli",
        suites=("flan2021",),
        cluster="entailment",
        kind="classification",
        source=Dataset("snli", "1.1.0"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        templates=(
            "A picture shows: {premise}\nSomebody says: {hypothesis}\nThat is true, unclear or false:\n",
            *THREE_WAY[1:],
        ),
        cut={"premise": "end"},
        target="label",
        options=("true", "unclear", "false"),
        labels=("entailment", "neutral", "contradiction"),
        keep=_has_gold_label,
        metric="accuracy",
        max_lengths=(256, 8),
        license="CC BY-SA 4.0",
        citation="Bowman et al., 2015, SNLI, https://aclanthology.org/D15-1075",
        version=2,
    )
)
