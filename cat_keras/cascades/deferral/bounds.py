"""The floor and the ceiling of every comparison of rules."""

from dataclasses import dataclass

import numpy as np

from cat_keras.cascades.deferral.rule import Rule, digests


@dataclass(frozen=True)
class Random(Rule):
    """Uniform in [0, 1): the floor of every plot. A hash of (seed, task, id), so it depends on no order or subset."""

    seed: int = 0
    needs = ("task",)

    @property
    def name(self):
        return f"random-{self.seed}" if self.seed else "random"

    def score(self, columns):
        bits = np.frombuffer(b"".join(digests(self.seed, columns["task"], columns["id"])), dtype="<u8")
        # 53 bits are what a float64 in [0, 1) can hold; all 64 could round up to 1.
        return (bits >> np.uint64(11)) * 2.0**-53


@dataclass(frozen=True)
class Oracle(Rule):
    """`q_small − q_large` per example: the order that no other rule beats.

    A ceiling that no served system can use: it looks at the reference and at an answer of the large model. Reads the
    columns `quality_small` and `quality_large`, see `columns`.
    """

    name = "oracle"
    needs = ("quality_small", "quality_large")

    def score(self, columns):
        return np.subtract(*(np.asarray(columns[name], dtype=np.float64) for name in self.needs))
