"""Services whose numbers one can follow by hand."""

import numpy as np

from cat_keras.serving import Latency, Server, Service

N = 200


def linear(start: float, each: float, most: int = 32) -> Latency:
    """A batch of b takes start + b · each seconds."""
    return Latency.of({b: [start + each * b] for b in range(1, most + 1)})


def pair(batch=32, machines=1, small=None, large=None, n=N) -> Service:
    """A small model that is right where it is sure, and a large one that is right on all but every tenth."""
    score = np.random.default_rng(0).permutation(n) / n
    return Service(
        (
            Server("small", small or linear(0.01, 0.001), (score > 0.5).astype(float), score),
            Server("large", large or linear(0.03, 0.01), (np.arange(n) % 10 > 0).astype(float)),
        ),
        batch,
        machines,
    )
