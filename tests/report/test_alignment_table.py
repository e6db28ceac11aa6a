"""Bias–variance alignment in the report: from five seeds on, of classification tasks alone."""

import numpy as np
import pytest

from benchmarks.report.numbers import alignment
from benchmarks.report.page.contents import Contents
from benchmarks.report.reading import load
from tests import runs


@pytest.fixture(scope="module")
def five_seeds(tmp_path_factory):
    folder = tmp_path_factory.mktemp("alignment") / "run"
    return load.load(runs.full(folder, ("sst2", "wmt22_deen"), ("xent",), range(5), n=40))


def test_the_table_and_the_file_have_a_row_of_each_method(five_seeds):
    contents = Contents(five_seeds)
    (table,) = [t for t in contents.further if t.title.startswith("Bias–variance")]
    assert [row[0] for row in table.rows] == ["xent"]
    header, row = contents.files(drawn=False)["alignment.csv"].decode().splitlines()
    assert header.startswith("method,slope_right,slope_right_low") and row.startswith("xent,")


def test_numbers_are_those_of_the_predictions(five_seeds):
    numbers = alignment.by_method(five_seeds)["xent"]
    (part,) = numbers.parts  # translation has no options
    rows = [list(five_seeds.small["xent", seed, "sst2"]["option_logprobs"]) for seed in range(5)]
    odds = np.exp(np.array(rows))
    p = odds / odds.sum(2, keepdims=True)
    np.testing.assert_allclose(part.variance, p.var(0, ddof=1).sum(1))
    assert numbers.right.count + numbers.wrong.count <= 40 and set(numbers.auroc) >= {"confidence", "variance"}
    assert numbers.slope.low < numbers.slope.estimate < numbers.slope.high


def test_fewer_seeds_or_no_options_have_no_such_table(tmp_path):
    few = load.load(runs.full(tmp_path / "few", ("sst2",), ("xent",), range(4), n=10))
    free = load.load(runs.full(tmp_path / "free", ("wmt22_deen",), ("xent",), range(5), n=10))
    assert alignment.by_method(few) == alignment.by_method(free) == {}
    assert "alignment.csv" not in Contents(few).files(drawn=False)
