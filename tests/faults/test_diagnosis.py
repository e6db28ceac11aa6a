"""What a run leaves for whoever has to find out why it failed: versions, seeds, times, the command of a cell alone."""

import re
import shlex
import subprocess
import sys
import threading

import pytest
from rich.console import Console

from benchmarks.running.journal import Journal
from cat_keras.errors import CatKerasError, Stopped
from tests.faults import stand_in
from tests.faults.stand_in import call, events


@pytest.fixture
def bench(monkeypatch):
    return stand_in.install(monkeypatch)


@pytest.fixture
def command(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "my study.toml").write_text(stand_in.PROFILE)
    return "python -m benchmarks run 'my study.toml' --out runs --set data.seed=7"


@pytest.fixture
def log(tmp_path):
    return tmp_path / "runs" / "my study" / "log.txt"


def texts(found, event):
    return [text for name, text in found if name == event]


def test_a_run_says_what_it_did(bench, command, log, monkeypatch):
    status, _ = call(monkeypatch, command)
    found = events(log)
    assert status == 0
    assert [name for name, _ in found[:4]] == ["run", "versions", "machine", "python"]
    assert found[0][1].startswith(f"{command} in /")
    for package in ("cat-keras", "keras", "keras-hub", "numpy", "tensorflow"):
        assert re.search(rf"(^|, ){package} \d+\.\d+", found[1][1])
    assert texts(found, "seeds") == ["data 7, large 0, small 0, 1"]
    assert '"learning_rate":0.001' in texts(found, "profile")[0]
    models = ["large", *(f"{m}/{s}" for m in ("xent", "gatekeeper", "cat-xent") for s in (0, 1))]
    assert texts(found, "plan") == [f"7 models, 7 to do: {', '.join(models)}"]
    assert [text.partition(":")[0] for text in texts(found, "model")] == [models[0], "cat-xent/0", *models[1:]]
    stages = texts(found, "begin")
    assert len(stages) == 7 + 7 + 1 and "teacher cache" in stages
    done = texts(found, "done")
    assert [text.partition(":")[0] for text in done[:-1]] == stages
    assert all(re.search(r"\(\d+\.\d s\)$", text) for text in done) and done[-1].startswith("report (")
    assert re.fullmatch(r"finished after \d+\.\d s; peak memory [\d,]+ MiB", texts(found, "end")[0])


def test_keys_in_the_log_are_entries_of_the_cache(bench, command, log, tmp_path, monkeypatch):
    call(monkeypatch, command)
    for text in texts(events(log), "model"):
        for entry in re.findall(r"(?:train|predict)/\w{16}", text):
            assert (tmp_path / "runs" / "cache" / entry / "manifest.json").exists()


@pytest.mark.parametrize(
    ("stage", "model"),
    [
        ("large tune", "large"),
        ("predict large", "large"),
        ("teacher cache", "cat-xent/0"),
        ("small cat-xent seed 1", "cat-xent/1"),
        ("predict xent seed 0", "xent/0"),
    ],
)
def test_a_failed_cell_is_repeated_alone(bench, command, log, monkeypatch, stage, model):
    bench.failing[stage] = CatKerasError("A loss is finite. Received: nan at step 3")
    status, output = call(monkeypatch, command)
    found = events(log)
    assert status == 2
    assert texts(found, "failed") == [f"{model}: CatKerasError: A loss is finite. Received: nan at step 3"]
    assert texts(found, "begin")[-1] == stage
    repeat = texts(found, "repeat")
    assert repeat == [f"{command} --only {model}"] and repeat[0] in output
    assert texts(found, "end")[0].startswith("failed after ")

    bench.made.clear()
    status, _ = call(monkeypatch, repeat[0])  # still broken: it fails there again, and says the same
    assert status == 2 and bench.made == [model]
    assert texts(events(log), "repeat") == repeat * 2

    bench.failing.clear()
    bench.made.clear()
    status, output = call(monkeypatch, repeat[0])
    assert status == 0 and bench.made == [model]
    missing = {name.rpartition("/")[0] for name in stand_in.manifest(log.parent)["missing"]}
    assert model not in missing and ("Not there yet: " in output) == bool(missing) == (model != "cat-xent/1")
    assert stand_in.manifest(log.parent)["methods"] == [
        "xent",
        "cat-xent",
        "gatekeeper",
    ]  # the folder is of the whole run

    status, output = call(monkeypatch, command)
    assert status == 0 and stand_in.manifest(log.parent)["missing"] == []
    assert bench.made.count(model) == 1


def test_an_error_of_the_code_leaves_its_traceback(bench, command, log, monkeypatch):
    bench.failing["predict large"] = RuntimeError("out of memory")
    with pytest.raises(RuntimeError):
        call(monkeypatch, command)
    trace = texts(events(log), "trace")
    assert trace[0].startswith("Traceback") and trace[-1] == "RuntimeError: out of memory"
    assert any("stand_in.py" in line for line in trace)


def test_a_report_that_fails_is_no_cell(bench, command, log, monkeypatch):
    def fail(folder, console, verbose, again):
        raise CatKerasError("no room for a plot")

    monkeypatch.setattr("benchmarks.report.build", fail)
    assert call(monkeypatch, command)[0] == 2
    found = events(log)
    assert texts(found, "failed") == ["outside of any model: CatKerasError: no room for a plot"]
    assert texts(found, "repeat") == [command]


@pytest.mark.parametrize(
    ("error", "status", "end"),
    [(KeyboardInterrupt(), 130, "interrupted after"), (Stopped(), 143, "stopped with its state saved after")],
)
def test_how_a_run_was_ended(bench, command, log, monkeypatch, error, status, end):
    bench.failing["predict xent seed 1"] = error
    assert call(monkeypatch, command)[0] == status
    found = events(log)
    assert texts(found, "end")[0].startswith(end)
    assert not texts(found, "failed")
    bench.failing.clear()
    bench.made.clear()
    assert call(monkeypatch, command)[0] == 0
    assert len(texts(events(log), "run")) == 2 and bench.made[0] == "xent/1"


def test_what_was_damaged_and_built_again_is_in_the_log(bench, command, log, monkeypatch):
    call(monkeypatch, command)
    next((log.parents[1] / "cache" / "predict").glob("*/predictions.parquet")).write_bytes(b"")
    call(monkeypatch, command)
    (notice,) = texts(events(log), "notice")
    assert "predictions.parquet has another checksum than the manifest; building it again" in notice


def test_a_model_that_there_is_not(bench, command, monkeypatch, capsys):
    assert call(monkeypatch, f"{command} --only cat-xnet/1")[0] == 2
    (line,) = capsys.readouterr().err.splitlines()
    assert line.startswith("error: Unknown model 'cat-xnet/1'; did you mean cat-xent/1")


def journal(folder) -> Journal:
    return Journal(folder, ("python", "-m", "benchmarks", "run"), Console(quiet=True))


def test_messages_cannot_write_lines_of_their_own(tmp_path):
    forged = "x\n2026-01-01T00:00:00.000Z 1 end      finished\r\x1b[2J\u202e\ud800\u2028"
    journal(tmp_path)("failed", forged)
    ((event, text),) = events(tmp_path / "log.txt")
    assert event == "failed" and text.isprintable()


def test_lines_of_many_writers_are_whole(tmp_path):
    def write(number):
        log = journal(tmp_path)
        for i in range(200):
            log("begin", f"{number} {i} " + "x" * number * 100)

    threads = [threading.Thread(target=write, args=(n,)) for n in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    found = [text.split(" ")[:2] for _, text in events(tmp_path / "log.txt")]
    assert sorted(found) == sorted([str(n), str(i)] for n in range(8) for i in range(200))


def test_a_log_that_cannot_be_written_stops_no_run(bench, command, log, monkeypatch):
    log.mkdir(parents=True)
    assert call(monkeypatch, command)[0] == 0
    assert len(bench.made) == 7


@pytest.mark.slow
@pytest.mark.long
def test_a_training_that_diverges_is_repeated_alone(tmp_path):
    """The real thing: TensorFlow, a learning rate that is far too high, and the command that the log names."""
    from tests.running.test_run import PROFILE

    (tmp_path / "tiny.toml").write_text(PROFILE)
    words = [sys.executable, "-m", "benchmarks", "run", "tiny.toml", "--out", "runs"]
    environment = {"PYTHONPATH": str(stand_in.ROOT), "PATH": "/usr/bin:/bin", "TF_CPP_MIN_LOG_LEVEL": "3"}

    def run(*more):
        return subprocess.run([*words, *more], cwd=tmp_path, env=environment, capture_output=True, text=True)

    broken = ("--set", "tuned.cat-dist={learning_rate = 1e30}")
    assert run(*broken).returncode == 2
    found = events(tmp_path / "runs" / "tiny" / "log.txt")
    (failed,), (repeat,) = texts(found, "failed"), texts(found, "repeat")
    assert failed.startswith("cat-dist/0: CatKerasError: A loss is finite. Received: ")
    assert shlex.split(repeat)[-2:] == ["--only", "cat-dist/0"]
    again = run(*shlex.split(repeat)[7:])
    assert again.returncode == 2 and "1 models; 1 to do" in again.stdout
    stages = texts(events(tmp_path / "runs" / "tiny" / "log.txt"), "begin")
    assert stages[-1] == "small cat-dist seed 0" and stages.count("large tune") == 1
    mended = run("--only", "cat-dist/0")
    assert mended.returncode == 0, mended.stderr
