"""Do two texts say the same?"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

# STS-B's scores are means of a few annotators, 0 to 5; FLAN and T5 round them to fifths, which makes 26 answers.
SCORES = tuple(f"{fifths / 5:.1f}" for fifths in range(26))


def _nearest_score(row: Row) -> str:
    # TFDS has float32: without the inner rounding 1.1 and 1.10000002 could fall on different sides of a tie.
    return f"{round(round(row['label'], 3) * 5) / 5:.1f}"


def _exact_score(row: Row) -> list[str]:
    return [f"{round(row['label'], 3):g}"]


register(
    Task(
        name="glue_mrpc",
        aliases=("mrpc",),
        suites=("flan2021",),
        cluster="paraphrase",
        kind="classification",
        source=Dataset("glue/mrpc", "2.0.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "1. {sentence1}\n2. {sentence2}\nDo both report the same, yes or no:\n",
            "One paper writes: {sentence1}\nAnother writes: {sentence2}\nSame news, yes or no:\n",
            "Could an editor swap these two sentences, yes or no?\n{sentence1}\n{sentence2}\nAnswer:\n",
        ),
        cut={"sentence1": "end", "sentence2": "end"},
        target="label",
        options=("no", "yes"),
        labels=("not_equivalent", "equivalent"),
        metric="f1",
        metric_args={"positive": "yes"},
        max_lengths=(256, 8),
        license="Microsoft Research: research use",
        citation="Dolan and Brockett, 2005, MRPC, https://aclanthology.org/I05-5002",
        version=2,
    )
)

register(
    Task(
        name="glue_qqp",
        aliases=("qqp",),
        suites=("flan2021",),
        cluster="paraphrase",
        kind="classification",
        source=Dataset("glue/qqp", "2.0.0"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "Question 1: {question1}\nQuestion 2: {question2}\nSame question, yes or no:\n",
            "Somebody has asked: {question1}\nNow somebody asks: {question2}\nIs it a repeat, yes or no:\n",
            "Would one answer do for both, yes or no?\n{question1}\n{question2}\nAnswer:\n",
        ),
        cut={"question1": "end", "question2": "end"},
        target="label",
        options=("no", "yes"),
        labels=("not_duplicate", "duplicate"),
        metric="f1",
        metric_args={"positive": "yes"},
        max_lengths=(256, 8),
        license="Quora terms (non-commercial)",
        citation="Iyer, Dandekar and Csernai, 2017, First Quora Dataset Release: Question Pairs",
        version=2,
    )
)

register(
    Task(
        name="paws_wiki",
        suites=("flan2021",),
        cluster="paraphrase",
        kind="classification",
        source=Dataset("paws_wiki/labeled_final_tokenized", "1.1.0"),
        splits={"train": "train[:30000]", "validation": "validation[:200]", "test": "test"},
        templates=(
            "1. {sentence1}\n2. {sentence2}\nThe same said twice, yes or no:\n",
            "{sentence1}\nReworded: {sentence2}\nIs the meaning still the same, yes or no:\n",
            "Mind the order of the words. {sentence1}\nAnd: {sentence2}\nDo they agree in meaning, yes or no:\n",
        ),
        cut={"sentence1": "end", "sentence2": "end"},
        target="label",
        options=("no", "yes"),
        labels=("different_meaning", "paraphrase"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="free for any purpose, as is (Google)",
        citation="Zhang, Baldridge and He, 2019, PAWS, https://aclanthology.org/N19-1131",
        version=2,
    )
)

register(
    Task(
        name="stsb",
        suites=("flan2021",),
        cluster="paraphrase",
        # Classification over all 26 scores, not free text: every answer then is a number on the scale.
        kind="classification",
        source=Dataset("glue/stsb", "2.0.0"),
        splits={"train": "train[:-100]", "validation": "train[-100:]", "test": "validation"},
        templates=(
            "1. {sentence1}\n2. {sentence2}\nHow close in meaning, from 0.0 to 5.0:\n",
            "Rate how alike two sentences are, from 0.0 (not at all) to 5.0.\n{sentence1}\n{sentence2}\nRating:\n",
            "{sentence1}\nOn a scale up to 5.0, how much of that does this say: {sentence2}\nScore:\n",
        ),
        cut={"sentence1": "end", "sentence2": "end"},
        target=_nearest_score,
        options=SCORES,
        references=_exact_score,
        metric="pearson_spearman",
        max_lengths=(256, 8),
        license="mixed; terms of the STS benchmark",
        citation="Cer et al., 2017, STS Benchmark, https://aclanthology.org/S17-2001",
        version=2,
    )
)
