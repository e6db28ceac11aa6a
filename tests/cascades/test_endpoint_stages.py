"""Cascades with endpoints: of a local model and one, and of two; calibrated in money, saved without the key."""

import math

import pytest

from cat_keras.cascades.cascade import Cascade
from cat_keras.data.records import Example
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.errors import CatKerasError
from tests.endpoint_server import KEY, MODEL, serving

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])

PRICES = (1.0, 2.0), (10.0, 20.0)


@pytest.fixture
def servers(monkeypatch):
    """A small model that is right where it is sure, and a large one that is always right."""
    pytest.importorskip("openai")
    monkeypatch.setenv("LOOPBACK", KEY)
    with serving() as small, serving() as large:
        # The log-probability of "it" is −1.24 and that of "fourth" −0.58, see `endpoint_server.logprob`.
        small.answer = lambda prompt: "it" if int(prompt.split()[1]) % 2 else "fourth"
        large.answer = lambda prompt: "right" if int(prompt.split()[1]) % 2 else "fourth"
        yield small, large


@pytest.fixture
def pair(servers):
    return [Endpoint(s.url, MODEL, p, key="LOOPBACK", retries=0) for s, p in zip(servers, PRICES, strict=True)]


def queries(numbers) -> list[Example]:
    return [Example(str(i), f"Say {i}\n", "right" if i % 2 else "fourth") for i in numbers]


def test_two_endpoints_are_calibrated_in_money(pair, servers):
    cascade = Cascade(pair, max_new_tokens=4)
    chosen = cascade.calibrate(queries(range(40)), min_quality=1.0)
    # Two tokens are read and one is written by each model; half of the queries are deferred.
    small, large = (2 * 1 + 2) / 1e6, (2 * 10 + 20) / 1e6
    assert chosen.alone_cost == pytest.approx((small, large))
    assert chosen.cost == pytest.approx(small + large / 2) and chosen.quality == 1.0
    assert chosen.deferral == (0.5,) and chosen.alone_quality == (0.5, 1.0)
    kept, deferred = cascade(queries([40, 41]))
    assert (kept.text, kept.stage, kept.price) == ("fourth", 0, pytest.approx(small))
    assert (deferred.text, deferred.stage, deferred.price) == ("right", 1, pytest.approx(small + large))
    assert math.isnan(deferred.flops) and math.isnan(deferred.score) and not math.isnan(kept.score)
    assert "logprobs" in servers[0].requests[0][1] and "logprobs" not in servers[1].requests[0][1]


def test_a_budget_is_in_the_currency_of_the_prices(pair):
    cascade = Cascade(pair, max_new_tokens=4)
    assert cascade.calibrate(queries(range(40)), max_cost=5e-6).deferral == (0.0,)
    assert cascade.calibrate(queries(range(40)), max_cost=1.0).quality == 1.0


def test_without_a_price_there_is_no_budget(servers):
    cascade = Cascade([Endpoint(s.url, MODEL) for s in servers])
    with pytest.raises(CatKerasError, match=r"max_cost needs the price of every model\. Received: tiny at http"):
        cascade.calibrate(queries(range(4)), max_cost=1.0)
    assert cascade.calibrate(queries(range(4)), min_quality=1.0).cost is None
    priced = Cascade([Endpoint(s.url, MODEL) for s in servers], prices=PRICES)
    assert priced.calibrate(queries(range(4)), min_quality=1.0).cost > 0


@pytest.mark.parametrize("prices", [[(1, 2)], [(1, 2), 3], [(1, 2), (1, -1)], "dear"])
def test_prices_are_a_pair_for_each_model(pair, prices):
    with pytest.raises(CatKerasError, match=r"[Pp]rice"):
        Cascade(pair, prices=prices)


@pytest.mark.parametrize("rule", ["token-entropy", "margin", "max-probability"])
def test_rules_that_read_what_a_server_does_not_give_are_refused(servers, rule):
    stages = [Endpoint(s.url, MODEL, options="match") for s in servers]
    with pytest.raises(CatKerasError, match=r"A deferral rule reads what a model gives.*no server|does not score"):
        Cascade(stages, rule)


def test_a_saved_cascade_of_endpoints_holds_no_key_and_needs_one_only_to_answer(pair, tmp_path, monkeypatch):
    cascade = Cascade(pair, max_new_tokens=4, prices=[None, (11, 22)])
    cascade.calibrate(queries(range(40)), max_deferral=0.5)
    cascade.save(tmp_path / "saved")
    for path in (tmp_path / "saved").iterdir():
        assert KEY not in path.read_text()
    loaded = Cascade.load(tmp_path / "saved")
    assert [p.model for p in loaded.predictors] == pair
    assert [p.price for p in loaded.predictors] == [(1.0, 2.0), (11.0, 22.0)]
    assert loaded.thresholds == cascade.thresholds and loaded.calibration == cascade.calibration
    assert [a.text for a in loaded(queries([40, 41]))] == ["fourth", "right"]
    monkeypatch.delenv("LOOPBACK")
    without = Cascade.load(tmp_path / "saved")
    without.save(tmp_path / "again")
    for use in (lambda: without(queries([40])), lambda: without.calibrate(queries(range(4)), max_deferral=0.5)):
        with pytest.raises(CatKerasError, match="no variable LOOPBACK"):
            use()


def test_a_local_model_defers_to_an_endpoint(small, servers, examples, tmp_path):
    server, targets = servers[1], {e.prompt: e.target for e in examples}
    server.answer = lambda prompt: targets[prompt.partition("OPTIONS:")[0]]
    settings = {"max_length": 48, "max_new_tokens": 3, "batch_size": 16, "prices": [(0.1, 0.1), None]}
    cascade = Cascade([small, Endpoint(server.url, MODEL, PRICES[1], options="match")], **settings)
    chosen = cascade.calibrate(examples[20:36], max_deferral=0.5)
    assert 0 < chosen.deferral[0] <= 0.5 and chosen.cost > 0 and chosen.alone_quality[1] == 1.0
    answers = cascade(examples[36:] + examples[:4])
    assert {a.stage for a in answers} <= {0, 1} and all(a.price > 0 for a in answers)
    assert all(a.text == e.target for a, e in zip(answers, examples[36:] + examples[:4], strict=True) if a.stage)
    cascade.save(tmp_path / "saved")
    again = Cascade.load(tmp_path / "saved")(examples[36:] + examples[:4])
    assert [(a.text, a.stage) for a in again] == [(a.text, a.stage) for a in answers]
