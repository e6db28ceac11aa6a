"""`Encoded` data without a tokenizer, for tests of padding and batches."""

import numpy as np

from cat_keras.data.encoding import Encoded


def invented(lengths, n_prompt=None, seed=0):
    """An `Encoded` of sequences of these lengths, with random tokens."""
    rng = np.random.default_rng(seed)
    lengths = np.asarray(lengths)
    n_prompt = rng.integers(1, lengths) if n_prompt is None else np.asarray(n_prompt)
    offsets = np.concatenate([[0], np.cumsum(lengths)])
    tokens = rng.integers(3, 1000, offsets[-1]).astype(np.int32)
    names = tuple(f"t/{i}" for i in range(len(lengths)))
    return Encoded(tokens, offsets.astype(np.int64), n_prompt.astype(np.int32), names, 0, (), "none")


def sequences(data):
    """The tokens of each example, as tuples."""
    return [tuple(data.tokens[a:b].tolist()) for a, b in zip(data.offsets, data.offsets[1:], strict=False)]
