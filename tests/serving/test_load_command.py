"""`python -m benchmarks load`: committed predictions under invented latencies, and a tiny run with its real models."""

import csv
from types import SimpleNamespace

import numpy as np
import pytest
from typer.testing import CliRunner

from benchmarks.cli import app
from benchmarks.report.reading import load
from benchmarks.serving import latencies, models, records, staging, trial
from benchmarks.tuning.stages import Asked
from cat_keras.errors import CatKerasError
from cat_keras.serving import Dial, Latency, streams
from cat_keras.serving.policies import Fixed
from tests import runs, tiny

SIZES = (1, 4, 16)


def measurements(path, small=(0.012, 0.0012), large=(0.03, 0.01)):
    """A file of invented latencies: a batch of b takes start + b · each seconds, give or take a tenth."""
    rows = [
        (model, size, (start + each * size) * noise)
        for model, (start, each) in (("small", small), ("large", large))
        for size in SIZES
        for noise in (0.9, 1.0, 1.1)
    ]
    path.write_text(latencies.to_csv(rows, "invented", 0.0))
    return path


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A run with texts and invented answers of two tasks."""
    return runs.full(tmp_path_factory.mktemp("runs") / "invented", ("sst2", "embedded_lookup"), ("xent",), (0,), n=200)


@pytest.fixture(scope="module")
def setup(folder):
    file = measurements(folder / "latency.csv")
    return staging.setup(load.load(folder), (), Asked(), file)


def test_a_run_as_a_service(setup, folder):
    run, service = load.load(folder), setup.service
    assert [server.name for server in service.servers] == ["xent", "large"]
    assert service.batch == 16 and service.examples == 400  # no larger batch was measured
    assert sorted([*setup.fitting, *setup.judging]) == list(range(400)) and len(setup.judging) == 200
    place = 7
    name, id = setup.staged.tasks[place], setup.staged.ids[place]
    row = run.examples[name].ids.index(id)
    assert service.servers[0].quality[place] == run.small["xent", 0, name]["quality"][row]
    assert service.servers[1].quality[place] == run.large[name]["quality"][row]
    assert service.servers[1].latency.mean(4) == pytest.approx(0.07)


def test_what_a_trial_says_follows_from_its_points(setup):
    fit_on, judged = streams.bursts(1.0, 400, 1), streams.bursts(1.0, 400, 2)
    names = ("small", "cascade", "elastic")
    result = trial.run(setup, fit_on, judged, 0.3, names=names)
    assert list(result.fitted) == ["small", "cascade", "elastic"]
    assert result.reference.p99 <= 0.3 < result.points["cascade", 1.5].p99
    for point in result.points.values():
        assert point.answered == 1.0 and point.rate == pytest.approx(point.times * result.breaks)
        assert point.minus.low <= point.minus.estimate <= point.minus.high
        assert point.minus.estimate == pytest.approx(point.quality - result.reference.quality)
    assert result.points["small", 2.0].large == 0 < result.points["elastic", 0.25].large
    text = " ".join(trial.sentences(result))
    best = max((p for p in result.at(2.0) if p.holds), key=lambda p: p.quality)
    assert f"At twice that rate {best.policy} " in text and f"{100 * best.quality:.1f}" in text
    assert "not by cascade" in text
    again = trial.run(setup, fit_on, judged, 0.3, names=names)
    assert again.points == result.points


def test_a_budget_that_cannot_be_met_names_the_nearest(setup):
    arrivals = streams.poisson(1.0, 300)
    with pytest.raises(CatKerasError, match=r"Received: 5 ms.* Allow more than 1\d(\.\d+)? ms"):
        trial.knobs(setup, arrivals, 0.005)
    with pytest.raises(CatKerasError, match=r"300 requests, which are all answered within 1e.06 ms"):
        trial.knobs(setup, arrivals, 1000.0)
    with pytest.raises(CatKerasError, match=r"at 5000 requests a second. The nearest is \d+(\.\d+)? ms, by shed"):
        trial.knobs(setup, arrivals, 0.06, base=5000.0, names=("small", "shed"))


def test_imported_answers_take_the_seconds_of_their_logs(folder):
    run = load.load(folder)
    seconds = run.large["sst2"]["seconds"]
    found = latencies._of_answers(run, "large", 0)
    assert found.most == 1 and found.mean(1) == pytest.approx(seconds.mean())


@pytest.mark.parametrize(
    "text, message",
    [
        ("model,batch\nsmall,1\n", "without seconds"),
        ("model,batch,seconds\nsmall,one,2\n", "line 2"),
        ("model,batch,seconds\nsmall,1\n", "line 2"),
        ("model,batch,seconds\nsmall,2,0.1\n", "batch of 1 and for larger"),
        ("model,batch,seconds\nsmall,1,-1\n", "Seconds of a batch of 1"),
        ("model,batch,seconds\nsmall,1,1\n", "Received: none of large"),
    ],
)
def test_bad_latencies(folder, tmp_path, text, message):
    (tmp_path / "latency.csv").write_text(text)
    with pytest.raises(CatKerasError, match=message):
        latencies.of_models(load.load(folder), ("xent", "large"), 0, tmp_path / "latency.csv")


def test_measurements_are_read_as_they_were_written(tmp_path):
    known = latencies.read(measurements(tmp_path / "latency.csv"))
    assert known.keys() == {"small", "large"} and isinstance(known["large"], Latency)
    assert known["small"].table[3].tolist() == pytest.approx([0.9 * 0.0168, 0.0168, 1.1 * 0.0168])


def command(*words, status=0):
    done = CliRunner().invoke(app, ["load", *map(str, words)])
    if status:
        assert isinstance(done.exception, CatKerasError)
        return str(done.exception)
    assert done.exit_code == 0, done.output
    return done.output


@pytest.mark.slow
def test_committed_results_under_a_trace(tmp_path):
    """As a user calls it; what it writes and prints is one and the same."""
    from shutil import copytree

    kept = copytree("results/embedded", tmp_path / "embedded")
    rng, trace = np.random.default_rng(0), tmp_path / "day.csv"
    times = np.cumsum(rng.exponential(1, 600))
    trace.write_text("\n".join(["seconds", *map(str, times)]))
    file = measurements(tmp_path / "latency.csv")
    words = (kept, "--trace", trace, "--latency", file, "--floor", "0.1,0.1", "--budget", 300)
    output = command(*words, "--policies", "small,cascade,threshold,elastic-cascade", "--models", "cat-xent,large")
    rows = list(csv.DictReader((kept / records.FILE).read_text().splitlines()))
    assert {row["policy"] for row in rows} == {"cascade", "threshold", "elastic-cascade"}
    assert "Left out, since they cannot keep the promise: small." in output
    assert "The fixed cascade (threshold" in output and "At twice that rate" in output
    # No policy loses more than was promised, on examples that nothing was chosen on.
    setup = staging.setup(load.load(kept), ("cat-xent", "large"), Asked(), file)
    best = setup.service.servers[1].quality[setup.judging].mean()
    assert all(float(row["quality"]) >= best - 0.1 for row in rows)
    assert (kept / "load-day.png").read_bytes()[:4] == b"\x89PNG" and (kept / "load-day.svg").exists()


@pytest.mark.parametrize(
    "words, message",
    [
        (("--stream", "waves"), "did you mean wave"),
        (("--policies", "elastik"), "did you mean elastic"),
        (("--fit-on", "trace.csv"), "Received: no --trace"),
        (("--budget", -1), "--budget"),
        (("--floor", "0.1"), "ALPHA,DELTA"),
        (("--requests", 5), "--requests"),
        ((), "Measure the run's models with --measure"),
        (("--measure",), "keeps no texts or names no models"),
    ],
)
def test_what_cannot_be_simulated(tmp_path, words, message):
    from shutil import copytree

    kept = copytree("results/embedded", tmp_path / "embedded", ignore=lambda *_: ["latency.csv"])
    assert message in command(kept, "--out", tmp_path, *words, status=2)
    assert not list(kept.glob("load-*"))


def test_a_pace_is_what_batches_took_over_what_they_were_measured_to_take(setup):
    first, last = setup.service.servers
    taken = [(0, 1, 3 * first.latency.mean(1)), (0, 4, 3 * first.latency.mean(4))]
    assert models._paces(setup.service, taken) == (pytest.approx([3, 1]), pytest.approx(3))
    slower = setup.service.at_pace([3, 1])
    assert slower.servers[0].latency.mean(4) == pytest.approx(3 * first.latency.mean(4))
    assert slower.servers[1].latency.mean(1) == last.latency.mean(1) and slower.batch == setup.service.batch


def test_answers_in_real_time_are_compared_with_stored_ones(folder, setup):
    """Stand-ins for predictors that know what the run stored, one of which answers something else."""
    run = load.load(folder)
    texts = [
        {(name, e.id): text for name in run.covered for e, text in zip(run.examples[name], cells[name], strict=True)}
        for cells in (
            {name: run.small["xent", 0, name]["text"] for name in run.covered},
            {name: run.large[name]["text"] for name in run.covered},
        )
    ]

    def stand_in(known):
        return lambda batch: [SimpleNamespace(text=known[e.task, e.id]) for e in batch]

    answerers, policy = [stand_in(known) for known in texts], Fixed(Dial(setup.service, setup.fitting).cascade()[10])
    stream = streams.poisson(200.0, 40)
    found = models.compare(setup, run, answerers, "cascade", policy, stream)
    assert found.as_stored == 1 and found.requests == 40 and found.real_quality == found.simulated_quality
    assert 0 < found.real_p50 <= found.real_p99 and found.rate == pytest.approx(streams.mean_rate(stream))
    assert found.pace > 0 and 0 < found.at_pace_p50 <= found.at_pace_p99
    wrong = models.compare(setup, run, [answerers[0], lambda batch: answerers[0](batch)], "cascade", policy, stream)
    assert wrong.as_stored < 1
    rows = models.measure(answerers, models.roles(run, ("xent", "large")), list(run.examples["sst2"]), (1, 4), 3)
    assert [row[:2] for row in rows] == [
        (name, size) for name in ("small", "large") for _ in range(3) for size in (1, 4)
    ]
    assert all(seconds > 0 for *_, seconds in rows)


@pytest.mark.long
def test_real_models_of_a_tiny_run(tmp_path):
    """Measured and then asked in real time, for two seconds a policy; what they answer is what the run stored."""
    tiny.run(tmp_path, *tiny.EACH_STAGE)
    folder = tmp_path / "runs" / "tiny"
    words = ("--measure", "--real", 2, "--budget", 500, "--requests", 500, "--rate", 20, "--policies", "cascade")
    output = command(folder, "--out", tmp_path / "runs", *words)
    known = latencies.read(folder / "latency.csv")
    assert known.keys() == {"small", "large"} and known["small"].most == 32
    (row,) = csv.DictReader((folder / "load-real.csv").read_text().splitlines())
    assert row["policy"] == "cascade" and float(row["as_stored"]) == 1.0
    assert row["real_quality"] == row["simulated_quality"]
    assert 0 < float(row["real_p50"]) <= float(row["real_p99"]) and "Real models in this process" in output
