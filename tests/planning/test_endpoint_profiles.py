"""A large model behind an address in a profile: what is refused, what it is known by, what it takes."""

import io
import json

import pytest
from rich.console import Console

from benchmarks.planning import dryrun, plan, profile, sizes
from benchmarks.planning.estimate import Estimate
from cat_keras.data.chat import Chat
from cat_keras.errors import CatKerasError

URL = "http://127.0.0.1:8000/v1"
LARGE = {"endpoint": URL, "model": "tiny", "price": [2.5, 10.0]}
CHANGES = {"data.tasks": ["embedded_lookup"], "data.train": 20, "data.test": 8, "methods": ["xent", "gatekeeper"]}


def read(changes: dict | None = None, **large) -> profile.Profile:
    return profile.read("embedded", CHANGES | {"large": LARGE | large} | (changes or {}))


@pytest.mark.parametrize(
    ("changes", "large", "message"),
    [
        (
            {"methods": ["xent", "cat-xent", "dist"]},
            {},
            "cat-xent, dist trains on what the large .* xent and",
        ),
        ({"small": LARGE}, {}, "The small model of a profile is trained"),
        ({}, {"layers": 2}, "not made and not trained here"),
        ({}, {"preset": "x"}, "not made and not trained here"),
        ({}, {"tune": {"epochs": 1, "learning_rate": 1e-3}}, "not made and not trained here"),
        ({}, {"model": ""}, "has the name of a model"),
        ({}, {"endpoint": "127.0.0.1"}, "address like"),
        ({}, {"price": [1.0, -1.0]}, "Each of price"),
        ({}, {"key": "sk-secret"}, "name of an environment variable"),
        ({"data.chat": {"template": "{{ messages }}"}}, {}, "its own template"),
        ({"small.key": "KEY"}, {}, "key is of an endpoint"),
    ],
)
def test_what_a_profile_may_not_ask_of_an_endpoint(changes, large, message):
    with pytest.raises(CatKerasError, match=message) as error:
        read(changes, **large)
    assert "sk-secret" not in str(error.value)


def test_a_profile_with_an_endpoint_has_it_as_its_large_model():
    remote = read({"data.chat": {"system": "A"}}, key="KEY", chat={"system": "B"}, retries=2).large.remote()
    assert (remote.url, remote.model, remote.price, remote.key) == (URL, "tiny", (2.5, 10.0), "KEY")
    assert (remote.chat, remote.retries) == (Chat(system="B"), 2)
    assert read().small.remote() is None


def test_models_without_one_are_written_as_before():
    settings = json.loads(profile.read("embedded").model_dump_json())
    assert not {"endpoint", "price", "logprobs", "fields"} & settings["large"].keys()
    written = json.loads(read().model_dump_json())
    assert profile.Profile.model_validate(written) == read()


def test_answers_are_known_by_address_model_and_settings_and_not_by_price():
    def key(changes=None, **large):
        todo = plan.make(read(changes, **large))
        return todo.prediction_key(todo.model_key(plan.LARGE))

    assert key() == key(price=[1.0, 1.0], concurrency=2, key="KEY")
    others = [key(model="b"), key(endpoint=URL + "/b"), key(fields={"top_p": 0.5}), key({"data.max_new_tokens": 5})]
    assert len({key(), *others}) == 5


def test_a_dry_run_says_what_asking_costs(tmp_path):
    screen = io.StringIO()
    dryrun.show(read(), None, tmp_path, Console(file=screen, width=200))
    read_tokens, written = Estimate(plan.make(read())).asked
    assert written > 0 and read_tokens > written / 24  # max_new_tokens of the profile
    assert f"The large model is asked at {URL}: about" in screen.getvalue() and "at its price." in screen.getvalue()


def test_nothing_is_trained_or_computed_for_it():
    todo = plan.make(read())
    assert todo.large is None and not any(cell.role == "large" for cell in todo.cells())
    assert sizes.of(todo.profile.large, 768).parameters == 0
    (stage,) = [stage for stage in Estimate(todo).stages() if stage.role == "large"]
    assert stage.kind == "predict" and stage.flops == 0
