"""Models and data that the speed measurements share: models of two shapes, examples of random tokens."""

import random
import string

import numpy as np

from cat_keras import Encoded
from cat_keras.modeling import models

# About 1 and 6 million parameters with 4,096 pieces; gated feed-forward blocks of 8/3 of the width hold as many
# parameters as the plain ones of 4 times the width that GPT has.
SHAPES = {
    "1M": {"layers": 3, "width": 128, "heads": 4, "feedforward": 340},
    "6M": {"layers": 6, "width": 256, "heads": 4, "feedforward": 680},
}


def tokenizer(vocabulary: int = 4096) -> bytes:
    """A SentencePiece model of random words, of at most `vocabulary` pieces."""
    rng = random.Random(0)
    words = ["".join(rng.choices(string.ascii_lowercase, k=rng.randint(2, 8))) for _ in range(2 * vocabulary)]
    return models.train_tokenizer([" ".join(rng.choices(words, k=20)) for _ in range(2 * vocabulary)], vocabulary)


def model(proto: bytes, shape: str, **changes):
    """An untrained model of one of `SHAPES`."""
    return models.build(proto, **SHAPES[shape] | changes)


def data(proto: bytes, count: int, length: int, target: int, seed: int = 0) -> Encoded:
    """`count` examples of `length` model inputs each, the last `target` predicted tokens being targets."""
    import keras_hub
    import sentencepiece

    rng = np.random.default_rng(seed)
    size = sentencepiece.SentencePieceProcessor(model_proto=proto).get_piece_size()
    return Encoded(
        tokens=rng.integers(4, size, count * (length + 1)).astype(np.int32),
        offsets=np.arange(count + 1, dtype=np.int64) * (length + 1),
        n_prompt=np.full(count, length + 1 - target, np.int32),
        ids=tuple(f"random/{i}" for i in range(count)),
        truncated=0,
        dropped=(),
        tokenizer=models.tokenizer_fingerprint(keras_hub.models.GemmaTokenizer(proto=proto)),
    )
