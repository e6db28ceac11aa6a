"""What tests share: invented text, a tokenizer trained on it, and models so small that a step takes milliseconds.

Session fixtures are read, never changed; a test that trains or damages a model takes a fresh one from `new_model`.
"""

import os

os.environ["HF_HUB_OFFLINE"] = "1"  # a preset that is not there fails at once, not after retries
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")  # read when TensorFlow is first imported

import pytest

from cat_keras.data.records import Example

NUMBERS = "nought one two three four five six seven eight nine".split()
ANIMALS = "heron otter badger newt stoat vole finch adder hare wren".split()
SHAPES = {
    "small": {"layers": 1, "width": 16, "feedforward": 16},
    "large": {"layers": 2, "width": 32, "feedforward": 32},
}


def pytest_configure(config):
    # keras_hub.tokenizers.SentencePieceTokenizer.set_proto reads the file of a preset without closing it.
    for name in (r"vocabulary\.spm", r"tokenizer\.model"):
        config.addinivalue_line("filterwarnings", rf"ignore:unclosed file .*{name}:ResourceWarning")


def pytest_collection_modifyitems(items):
    """Slow files first: two processes that share the tests then end at about the same time."""
    slow = {item.path for item in items if item.get_closest_marker("slow")}
    items.sort(key=lambda item: item.path not in slow)


def invented_examples() -> list[Example]:
    """Twenty to classify, options of different lengths, and twenty to answer freely; targets follow from prompts."""
    options = ("yes", "surely not")
    classify = [
        Example(
            f"{i}",
            f"The {ANIMALS[i % 10]} has {NUMBERS[i // 2]} legs.\nEven?\n",
            options[i // 2 % 2],
            "parity",
            options,
        )
        for i in range(20)
    ]
    generate = [
        Example(f"{i}", f"Say {i % 10}{' again' * (i // 10)} in words:\n", NUMBERS[i % 10], task="spell")
        for i in range(20)
    ]
    return classify + generate


@pytest.fixture(scope="session")
def examples():
    return invented_examples()


@pytest.fixture(scope="session")
def proto(examples):
    from cat_keras.modeling import models

    return models.train_tokenizer([part for e in examples for part in (e.prompt, e.target)], 320)


@pytest.fixture(scope="session")
def new_model(proto):
    """`new_model("small", seed=0, **changes)`: a fresh Gemma model with random weights."""
    from cat_keras.modeling import models

    def build(role="small", seed=0, **changes):
        return models.build(proto, heads=2, seed=seed, **SHAPES[role] | changes)

    return build


@pytest.fixture(scope="session")
def small(new_model):
    return new_model("small", seed=1)


@pytest.fixture(scope="session")
def large(new_model):
    return new_model("large", seed=2)


@pytest.fixture(scope="session")
def tokenizer(small):
    return small.preprocessor.tokenizer


@pytest.fixture(scope="session")
def encoded(examples, tokenizer):
    from cat_keras.data import encoding

    return encoding.encode(examples, tokenizer, max_length=40)


@pytest.fixture(scope="session")
def train_small(new_model, encoded):
    """`train_small(steps, seed=0)`: a small model after so many steps of xent, until it ends its answers."""
    import keras

    from cat_keras import training
    from cat_keras.training.batches import Batches

    def run(steps, seed=0):
        trainer = training.CascadeAware(new_model("small", seed=seed), "xent")
        trainer.compile(keras.optimizers.Adam(), jit_compile=False)
        batches = Batches(encoded, 40, buckets=1)
        training.train(trainer, batches, training.Schedule(peak=2e-2, steps=steps, warmup=5))
        return trainer.model

    return run


@pytest.fixture(scope="session")
def trained(train_small):
    return train_small(150, seed=3)
