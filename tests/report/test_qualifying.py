"""Tasks with room for a cascade: by lead and AUROC, on validation data alone."""

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks import cli
from benchmarks.report.numbers import grids, qualifying, summary
from benchmarks.report.reading import load
from cat_keras.errors import CatKerasError
from tests import runs

TASKS = ("sst2", "embedded_translate", "cb")


@pytest.fixture
def folder(tmp_path):
    settings = {"name": "run", "data": {"evaluate": "validation"}}
    return runs.full(tmp_path / "run", TASKS, methods=("xent@learning_rate=1", "xent@learning_rate=2", "dist"), n=20,
                     settings=settings)  # fmt: skip


def test_a_task_qualifies_by_both(folder):
    numbers = summary.summarize(load.load(folder))
    point = grids.best_point(numbers, "xent")
    areas = {name: numbers.row(name).audc.mean for name in numbers.run.methods if name.startswith("xent")}
    assert point == max(areas, key=areas.get)
    rooms = {room.task: room for room in qualifying.rooms(numbers, point, lead=-1, auroc=0)}
    assert set(rooms) == set(TASKS)
    assert all(room.qualifies != np.isnan(room.auroc) for room in rooms.values()) and rooms["cb"].qualifies
    cell = numbers.cells[point, 0, "cb"]
    both = [numbers.cells[point, seed, "cb"] for seed in (0, 1)]
    assert rooms["cb"].auroc == pytest.approx(np.mean([each.auroc_right for each in both]))
    assert rooms["cb"].lead == pytest.approx(rooms["cb"].large - rooms["cb"].small)
    assert rooms["cb"].large == pytest.approx(cell.large["quality"].mean())
    bound = rooms["cb"].lead
    assert not {r.task: r for r in qualifying.rooms(numbers, point, bound + 1e-9, 0)}["cb"].qualifies
    with pytest.raises(CatKerasError, match="auroc"):
        qualifying.rooms(numbers, point, lead=0, auroc=2)
    with pytest.raises(CatKerasError, match=r"method of the run.*cat-xent"):
        grids.best_point(numbers, "cat-xent")


def test_the_command_names_them(folder, tmp_path):
    done = CliRunner().invoke(cli.app, ["qualify", str(folder), "--lead", "-1", "--auroc", "0"])
    assert done.exit_code == 0, done.output
    assert " of 3 tasks qualify: " in done.output and "cb" in done.output
    none = CliRunner().invoke(cli.app, ["qualify", str(folder), "--lead", "1"])
    assert "0 of 3 tasks qualify: none" in none.output
    other = runs.full(tmp_path / "other", ("sst2",), n=8)
    with pytest.raises(CatKerasError, match=r"comes from validation data\. Received: .*the test split"):
        CliRunner().invoke(cli.app, ["qualify", str(other)], catch_exceptions=False)
