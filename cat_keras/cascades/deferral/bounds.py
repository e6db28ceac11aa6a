"""The rules that bound every comparison: random deferral from below, an oracle from above."""

from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import Rule, digests
from cat_keras.errors import check_number


@dataclass(frozen=True)
class Random(Rule):
    """Uniform in [0, 1), the floor of every plot.

    A score is a hash of (seed, task, id), so it does not depend on the order of the examples or on which others there
    are.
    """

    seed: int = 0
    needs = ("task",)
    computed = False

    def __post_init__(self):
        check_number("seed of random", self.seed, "[-1e+18, 1e+18]", whole=True)

    @property
    def name(self):
        return f"random-{self.seed}" if self.seed else "random"

    def score(self, columns):
        bits = np.frombuffer(b"".join(digests(self.seed, columns["task"], columns["id"])), dtype="<u8")
        # 53 bits are what a float64 in [0, 1) can hold; all 64 could round up to 1.
        return (bits >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class Oracle(Rule):
    """`q_small − q_large` per example, the order that no other rule beats.

    It is a ceiling that no system can reach in use, since it looks at the reference and at the large model's answer. It
    reads the columns `quality_small` and `quality_large`, see `columns`.
    """

    name = "oracle"
    needs = ("quality_small", "quality_large")
    computed = False

    def score(self, columns):
        return np.subtract(*(np.asarray(columns[name], dtype=np.float64) for name in self.needs))
