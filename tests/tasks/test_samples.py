"""The sample rows: complete, well-formed, with right labels and offsets, and none of them a row of the real data."""

import json
import os
import re
from pathlib import Path

import pytest

from benchmarks.tasks import task

FOLDER = Path(task.__file__).parent / "samples"
TASKS = [declared for declared in task.select("all") if declared.suites != ("embedded",)]
NAMES = sorted({path.stem for path in FOLDER.glob("*.jsonl")} | {declared.name for declared in TASKS})
# Label field, its values → the tasks that have them. Every half of a file has to show every value.
LABELS = {
    ("label", (0, 1)): "axb axg cola copa definite_pronoun_resolution glue_mrpc glue_qqp imdb_reviews multirc "
    "paws_wiki piqa qnli rte sst2 wic winogrande wnli wsc wsc273 yelp_polarity_reviews",
    ("label", (0, 1, 2)): "anli_r1 anli_r2 anli_r3 cb mnli_matched mnli_mismatched snli",
    ("label", (0, 1, 2, 3)): "ag_news_subset cosmos_qa hellaswag",
    ("label", (1, 2)): "story_cloze",
    ("answer", (False, True)): "bool_q",
    ("answerKey", (0, 1, 2, 3)): "openbookqa",
    ("answerKey", (0, 1, 2, 3, 4)): "arc_challenge arc_easy",
    ("label-coarse", (0, 1, 2, 3, 4, 5)): "trec",
    ("polarity", (0, 2, 4)): "sentiment140",
}
LABELLED = [(name, field, values) for (field, values), names in LABELS.items() for name in names.split()]
# What may differ between a row and its copy.
IDS = {"idx", "id", "uid", "doc_id", "gem_id", "gem_parent_id", "concept_set_id", "dart_id", "webnlg_id", "query_id"}
# From this length on, a text that is in the real data too is no coincidence.
LONG = 25
# Fixed wording of a data set.
FIXED = {"None of the above choices ."}
REFERENCED = "common_gen dart e2e_nlg web_nlg_en wiki_lingua_english_en xsum".split()
DATA = os.environ.get("CAT_KERAS_DATA")


def rows(name):
    return [json.loads(line) for line in (FOLDER / f"{name}.jsonl").read_bytes().splitlines()]


def each_row(*names):
    return pytest.mark.parametrize("row", [
        pytest.param(row, id=f"{name}-{index}") for name in names for index, row in enumerate(rows(name))
    ])  # fmt: skip


def shape(value):
    """Keys and types; lists and numbers of whatever length and kind look alike."""
    if isinstance(value, dict):
        return {key: shape(item) for key, item in value.items()}
    return "number" if type(value) in (int, float) else type(value).__name__


def texts(value):
    if isinstance(value, str):
        yield value
    elif isinstance(value, dict | list):
        for item in value.values() if isinstance(value, dict) else value:
            yield from texts(item)


def content(row):
    return json.dumps({key: row[key] for key in sorted(set(row) - IDS)}, ensure_ascii=False)


@pytest.mark.parametrize("name", NAMES)
def test_every_task_has_rows_of_one_shape(name):
    found = rows(name)
    assert len(found) >= 8
    assert all(isinstance(row, dict) for row in found)
    assert all(shape(row) == shape(found[0]) for row in found)
    assert len({content(row) for row in found}) == len(found), "a row occurs twice"
    assert all(text == text.encode().decode() and "\ufffd" not in text for row in found for text in texts(row))


@pytest.mark.parametrize(("name", "field", "values"), LABELLED, ids=[name for name, *_ in LABELLED])
def test_both_halves_show_every_label(name, field, values):
    found = [row[field] for row in rows(name)]
    assert set(found[::2]) == set(found[1::2]) == set(values)


def test_both_halves_of_stsb_show_every_rounded_score():
    scores = [row["label"] for row in rows("stsb")]
    assert all(0 <= score <= 5 and isinstance(score, float) for score in scores)
    assert {round(score) for score in scores[::2]} == {round(score) for score in scores[1::2]} == set(range(6))


def test_every_classification_is_among_those_checked():
    checked = {name for name, *_ in LABELLED} | {"stsb", "record"}
    assert {declared.name for declared in TASKS if declared.kind == "classification"} <= checked


@each_row("wic")
def test_wic_spans_are_forms_of_the_word(row):
    for i in "12":
        start, end, sentence = row[f"start{i}"], row[f"end{i}"], row[f"sentence{i}"]
        assert re.search(r"\b", sentence[start:]).start() == 0
        assert not sentence[end : end + 1].isalnum()
        assert sentence[start:end].lower()[0] == row["word"][0]  # "ran" of "run"


@each_row("wsc")
def test_wsc_spans_are_words_of_the_text(row):
    words = row["text"].split(" ")
    for i in "12":
        start, span = row[f"span{i}_index"], row[f"span{i}_text"].split(" ")
        assert [word.strip(".,;!?") for word in words[start : start + len(span)]] == span


@each_row("wsc273")
def test_wsc273_points_at_the_pronoun(row):
    assert row["text"][row["pronoun_start"] : row["pronoun_end"]] == row["pronoun_text"]
    for i in "12":
        assert row[f"option{i}_normalized"].lower() == row[f"option{i}"].lower()
        assert row[f"option{i}"].lower() in row["text"].lower()


@each_row("definite_pronoun_resolution")
def test_pronoun_and_candidates_are_in_the_sentence(row):
    assert re.search(rf"\b{row['pronoun']}\b", row["sentence"])
    assert len(row["candidates"]) == 2
    assert all(candidate in row["sentence"] for candidate in row["candidates"])


@each_row("winogrande")
def test_the_sentence_has_one_gap(row):
    assert row["sentence"].count("_") == 1


@each_row("squad_v1", "squad_v2", "quac")
def test_answers_start_where_they_say(row):
    for field in ("answers", "plausible_answers"):
        answers = row.get(field, {"text": [], "answer_start": []})
        for text, start in zip(answers["text"], answers["answer_start"], strict=True):
            assert row["context"][start : start + len(text)] == text
    assert row["answers"]["text"] or row["is_impossible"]
    assert not (row["answers"]["text"] and row.get("is_impossible"))
    if "orig_answer" in row:
        assert row["orig_answer"]["text"] == row["answers"]["text"][0]
        assert row["orig_answer"]["answer_start"] == row["answers"]["answer_start"][0]


@each_row("coqa")
def test_coqa_has_an_answer_and_a_span_per_question(row):
    answers = row["answers"]
    assert {len(column) for column in answers.values()} == {len(row["questions"])}
    for start, end in zip(answers["answer_start"], answers["answer_end"], strict=True):
        span = row["story"][start:end]
        assert span
        assert span == span.strip()


@each_row("record")
def test_record_entities_are_in_the_passage_and_answers_among_them(row):
    assert "\n@highlight\n" in row["passage"]
    assert row["query"].count("@placeholder") == 1
    assert all(entity in row["passage"] for entity in row["entities"])
    assert row["answers"]
    assert set(row["answers"]) < set(row["entities"])


def test_multirc_has_several_answers_per_question():
    questions = {}
    for row in rows("multirc"):
        key = row["idx"]["paragraph"], row["idx"]["question"]
        questions.setdefault(key, []).append((row["paragraph"], row["question"], row["idx"]["answer"], row["label"]))
    for answers in questions.values():
        paragraphs, asked, ids, labels = map(set, zip(*answers, strict=True))
        assert len(paragraphs) == len(asked) == 1
        assert len(ids) == len(answers) > 1
        assert labels == {0, 1}


def test_axg_has_pairs_that_differ_in_the_pronoun():
    pairs = {}
    for row in rows("axg"):
        pairs.setdefault(row["idx"] // 2, []).append(row)
    for pair in pairs.values():
        neutral = {re.sub(r"\b(she|he)\b", "they", row["premise"]) for row in pair}
        assert len(pair) == 2
        assert len(neutral) == len({row["hypothesis"] for row in pair}) == len({row["label"] for row in pair}) == 1
        assert len({row["premise"] for row in pair}) == 2


@each_row("hellaswag", "story_cloze")
def test_endings_are_as_many_as_labels(row):
    assert len(set(row["endings"])) == (4 if "activity_label" in row else 2)


@each_row("arc_challenge", "arc_easy")
def test_arc_choices_have_labels_in_order(row):
    assert row["choices"]["label"] == list(range(len(set(row["choices"]["text"]))))
    assert row["answerKey"] in row["choices"]["label"]


@pytest.mark.parametrize("name", REFERENCED)
def test_gem_rows_have_references_for_evaluation_only(name):
    for index, row in enumerate(rows(name)):
        assert row["target"]
        assert row["references"][:1] == ([row["target"]] if index % 2 else [])


@each_row("trivia_qa")
def test_trivia_value_is_among_the_aliases(row):
    assert row["answer"]["value"] in row["answer"]["aliases"]
    assert row["answer"]["normalized_value"] in row["answer"]["normalized_aliases"]


@each_row("math_dataset")
def test_equations_are_solved(row):
    sides, unknown = re.fullmatch(r"Solve (.+) for (\w)\.", row["question"]).groups()
    left, right = sides.split(" = ")
    known = {unknown: int(row["answer"])}
    assert eval(left, {}, known) == eval(right, {}, known)  # our own arithmetic, nothing from outside


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="CAT_KERAS_DATA names no folder with real data")
def test_no_sample_is_a_real_row():
    ours = {content(row): name for name in NAMES for row in rows(name)}
    long = {
        text: name
        for name in NAMES
        for row in rows(name)
        for text in texts(row)
        if len(text) >= LONG and text not in FIXED
    }
    for path in sorted(Path(DATA).rglob("*.jsonl")):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            row = json.loads(line)
            copied = ours.get(content(row)) or next((long[text] for text in texts(row) if text in long), None)
            assert copied is None, f"{path}:{number} is among the samples of {copied}"
