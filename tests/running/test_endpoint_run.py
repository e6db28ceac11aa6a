"""A run whose large model is an endpoint: nothing is paid for twice, whatever happens in between."""

import io
import json

import pandas
import pytest
from rich.console import Console

from benchmarks.planning import plan, profile
from benchmarks.planning.findings import BadInput
from benchmarks.report.reading import load
from benchmarks.running import run as running
from cat_keras.errors import CatKerasError
from tests.endpoint_server import KEY, MODEL, serving
from tests.tiny import PROFILE

pytestmark = [pytest.mark.slow, pytest.mark.allow_hosts(["127.0.0.1"])]

SMALL = {"methods": ["xent"], "small.pretrain.epochs": 0, "small.price": [0.1, 0.1]}


@pytest.fixture
def server(monkeypatch):
    pytest.importorskip("openai")
    monkeypatch.setenv("LOOPBACK", KEY)
    with serving() as server:
        yield server


@pytest.fixture
def settings(server, tmp_path):
    """A function: the tiny profile with the server as its large model."""
    (tmp_path / "tiny.toml").write_text(PROFILE)
    large = {"endpoint": server.url, "model": MODEL, "price": [2.5, 10.0], "key": "LOOPBACK", "concurrency": 3}

    def read(**changes):
        return profile.read(str(tmp_path / "tiny.toml"), SMALL | {"large": large | changes})

    return read


def run(read, out) -> str:
    screen = io.StringIO()
    running.run(read, None, out, Console(file=screen, width=200), strategy="none")
    return screen.getvalue()


def test_a_run_that_breaks_goes_on_without_asking_again(server, settings, tmp_path):
    out, todo = tmp_path / "runs", plan.make(settings())
    targets = {e.prompt: e.target for e in todo.test}
    server.answer = lambda prompt: targets.get(prompt, "?")
    asked = len({e.prompt + option for e in todo.test for option in (e.options or ("",))})  # some are equal
    server.faults = [None] * 10 + [(400, {}, f"no more for {KEY}")]
    with pytest.raises(CatKerasError, match="status 400: no more for …"):
        run(settings(), out)
    log = (out / "tiny" / "log.txt").read_text()
    assert "large: CatKerasError" in log and KEY not in log
    assert "small" not in log.partition("trace")[0].rpartition("model ")[2]  # nothing was trained before
    assert "TFLOP" not in run(settings(), out)
    assert len(server.requests) == asked + 1
    run(settings(price=[1.0, 1.0]), out)  # all is there
    assert len(server.requests) == asked + 1
    manifest = json.loads((out / "tiny" / "manifest.json").read_text())
    assert manifest["settings"]["large"]["price"] == [1.0, 1.0]
    rows = pandas.read_parquet(out / "tiny" / "predictions.parquet")
    large = rows[rows.model == "large"]
    assert large.flops.isna().all() and (large.n_prompt > 0).all() and (large.seconds > 0).all()
    assert large[large.task == "embedded_lookup"].quality.mean() == 1.0
    assert load.load(out / "tiny").large
    page = (out / "tiny" / "table.md").read_text() + (out / "tiny" / "report.html").read_text()
    assert "Prices given, per million tokens read/written: small 0.1/0.1, large 1/1" in page
    run(settings(logprobs=False), out)  # asked in another way, and options are matched
    assert len(server.requests) == asked + 1 + len({e.prompt for e in todo.test})
    rows = pandas.read_parquet(out / "tiny" / "predictions.parquet")
    assert not rows[rows.model == "large"].token_logprobs.map(len).any() and load.load(out / "tiny").large
    for path in out.rglob("*"):
        assert path.is_dir() or KEY.encode() not in path.read_bytes()


def test_what_stands_against_asking_is_found_before_anything_is_trained(server, settings, tmp_path, monkeypatch):
    monkeypatch.delenv("LOOPBACK")
    with pytest.raises(BadInput):
        run(settings(), tmp_path / "runs")
    assert "no variable LOOPBACK" in (tmp_path / "runs" / "tiny" / "log.txt").read_text()
    assert not server.requests and not list((tmp_path / "runs" / "cache").glob("train/*"))
