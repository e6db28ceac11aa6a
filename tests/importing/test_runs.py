"""An import is a run: report, keep, verify, compare and tune take it, and its page says nothing of training."""

import json
import re

import numpy as np
import pandas as pd
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.keeping import compare, keep, verify
from benchmarks.report.reading import load
from cat_keras.cascades.policy import Policy
from cat_keras.errors import CatKerasError
from paper_figs.book import Book
from paper_figs.figures import FIGURES
from paper_figs.source import sources

N = 600


def table(tmp_path, name="answers.csv", models=("small", "large"), accuracy=(0.6, 0.9), seed=0, **columns):
    """A long table in which a model's confidence knows something of whether it is right."""
    rng, parts = np.random.default_rng(seed), []
    for model, share in zip(models, accuracy, strict=True):
        right = rng.random(N) < share
        sure = np.clip(0.5 + 0.3 * right + 0.15 * rng.normal(size=N), 0.01, 1).round(4)
        part = pd.DataFrame({"id": [f"q{i}" for i in range(N)], "model": model, "correct": right, "confidence": sure})
        parts.append(part.assign(task=["easy" if i % 2 else "hard" for i in range(N)]))
    whole = pd.concat(parts, ignore_index=True)
    for header, values in columns.items():
        whole[header] = values(whole)
    whole.to_csv(tmp_path / name, index=False)
    return tmp_path / name


def command(*words):
    result = CliRunner().invoke(app, list(map(str, words)))
    if isinstance(result.exception, CatKerasError):
        raise result.exception
    assert result.exit_code == 0, (result.output, result.exception)
    return result.output


def imported(tmp_path, *words, name="own", **columns):
    command("import", table(tmp_path, **columns), "--as", name, "--out", tmp_path, *words)
    return tmp_path / name


def test_everything_takes_an_imported_run(tmp_path):
    folder = imported(tmp_path)
    command("report", folder)
    shown = (folder / "table.md").read_text()
    assert "imported_easy" in shown and "own queries by confidence" in re.sub(r"\s+", " ", shown)
    kept = keep.keep(folder, tmp_path / "kept")
    verdict = verify.verify(kept)
    assert (verdict.problems, verdict.notices) == ((), ())
    other = imported(tmp_path, name="other", seed=0)
    assert compare.compare(load.load(folder), load.load(other)).lines
    run = load.load(kept)
    assert run.small["small", 0, "imported_easy"]["confidence"].max() <= 1


def test_the_page_says_nothing_of_training(tmp_path):
    folder = imported(tmp_path)
    command("report", folder)
    page = re.sub(r"(?s)<(script|style)>.*?</\1>", "", (folder / "report.html").read_text())
    data = json.loads(re.search(r'(?s)<script type="application/json" class="data">(.*?)</script>', page)[1])
    assert (data["training"], data["member"]) == ([], "Run")
    said = re.sub(r"(?s)<script.*?</script>", "", page) + (folder / "table.md").read_text()
    said += "".join(scope["note"] for scope in data["scopes"])
    for word in ("train", "objective", r"\blive t", "seeds", r"\bseed\b", "paper", "xent", "FLOP", "the loss"):
        assert not re.search(word, said), word
    assert "live_mean" not in (folder / "table.csv").read_text()
    assert "flops" not in (folder / "tasks.csv").read_text()


def test_figures_say_nothing_of_training(tmp_path):
    """Captions, tables and what the command says of figures that imported answers cannot show."""
    keep.keep(imported(tmp_path), tmp_path / "results" / "own")
    book = Book(FIGURES, sources(tmp_path / "results"))
    drawn = [job.name for job in book.draw(tmp_path / "figures")]
    assert {"own/quality_cost", "own/methods", "own/auroc"} <= set(drawn)
    index = (tmp_path / "figures" / "README.md").read_text()
    said = index.partition("Not drawn: ")[0] + (tmp_path / "figures/own/methods.md").read_text()
    for word in ("train", "objective", "seed", "paper", "xent", "FLOP", "the loss"):
        assert not re.search(word, said.replace("python -m paper_figs", "")), word
    assert "cascade_mask" in book.missing_of_imported() and "quality_cost" not in book.missing_of_imported()


def test_costs_have_their_own_unit(tmp_path):
    folder = imported(tmp_path, cost_usd=lambda t: np.where(t["model"] == "small", 0.001, 0.01))
    assert "USD per query" in (command("report", folder), (folder / "report.html").read_text())[1]
    output = command("tune", folder, "--max-cost", 0.006)
    assert "USD per query" in output and "a coin at the same cost" in output and "Worth it: yes" in output


def test_tune_writes_a_policy_that_check_reads(tmp_path):
    folder = imported(tmp_path)
    output = command("tune", folder, "--max-deferral", 0.4)
    assert "small: keep the answer if confidence >= " in output and "Worth it: yes" in output
    policy = Policy.read(folder / "policy.json")
    assert policy.models == ("small", "large") and policy.facts["made_from"]["run"] == "own"
    assert f"{policy.thresholds[0]:.6g}" in output
    assert "on all rows" in re.sub(r"\s+", " ", command("tune", folder, "--check", folder / "policy.json"))
    other = imported(tmp_path, name="other", models=("s", "l"))
    with pytest.raises(CatKerasError, match="the models it was made for, small, large"):
        command("tune", other, "--check", folder / "policy.json")


@pytest.mark.parametrize("rule", ["isotonic-confidence", "platt-confidence"])
def test_a_calibrated_rule_is_fitted_and_written(tmp_path, rule):
    folder = imported(tmp_path)
    command("tune", folder, "--max-deferral", 0.4, "--rule", rule)
    policy = Policy.read(folder / "policy.json")
    assert policy.rules[0].name == rule and set(policy.rules[0].curves) == {"", "imported_easy", "imported_hard"}
    command("tune", folder, "--check", folder / "policy.json")


def test_a_cascade_that_is_not_worth_it_is_told_so(tmp_path):
    noise = {"confidence": lambda t: np.random.default_rng(1).random(len(t)).round(4)}
    folder = imported(tmp_path, **noise)
    assert re.search("Worth it: (no|not shown)", command("tune", folder, "--max-deferral", 0.4))
    folder = imported(tmp_path, name="worse", accuracy=(0.9, 0.5), seed=3)
    assert "Worth it: no" in command("tune", folder, "--models", "large,small", "--max-deferral", 0.5)


def test_three_models_and_pairs_of_them(tmp_path):
    columns = {"models": ("a", "b", "c"), "accuracy": (0.5, 0.7, 0.9)}
    folder = imported(tmp_path, **columns)
    assert "Every small model before c" in command("tune", folder, "--min-quality", 0.8)
    costs = [word for pair in ("a=1", "b=3", "c=9") for word in ("--cost", pair)]
    output = command("tune", folder, "--models", "a,b,c", "--max-cost", 6, *costs)
    assert "a: keep" in output and "b: keep" in output and "otherwise ask c" in output
    with pytest.raises(CatKerasError, match="none of b"):
        command("tune", folder, "--models", "a,b,c", "--max-cost", 6, "--cost", "a=1", "--cost", "c=1")


def test_prices_are_of_tokens(tmp_path):
    tokens = {"tokens_in": lambda t: np.full(len(t), 100), "tokens_out": lambda t: np.full(len(t), 10)}
    folder = imported(tmp_path, **tokens)
    words = ("--price-small", "1/2", "--price-large", "10/20")
    assert "price per query" in command("tune", folder, "--max-deferral", 0.3, *words)
    plain = imported(tmp_path, name="plain")
    with pytest.raises(CatKerasError, match="have no number of tokens"):
        command("tune", plain, "--max-deferral", 0.3, *words)


def test_a_guarantee_out_of_reach_says_how_many_rows_would_do(tmp_path):
    folder = imported(tmp_path)
    with pytest.raises(CatKerasError, match=r"About [\d,]+ labelled rows .* would do, where 300 are now"):
        command("tune", folder, "--guarantee", "0.02,0.01")


def test_runs_of_a_model_are_seeds(tmp_path):
    parts = [pd.read_csv(table(tmp_path, seed=s)).assign(run=s) for s in (0, 1)]
    pd.concat(parts).to_csv(tmp_path / "runs.csv", index=False)
    command("import", tmp_path / "runs.csv", "--as", "two", "--out", tmp_path)
    run = load.load(tmp_path / "two")
    assert run.seeds == (0, 1) and not run.missing
    assert set(np.unique(run.large["imported_easy"]["quality"])) <= {0, 0.5, 1}  # the mean of both runs
    assert "2 runs" in (command("report", tmp_path / "two"), (tmp_path / "two/report.html").read_text())[1]


def test_token_and_option_log_probabilities_and_infinite_ones(tmp_path):
    rows = []
    for i in range(60):
        for model in ("s", "l"):
            tokens = [-0.1, float("-inf")] if i == 0 else [-0.1 * (i % 7), -0.2]
            rows.append({"id": i, "model": model, "correct": int(i % 3 > 0 or model == "l"), "token_logprobs": tokens,
                         "option_logprobs": [-1.0 - i % 5, -2.0]})  # fmt: skip
    pd.DataFrame(rows).to_parquet(tmp_path / "t.parquet")
    command("import", tmp_path / "t.parquet", "--as", "lists", "--out", tmp_path, "--large", "l")
    run = load.load(tmp_path / "lists")
    assert run.rule == "chow-average" and run.choice_tasks() == ("imported_answers",)
    assert np.isfinite(run.small["s", 0, "imported_answers"]["token_logprobs"].values).all()
    assert any("-inf" in line or "−inf" in line for line in run.manifest["imported"]["warnings"])
    command("report", tmp_path / "lists")
    assert "max-probability" in (tmp_path / "lists/table.md").read_text()
    command("tune", tmp_path / "lists", "--max-deferral", 0.5)
    assert (tmp_path / "lists/policy.vllm-semantic-router.yaml").exists()


def test_what_cannot_be_is_said(tmp_path):
    path = table(tmp_path)
    with pytest.raises(CatKerasError, match="did you mean large"):
        command("import", path, "--as", "x", "--out", tmp_path, "--large", "larg")
    with pytest.raises(CatKerasError, match="They allow confidence"):
        command("import", path, "--as", "x", "--out", tmp_path, "--rule", "chow-average")
    with pytest.raises(CatKerasError, match="name of a run"):
        command("import", path, "--as", "a/b", "--out", tmp_path)
    frame = pd.read_csv(path).drop(columns="confidence")
    frame.to_csv(tmp_path / "bare.csv", index=False)
    command("import", tmp_path / "bare.csv", "--as", "bare", "--out", tmp_path)
    with pytest.raises(CatKerasError, match="A threshold is tuned on a score"):
        command("tune", tmp_path / "bare", "--max-deferral", 0.5)
    with pytest.raises(CatKerasError, match="exactly one of"):
        command("tune", imported(tmp_path))


@pytest.mark.parametrize(
    ("confidence", "warning"),
    [
        (lambda t: t["correct"] * 0.9 + 0.05, "may know the right answer"),
        (lambda t: 0.9 - t["correct"] * 0.5 + 0.1 * np.random.default_rng(0).random(len(t)), "distance or an entropy"),
        (lambda t: np.where(np.arange(len(t)) % 2, 1.0, 0.5), "Many answers tie"),
    ],
)
def test_suspicious_confidences_are_named(tmp_path, confidence, warning):
    output = command("import", table(tmp_path, confidence=confidence), "--as", "own", "--out", tmp_path)
    assert warning in output
