"""A whole run of a tiny profile through the command line: what it leaves, that it continues, that it repairs."""

import json
import signal
import subprocess
import sys
import time

import pandas
import pytest

from benchmarks.report.reading import load
from tests import commands
from tests.tiny import PROFILE, predictions, run, start

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def finished(tmp_path_factory):
    folder = tmp_path_factory.mktemp("finished")
    return folder, run(folder), predictions(folder)


def test_a_run_leaves_predictions_tables_plots_and_a_manifest(finished):
    folder, output, _ = finished
    results = folder / "runs" / "tiny"
    assert output.strip().splitlines()[-1].startswith(f"The report: {results}/report.html")
    for name in ("table.md", "table.csv", "quality_cost.png", "quality_cost.svg", "examples.parquet"):
        assert (results / name).stat().st_size > 0
    manifest = json.loads((results / "manifest.json").read_text())
    assert manifest["methods"] == ["xent", "cat-dist"]
    assert 0 < manifest["training"]["cat-dist/0"]["live"] < 1 == manifest["training"]["xent/0"]["live"]
    table = pandas.read_parquet(results / "predictions.parquet")
    assert table.groupby(["model", "method", "task"]).size().eq(12).all()
    assert len(table) == 3 * 2 * 12
    assert table.token_logprobs.map(lambda lp: len(lp) > 0 and max(lp) <= 0).all()


def test_a_second_call_finds_everything_and_loads_no_tensorflow(finished):
    folder, _, before = finished
    code = (
        "import sys; from benchmarks import cli; sys.argv = ['benchmarks', *sys.argv[1:]]\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'ray'} & sys.modules.keys()"
    )
    arguments = ["run", str(folder / "tiny.toml"), "--out", str(folder / "runs")]
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "nothing to do" in done.stdout
    assert predictions(folder) == before


def test_what_kept_results_hold_is_not_made_again(finished, tmp_path):
    folder, _, _ = finished
    commands.benchmarks("keep", "tiny", "--out", str(folder / "runs"), "--to", str(tmp_path / "kept"))
    output = run(tmp_path, "--done", str(tmp_path / "kept"))
    assert "nothing to do" in output and "In the kept results already: large, xent seed 0" in output
    assert not list((tmp_path / "runs").rglob("*.parquet"))


@pytest.mark.long  # faults/test_kill.py ends trainings in CI
def test_an_interrupted_run_continues_to_the_same_predictions(finished, tmp_path):
    process = start(tmp_path)
    for line in process.stdout:
        if "large pretrain" in line:
            break
    time.sleep(0.5)
    process.send_signal(signal.SIGINT)
    output = process.communicate()[0]
    assert process.returncode == 130, output
    assert "Interrupted. What was finished is kept" in output
    assert "Traceback" not in output
    run(tmp_path)
    assert predictions(tmp_path) == finished[2]


@pytest.mark.long
def test_a_model_alone_names_what_is_missing(finished, tmp_path):
    output = run(tmp_path, "--only", "xent/0")
    assert "Not there yet: large" in output
    manifest = json.loads((tmp_path / "runs" / "tiny" / "manifest.json").read_text())
    assert {"large/embedded_classify", "large/embedded_lookup"} < set(manifest["missing"])
    assert "large tune" not in output


def test_a_damaged_result_is_reported_and_rebuilt(finished):
    folder, _, before = finished
    stored = next((folder / "runs" / "cache" / "predict").glob("*/predictions.parquet"))
    content = bytearray(stored.read_bytes())
    content[len(content) // 2] ^= 1
    stored.write_bytes(content)
    output = run(folder)
    assert "predictions.parquet has another checksum than the manifest; building it again" in output
    assert predictions(folder) == before


def test_a_model_that_asks_for_help_joins_the_others(finished):
    folder, _, _ = finished
    output = run(folder, "--methods", "xent,defer-token")
    assert "large tune" not in output and "start of small defer-token seed 0" in output
    table = pandas.read_parquet(folder / "runs" / "tiny" / "predictions.parquet")
    assert set(table.method[table.defer_logprob < 0]) == {"defer-token"}
    assert (table.defer_logprob.isna() == (table.method != "defer-token")).all()
    leads = pandas.read_csv(folder / "runs" / "tiny" / "asking.csv")
    assert set(leads.method) == {"defer-token"} and set(leads.baseline) == {"xent"}
    assert set(load.load(folder / "runs" / "tiny").large["embedded_lookup"]) >= {"defer_logprob", "quality"}


@pytest.mark.long
def test_a_run_adds_only_what_is_new(finished):
    folder, _, _ = finished
    output = run(folder, "--methods", "xent,cat-dist,gatekeeper")
    assert "large tune" not in output
    assert "small gatekeeper seed 0" in output


@pytest.mark.long  # test_full.py has a pair of presets in CI
def test_a_preset_takes_the_place_of_a_home_made_model(finished, tmp_path):
    folder, _, _ = finished
    label = {json.loads(p.read_text()).get("label"): p.parent for p in folder.glob("runs/cache/train/*/manifest.json")}
    large, small = label["large tune"] / "preset", label["small pretrain seed 0"] / "preset"
    (tmp_path / "tiny.toml").write_text(
        PROFILE.split("[large]")[0] + f'[large]\npreset = "{large}"\n[small]\npreset = "{small}"\n[objective]'
        + PROFILE.split("[objective]")[1]
    )  # fmt: skip
    commands.benchmarks("run", str(tmp_path / "tiny.toml"), "--out", str(tmp_path / "runs"))
    # The same weights, data and order: the same answers as the home-made pair.
    assert predictions(tmp_path) == finished[2]


@pytest.mark.long
def test_a_loss_that_is_not_finite_stops_the_cell_and_names_the_step(tmp_path):
    output = run(tmp_path, "--set", "large.pretrain.learning_rate=1e6", status=2)
    assert "A loss is finite. Received: nan at step" in output
    assert "Traceback" not in output
    again = f"Again: python -m benchmarks run {tmp_path / 'tiny.toml'} --out {tmp_path / 'runs'}"
    assert f"{again} --set large.pretrain.learning_rate=1e6 --only large" in output
    assert "Received: nan at step" in (tmp_path / "runs" / "tiny" / "log.txt").read_text()


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path):
    (tmp_path / "runs").write_text("a file in the way")
    output = run(tmp_path, status=2)
    assert "Results need a folder that can be written" in output
    assert "Traceback" not in output


@pytest.mark.long
def test_methods_of_ones_own_name_batches_in_tokens_slices_and_logs(tmp_path):
    changes = (
        'methods=["cat-gap"]',
        "large.layers=1", 'variants.cat-gap={objective = "cat-xent", arguments = {mask = "gap"}}',
        'data.template="mixture"', "objective.batch_tokens=400", "objective.accumulate=2", "small.dropout=0.1",
    )  # fmt: skip
    words = [word for change in changes for word in ("--set", change)]
    output = run(tmp_path, *words, "--log", "csv", "--precision", "mixed_bfloat16")
    assert output.startswith("strategy: none, 1 replica")
    assert "mixed_bfloat16" in output.splitlines()[0]
    manifest = json.loads((tmp_path / "runs" / "tiny" / "manifest.json").read_text())
    assert manifest["objectives"]["cat-gap"] == {"objective": "cat-xent", "arguments": {"mask": "gap"}}
    course = load.load(tmp_path / "runs" / "tiny").histories["cat-gap/0"]
    assert len(course["step"]) == len(course["loss"]) == len(course["live"]) > 1
    steps = pandas.read_csv(tmp_path / "runs" / "logs" / "small-cat-gap-seed-0.csv")
    assert steps["step"].tolist() == list(range(1, steps["steps"].iloc[0] + 1))
    assert (steps["computed"] <= 400 + 48).all()


@pytest.mark.long  # faults/test_kill.py ends trainings in CI
def test_sigterm_saves_the_step_and_ends(tmp_path):
    process = start(tmp_path, "--set", "large.tune.epochs=4000", "--log", "csv")
    steps = tmp_path / "runs" / "logs" / "large-tune.csv"
    while not (steps.exists() and len(steps.read_text().splitlines()) > 10):
        time.sleep(0.1)
    process.terminate()
    output, _ = process.communicate(timeout=120)
    assert process.returncode == 143, output
    assert "The state is saved; the same command continues from there" in output
    state = tmp_path / "runs" / "cache" / "unfinished"
    assert list(state.glob("train-*/state.npz"))
