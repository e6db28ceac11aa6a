"""A model with learned positions says how many it has, and every entry asks it before it computes anything."""

import keras
import numpy as np
import pytest

import cat_keras as ck
from cat_keras import training
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from tests.decoding import families

POSITIONS = 20  # no multiple of 8, to which lengths are rounded up


@pytest.fixture(scope="module", params=[families.gpt2, families.opt], ids=["gpt2", "opt"])
def model(request):
    return request.param(POSITIONS)


def encoded(model, inputs):
    """Examples of which the longest has so many inputs."""
    start = models.special_id(model.preprocessor.tokenizer, "start") is not None
    examples = [ck.Example("1", "a" * (inputs - 1 - start), "b"), ck.Example("2", "a", "b")]
    data = ck.encode(examples, model.preprocessor.tokenizer, 64)
    assert data.lengths.max() == inputs
    return data


def trainer(model):
    made = training.CascadeAware(model, "xent")
    made.compile(keras.optimizers.Adam(), jit_compile=False)
    return made


def schedule(steps=1):
    return training.Schedule(peak=1e-3, steps=steps)


ENTRIES = {
    "predictor": lambda m: ck.Predictor(m, max_length=POSITIONS + 1, max_new_tokens=2),
    "predictor by default": lambda m: ck.Predictor(m),
    "beams": lambda m: ck.Predictor(m, max_length=64, max_new_tokens=2, beams=2),
    "cascade": lambda m: ck.Cascade([m, m], max_length=64, max_new_tokens=2),
    "token by token": lambda m: ck.SpeculativeCascade(m, m, max_length=POSITIONS, gamma=4),
    "generator": lambda m: ck.Generator(m)([[5]], POSITIONS + 1),
    "teacher": lambda m: ck.TeacherCache.build(m, encoded(m, POSITIONS + 1), "none"),
    "fit": lambda m: trainer(m).fit(ck.Batches(encoded(m, POSITIONS + 1), 2, loss="xent")),
    "train": lambda m: training.train(trainer(m), ck.Batches(encoded(m, POSITIONS + 1), 2), schedule()),
}


@pytest.mark.parametrize("entry", ENTRIES)
def test_more_tokens_than_positions_are_one_error(model, entry):
    assert models.positions(model) == POSITIONS
    with pytest.raises(CatKerasError, match=rf"as many tokens as it has positions.*which has {POSITIONS}\. \w+"):
        ENTRIES[entry](model)


@pytest.mark.slow
def test_all_positions_can_be_used(model):
    settings = {"max_length": POSITIONS, "max_new_tokens": 9}
    asked = [ck.Example(f"{n}", "a" * n, "", options=o) for n in (1, 8, 30) for o in ((), ("b", "cd"))]
    answers = ck.Predictor(model, **settings)(asked)
    assert all(np.isfinite(p.token_logprobs).all() for p in answers)
    assert max(p.n_prompt + p.n_answer for p in answers if not p.option_logprobs) == POSITIONS
    assert len(ck.Generator(model, [])([[5]], POSITIONS)[0].tokens) == POSITIONS
    assert ck.TeacherCache.build(model, encoded(model, POSITIONS), "none").right.shape == (4,)
    ck.SpeculativeCascade(model, model, max_length=POSITIONS - 4, gamma=4).generate(["a" * 30], 9)
    data = encoded(model, POSITIONS // 8 * 8)
    training.train(trainer(model), ck.Batches(data, 2), schedule())


def test_token_ids_keep_to_the_context(model):
    cascade = ck.SpeculativeCascade(model, model, max_length=12, gamma=4)
    assert len(cascade.generate([[5] * 8], 4)) == 1
    with pytest.raises(CatKerasError, match=r"Received: 9 as prompt 1, max_length=12.*Cut them to 8"):
        cascade.generate([[5] * 8, [5] * 9], 4)


def test_rotary_positions_have_no_end(small):
    assert models.positions(small) is None
