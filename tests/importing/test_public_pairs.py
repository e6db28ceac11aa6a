"""Many pairs of models at once: each measure is that of the curve alone, and a kept folder follows from its rows."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.importing import pairs as importing
from benchmarks.importing import public
from benchmarks.keeping import keep, verify
from benchmarks.report.numbers import pairs as numbers
from cat_keras.errors import CatKerasError
from cat_keras.evaluation import confidence
from cat_keras.evaluation.curves import Outcomes, oracle_audc
from tests import runs

GROUP = ("Falcon-7b", "Falcon-40b", "Llama-70b")


@pytest.fixture
def outputs(tmp_path, monkeypatch):
    """A folder with one table of three models, of which one is left without stated sizes."""
    rng, lines = np.random.default_rng(0), ["id,model,correct,msp,stated_confidence"]
    for place, model in enumerate((*GROUP, "gpt-3.5-turbo", "gpt-4-turbo")):
        right = rng.random(60) < 0.4 + 0.12 * place
        score = np.round(np.clip(0.3 * right + 0.7 * rng.random(60), 0, 1), 1)
        lines += [f"q-{i},{model},{int(right[i])},{score[i]},0.5" for i in range(60)]
    (tmp_path / "some.csv").write_text("\n".join(lines))
    table = public.Table("some.csv", "SOME", (GROUP, ("gpt-3.5-turbo", "gpt-4-turbo")))
    monkeypatch.setattr(public, "TABLES", (table,))
    return tmp_path


def test_measures_are_those_of_the_curve(outputs):
    table = importing.rows(outputs)
    found = numbers.standings(table, resamples=5)
    assert [(p.small, p.large) for p in found if p.score == "confidence"] == [
        ("Falcon-7b", "Falcon-40b"), ("Falcon-7b", "Llama-70b"), ("Falcon-40b", "Llama-70b"),
        ("gpt-3.5-turbo", "gpt-4-turbo"),
    ]  # fmt: skip
    pair, frame = found[0], table.to_pandas()
    small, large = (frame[frame["model"] == model] for model in (pair.small, pair.large))
    columns = (small["confidence"], small["quality"], large["quality"], small["cost"], large["cost"])
    curve = Outcomes(*(column.to_numpy() for column in columns)).curve()
    values = {name: own[0] for name, own in pair.values.items()}
    assert values["lead"] == pytest.approx(large["quality"].mean() - small["quality"].mean())
    ideal = oracle_audc(small["quality"].to_numpy(), large["quality"].to_numpy())
    assert values["s_d"] == pytest.approx(curve.s_d(ideal))
    assert values["auroc"] == pytest.approx(confidence.auroc(small["confidence"].to_numpy(), small["right"].to_numpy()))
    assert values["saving"] == pytest.approx(1 - curve.cost_at_quality(float(large["quality"].mean())) / 40)
    assert values["calls_saved"] == pytest.approx(values["saving"] + 7 / 40)  # the small model is asked each time
    assert np.isnan(found[-1].values["saving"]).all() and found[-1].values["calls_saved"][0] <= 1


def test_a_resample_is_the_measure_of_its_questions(outputs):
    table = importing.rows(outputs)
    pair, frame = numbers.standings(table, resamples=3)[0], table.to_pandas()
    counts = numbers._counts(("SOME", "SOME", 0), 60, 3)[:, 2].astype(int)
    small, large = (frame[frame["model"] == model].loc[lambda f: f.index.repeat(counts)] for model in GROUP[:2])
    assert pair.values["small"][2] == pytest.approx(small["quality"].mean())
    area = confidence.auroc(small["confidence"].to_numpy(), small["right"].to_numpy())
    assert pair.values["auroc"][2] == pytest.approx(area)
    curve = Outcomes(small["confidence"], small["quality"], large["quality"]).curve()
    ideal = oracle_audc(small["quality"].to_numpy(), large["quality"].to_numpy())
    assert pair.values["s_d"][2] == pytest.approx(curve.s_d(ideal))


def test_the_command_keeps_what_verifies(outputs, tmp_path):
    run = runs.full(tmp_path / "own", ("sst2", "rte", "copa"), seeds=(0, 1), n=30)
    command = ["pairs", str(outputs), "--beside", str(run), "--to", str(tmp_path / "kept")]
    done = CliRunner().invoke(cli.app, command)
    assert done.exit_code == 0, done.output
    assert "What goes with what" in done.output and "Every pair" not in done.output
    assert not verify.verify(tmp_path / "kept").problems
    table = (tmp_path / "kept" / "pairs.csv").read_text()
    assert "this project,own,sst2,xent,large" in table
    assert b"q-1" not in (tmp_path / "kept" / "pairs.parquet").read_bytes()
    (tmp_path / "kept" / "pairs.csv").write_text(table.replace("Falcon-7b", "Falcon-8b", 1))
    assert "pairs.csv" in verify.verify(tmp_path / "kept").problems[0]
    keep.redraw(tmp_path / "kept")
    assert not verify.verify(tmp_path / "kept").problems


def test_bad_input_is_said(outputs, tmp_path):
    run = runs.full(tmp_path / "own", ("sst2",), methods=("dist",), n=8)
    with pytest.raises(CatKerasError, match=r"large model and xent\. Received: .*own without it"):
        importing.rows(outputs, [run])
    (outputs / "some.csv").unlink()
    with pytest.raises(CatKerasError, match=r"files that are there\. Received: .*some\.csv"):
        importing.rows(outputs)


def test_a_larger_model_is_larger_by_its_maker():
    assert public.pairs(("Llama-13b", "Mixtral", "Llama-7b")) == [("Llama-7b", "Llama-13b"), ("Llama-7b", "Mixtral")]
    assert public.pairs(("gemini-2.5-pro", "gemini-2.5-flash", "Llama-7b")) == [("gemini-2.5-flash", "gemini-2.5-pro")]
