"""Declarations of the registry, rendered on rows written for these tests."""

import json
import os
import subprocess
import sys
from collections import Counter
from importlib.metadata import EntryPoint
from pathlib import Path

import pytest

from benchmarks import metrics
from benchmarks.sources import Dataset
from benchmarks.tasks import extensions, sample_rows, task
from benchmarks.tasks.loading import load
from benchmarks.tasks.task import Task
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
# Fields that hold the answer, where `target` is not simply one of them.
ANSWER_FIELDS = {
    "bool_q": ("answer",),
    "record": ("answers",),
    "story_cloze": ("label",),
    "arc_easy": ("answerKey",),
    "arc_challenge": ("answerKey",),
    "natural_questions": ("answer",),
    "trivia_qa": ("answer",),
    "stsb": ("label",),
    "sentiment140": ("polarity",),
    "squad_v1": ("answers",),
    "squad_v2": ("answers", "is_impossible", "plausible_answers"),
    "drop": ("answer", "validated_answers"),
    "quac": ("answers", "orig_answer", "yesno", "followup"),
    "cnn_dailymail": ("highlights",),
    "xsum": ("target", "references"),
}
SIZES = {"superglue": 10, "wmt22": 21, "flan2021": 70}
CLUSTERS = {
    "translation": 29,
    "summarization": 11,
    "entailment": 10,
    "reading_comprehension": 6,
    "structure_to_text": 4,
    "open_domain_qa": 4,
    "paraphrase": 4,
    "sentiment": 4,
    "common_sense": 4,
    "coreference": 4,
    "text_formatting": 3,
    "conversational_qa": 2,
    "read_comp_and_common_sense": 2,
    "diagnostic": 2,
    "math": 1,
    "word_disambiguation": 1,
    "linguistic_acceptability": 1,
    "question_classification": 1,
}
# Text formatting takes its question from its answer; what CoQA asks depends on the turns before the last.
DERIVED = ("true_case", "fix_punct", "word_segment", "coqa")

REAL = [name for name in task.names() if "embedded" not in task.get(name).suites]
each_task = pytest.mark.parametrize("name", REAL)
each_template = pytest.mark.parametrize(
    ("name", "template"), [(name, i) for name in ROWS for i in range(len(task.get(name).templates))]
)


def samples(name):
    declared = task.get(name)
    return [(id, row) for id, row in sample_rows.rows(declared) if declared.keeps(row)]


@each_template
def test_a_row_renders_to_a_prompt_that_the_target_follows(name, template):
    declared, row = task.get(name), ROWS[name]
    example = declared.example(row, "id", template)
    assert example.task == declared.name and example.id == "id"
    assert "{" not in example.prompt and "None" not in example.prompt
    assert example.target == ANSWERS.get(declared.name, row.get("target", example.target))
    assert len(example.prompt) < 300


@each_task
def test_samples_render_with_every_template(name):
    declared = task.get(name)
    assert len(declared.templates) >= 3
    for id, row in samples(name):
        examples = [declared.example(row, id, template) for template in range(len(declared.templates))]
        assert len({example.prompt for example in examples}) == len(examples)
        for example in examples:
            assert example.prompt.endswith(":\n") and example.prompt == example.prompt.lstrip()
            assert example.target and example.target == example.target.strip()
            assert all(reference.strip() for reference in example.references)
            assert len(set(example.options)) == len(example.options)


@each_task
def test_no_prompt_tells_the_answer(name):
    declared = task.get(name)
    if name in DERIVED:
        pytest.skip("its question is made from its answer")
    fields = ANSWER_FIELDS.get(name) or (declared.target, "references")
    assert all(isinstance(field, str) for field in fields), "name the fields of the answer in ANSWER_FIELDS"
    assert not any(f"{{{field}}}" in template for field in fields for template in declared.templates)
    rows = [row for _, row in samples(name)]
    for row, other in zip(rows, rows[1:] + rows[:1], strict=True):
        exchanged = row | {field: other[field] for field in fields if field in other}
        for template in range(len(declared.templates)):
            assert declared._prompt(exchanged, template) == declared._prompt(row, template)


@pytest.mark.parametrize("name", [n for n in REAL if isinstance(task.get(n).options, tuple) and task.get(n).options])
def test_options_stand_in_the_order_of_the_labels(name):
    declared = task.get(name)
    if not isinstance(declared.target, str):
        pytest.skip("its label is no index; see test_tfds")
    _, row = samples(name)[0]
    answers = [declared.example(row | {declared.target: index}, "0").target for index in range(len(declared.options))]
    assert tuple(answers) == declared.options


def test_every_task_has_what_a_user_looks_for():
    identities = [json.dumps(task.get(name).identity(), sort_keys=True) for name in task.names()]
    assert len(set(identities)) == len(identities)
    for declared in map(task.get, task.names()):
        assert declared.suites and declared.cluster and declared.license and declared.version >= 1
        assert declared.citation or "embedded" in declared.suites
        assert "test" in declared.splits
        learned_from = task.get(declared.trained_on) if declared.trained_on else declared
        assert {"train", "validation", "test"} <= set(learned_from.splits)
        assert metrics.of(declared).name == declared.metric
        assert all(length > 0 for length in declared.max_lengths)


def test_the_registry_is_whole():
    declared = [task.get(name) for name in REAL]
    assert len(declared) == 93
    assert {suite: len(task.select(suite)) for suite in SIZES} == SIZES
    assert Counter(t.cluster for t in declared) == CLUSTERS
    assert [t.name for t in declared if set(t.suites) == {"superglue", "flan2021"}] == [
        t.name for t in task.select("superglue") if t.cluster != "diagnostic"
    ]


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
    superglue = ["bool_q", "cb", "copa", "multirc", "record", "rte", "wic", "wsc", "axb", "axg"]
    assert [t.name for t in task.select("superglue")] == superglue
    assert [t.name for t in task.select(["sst2", "superglue", "boolq"])] == [*superglue, "sst2"]
    assert [t.name for t in task.select(["structure_to_text"]) if "flan2021" in t.suites] == [
        "common_gen",
        "web_nlg_en",
        "e2e_nlg",
        "dart",
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
        {"group": "c"},
        {"group": "c", "together": True},
        {"keep": task.Filled(("a",))},
        {"keep": task.Filled(("b",))},
    ]
    identities = {json.dumps(declare(**change).identity(), sort_keys=True) for change in [{}, *changes]}
    assert len(identities) == 1 + len(changes)
    assert declare(license="MIT").identity() == declare().identity()


def test_the_registry_loads_no_framework():
    heavy = "{'tensorflow', 'keras', 'numpy', 'pandas', 'sklearn', 'sacrebleu', 'rouge_score'}"
    imports = "import sys; from benchmarks import metrics; from benchmarks.tasks import task, loading"
    code = f"{imports}; task.names(); print({heavy} & set(sys.modules))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "set()"


def test_labels_are_one_per_option():
    with pytest.raises(CatKerasError, match="do not match options"):
        declare(kind="classification", options=("x", "y"), labels=("a",))


def test_structures_become_text():
    def prompt(name, row, template=0):
        return task.get(name).example(row, "0", template).prompt

    e2e = {"meaning_representation": "name[The Eagle], eatType[coffee shop], near[Burger King]", "target": "x"}
    e2e["references"] = []
    assert "name: The Eagle\neat type: coffee shop\nnear: Burger King\n" in prompt("e2e_nlg", e2e)
    dart = {"tripleset": ["[TABLECONTEXT] [TITLE] Derby", "Derby BUILT_IN 1890"], "target": "x", "references": []}
    assert "Derby\nDerby BUILT IN 1890\n" in prompt("dart", dart)
    wsc = {
        "text": "Mark told Pete, and he left.",
        "span2_index": 4,
        "span2_text": "he",
        "span1_text": "Mark",
        "label": 0,
    }
    assert "Mark told Pete, and *he* left." in prompt("wsc", wsc)
    assert "Mark told Pete, and he left." in prompt("wsc", wsc | {"span2_index": 1})  # a wrong position marks nothing
    copa = {
        "premise": "The glass fell.",
        "choice1": "It broke.",
        "choice2": "It rose.",
        "question": "effect",
        "label": 0,
    }
    assert prompt("copa", copa, 1).startswith("The glass fell, so ...")
    paragraph = "<b>Sent 1: </b>She left.<br><b>Sent 2: </b>He stayed.<br>"
    multirc = {"paragraph": paragraph, "question": "Who?", "answer": "She", "label": 1}
    example = task.get("multirc").example(multirc | {"idx": {"paragraph": 3, "question": 7, "answer": 0}}, "0")
    assert example.prompt.startswith("She left. He stayed.\n") and example.group == "3-7"


def test_winogender_pairs_differ_in_a_pronoun_only():
    pair = task.get("axg").group_of
    hypothesis = "The visitor lost her key."
    she = {"premise": "The visitor said she hurt herself and lost her key.", "hypothesis": hypothesis}
    he = {
        "premise": "The visitor said he hurt himself and lost his key.",
        "hypothesis": hypothesis.replace("her", "his"),
    }
    assert pair(she) == pair(he) != pair(he | {"hypothesis": "The visitor lost nothing."})


def test_answers_that_the_data_leave_empty():
    drop = task.get("drop")
    row = {"passage": "p", "question": "q", "answer": "", "validated_answers": ["", "4 June"], "query_id": "0"}
    assert drop.keeps(row) and drop.example(row, "0").target == "4 June"
    assert not drop.keeps(row | {"validated_answers": []})
    squad = {"context": "c", "question": "q", "is_impossible": True, "answers": {"text": [], "answer_start": []}}
    assert task.get("squad_v2").example(squad, "0").references == ("unanswerable",)
    assert not task.get("snli").keeps({"premise": "a", "hypothesis": "b", "label": -1})
    assert not task.get("sentiment140").keeps({"text": "a", "polarity": 2})


MINE = """
from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(Task(name="{name}", suites=("mine",), cluster="mine", kind="generation", source=Dataset("mine", "1.0.0"),
              splits={{"test": "test"}}, templates=("{{a}}:\\n",), target="b", metric="rouge"))
"""


@pytest.fixture
def registry(monkeypatch):
    task.names()
    monkeypatch.setattr(task, "_TASKS", dict(task._TASKS))


def test_a_file_adds_tasks(registry, tmp_path):
    path = tmp_path / "my_tasks.py"
    path.write_text(MINE.format(name="mine_1"))
    assert task.load_module(path) == ["mine_1"] == task.load_module(str(path))
    assert [t.name for t in task.select("mine")] == ["mine_1"]


def test_a_file_that_fails_adds_nothing(registry, tmp_path):
    before = task.names()
    with pytest.raises(CatKerasError, match=r"no such file"):
        task.load_module(tmp_path / "absent.py")
    for text, message in (
        (MINE.format(name="mine_2") + "1 / 0", "ZeroDivisionError"),
        (MINE.format(name="sst2"), "'sst2' of sst2 belongs to sst2"),
        ("def", "SyntaxError"),
    ):
        (tmp_path / "bad.py").write_text(text)
        with pytest.raises(CatKerasError, match=message):
            task.load_module(tmp_path / "bad.py")
        assert task.names() == before


def test_entry_points_add_tasks(registry, tmp_path, monkeypatch):
    (tmp_path / "their_tasks.py").write_text(MINE.format(name="theirs"))
    (tmp_path / "their_broken_tasks.py").write_text("raise RuntimeError('broken')")
    monkeypatch.syspath_prepend(tmp_path)

    def install(module):
        point = EntryPoint("tasks", module, extensions.GROUP)
        monkeypatch.setattr(extensions, "_entry_points", lambda: (point,))

    install("their_tasks")
    assert "theirs" in task.names() and task.get("theirs").cluster == "mine"
    install("their_broken_tasks")
    with pytest.raises(CatKerasError, match=r"Entry point tasks = their_broken_tasks .*RuntimeError: broken"):
        task.names()


@pytest.mark.slow
@pytest.mark.skipif("CAT_KERAS_DATA" not in os.environ, reason="CAT_KERAS_DATA names no folder of real data")
@each_task
def test_every_real_row_renders(name):
    declared, root = task.get(name), Path(os.environ["CAT_KERAS_DATA"])
    ids = {}
    for split in declared.splits:
        try:
            examples = load(declared, split, root, template="mixture")
        except CatKerasError as error:
            # Part of the data set is not in that folder, or so small that other splits take all of it.
            if "missing" in str(error) or "is empty" in str(error) or "Training pairs lie in" in str(error):
                continue
            raise
        ids[split] = {example.id for example in examples}
        assert len(ids[split]) == len(examples)
        assert all(e.prompt.endswith(":\n") and e.prompt == e.prompt.lstrip() for e in examples)
        assert all(e.target in (e.options or (e.target,)) and e.target for e in examples)
        if name in ROWS and declared.options:
            assert {example.target for example in examples} == set(declared.options)
    assert sum(map(len, ids.values())) == len(set().union(*ids.values()))


# -- options, references, parts to cut -------------------------------------------------------------------------------


def own(**changes):
    declaration = {
        **{"name": "own", "suites": (), "cluster": "own", "kind": "classification", "metric": "accuracy"},
        **{"source": Dataset("own/rows", "1.0.0"), "splits": {"train": "train", "test": "test"}},
        **{"templates": ("{text}\nColour:\n",), "target": "label", "options": ("red", "blue")},
    }
    return Task(**declaration | changes)


@pytest.mark.parametrize(
    ("options", "row"),
    [
        ((" red", "blue\n"), {"label": 1}),
        ("choices", {"label": 1, "choices": [" red", "blue\n"]}),
        ("choices", {"label": "blue", "choices": [" red", "blue\n"]}),
        ("choices", {"label": " blue ", "choices": ["red", "blue"]}),
        (lambda row: (row["one"], row["two"]), {"label": "blue\n", "one": " red", "two": "blue\n"}),
    ],
)
def test_options_and_targets_lose_their_blanks_alike(options, row):
    example = own(options=options).example(row | {"text": "x"}, "id")
    assert (example.options, example.target, example.answer) == (("red", "blue"), "blue", 1)


@pytest.mark.parametrize("choices", [["red", "red "], ["red", ""], ["red", "\u200b "]])
def test_options_that_are_the_same_without_blanks_are_an_error_of_the_row(choices):
    declared = own(options="choices")
    with pytest.raises(CatKerasError, match=r"Options of a row of task own differ and are not empty; received.*row"):
        declared.example({"text": "x", "label": 0, "choices": choices}, "id")
    with pytest.raises(CatKerasError, match=r"Options of task own differ.*Correct its declaration"):
        own(options=tuple(text.replace("\u200b", "") for text in choices))


def test_targets_and_references_of_a_generation_lose_their_blanks():
    declared = own(kind="generation", options=(), target="answer", references="all", metric="exact_match")
    example = declared.example({"text": " x ", "answer": " one\n", "all": [" one\n", " ", "uno "]}, "id")
    assert (example.prompt, example.target, example.references) == ("x\nColour:\n", "one", ("one", "uno"))


def test_what_may_be_cut_is_a_field_and_a_side():
    declared = own(templates=("Read {text} now, {name}:\n", "{name}: {text}{text}\n"), cut={"text": "end"})
    row = {"text": " abc ", "name": "Ann", "label": 0}
    assert declared.example(row, "id").cut == ((5, 8),)
    assert declared.example(row, "id", 1).cut == ((5, 8), (8, 11))
    assert own(cut={"text": "start"}).example({"text": "abc", "label": 0}, "id").cut == ((3, 0),)
    assert own().example({"text": "abc", "label": 0}, "id").cut == ()
    with pytest.raises(CatKerasError, match="Unknown field to cut of task own: 'txt'; did you mean text"):
        own(cut={"txt": "end"})
    with pytest.raises(CatKerasError, match=r"cut is start or end for each field to cut; received \{'text': 'left'\}"):
        own(cut={"text": "left"})
    with pytest.raises(CatKerasError, match="Unknown text of task own: 'htlm'; did you mean html"):
        own(text="htlm")


def test_identities_of_tasks_without_the_new_attributes_are_as_before():
    assert not {"cut", "text", "pooled"} & own().identity().keys()
    changed = own(cut={"text": "end"}, text="html", pooled=True).identity()
    assert (changed["cut"], changed["text"], changed["pooled"]) == ({"text": "end"}, "html", True)


# -- rows of one input -----------------------------------------------------------------------------------------------


def meal(name, target):
    return {"meaning_representation": f"name[{name}], eatType[pub]", "target": target, "references": [target]}


def test_outside_training_an_input_is_one_example_with_all_its_references(tmp_path):
    rows = [meal("A", "one"), meal("B", "two"), meal("A", "three"), meal("A", "one"), meal("C", "four")]
    for split in ("train", "validation"):
        path = tmp_path / f"gem/e2e_nlg/{split}.jsonl"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(json.dumps(row) + "\n" for row in (rows * 50 if split == "train" else rows)))
    declared = task.get("e2e_nlg")
    examples = load(declared, "test", tmp_path)
    assert [(e.id, e.target, e.references) for e in examples] == [
        ("validation-0", "one", ("one", "three")),
        ("validation-1", "two", ("two",)),
        ("validation-4", "four", ("four",)),
    ]
    assert len(load(declared, "validation", tmp_path)) == 3
    assert len(load(declared, "train", tmp_path)) == 50  # each row is an example; 200 of the 250 are for validation
    assert len(load(declared, "test", tmp_path, limit=2)) == 2
    mixed = load(declared, "test", tmp_path, template="mixture")
    assert [e.references for e in mixed] == [e.references for e in examples]


def test_a_broken_row_of_an_input_is_named(tmp_path):
    path = tmp_path / "gem/e2e_nlg/validation.jsonl"
    path.parent.mkdir(parents=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in [meal("A", "one"), meal("A", "")]))
    with pytest.raises(CatKerasError, match=r"validation\.jsonl:2: A target of task e2e_nlg must not be empty"):
        load(task.get("e2e_nlg"), "test", tmp_path)


def test_data_to_text_is_pooled():
    assert all(t.pooled for t in task.select("structure_to_text") if "embedded" not in t.suites)
