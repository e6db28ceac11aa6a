"""What does a word stand for? (WSC of this cluster is declared with SuperGLUE.)"""

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register


def _fillers(row: Row) -> tuple[str, str]:
    return row["option1"], row["option2"]


def _gap(row: Row) -> dict:
    return {name: row[name].replace("_", "____") if name == "sentence" else row[name] for name in _WINOGRANDE}


_WINOGRANDE = ("sentence", "option1", "option2")


def _marked(row: Row) -> dict:
    """Puts asterisks around the pronoun, since the same word may stand elsewhere in the text."""
    text, start, end = row["text"], row["pronoun_start"], row["pronoun_end"]
    return {"text": f"{text[:start]}*{text[start:end]}*{text[end:]}", "pronoun": row["pronoun_text"]}


register(
    Task(
        name="definite_pronoun_resolution",
        suites=("flan2021",),
        cluster="coreference",
        kind="classification",
        source=Dataset("definite_pronoun_resolution", "1.1.0"),
        splits={"train": "train[:-200]", "validation": "train[-200:]", "test": "test"},
        templates=(
            '{sentence}\nIn this sentence "{pronoun}" means:\n',
            'Who or what is "{pronoun}" here? {sentence}\nThat is:\n',
            '{sentence}\nIf you had to say a name instead of "{pronoun}", you would say:\n',
        ),
        cut={"sentence": "start"},
        target="label",
        options="candidates",
        metric="accuracy",
        max_lengths=(128, 16),
        license="not stated",
        citation="Rahman and Ng, 2012, Resolving Complex Cases of Definite Pronouns, https://aclanthology.org/D12-1071",
        version=2,
    )
)

register(
    Task(
        name="winogrande",
        suites=("flan2021",),
        cluster="coreference",
        kind="classification",
        # TFDS has five sizes of the training part; a local copy with one size calls it train.
        source=Dataset("winogrande", "1.2.0", renamed={"train_xl": "train"}),
        splits={"train": "train_xl[:30000]", "validation": "train_xl[-200:]", "test": "validation"},
        templates=(
            "{sentence}\n{option1} or {option2} - the gap says:\n",
            "Choose {option1} or {option2} for the gap.\n{sentence}\nChoice:\n",
            "Which one makes sense here, {option1} or {option2}? {sentence}\nThis one:\n",
        ),
        cut={"sentence": "start"},
        fields=_gap,
        target="label",
        options=_fillers,
        metric="accuracy",
        max_lengths=(128, 16),
        license="CC BY",
        citation="Sakaguchi et al., 2020, WinoGrande, arXiv 1907.10641",
        version=2,
    )
)

register(
    Task(
        name="wsc273",
        suites=("flan2021",),
        cluster="coreference",
        kind="classification",
        source=Dataset("wsc273", "1.0.0"),
        # This test set has no training data. definite_pronoun_resolution asks the same of other sentences.
        splits={"test": "test"},
        trained_on="definite_pronoun_resolution",
        templates=(
            '{text}\nIn this sentence "{pronoun}" means:\n',
            'Who or what is "{pronoun}" here? {text}\nThat is:\n',
            '{text}\nIf you had to say a name instead of "{pronoun}", you would say:\n',
        ),
        cut={"text": "start"},
        fields=_marked,
        target="label",
        options=_fillers,
        metric="accuracy",
        max_lengths=(128, 16),
        license="CC BY 4.0",
        citation="Levesque, Davis and Morgenstern, 2012, The Winograd Schema Challenge, KR",
        version=2,
    )
)
