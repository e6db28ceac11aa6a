"""SuperGLUE (Wang et al., 2019, arXiv 1905.00537): eight tasks and two diagnostics.

The eight tasks are also tasks of FLAN 2021 and have FLAN's splits. The model that was trained on RTE answers the
diagnostics.
"""

import re

from benchmarks.sources import Dataset
from benchmarks.tasks.task import Row, Task, register

SPLITS = {"train": "train[:-200]", "validation": "train[-200:]", "test": "validation"}
# Data sets of a few hundred rows hold out 50 of them for validation.
SMALL_SPLITS = {"train": "train[:-50]", "validation": "train[-50:]", "test": "validation"}
WANG = "Wang et al., 2019, SuperGLUE, arXiv 1905.00537"
# RTE and both diagnostics ask the same question, so that one model can answer all three.
FOLLOWS = (
    "Text: {premise}\nClaim: {hypothesis}\nDoes the claim follow from the text, yes or no:\n",
    "{premise}\nGiven only this, must it be true that: {hypothesis}\nAnswer yes or no:\n",
    "Is this supported by the text below, yes or no?\n{hypothesis}\n\n{premise}\nAnswer:\n",
)


def _passage_and_question(row: Row) -> dict:
    """SuperGLUE writes the title into the passage, and the older `bool_q` keeps it apart. Both give the same prompt."""
    passage = f"{row['title']} -- {row['passage']}" if "title" in row else row["passage"]
    return {"passage": passage, "question": row["question"].strip().rstrip("?") + "?"}


def _answer(row: Row) -> int:
    return int(row["answer"]) if "answer" in row else row["label"]


def _asked(row: Row) -> dict:
    """COPA asks for the cause or for the effect of its premise."""
    cause = row["question"] == "cause"
    return {
        "premise": row["premise"],
        "kind": "cause" if cause else "effect",
        "link": "because" if cause else "so",
        "statement": row["premise"].strip().rstrip("."),
        "asked": "Why did this happen" if cause else "What happened then",
    }


def _alternatives(row: Row) -> tuple[str, str]:
    return row["choice1"], row["choice2"]


def _question_key(row: Row) -> str:
    return f"{row['idx']['paragraph']}-{row['idx']['question']}"


def _plain_paragraph(row: Row) -> dict:
    """MultiRC numbers its sentences in bold: `<b>Sent 1: </b>She left.<br>` → `She left.`"""
    text = re.sub(r"<b>Sent \d+: </b>", "", row["paragraph"]).replace("<br>", " ")
    return {"paragraph": " ".join(text.split()), "question": row["question"], "answer": row["answer"]}


def _cloze(row: Row) -> dict:
    """Puts the highlights, which the corpus appends to the passage, on lines of their own; the gap becomes `____`."""
    passage = re.sub(r"\s*@highlight\s*", "\n", row["passage"])
    return {"passage": passage, "query": row["query"].replace("@placeholder", "____")}


def _named_entity(row: Row) -> str:
    """The first accepted answer that is among the entities; the other accepted answers count as right too."""
    entities = set(row["entities"])
    return next((answer for answer in row["answers"] if answer in entities), "")


def _marked_pronoun(row: Row) -> dict:
    """Puts asterisks around the pronoun, since the same word may stand elsewhere. Positions count words by blanks."""
    words, index, pronoun = row["text"].split(" "), row["span2_index"], row["span2_text"]
    length = len(pronoun.split(" "))
    span = " ".join(words[index : index + length])
    if span.lower().startswith(pronoun.lower()):
        words[index : index + length] = [f"*{span[: len(pronoun)]}*{span[len(pronoun) :]}"]
    return {"text": " ".join(words), "noun": row["span1_text"], "pronoun": pronoun}


def _sentences(row: Row) -> dict:
    return {"premise": row["sentence1"], "hypothesis": row["sentence2"]}


def _pair_key(row: Row) -> str:
    """Equal for two rows that differ only in the gender of a pronoun. TFDS leaves out the official `pair_id`."""
    text = f"{row['premise']} | {row['hypothesis']}".lower()
    text = re.sub(r"\b(he|she)\b", "they", text)
    return re.sub(r"\b(his|hers|her|him)(self)?\b", r"them\2", text)


register(
    Task(
        name="bool_q",
        aliases=("boolq",),
        suites=("superglue", "flan2021"),
        cluster="reading_comprehension",
        kind="classification",
        # TFDS has the data twice: FLAN reads bool_q (field `answer`), SuperGLUE's form is super_glue/boolq (`label`).
        source=Dataset("bool_q", "1.0.0", local=("bool_q", "super_glue/boolq")),
        splits=SPLITS,
        templates=(
            "{passage}\nQuestion: {question}\nAnswer yes or no:\n",
            "Read the text and decide, yes or no.\n{passage}\n{question}\nDecision:\n",
            "{question}\nLook it up here: {passage}\nYes or no:\n",
        ),
        cut={"passage": "end"},
        fields=_passage_and_question,
        target=_answer,
        options=("no", "yes"),
        labels=("False", "True"),
        metric="accuracy",
        max_lengths=(512, 8),
        license="CC BY-SA 3.0",
        citation="Clark et al., 2019, BoolQ, https://aclanthology.org/N19-1300",
        version=2,
    )
)

register(
    Task(
        name="cb",
        suites=("superglue", "flan2021"),
        cluster="entailment",
        kind="classification",
        source=Dataset("super_glue/cb", "1.0.2"),
        splits=SMALL_SPLITS,
        templates=(
            "Text: {premise}\nClaim: {hypothesis}\nGiven the text, the claim is true, false or unclear:\n",
            "{premise}\nDoes the speaker hold that {hypothesis}\nTrue, false or unclear:\n",
            "A says: {hypothesis}\nWhat is known: {premise}\nWhat A says is true, false or unclear:\n",
        ),
        cut={"premise": "start"},
        target="label",
        options=("true", "false", "unclear"),
        labels=("entailment", "contradiction", "neutral"),
        metric="macro_f1_accuracy",
        max_lengths=(512, 8),
        license="SuperGLUE: primarily academic research",
        citation="De Marneffe, Simons and Tonhauser, 2019, CommitmentBank",
        version=2,
    )
)

register(
    Task(
        name="copa",
        suites=("superglue", "flan2021"),
        cluster="common_sense",
        kind="classification",
        source=Dataset("super_glue/copa", "1.0.2"),
        splits=SMALL_SPLITS,
        templates=(
            "{premise}\nThe more likely {kind}:\n",
            "{statement}, {link} ... Finish the thought:\n",
            "This happened: {premise}\n{asked}? Tell the likelier story:\n",
        ),
        fields=_asked,
        target="label",
        options=_alternatives,
        metric="accuracy",
        max_lengths=(128, 32),
        license="BSD 2-Clause",
        citation="Roemmele, Bejan and Gordon, 2011, COPA, AAAI Spring Symposium",
        version=2,
    )
)

register(
    Task(
        name="multirc",
        suites=("superglue", "flan2021"),
        cluster="reading_comprehension",
        kind="classification",
        source=Dataset("super_glue/multirc", "1.0.2"),
        splits=SPLITS,
        templates=(
            "{paragraph}\nQuestion: {question}\nProposed answer: {answer}\nIs it correct, yes or no:\n",
            "{paragraph}\nSomebody asks: {question}\nSomebody else says: {answer}\nIs that right, yes or no:\n",
            "Would you accept this answer, yes or no?\nAsked: {question}\nAnswered: {answer}\nText: {paragraph}\n"
            "Verdict:\n",
        ),
        text="html",
        cut={"paragraph": "end"},
        fields=_plain_paragraph,
        target="label",
        options=("no", "yes"),
        labels=("False", "True"),
        group=_question_key,
        together=True,
        metric="multirc",
        max_lengths=(1024, 8),
        license="SuperGLUE: primarily academic research",
        citation="Khashabi et al., 2018, MultiRC, https://aclanthology.org/N18-1023",
        version=2,
    )
)

register(
    Task(
        name="record",
        suites=("superglue", "flan2021"),
        cluster="read_comp_and_common_sense",
        kind="classification",
        source=Dataset("super_glue/record", "1.0.2"),
        splits={"train": "train[:30000]", "validation": "train[-200:]", "test": "validation"},
        templates=(
            "{passage}\n\n{query}\nWhat belongs in the gap:\n",
            "News: {passage}\nA sentence about it, with a name left out: {query}\nThe name:\n",
            "Fill ____ with somebody or something from the article.\n{passage}\n{query}\nFilled with:\n",
        ),
        cut={"passage": "end"},
        fields=_cloze,
        target=_named_entity,
        options="entities",
        references="answers",
        metric="record",
        max_lengths=(1024, 32),
        license="not stated (text of CNN and Daily Mail)",
        citation="Zhang et al., 2018, ReCoRD, arXiv 1810.12885",
        version=2,
    )
)

register(
    Task(
        name="rte",
        suites=("superglue", "flan2021"),
        cluster="entailment",
        kind="classification",
        source=Dataset("super_glue/rte", "1.0.2"),
        splits=SPLITS,
        templates=FOLLOWS,
        cut={"premise": "end"},
        target="label",
        options=("yes", "no"),
        labels=("entailment", "not_entailment"),
        metric="accuracy",
        max_lengths=(512, 8),
        license="SuperGLUE: primarily academic research",
        citation="Dagan et al., 2006; Bar Haim et al., 2006; Giampiccolo et al., 2007; Bentivogli et al., 2009",
        version=2,
    )
)

register(
    Task(
        name="wic",
        suites=("superglue", "flan2021"),
        cluster="word_disambiguation",
        kind="classification",
        source=Dataset("super_glue/wic", "1.0.2"),
        splits=SPLITS,
        templates=(
            '{sentence1}\n{sentence2}\nSame meaning of "{word}" in both sentences, yes or no:\n',
            'Compare how "{word}" is used.\n1. {sentence1}\n2. {sentence2}\nOne and the same sense, yes or no:\n',
            'Would a dictionary put "{word}" under one sense here, yes or no?\n{sentence1}\n{sentence2}\nAnswer:\n',
        ),
        cut={"sentence1": "end", "sentence2": "end"},
        target="label",
        options=("no", "yes"),
        labels=("False", "True"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="CC BY-NC 4.0",
        citation="Pilehvar and Camacho-Collados, 2019, WiC, https://aclanthology.org/N19-1128",
        version=2,
    )
)

register(
    Task(
        name="wsc",
        suites=("superglue", "flan2021"),
        cluster="coreference",
        kind="classification",
        # wsc.fixed has the same rows with some word positions repaired, so either will do.
        source=Dataset("super_glue/wsc", "1.0.2", local=("super_glue/wsc", "super_glue/wsc.fixed")),
        splits=SMALL_SPLITS,
        templates=(
            '{text}\nDoes *{pronoun}* stand for "{noun}", yes or no:\n',
            'Whoever reads this: {text}\nCan *{pronoun}* be replaced by "{noun}", yes or no:\n',
            '"{noun}" is what *{pronoun}* refers to, yes or no?\n{text}\nAnswer:\n',
        ),
        cut={"text": "start"},
        fields=_marked_pronoun,
        target="label",
        options=("no", "yes"),
        labels=("False", "True"),
        metric="accuracy",
        max_lengths=(256, 8),
        license="CC BY 4.0",
        citation="Levesque, Davis and Morgenstern, 2012, The Winograd Schema Challenge, KR",
        version=2,
    )
)

register(
    Task(
        name="axb",
        suites=("superglue",),
        cluster="diagnostic",
        kind="classification",
        source=Dataset("super_glue/axb", "1.0.2"),
        splits={"test": "test"},
        trained_on="rte",
        templates=FOLLOWS,
        cut={"premise": "end"},
        fields=_sentences,
        target="label",
        options=("yes", "no"),
        labels=("entailment", "not_entailment"),
        metric="matthews",
        max_lengths=(512, 8),
        license="SuperGLUE: primarily academic research",
        citation=WANG,
        version=2,
    )
)

register(
    Task(
        name="axg",
        suites=("superglue",),
        cluster="diagnostic",
        kind="classification",
        source=Dataset("super_glue/axg", "1.0.2"),
        splits={"test": "test"},
        trained_on="rte",
        templates=FOLLOWS,
        cut={"premise": "end"},
        target="label",
        options=("yes", "no"),
        labels=("entailment", "not_entailment"),
        group=_pair_key,
        together=True,
        metric="gender_parity",
        max_lengths=(512, 8),
        license="SuperGLUE: primarily academic research",
        citation="Rudinger et al., 2018, Winogender, https://aclanthology.org/N18-2002",
        version=2,
    )
)
