"""A saved cascade: what comes back is what was saved, or one error that names the file."""

import json
import shutil

import numpy as np
import pytest

from cat_keras.cascades import calibration, deferral
from cat_keras.cascades.cascade import Cascade
from cat_keras.data.records import Example
from cat_keras.decoding.sampling import Sampler
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store

SETTINGS = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16}


@pytest.fixture(scope="module")
def calibrated(trained, large, examples):
    cascade = Cascade([trained, large], deferral.ChowQuantile(0.25), sampler=Sampler(1.0, top_k=3), **SETTINGS)
    cascade.calibrate(examples[20:36], max_deferral=0.5)
    return cascade


@pytest.fixture(scope="module")
def kept(calibrated, tmp_path_factory):
    folder = tmp_path_factory.mktemp("kept") / "cascade"
    calibrated.save(folder)
    return folder


@pytest.fixture
def folder(kept, tmp_path):
    return shutil.copytree(kept, tmp_path / "cascade")


def test_what_comes_back_answers_alike(calibrated, kept, examples):
    loaded = Cascade.load(kept)
    for name in ("rule", "rules", "thresholds", "arguments", "calibration", "calibrated_on"):
        assert getattr(loaded, name) == getattr(calibrated, name), name
    before, after = calibrated(examples[36:]), loaded(examples[36:])
    assert [(a.text, a.stage, a.n_prompt, a.n_answer, a.flops) for a in after] == [
        (a.text, a.stage, a.n_prompt, a.n_answer, a.flops) for a in before
    ]
    np.testing.assert_allclose([a.score for a in after], [a.score for a in before], atol=1e-5)
    with pytest.raises(CatKerasError, match=r"calibrated on, e\.g\. spell/3"):
        loaded(examples[23:24])


def test_a_cascade_of_an_earlier_version_remembers_ids(folder, examples):
    """Earlier versions stored digests of ids alone; these are still refused, and content is not known."""
    facts = json.loads((folder / "cascade.json").read_text())
    facts["calibrated_on"] = sorted(map(calibration.digest, examples[20:36]))
    store.write_json(folder / "cascade.json", facts)
    store.seal(folder, {})
    loaded = Cascade.load(folder)
    assert loaded.calibrated_on == {calibration.digest(e) for e in examples[20:36]}
    with pytest.raises(CatKerasError, match="calibrated on"):
        loaded(examples[23:24])
    assert len(loaded([Example("new", examples[23].prompt, "")])) == 1


def test_the_folder_holds_no_text_and_no_pickle(kept, examples):
    names = {str(p.relative_to(kept)) for p in kept.rglob("*") if p.is_file()}
    assert {"cascade.json", "manifest.json", "stage-0/config.json", "stage-1/model.weights.h5"} <= names
    assert not [n for n in names if n.endswith((".pkl", ".npy", ".tmp"))]
    text = (kept / "cascade.json").read_text()
    assert json.loads(text, parse_constant=pytest.fail)["thresholds"]
    assert examples[20].prompt.strip() not in text and "spell" not in text


def test_thresholds_without_end_and_learned_rules_are_kept(calibrated, large, examples, tmp_path):
    many = [Example(f"{e.id}-{i}", e.prompt, e.target, e.task) for i in range(2) for e in examples[20:]]
    cascade = Cascade([large, large], rule="learned-quality", **SETTINGS)
    cascade.predictors = calibrated.predictors
    cascade.calibrate(many, max_deferral=0.0)
    cascade.references = ["elsewhere", "elsewhere"]  # spares copying the models
    cascade.save(tmp_path / "learned")
    facts = json.loads((tmp_path / "learned/cascade.json").read_text())
    assert facts["thresholds"] == ["-inf"]
    [rule] = map(deferral.from_config, facts["rules"])
    predictions = cascade.predictors[0](examples[:20])
    np.testing.assert_allclose(rule(predictions), cascade.rules[0](predictions))


def test_a_model_given_by_name_is_kept_by_name(calibrated, kept, trained, tmp_path, monkeypatch, new_model):
    monkeypatch.setattr("cat_keras.cascades.cascade.models.load", lambda preset: {"tiny": trained}[str(preset)])
    cascade = Cascade([trained, "tiny"], thresholds=[0.0], **SETTINGS)
    cascade.save(tmp_path / "named")
    assert not (tmp_path / "named/stage-1").exists()
    stage = {str(tmp_path / "named/stage-0"): trained}
    monkeypatch.setattr(
        "cat_keras.cascades.cascade.models.load", lambda preset: (stage | {"tiny": trained})[str(preset)]
    )
    assert Cascade.load(tmp_path / "named").references == [None, "tiny"]
    other = new_model("small", seed=9)
    monkeypatch.setattr("cat_keras.cascades.cascade.models.load", lambda preset: (stage | {"tiny": other})[str(preset)])
    with pytest.raises(CatKerasError, match="Received: others under 'tiny'"):
        Cascade.load(tmp_path / "named")


def test_saving_again_replaces_the_folder(calibrated, folder, monkeypatch):
    (folder / "note.txt").write_text("of the first")
    calibrated.save(folder)
    assert not (folder / "note.txt").exists()
    assert [p.name for p in folder.parent.iterdir()] == ["cascade"]

    def fail(*_):
        raise OSError("disk full")

    monkeypatch.setattr(models, "save", fail)
    with pytest.raises(OSError, match="disk full"):
        calibrated.save(folder)
    assert [p.name for p in folder.parent.iterdir()] == ["cascade"]
    assert (folder / "manifest.json").exists()


def flip(path):
    content = bytearray(path.read_bytes())
    content[len(content) // 2] ^= 1
    path.write_bytes(content)


@pytest.mark.parametrize(
    ("harm", "message"),
    [
        (lambda f: flip(f / "stage-1/model.weights.h5"), "stage-1/model.weights.h5 has another checksum"),
        (lambda f: flip(f / "cascade.json"), "cascade.json has another checksum"),
        (lambda f: (f / "stage-0/config.json").unlink(), "stage-0/config.json is missing"),
        (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
        (shutil.rmtree, "manifest.json is missing"),
    ],
)
def test_a_folder_that_was_changed_says_where(folder, harm, message):
    harm(folder)
    with pytest.raises(CatKerasError, match=message):
        Cascade.load(folder)


class _Own(deferral.ChowSum):
    name = "own"


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"thresholds": None}, "saved with its thresholds. Received: none"),
        ({"rule": _Own()}, "Unknown deferral rule 'own'"),
        ({"arguments": {"max_length": {1}}}, "JSON"),
    ],
)
def test_what_cannot_be_saved(calibrated, tmp_path, monkeypatch, change, message):
    for name, value in change.items():
        monkeypatch.setattr(calibrated, name, value)
    with pytest.raises(CatKerasError, match=message):
        calibrated.save(tmp_path / "cascade")
    assert not list(tmp_path.iterdir())


def test_only_a_cascade_is_saved_over(calibrated, tmp_path):
    (tmp_path / "thesis.tex").write_text("years of work")
    with pytest.raises(CatKerasError, match="a new folder, or over a saved one"):
        calibrated.save(tmp_path)
