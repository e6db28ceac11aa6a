"""What a model says of its next tokens, without any of the ways in which this project computes it."""

import numpy as np


def logprobs(model, tokens) -> np.ndarray:
    """Log-probabilities of every next token (nats), from one unpadded forward pass without a cache.

    Args:
        tokens: (n,) or (rows, n) ids.

    Returns:
        (n, vocabulary) or (rows, n, vocabulary) float64.
    """
    x = np.atleast_2d(np.asarray(tokens, np.int32))
    logits = np.asarray(model({"token_ids": x, "padding_mask": np.ones_like(x)})).astype(np.float64)
    return (logits - np.log(np.exp(logits).sum(-1, keepdims=True))).reshape(*np.shape(tokens), -1)
