"""A sweep of two points through the command line: what points share is made once, and it goes on where it ended."""

import pyarrow.parquet
import pytest

from benchmarks.keeping import verify
from benchmarks.report.reading import analysis
from tests import commands
from tests.tiny import PROFILE

pytestmark = pytest.mark.slow
SWEEP = """
[sweep]
differences = [["cat-dist", "xent"]]
[sweep.axes.epochs]
"large.tune.epochs" = [1, 2]
"""


def test_a_sweep_goes_on_where_it_ended(tmp_path):
    (tmp_path / "own.toml").write_text(PROFILE + SWEEP)
    words = ["sweep", str(tmp_path / "own.toml"), "--out", str(tmp_path / "runs")]
    planned = commands.benchmarks(*words, "--dry-run")
    assert "2 points. To do: 3 trainings of large models, 4 of small ones, 8 predictions" in " ".join(planned.split())
    first = commands.benchmarks(*words, "--hours", "1e-9", "--shard", "0/2")
    assert "0 of 2 points are there; the same command does the other 2" in first
    half = commands.benchmarks(*words, "--shard", "0/2")
    assert "1 of 2 points are there" in half and "point 2 of 2" not in half
    again = commands.benchmarks(*words, "--to", str(tmp_path / "kept"))
    assert "point 1 of 2" not in again and "2 of 2 points are there" in again
    # The start and xent of the small model are those of the first point.
    assert "small xent" not in again and "small pretrain" not in again and "small cat-dist seed 0" in again
    assert not verify.verify(tmp_path / "kept").problems
    table = analysis.read(tmp_path / "kept" / "sweep.parquet")
    points = analysis.facts(table)["points"]
    assert points[0]["answers"]["test"]["xent/0"] == points[1]["answers"]["test"]["xent/0"]
    assert len(set(table["answers"].to_pylist())) == 8  # of either split: two large models and xent; two of cat-dist
    assert pyarrow.parquet.read_schema(tmp_path / "kept" / "sweep.parquet").names == [
        "answers", "task", "id", "quality", "score",
    ]  # fmt: skip
    # On another machine, from the commit alone: nothing is made again, and the same is kept.
    kept = {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()}
    words[words.index("--out") + 1] = str(tmp_path / "elsewhere")
    done = commands.benchmarks(*words, "--to", str(tmp_path / "kept"))
    assert {path.name: path.read_bytes() for path in (tmp_path / "kept").iterdir()} == kept
    assert not (tmp_path / "elsewhere" / "cache").exists()
    assert "point" not in done.partition("point by point")[0].replace("cat-dist minus xent, ", "")
