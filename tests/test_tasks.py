"""Declarations of the registry, rendered on rows written for these tests."""

import json
import os
import subprocess
import sys

import pytest

from benchmarks import metrics, task
from benchmarks.sources import Dataset, load
from benchmarks.task import Task
from cat_keras.errors import CatKerasError

# Per task a row in the schema of its data set, and where its label stands.
ROWS = {
    "sst2": {"sentence": "a warm and clever film ", "label": 1, "idx": 0},
    "trec": {"text": "Who painted the ceiling ?", "label-coarse": 3, "label-fine": 4},
    "glue_qqp": {"question1": "How do I cook rice?", "question2": "How is rice cooked?", "label": 1, "idx": 0},
    "mnli_matched": {"premise": "The shop closes at six.", "hypothesis": "It is open at five.", "label": 0, "idx": 0},
    "cola": {"sentence": "The door opened slowly.", "label": 1, "idx": 0},
    "ag_news_subset": {
        "title": "Striker signs",
        "description": "The club\\paid #36;5 million to <b>both</b>.",
        "label": 1,
    },
    "bool_q": {"passage": "Tea -- Tea is a drink.", "question": "is tea a drink", "label": 1, "idx": 0},
    "wic": {
        "word": "bank",
        "sentence1": "We sat on the bank of the river.",
        "sentence2": "The bank is closed today.",
        **{"start1": 14, "end1": 18, "start2": 4, "end2": 8, "label": 0, "idx": 0},
    },
    "common_gen": {"concepts": ["boat", "lake", "row"], "target": "They row a boat on the lake.", "references": []},
    "web_nlg_en": {
        "input": ["Green_Bridge | crossesRiver | Elm_River", 'Green_Bridge | nickname | "Old Lady"'],
        "target": "The Green Bridge, the Old Lady, crosses the Elm River.",
        "references": ["The Green Bridge crosses the Elm River.", "The Old Lady crosses the Elm."],
    },
    "wmt22_ende": {"en": "The train is late.", "de": "Der Zug hat Verspätung.", "references": ["Der Zug ist spät."]},
    "wmt22_deen": {"de": "Der Zug hat Verspätung.", "en": "The train is late.", "references": ["The train is late."]},
}
LABEL = {"trec": "label-coarse"}
ANSWERS = {
    "sst2": "positive",
    "trec": "person",
    "glue_qqp": "yes",
    "mnli_matched": "true",
    "cola": "acceptable",
    "ag_news_subset": "sports",
    "bool_q": "yes",
    "wic": "no",
}


each_template = pytest.mark.parametrize(
    ("name", "template"), [(name, i) for name in ROWS for i in range(len(task.get(name).templates))]
)


@each_template
def test_a_row_renders_to_a_prompt_that_the_target_follows(name, template):
    declared, row = task.get(name), ROWS[name]
    example = declared.example(row, "id", template)
    assert example.task == declared.name and example.id == "id"
    assert example.prompt.endswith(":\n") and example.prompt == example.prompt.lstrip()
    assert "{" not in example.prompt and "None" not in example.prompt
    assert example.target and example.target == example.target.strip()
    assert example.target == ANSWERS.get(declared.name, row.get("target", example.target))
    assert len(example.prompt) < 250


@each_template
def test_no_prompt_tells_the_answer(name, template):
    declared, row = task.get(name), ROWS[name]
    plain = declared.example(row, "id", template)
    if declared.options:
        label = LABEL.get(declared.name, "label")
        other = [declared.example(row | {label: i}, "id", template) for i in range(len(declared.options))]
        assert {example.prompt for example in other} == {plain.prompt}
        assert tuple(example.target for example in other) == plain.options
    else:
        assert plain.target not in plain.prompt


def test_every_task_has_what_a_user_looks_for():
    for declared in map(task.get, task.names()):
        assert declared.suites and declared.cluster and declared.license and declared.version >= 1
        assert {"train", "validation", "test"} <= set(declared.splits)
        assert metrics.get(declared.metric, **declared.metric_args).name == declared.metric
        assert not any(json.dumps(declared.identity()) == json.dumps(task.get(n).identity()) for n in _others(declared))


def _others(declared):
    return [name for name in task.names() if name != declared.name]


def test_declared_tasks_are_tested_here():
    assert set(ROWS) == {t.name for t in map(task.get, task.names()) if "embedded" not in t.suites}


def test_both_forms_of_boolq_render_alike():
    new = {"passage": "Tea -- Tea is a drink.", "question": "is tea a drink", "label": 1, "idx": 0}
    old = {"title": "Tea", "passage": "Tea is a drink.", "question": "is tea a drink", "answer": True}
    assert task.get("bool_q").example(new, "0") == task.get("bool_q").example(old, "0")


def test_rendering_of_structures_and_artefacts():
    assert task.get("web_nlg_en").example(ROWS["web_nlg_en"], "0").prompt == (
        "Facts:\nGreen Bridge | crosses river | Elm River\nGreen Bridge | nickname | Old Lady\nIn words:\n"
    )
    assert "The club paid $5 million to both." in task.get("ag_news").example(ROWS["ag_news_subset"], "0").prompt
    assert "boat, lake, row" in task.get("common_gen").example(ROWS["common_gen"], "0").prompt


def test_names_aliases_suites_and_clusters_select():
    assert task.get("qqp") is task.get("glue_qqp") and task.get("wmt22_en-de") is task.get("wmt22_ende")
    assert {alias: task.get(alias).name for alias in ("mnli", "ag_news", "boolq")} == {
        "mnli": "mnli_matched",
        "ag_news": "ag_news_subset",
        "boolq": "bool_q",
    }
    assert [t.name for t in task.select("superglue")] == ["bool_q", "wic"]
    assert [t.name for t in task.select(["sst2", "superglue", "boolq"])] == ["bool_q", "wic", "sst2"]
    assert [t.name for t in task.select(["structure_to_text"]) if "flan2021" in t.suites] == [
        "common_gen",
        "web_nlg_en",
    ]
    assert [t.name for t in task.select("all")] == task.names()


def test_unknown_names_come_with_near_ones():
    with pytest.raises(CatKerasError, match="Unknown task 'sst'; did you mean sst2"):
        task.get("sst")
    with pytest.raises(CatKerasError, match="Unknown task, suite or cluster 'superglu'; did you mean superglue"):
        task.select(["sst2", "superglu"])


def declare(**changes):
    declaration = {
        "name": "new",
        "suites": ("mine",),
        "cluster": "mine",
        "kind": "generation",
        "source": Dataset("new", "1.0.0"),
        "splits": {"test": "test"},
        "templates": ("{a}\nB:\n", "{a}?\n"),
        "target": "b",
        "metric": "rouge",
    }
    return Task(**declaration | changes)


def test_declarations_are_checked():
    with pytest.raises(CatKerasError, match="Unknown kind of task new: 'generating'; did you mean generation"):
        declare(kind="generating")
    with pytest.raises(CatKerasError, match="none may end with a blank"):
        declare(templates=("{a} ",))
    with pytest.raises(CatKerasError, match="needs a template"):
        declare(templates=())
    with pytest.raises(CatKerasError, match="a generation has none"):
        declare(options=("x",))
    with pytest.raises(CatKerasError, match="a classification has options"):
        declare(kind="classification")
    with pytest.raises(CatKerasError, match="'qqp' of new belongs to glue_qqp"):
        task.names()
        task.register(declare(aliases=("qqp",)))


def test_rows_are_checked():
    new = declare()
    assert new.example({"a": " {x} ", "b": "y\n"}, "0", 1).prompt == "{x}?\n"
    with pytest.raises(CatKerasError, match=r"has templates 0\.\.1; received 2"):
        new.example({"a": "x", "b": "y"}, "0", 2)
    with pytest.raises(CatKerasError, match="A target of task new must not be empty"):
        new.example({"a": "x", "b": " "}, "0")
    with pytest.raises(CatKerasError, match="needs field 'concepts'; the row has target, references"):
        task.get("common_gen").example({"target": "x", "references": []}, "0")
    with pytest.raises(CatKerasError, match="field of the wrong type"):
        task.get("common_gen").example({"target": "x", "references": [], "concepts": None}, "0")
    per_row = declare(kind="classification", options=lambda row: row["choices"], target="b")
    assert per_row.example({"a": "x", "choices": ["u", "v"], "b": 1}, "0").target == "v"
    assert per_row.example({"a": "x", "choices": ["u", "v"], "b": "u"}, "0").target == "u"


def test_identity_is_json_and_sees_every_change():
    changes = [
        {"name": "other"},
        {"version": 2},
        {"templates": ("{a}:\n",)},
        {"splits": {"test": "test[:5]"}},
        {"metric": "bleu+chrf"},
        {"metric_args": {"positive": "x"}},
        {"source": Dataset("new", "2.0.0")},
        {"kind": "classification", "options": ("x", "y")},
        {"kind": "classification", "options": ("y", "x")},
        {"target": "c"},
        {"references": "refs"},
    ]
    identities = {json.dumps(declare(**change).identity(), sort_keys=True) for change in [{}, *changes]}
    assert len(identities) == 1 + len(changes)
    assert declare(license="MIT").identity() == declare().identity()


def test_the_registry_loads_no_framework():
    heavy = "{'tensorflow', 'keras', 'numpy', 'pandas', 'sklearn', 'sacrebleu', 'rouge_score'}"
    code = f"import sys; from benchmarks import metrics, sources, task; task.names(); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


@pytest.mark.skipif("CAT_KERAS_DATA" not in os.environ, reason="CAT_KERAS_DATA names no folder of real data")
@pytest.mark.parametrize("name", ROWS)
def test_every_real_row_renders(name):
    declared = task.get(name)
    ids = {}
    for split in declared.splits:
        examples = load(declared, split, os.environ["CAT_KERAS_DATA"])
        ids[split] = {example.id for example in examples}
        assert len(ids[split]) == len(examples)
        assert all(e.prompt.endswith(":\n") and e.target in (e.options or (e.target,)) for e in examples)
        if declared.options:
            assert {example.target for example in examples} == set(declared.options)
    assert not ids["train"] & ids["validation"] and not ids["test"] & (ids["train"] | ids["validation"])
