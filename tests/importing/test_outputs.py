"""Real answers of real language models, where a machine has them: CAT_KERAS_OUTPUTS names the folder."""

import json
import os
from pathlib import Path

import numpy as np
import pytest

from benchmarks.importing import folder, joining, sources, tables
from benchmarks.report.reading import load
from cat_keras.evaluation.confidence import auroc
from cat_keras.evaluation.curves import Outcomes, oracle_audc

OUTPUTS = Path(os.environ.get("CAT_KERAS_OUTPUTS", "no folder"))
PAIRS = (
    *("arc_llama3_8b_70b", "mmlu_gpt35_gpt4turbo", "boolq_llama31_8b_llama31_70b_max"),
    *("boolq_llama31_8b_llama31_70b_stated", "mmlu5k_llama31_8b_llama33_70b_as_truth"),
)
pytestmark = pytest.mark.skipif(not OUTPUTS.is_dir(), reason="CAT_KERAS_OUTPUTS names no folder")


def imported(tmp_path, files, name="own", choice=None, **joined):
    reading = joined.pop("reading", tables.Reading())
    answers = sources.read([OUTPUTS / file for file in files], reading)
    found = joining.join(answers.frame, **joined)
    path, manifest = folder.write(found, answers, name, tmp_path, choice or folder.Choice())
    return load.load(path), manifest


@pytest.mark.parametrize("name", PAIRS)
def test_a_pair_gives_the_numbers_that_were_computed_apart(tmp_path, name):
    run, manifest = imported(tmp_path, [f"pairs/{name}.csv"])
    expected = json.loads((OUTPUTS / "pairs/expected.json").read_text())[name]
    small, large = run.small["small", 0, "imported_answers"], run.large["imported_answers"]
    score, own, other = small["confidence"], small["quality"], large["quality"]
    curve, n = Outcomes(score, own, other).curve(), len(own)
    at = curve.quality_at(np.arange(n + 1) / n)
    assert (manifest["rule"], n) == ("confidence", expected["n"])
    assert round(own.mean(), 4) == expected["acc_small"] and round(other.mean(), 4) == expected["acc_large"]
    assert int(((own == 1) & (other == 0)).sum()) == expected["only_small_right"]
    assert int(((own == 0) & (other == 1)).sum()) == expected["only_large_right"]
    assert int(((own == 0) & (other == 0)).sum()) == expected["both_wrong"]
    assert len(np.unique(score)) == expected["n_distinct_conf"]
    assert round(auroc(score, own == 1), 4) == expected["auroc_conf_vs_small_correct"]
    assert round(auroc(-score, (own == 0) & (other == 1)), 4) == expected["auroc_conf_vs_deferral_helps"]
    areas = (curve.audc, curve.random_audc, oracle_audc(own, other))
    wanted = [expected[f"area_{which}"] for which in ("confidence", "random", "ideal")]
    assert [round(float(area), 4) for area in areas] == wanted
    for share, accuracy in expected["acc_at_deferral"].items():
        # Shares are of whole questions: 10 % of 2,590 is 259.
        assert round(float(at[round(float(share[:-1]) / 100 * n)]), 4) == accuracy, share
    assert round(float(at.max()), 4) == expected["best_acc"]
    near = np.flatnonzero(at >= other.mean() - 0.01 - 1e-12)[0] / n
    assert round(float(near), 4) == expected["smallest_deferral_within_1pt_of_large"]


def test_fourteen_models_of_one_table_are_one_run(tmp_path):
    run, _ = imported(tmp_path, ["arc_first_prompt.csv"])
    assert len(run.methods) == 13 and len(run.examples["imported_answers"]) == 2590


def test_models_that_answered_in_another_order_have_other_ids(tmp_path):
    with pytest.raises(Exception, match=r"none in common.*Llama3-70b, Llama3-8b"):
        imported(tmp_path, ["mmlu_first_prompt.csv"])


def test_ids_that_are_made_alike_by_hand_are_suspected(tmp_path):
    table = (OUTPUTS / "mmlu_first_prompt.csv").read_text().replace("mmlu_order2-", "mmlu-")
    (tmp_path / "alike.csv").write_text(table)
    _, manifest = imported(tmp_path, [tmp_path / "alike.csv"])
    assert any("Llama3-70b (correlation" in line for line in manifest["imported"]["warnings"])


def test_rows_that_models_lack_are_counted(tmp_path):
    models = ("Meta-Llama-3.1-8B-Instruct", "Meta-Llama-3.1-70B-Instruct")
    choice = folder.Choice(rule="confidence")
    run, manifest = imported(
        tmp_path, ["llm_confidence_correct.csv"], choice=choice, models=models, tasks=("boolq_valid",)
    )
    assert len(run.examples["imported_boolq_valid"]) == 3180
    assert any("3,180 of" in line and "Instruct" in line for line in manifest["imported"]["counts"])


def test_a_model_taken_as_the_truth_is_suspected(tmp_path):
    _, manifest = imported(tmp_path, ["pairs/mmlu5k_llama31_8b_llama33_70b_as_truth.csv"])
    assert any("taken as the truth" in line for line in manifest["imported"]["warnings"])


def test_a_table_without_confidence_or_cost_is_a_run_that_says_so(tmp_path):
    run, manifest = imported(tmp_path, ["routellm_mmlu.csv"])
    assert manifest["rule"] == "random" and len(run.tasks) == 57
    assert "there is no score to defer by" in manifest["imported"]["warnings"][0]


def test_graded_scores_costs_and_tokens_are_read(tmp_path):
    with pytest.raises(Exception, match=r"-0\.0330189 in score.*--clip quality"):
        imported(tmp_path, ["routerarena_sub10.jsonl"])
    run, manifest = imported(tmp_path, ["routerarena_sub10.jsonl"], reading=tables.Reading(clip=("quality",)))
    assert manifest["imported"]["cost"]["unit"] == "USD" and "n_prompt" in run.large["imported_answers"]
    assert any("the model that is better" in line for line in manifest["imported"]["warnings"])


def test_logs_of_both_frameworks_are_read(tmp_path):
    run, _ = imported(tmp_path, ["formats/inspect"])
    assert run.methods == ("qwen2.5:0.5b",) and len(run.examples["imported_arc_easy"]) == 3
    assert run.large["imported_arc_easy"]["quality"].tolist() == [1, 1, 1]
    assert run.small["qwen2.5:0.5b", 0, "imported_arc_easy"]["n_answer"].tolist() == [200, 191, 135]
    answers = sources.read([OUTPUTS / "formats/lm_eval"], tables.Reading())
    assert len(answers.frame) == 10 and set(answers.frame["task"]) == {"math_perturbed_full"}
    assert answers.frame["model"][0] == "RylanSchaeffer/mem_Qwen3-93M_minerva_math_rep_0_sbst_1.0000_epch_1_ot_1"
