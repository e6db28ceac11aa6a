"""What is said of the plan's hypotheses: by tables whose verdict is known, and by those that are committed."""

import shutil
from pathlib import Path

import pytest

from benchmarks.report.numbers import hypotheses
from benchmarks.report.numbers.hypotheses import MISSING, OPEN, REFUTED, REPRODUCED
from benchmarks.report.tables import hypotheses_table
from cat_keras.errors import CatKerasError
from tests import commands

RESULTS = Path(__file__).parents[2] / "results"
HEADER = "method,baseline,scope,measure,estimate,low,high,p\n"


@pytest.fixture
def regimes(tmp_path):
    """A function that writes what the main comparison found, and gives the folder of the kept analyses."""

    def write(*values, method="cat-xent"):
        folder = tmp_path / "room"
        folder.mkdir(exist_ok=True)
        row = ",".join([method, "xent", "all", "audc", *map(str, values)])
        (folder / "changes.csv").write_text(f"{HEADER}{row}\n")
        return tmp_path

    return write


@pytest.mark.parametrize(
    ("estimate", "low", "high", "p", "outcome"),
    [
        (0.02, 0.01, 0.03, 0.009, REPRODUCED),  # 5 x 0.009 = 0.045
        (0.02, 0.01, 0.03, 0.011, OPEN),
        (-0.02, -0.03, -0.01, 0.001, REFUTED),
        (0.001, 0.0002, 0.0024, 0.001, REFUTED),  # less than a quarter of a point
        (0.001, -0.0024, 0.0026, 0.5, OPEN),
    ],
)
def test_the_main_comparison_is_judged_as_the_plan_says(regimes, estimate, low, high, p, outcome):
    first, *others = hypotheses.verdicts(regimes(estimate, low, high, p))
    assert (first.outcome, first.p, first.p_holm) == (outcome, p, min(1, 5 * p))
    assert first.intervals == ((estimate, low, high),)
    assert {each.outcome for each in others} == {MISSING}


def test_a_table_without_the_row_is_refused(regimes):
    with pytest.raises(CatKerasError, match=r"H1 is tested by one row .* which has 0 rows of method cat-xent"):
        hypotheses.verdicts(regimes(0, 0, 0, 1, method="dist"))
    with pytest.raises(CatKerasError, match="verify --write"):
        hypotheses.verdicts(regimes(0, 0, 0, ""))  # of a table from before there were p-values


def test_a_folder_that_is_none_is_refused_and_nothing_is_written(tmp_path):
    output = commands.benchmarks("hypotheses", str(tmp_path / "regims"), "--to", str(tmp_path), status=2)
    assert "Hypotheses are judged by a folder of kept analyses. Received: " in output
    assert not list(tmp_path.iterdir())


def test_a_hypothesis_of_two_parts_is_as_certain_as_the_less_certain_one(tmp_path):
    shutil.copytree(RESULTS / "regimes" / "real_pairs", tmp_path / "real_pairs")
    path = tmp_path / "real_pairs" / "correlations.csv"
    header, lead, auroc, *others = path.read_text().splitlines()
    columns = header.split(",")
    cells = dict(zip(columns, auroc.split(","), strict=True)) | {"p": "0.2"}
    path.write_text("\n".join([header, lead, ",".join(cells[name] for name in columns), *others]))
    last = hypotheses.verdicts(tmp_path)[-1]
    assert (last.p, last.outcome) == (0.2, OPEN)
    assert [interval.estimate > 0 for interval in last.intervals] == [False, True]


def test_what_is_committed_is_what_the_kept_analyses_say():
    made = hypotheses_table.files(hypotheses.verdicts(RESULTS / "regimes"))
    assert {name: (RESULTS / name).read_bytes() for name in made} == made


def test_the_command_prints_and_writes_it(tmp_path):
    output = commands.benchmarks("hypotheses", "--to", str(tmp_path))
    assert "H5: what real pairs save" in output and "reproduced" in output
    assert (tmp_path / "hypotheses.csv").read_bytes() == (RESULTS / "hypotheses.csv").read_bytes()
