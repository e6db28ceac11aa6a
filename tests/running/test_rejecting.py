"""Questions from elsewhere in a run's traffic: the mixture, the numbers by hand, and a tiny run the whole way."""

import json
import subprocess
import sys

import numpy as np
import pandas
import pyarrow
import pytest

from benchmarks.report.numbers import rejecting as numbers
from benchmarks.report.reading import load
from benchmarks.report.tables import rejection_table
from benchmarks.running import rejecting
from cat_keras.data import overlap
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError
from cat_keras.evaluation.rejection import joint_curve
from tests import commands, runs, tiny


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with texts and invented answers; its models are nowhere."""
    facts = {"settings": {"data": {"max_length": 48, "max_new_tokens": 6}}, "cells": {"large tune": {"key": "0"}}}
    names = ("sst2", "embedded_translate", "squad_v2")
    return runs.full(tmp_path_factory.mktemp("runs") / "invented", names, ("xent",), (0,), n=40, **facts)


def test_a_mixture_is_made_of_own_and_other_questions(folder):
    run = load.load(folder)
    mixture = rejecting._mixture(run, "embedded_lookup", 0.3, None, folder.parent)
    own, others = mixture.test[: -mixture.outside], mixture.test[-mixture.outside :]
    assert mixture.outside / len(mixture.test) == pytest.approx(0.3, abs=0.02)
    assert [len(mixture.calibration), len(own)] == [48, 48] and len(mixture.asked) == 120 + 32
    assert len({(e.task, e.id) for e in mixture.asked}) == len(mixture.asked)
    assert not {overlap.content(e) for e in others} & {overlap.content(e) for e in own + mixture.calibration}
    # The others are asked as the run's own questions are.
    assert {(e.task, e.options) for e in others} <= {(e.task, e.options) for e in own + mixture.calibration}
    again = rejecting._mixture(run, "embedded_lookup", 0.3, None, folder.parent)
    assert again == mixture
    with pytest.raises(CatKerasError, match="Received: 0 of sst2"):  # here its prompts are those of the other tasks
        rejecting._mixture(run, "sst2", 0.3, None, folder.parent)


def test_scrambling_keeps_the_words_and_the_last_line():
    prompt = "Which pet does Zoda have in the end?\nAnswer:\n"
    found = rejecting._scrambled(Example("7", prompt, "rabbit"))
    assert (
        found != prompt
        and found.endswith("?\nAnswer:\n".lstrip("?"))
        and sorted(found.split()) == sorted(prompt.split())
    )


@pytest.mark.parametrize(
    "choice, message",
    [
        ({"elsewhere": ["sst3"]}, "Questions come from a task, from a run with its texts, or"),
        ({"elsewhere": ["wmt22_deen"]}, r"at least 20 questions from elsewhere.*Received: 2 of wmt22_deen"),
        ({"elsewhere": ["invented"]}, "Received: 0 of invented"),
        ({"elsewhere": ["scrambled"], "share": 1.0}, r"share is a number in \(0, 1\)"),
        ({"elsewhere": ["scrambled"], "methods": ["dist"]}, "Unknown method of the run 'dist'"),
    ],
)
def test_what_cannot_be_mixed(folder, choice, message):
    with pytest.raises(CatKerasError, match=message):
        rejecting.evaluate(folder, folder.parent / "cache", None, out=folder.parent, **choice)


def test_kept_results_have_no_questions():
    command = [sys.executable, "-m", "benchmarks", "reject", "results/embedded"]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 2 and "keeps no texts" in done.stderr and done.stderr.count("\n") == 1


def rows(seeds=2, n=300):
    """Invented scores: one rule knows what is from elsewhere, the other what is wrong."""
    rng = np.random.default_rng(0)
    outside = np.arange(n) >= 0.7 * n
    found = []
    for seed in range(seeds):
        loss = np.where(outside, 1.0, rng.random(n) < 0.3)
        scores = {"plugin-ood": rng.normal(size=n) - 4 * outside - loss, "max-probability": rng.normal(size=n) - loss}
        labels = {"elsewhere": "moon", "method": "xent", "seed": seed, "task": "t"}
        found += [
            labels | {"id": str(i), "outside": bool(outside[i]), "loss": float(loss[i])}
            | {name: float(score[i]) for name, score in scores.items()} for i in range(n)
        ]  # fmt: skip
    facts = {"share": 0.3, "c_fn": 0.75, "deferral": 0.0}
    return pyarrow.Table.from_pylist(found).replace_schema_metadata({"cat_keras": json.dumps(facts)}), facts


def test_the_numbers_are_those_of_the_curves():
    table, facts = rows()
    found = numbers.standings(table, resamples=200)
    plugin, base = (found["moon", "xent", rule] for rule in ("plugin-ood", "max-probability"))
    frame = table.to_pandas()
    areas = [joint_curve(g["plugin-ood"], g["loss"], g["outside"]).area for _, g in frame.groupby("seed")]
    assert plugin.area.estimate == pytest.approx(np.mean(areas))
    assert plugin.area.low < plugin.area.estimate < plugin.area.high and plugin.auroc > 0.95
    assert plugin.difference.high < 0 and tuple(base.difference) == (0, 0, 0)
    assert (plugin.low <= plugin.curve + 0.02).all() and (plugin.curve <= plugin.high + 0.02).all()
    (shown,) = rejection_table.tables(found, facts)
    assert [row[0] for row in shown.rows] == ["plugin-ood", "max-probability"] and "30%" in shown.title
    assert {r["rule"]: r["joint_risk"] for r in rejection_table.records(found)}["plugin-ood"] == plugin.area.estimate
    assert len(rejection_table.curve_records(found)) == 2 * len(numbers.SHARES)


@pytest.mark.slow
def test_a_tiny_run_is_mixed_and_kept(tmp_path):
    tiny.run(tmp_path, *tiny.EACH_STAGE)
    command = ["reject", "tiny", "--out", str(tmp_path / "runs")]
    command += ["--elsewhere", "scrambled,embedded_translate", "--share", "0.7", "--deferral", "0.3"]
    assert commands.benchmarks(*command).count("Rejecting, with 70% of the questions from elsewhere") == 2
    kept = tmp_path / "runs" / "tiny"
    found = pandas.read_csv(kept / "rejection.csv")
    assert set(found["elsewhere"]) == {"scrambled", "embedded_translate"} and len(found) == 12
    assert found[["joint_risk_low", "joint_risk", "joint_risk_high", "auroc", "augrc"]].notna().all(axis=None)
    assert (found["joint_risk_low"] <= found["joint_risk_high"]).all()
    assert (kept / "rejection.png").read_bytes()[:4] == b"\x89PNG"
    assert load.load(kept).methods == ("cat-dist",)  # the run is still whole
