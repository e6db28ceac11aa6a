"""Few or one-sided examples: what resampling cannot say is said, and a single example proves nothing."""

import io

import numpy as np
from rich.console import Console

from benchmarks import report
from benchmarks.keeping import compare
from benchmarks.report.numbers import few
from benchmarks.report.reading import load
from cat_keras.evaluation import significance
from cat_keras.evaluation.bootstrap import bootstrap_audc
from cat_keras.evaluation.curves import Outcomes
from tests import runs


def wrong(folder, monkeypatch, n):
    """A run whose models answer nothing rightly."""
    monkeypatch.setattr(runs, "answer", lambda asked, skill, rng: "no answer")
    return runs.full(folder, ("trivia_qa",), n=n)


def test_all_answers_wrong(tmp_path, monkeypatch):
    run = load.load(wrong(tmp_path / "run", monkeypatch, 40))
    (line,) = few.sentences(run)
    # Of 40 without one success, the Clopper-Pearson bound is 1 - 0.025^(1/40) = 8.8 %.
    assert line == (
        "trivia_qa: all 40 answers of every model are wrong. Intervals have no width there, yet up to 9% of further "
        "answers may be right (95 %, Clopper-Pearson)."
    )
    contents = report.Contents(run)
    assert line in contents.warnings and line.encode() in contents.files(drawn=False)["table.md"]


def test_few_examples_are_named_in_the_report_and_in_comparisons(tmp_path):
    one, other = (load.load(runs.full(tmp_path / name, ("cb", "sst2"), n=20, seed=i)) for i, name in enumerate("ab"))
    (line,) = few.sentences(one)
    assert line.startswith("Fewer than 30 examples: cb (20), sst2 (20). ")
    assert line in report.Contents(one).warnings
    console = Console(width=2000, record=True, file=io.StringIO())
    compare.show(compare.compare(one, other), console)
    assert console.export_text().count("Fewer than 30 examples") == 1


def test_a_single_example_is_no_evidence():
    better, worse = (Outcomes([0.5], [quality], [1.0], ids=["a"]) for quality in (1.0, 0.0))
    result = bootstrap_audc({"t": {"a": better, "b": worse}}, np.random.default_rng(0), resamples=200)
    assert result.interval("a", "b").estimate == 0.5 and result.p_value("a", "b") == 1.0


def test_no_p_value_is_below_that_of_the_sign_test():
    alike = [1.0] * 99
    assert [significance.two_sided(alike, examples=n) for n in (1, 2, 5)] == [1.0, 0.5, 0.0625]
    assert significance.two_sided(alike, examples=10**6) == significance.two_sided(alike) == 0.02
