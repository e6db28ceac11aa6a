"""Columns of several later models as one: a small model of a longer cascade is trained for all that come after it."""

from collections.abc import Sequence

import numpy as np

from cat_keras.data.encoding import Encoded
from cat_keras.errors import CatKerasError
from cat_keras.training import losses
from cat_keras.training.teacher import TeacherCache


class AnyTeacher:
    """Stands for a `TeacherCache` wherever one is read, and says what any of several models says.

    A token is right if any of the models predicts it. Its log-probability is the largest that any of them gives, and
    its rank the smallest. Probabilities are those of the first model, the next one of the cascade. CAT (arXiv
    2406.00060) has two models; all of this is our choice for more.

    Args:
        caches: of the models after the one that is trained, the next one first, over the same data.

    Raises:
        CatKerasError: fewer than two caches, or caches of different data.
    """

    def __init__(self, caches: Sequence[TeacherCache]):
        if len(caches) < 2:
            raise CatKerasError(
                f"AnyTeacher joins the caches of two or more models. Received: {len(caches)}. Pass the TeacherCache"
            )
        self.caches = tuple(caches)
        data = [cache.header["data"] for cache in self.caches]
        if len(set(data)) > 1:
            raise CatKerasError(
                f"All caches are of one data set. Received: data {', '.join(sorted({name[:12] for name in data}))}. "
                "Build them on the same Encoded"
            )
        self.header = {"data": data[0], "any": [cache.header for cache in self.caches]}

    def check(self, data: Encoded, loss: losses.CascadeLoss | None = None):
        """As `TeacherCache.check`, of all models."""
        for cache in self.caches:
            cache.check(data, loss)

    def batch(
        self, rows: np.ndarray, weights: np.ndarray, columns: list[str], labels: np.ndarray | None = None
    ) -> dict[str, np.ndarray]:
        """As `TeacherCache.batch`, of any of the models."""
        first = self.caches[0].batch(rows, weights, columns, labels)
        own = [name for name in columns if name != "teacher_probs"]
        for cache in self.caches[1:]:
            other = cache.batch(rows, weights, own, labels)
            for name in other:
                join = np.minimum if name == "teacher_rank" else np.maximum
                first[name] = join(first[name], other[name])
        return first

    def example_right(self) -> np.ndarray:
        """(n,) bool, whether any of the models is right on all target tokens of an example; after `check`."""
        return np.logical_or.reduce([cache.example_right() for cache in self.caches])
