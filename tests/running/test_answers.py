"""How a profile says that models are asked and answer: chat, stop strings, and what options are compared by."""

import numpy as np
import pandas
import pytest

from benchmarks.keeping import keep
from benchmarks.planning import plan, profile
from benchmarks.report.reading import load
from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import tiny

CHAT = 'data.chat.template="{{ messages[-1].content }}{% if add_generation_prompt %}=> {% endif %}"'


def _keys(**changes):
    made = plan.make(
        profile.read("tiny", {"data.tasks": ["embedded_lookup"], "data.train": 8, "data.test": 4, **changes})
    )
    return made.encoded, made.prediction_key(made.large_key), made.large_key


def test_keys_change_with_what_they_depend_on_and_only_then():
    before = _keys()
    stay = _keys(**{"data.stop": [], "data.compare": "sum"})
    assert stay == before
    for change in ({"data.stop": ["."]}, {"data.compare": "byte"}):
        after = _keys(**change)
        assert after[0] == before[0] and after[2] == before[2] and after[1] != before[1]
    assert not set(_keys(**{"data.chat": {"system": "Be brief."}})) & set(before)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"data.stop": "."}, "data.stop"),
        ({"data.stop": [""]}, "data.stop"),
        ({"data.compare": "bytes"}, "data.compare"),
        ({"data.chat": {"sytem": "x"}}, "did you mean data.chat.system"),
    ],
)
def test_settings_are_checked_when_they_are_read(change, message):
    with pytest.raises(CatKerasError, match=message):
        profile.read("embedded", change)


@pytest.mark.long
def test_a_run_answers_as_its_profile_says(tmp_path):
    settings = ("--set", 'data.stop=["e"]', "--set", "data.compare=byte", "--set", CHAT)
    tiny.run(tmp_path, *tiny.EACH_STAGE, *settings)
    folder = tmp_path / "runs" / "tiny"
    table = pandas.read_parquet(folder / "predictions.parquet")
    examples = pandas.read_parquet(folder / "examples.parquet").set_index(["task", "id"])
    classified = [len(scores) > 0 for scores in table["option_scores"]]
    assert any(classified) and not all(classified)
    for (_, row), is_choice in zip(table.iterrows(), classified, strict=True):
        options = examples.loc[(row["task"], row["id"])]["options"]
        if is_choice:
            lengths = [len(option.encode()) for option in options]
            np.testing.assert_allclose(row["option_scores"], np.divide(row["option_logprobs"], lengths), rtol=1e-5)
            assert row["text"] == options[int(np.argmax(row["option_scores"]))]
        else:
            assert "e" not in row["text"] and len(row["token_logprobs"]) == row["n_answer"]
    assert store.read_manifest(folder / "manifest.json")["settings"]["data"]["stop"] == ["e"]
    run, kept = load.load(folder), load.load(keep.keep(folder, tmp_path / "kept"))
    for key, cell in run.small.items():
        if key[2] in run.choice_tasks():
            rule = deferral.get("max-probability")
            np.testing.assert_allclose(rule(kept.small[key]), rule(cell))
            assert not np.allclose(rule(cell), rule({n: cell[n] for n in ("id", "option_logprobs")}))
