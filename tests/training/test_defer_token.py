"""The objective that teaches a token which asks for help: values by hand, its optimum, and where it is taught."""

from types import SimpleNamespace

import numpy as np
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.modeling import models, tokenizers
from cat_keras.training import losses
from cat_keras.training.batches import Batches
from cat_keras.training.teacher import FORMAT, TeacherCache
from cat_keras.training.teachers import AnyTeacher
from cat_keras.training.trainer import CascadeAware
from tests.data.invented import invented
from tests.training.test_losses import random_batch, value_and_gradient


def cache(data, right):
    header = {"format": FORMAT, "data": data.fingerprint, "tokenizer": "none", "distribution": "none", "k": 1,
              "temperature": 1.0}  # fmt: skip
    return TeacherCache(header, np.asarray(right, bool), np.zeros(len(right), np.float16))


# -- the loss --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("weight", "defer", "expected"), [(1, 1, 2), (1, 0, 1), (2.5, 1, 3.5), (0, 1, 1)])
def test_one_token_by_hand(weight, defer, expected):
    logits = np.log(np.float32([[[0.5, 0.2, 0.3]]]))  # -log p is log 2 for the label and for the defer token alike
    loss = losses.get("defer-token", token=0, weight=weight)
    value, live = loss(np.array([[0]]), logits, np.array([[1]]), {"defer": np.array([[defer]])})
    assert float(value) == pytest.approx(np.log(2) * expected, rel=1e-5)
    assert float(live) == 1


def test_without_a_place_to_ask_it_is_cross_entropy():
    labels, logits, weights, columns = random_batch(seed=2)
    columns["defer"] = 1 - weights  # it says nothing off the target tokens
    for ours, theirs in zip(
        value_and_gradient(lambda x: losses.get("defer-token")(labels, x, weights, columns)[0], logits),
        value_and_gradient(lambda x: losses.get("xent")(labels, x, weights)[0], logits),
        strict=True,
    ):
        np.testing.assert_allclose(ours, theirs, rtol=1e-6, atol=1e-7)


@pytest.mark.parametrize("share", [0.0, 0.25, 0.8])
def test_at_the_optimum_the_odds_are_the_probability_that_asking_helps(share):
    labels = np.tile([1, 1, 2, 3], 10)[:, None]  # of one prompt: labels with probability 1/2, 1/4, 1/4
    defer = (np.arange(40) < 40 * share).astype(np.int32)[:, None]
    p = np.array([share, 0.5, 0.25, 0.25]) / (1 + share)
    logits = np.tile(np.log(np.maximum(p, 1e-12)).astype(np.float32), (40, 1, 1))
    assert p[0] / (1 - p[0]) == pytest.approx(share)

    def loss(x):
        return losses.get("defer-token", token=0)(labels, x, np.ones((40, 1)), {"defer": defer})[0]

    _, gradient = value_and_gradient(loss, logits)
    np.testing.assert_allclose(gradient.sum((0, 1)), 0, atol=1e-6)


def test_the_objective_comes_back_from_its_configuration():
    loss = losses.get("defer-token", token=7, helps="right", weight=0.5, normalize="live")
    assert losses.DeferToken.from_config(loss.get_config()).get_config() == loss.get_config()


@pytest.mark.parametrize(
    ("arguments", "message"),
    [({"token": -1}, "token"), ({"helps": "gains"}, "did you mean gain"), ({"weight": -1}, "weight")],
)
def test_bad_arguments_are_an_error(arguments, message):
    with pytest.raises(CatKerasError, match=message):
        losses.get("defer-token", **arguments)


# -- where it is taught ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("helps", "asked"), [("gain", [1, 0, 0, 0]), ("right", [1, 1, 0, 0])])
def test_the_first_target_token_of_examples_where_asking_helps(helps, asked):
    data = invented([5, 4, 6, 3], n_prompt=[2, 3, 2, 1])  # 3, 1, 4 and 2 target tokens
    large = cache(data, [1, 1, 1] + [1] + [1, 1, 0, 1] + [0, 1])
    start = cache(data, [1, 0, 1] + [1] + [0, 0, 0, 0] + [0, 0])
    loss = losses.get("defer-token", helps=helps)
    batches = Batches(data, 3, buckets=1, loss=loss, teacher=large, start=start)
    np.testing.assert_array_equal(large.example_right(), [1, 1, 0, 0])
    for step in range(2):  # of the second batch, two rows only fill it up
        rows, _ = batches._rows(step)
        x, _, weights = batches.batch(step)
        expected = np.zeros(weights.shape, int)
        expected[np.arange(len(rows)), data.n_prompt[rows] - 1] = np.array(asked)[rows]
        np.testing.assert_array_equal(x["defer"], expected)
        assert (weights[x["defer"] > 0] == 1).all()


def test_batches_of_other_objectives_are_what_they_were():
    data = invented([5, 4, 6, 3])
    right = cache(data, np.ones(data.n_target.sum()))
    plain, helped = (Batches(data, 2, loss=name, teacher=right, start=right) for name in ("cat-xent", "defer-token"))
    assert "defer" not in plain.batch(0)[0] and plain.identity[-1] == ["teacher_right"]
    assert helped.identity[-1] == "gain" and set(helped.batch(0)[0]) == {"token_ids", "padding_mask", "defer"}


def test_of_several_later_models_one_must_be_right_on_the_whole_example():
    data = invented([4, 4, 4], n_prompt=[2, 2, 2])  # two target tokens each
    both = AnyTeacher([cache(data, [1, 1, 1, 0, 0, 0]), cache(data, [0, 0, 0, 1, 1, 1])])
    batches = Batches(data, 3, buckets=1, loss="defer-token", teacher=both, start=cache(data, [0, 0, 0, 0, 1, 1]))
    assert both.example_right().tolist() == [True, False, True]
    assert batches.batch(0)[0]["defer"].sum() == 1  # of the third the start was right


@pytest.mark.parametrize(("given", "message"), [((), "no teacher and no start"), (("teacher",), "Received: no start")])
def test_both_models_are_needed(given, message):
    data = invented([5, 4])
    caches = {name: cache(data, np.ones(data.n_target.sum())) for name in given}
    with pytest.raises(CatKerasError, match=message):
        Batches(data, 2, loss="defer-token", **caches)


def test_the_token_is_the_padding_token_of_the_model(small, large, tokenizer):
    assert tokenizers.defer_id(tokenizer) == models.special_id(tokenizer, "pad") == 0
    assert CascadeAware(small, "defer-token").objective.token == 0
    with pytest.raises(CatKerasError, match=r"token=5, where it is 0"):
        CascadeAware(small, losses.get("defer-token", token=5))
    with pytest.raises(CatKerasError, match="whole examples, which caches say"):
        CascadeAware(small, "defer-token", teacher=large)


def test_a_padding_token_with_another_meaning_is_refused():
    for ids, reason in (({"start": 0, "end": 0, "pad": 0}, "the start token too"), ({"end": 1}, "which has none")):
        tokenizer = SimpleNamespace(**{f"{kind}_token_id": i for kind, i in ids.items()})  # of GPT-2; without padding
        with pytest.raises(CatKerasError, match=reason):
            tokenizers.defer_id(tokenizer)
