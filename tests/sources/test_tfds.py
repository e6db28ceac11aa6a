"""Declarations against the builders of TensorFlow Datasets, offline: schemas, label names, and reading.

Rows are made up from the schema of the installed builder, so that a prompt that reads a field which does not exist, or
has another type, fails here and not after a download.
"""

import numpy as np
import pytest

from benchmarks import sources
from benchmarks.sources import tfds as reader
from benchmarks.tasks import loading, task
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError

pytestmark = [pytest.mark.slow, pytest.mark.filterwarnings("ignore")]  # the import of TFDS and TF warns and is slow

TFDS_TASKS = [name for name in task.names() if isinstance(task.get(name).source, sources.Dataset)]
# What a schema cannot say: values that a numeric label takes, and fields that refer to one another.
VALUES = {
    "record": {"entities": ["Anna", "Ben"], "answers": ["Ben"]},
    "wsc273": {"text": "Anna saw Ben because she looked.", "pronoun_start": 21, "pronoun_end": 24, "label": 1},
    "stsb": {"label": 3.7999999523162842},
    "sentiment140": {"polarity": 4},
    "story_cloze": {"label": 2},
    "hellaswag": {"label": 1},
    "copa": {"question": "cause"},
    "true_case": {"en": "Anna, hello there."},
    "fix_punct": {"en": "Anna, hello there."},
    "word_segment": {"en": "Anna, hello there."},
}
# Labels that TFDS has as numbers, so that no class names can be compared.
NUMBERED = {
    "bool_q": "answer is a bool",
    "stsb": "the label is a float",
    "sentiment140": "polarity is a number, 0 or 4",
    "hellaswag": "the label is a number",
    "story_cloze": "the label is a number, 1 or 2",
    "wsc273": "the label is a number",
    "record": "the answers are among the entities of the row",
}
# Per-row options: the field that holds the label, and what the classes are called.
ROW_OPTIONS = {
    "copa": ("label", ["choice1", "choice2"]),
    "piqa": ("label", ["0", "1"]),
    "winogrande": ("label", ["1", "2"]),
    "definite_pronoun_resolution": ("label", ["0", "1"]),  # the builder counts its classes and does not name them
    "cosmos_qa": ("label", ["0", "1", "2", "3"]),
    "openbookqa": ("answerKey", ["A", "B", "C", "D"]),
    "arc_easy": ("answerKey", ["A", "B", "C", "D", "E"]),
    "arc_challenge": ("answerKey", ["A", "B", "C", "D", "E"]),
}


@pytest.fixture(autouse=True)
def no_network(monkeypatch):
    tfds = pytest.importorskip("tensorflow_datasets")
    monkeypatch.setattr(tfds.core.utils.gcs_utils, "_is_gcs_disabled", True)
    return tfds


def features(declared: Task):
    return reader.builder(declared.source.name, declared.source.version).info.features


def made_up(feature, name="text"):
    """A value of a feature as `tfds.plain` gives it."""
    import tensorflow_datasets as tfds

    if isinstance(feature, tfds.features.FeaturesDict):
        return {key: made_up(inner, key) for key, inner in feature.items()}
    if isinstance(feature, tfds.features.Sequence):
        inner = made_up(feature.feature, name)
        listed = isinstance(inner, dict)
        return {key: [value, value] for key, value in inner.items()} if listed else [f"{inner} one", f"{inner} two"]
    if isinstance(feature, tfds.features.ClassLabel):
        return 0
    kind = np.dtype(feature.np_dtype).kind
    return {"b": False, "i": 0, "f": 1.0}.get(kind, f"Some {name}, made up.")


@pytest.mark.parametrize("name", TFDS_TASKS)
def test_prompts_read_fields_of_the_schema(name):
    declared = task.get(name)
    row = made_up(features(declared)) | VALUES.get(name, {})
    if name.startswith("arc"):
        row["choices"] = {"text": ["one", "two"], "label": [0, 1]}
    assert declared.keeps(row)
    prompts = [declared.example(row, "0", template).prompt for template in range(len(declared.templates))]
    assert len(set(prompts)) == len(prompts) >= 3
    assert all(prompt.strip() and "None" not in prompt for prompt in prompts)


@pytest.mark.parametrize("name", [n for n in TFDS_TASKS if task.get(n).kind == "classification"])
def test_labels_mean_what_the_options_say(name):
    declared, found = task.get(name), features(task.get(name))
    if name in NUMBERED:
        pytest.skip(NUMBERED[name])
    if name in ROW_OPTIONS:
        field, names = ROW_OPTIONS[name]
        assert found[field].names == names
        return
    assert found[declared.target].names == list(declared.labels or declared.options)
    row = made_up(found)
    answers = [declared.example(row | {declared.target: index}, "0").target for index in range(len(declared.options))]
    assert tuple(answers) == declared.options


@pytest.mark.parametrize("name", ROW_OPTIONS)
def test_the_label_points_at_the_option_of_its_name(name):
    """Options come from the row: choice1, sol2, option1, answer3, … in the order of their labels."""
    declared = task.get(name)
    row = made_up(features(declared))
    if name.startswith("arc"):
        row["choices"] = {"text": ["w", "x", "y", "z"], "label": [0, 1, 2, 4]}  # one choice was withdrawn
        assert [declared.example(row | {"answerKey": key}, "0").target for key in (0, 1, 2, 4)] == ["w", "x", "y", "z"]
        with pytest.raises(CatKerasError, match="A label of task"):
            declared.example(row | {"answerKey": 3}, "0")
        return
    field, names = ROW_OPTIONS[name]
    examples = [declared.example(row | {field: index}, "0") for index in range(len(names))]
    assert [example.target for example in examples] == list(examples[0].options)
    assert len(set(examples[0].options)) == len(names)


@pytest.mark.parametrize(("name", "values", "answers"), [
    ("bool_q", {"answer": [False, True]}, ["no", "yes"]),
    ("stsb", {"label": [0.0, 1.1, 1.10000002, 3.7999999, 5.0]}, ["0.0", "1.2", "1.2", "3.8", "5.0"]),
    ("sentiment140", {"polarity": [0, 4]}, ["negative", "positive"]),
    ("story_cloze", {"label": [1, 2]}, ["Some endings, made up. one", "Some endings, made up. two"]),
    ("hellaswag", {"label": [0, 1]}, ["Some endings, made up. one", "Some endings, made up. two"]),
    ("wsc273", {"label": [0, 1]}, ["Some option1, made up.", "Some option2, made up."]),
])  # fmt: skip
def test_numbered_labels(name, values, answers):
    declared = task.get(name)
    ((field, numbers),) = values.items()
    row = made_up(features(declared)) | VALUES.get(name, {})
    assert [declared.example(row | {field: number}, "0").target for number in numbers] == answers


def test_rows_come_as_a_local_copy_has_them(no_network, monkeypatch):
    monkeypatch.setattr(reader, "_count", lambda builder, part: 6)
    reader.prepared.cache_clear()
    with no_network.testing.mock_data(num_examples=6):
        for name in (
            "sst2",
            "squad_v1",
            "arc_easy",
            "coqa",
            "multirc",
            "opinion_abstracts_idebate",
            "natural_questions",
        ):
            declared = task.get(name)
            found = list(declared.source.open("train", None, "tfds"))
            assert [id for id, _ in found] == [f"train-{index}" for index in range(6)]
            same_shape(found[0][1], made_up(features(declared)))
    reader.prepared.cache_clear()


def same_shape(value, like):
    if isinstance(like, dict):
        assert set(value) == set(like)
        for key in like:
            same_shape(value[key], like[key])
    elif isinstance(like, list):
        assert isinstance(value, list) and all(type(item) is type(like[0]) for item in value)
    else:
        assert type(value) is type(like)


@pytest.fixture(scope="module")
def toys():
    """A data set of TFDS that is made here, from nothing."""
    tfds = pytest.importorskip("tensorflow_datasets")

    class CatKerasToys(tfds.core.GeneratorBasedBuilder):
        VERSION = tfds.core.Version("1.0.0")

        def _info(self):
            label = tfds.features.ClassLabel(names=["red", "blue"])
            features = tfds.features.FeaturesDict({"text": tfds.features.Text(), "label": label})
            return tfds.core.DatasetInfo(builder=self, features=features)

        def _split_generators(self, dl_manager):
            return {"train": self._generate_examples()}

        def _generate_examples(self):
            for index in range(300):
                yield index, {"text": f"row {index}", "label": index % 2}

    return Task(
        name="toys",
        suites=(),
        cluster="toys",
        kind="classification",
        source=sources.Dataset("cat_keras_toys", "1.0.0"),
        splits={"train": "train[:100]", "validation": "train[-60:-20]", "test": "train[-20:]"},
        templates=("{text}\nColour:\n",),
        target="label",
        options=("red", "blue"),
        metric="accuracy",
    )


def test_slices_read_the_same_rows_however_they_are_asked_for(toys, tmp_path):
    rows = toys.source.open("train", tmp_path, "tfds")
    everything = list(rows)
    assert rows.count == len(everything) == 300
    assert {row["text"] for _, row in everything} == {f"row {index}" for index in range(300)}
    for indices in ([0], [299], range(120, 125), [3, 77, 240]):
        assert list(rows.read(indices)) == [everything[index] for index in indices]
    test = loading.load(toys, "test", tmp_path, source="tfds")
    assert [example.prompt for example in test] == [f"{row['text']}\nColour:\n" for _, row in everything[-20:]]
    with pytest.raises(CatKerasError, match=r"Unknown split of cat_keras_toys/1\.0\.0: 'valid'; valid: train"):
        toys.source.open("valid", tmp_path, "tfds")


def test_prepare_writes_what_tfds_would_give(toys, tmp_path):
    from benchmarks.tasks.prepare import prepare

    prepare([toys], "tfds", tmp_path / "out", tmp_path / "tfds", report=lambda line: None)
    for split, size in (("train", 100), ("validation", 40), ("test", 20)):
        here = loading.load(toys, split, tmp_path / "out")
        there = loading.load(toys, split, tmp_path / "tfds", source="tfds")
        assert len(here) == size
        assert [(e.prompt, e.target) for e in here] == [(e.prompt, e.target) for e in there]


def test_data_that_tfds_does_not_have(tmp_path):
    with pytest.raises(CatKerasError, match=r"has no glue/nothing:2\.0\.0"):
        reader.builder("glue/nothing", "2.0.0")
    with pytest.raises(CatKerasError, match=r"has no glue/sst-2:2\.0\.0; did you mean glue/sst2"):
        reader.builder("glue/sst-2", "2.0.0")
    with pytest.raises(CatKerasError, match=r"has no bool_qq:1\.0\.0; did you mean bool_q\?"):
        reader.builder("bool_qq", "1.0.0")
    with pytest.raises(CatKerasError, match=r"has no glue/sst2:9\.9\.9"):
        reader.builder("glue/sst2", "9.9.9")


def test_manual_downloads_say_what_to_put_where(tmp_path):
    reader.prepared.cache_clear()
    with pytest.raises(CatKerasError) as error:
        loading.load(task.get("story_cloze"), "test", tmp_path, source="tfds")
    assert "cannot download story_cloze/2016/1.0.0 by itself" in str(error.value)
    assert f"Put the files into {tmp_path / 'downloads' / 'manual'}" in str(error.value)


def test_a_download_that_fails_is_one_error(tmp_path):
    reader.prepared.cache_clear()
    with pytest.raises(CatKerasError, match=r"could not download natural_questions_open/1\.0\.0 .* --source local"):
        loading.load(task.get("natural_questions"), "test", tmp_path, source="tfds")
