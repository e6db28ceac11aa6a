"""The store of a run whose processes train together: all take part in a training, the chief builds everything else."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.running.leases import SharedStore
from cat_keras.errors import CatKerasError
from cat_keras.training.distribution import Distribution


class CollectiveStore(SharedStore):
    """As `SharedStore` for the workers of one cluster, which share its folder and call `get` in the same order.

    Whether an entry is there is decided by the chief, for all: a worker that is late must not find what the chief has
    just finished and step out of line.

    Args:
        place: a `Distribution` of several workers. The others: as there.
    """

    def __init__(self, root: Path, report: Callable[[str], None], place: Distribution, meanwhile=None):
        super().__init__(root, report, meanwhile)
        self.place, self._alone = place, False

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        if self._alone:
            return super().get(stage, key, build)
        if not self.place.agree(self.has(stage, key) if self.place.chief else False):
            if stage == "train":
                self._together(stage, key, build)
            elif self.place.chief:
                self._by_the_chief(stage, key, build)
            self.place.agree(True)  # everybody waits until it is there
        if not self.has(stage, key):
            raise CatKerasError(
                f"Workers share the folder of results. Received: {self.root}, where worker {self.place.worker} does "
                "not see what the chief wrote. Give all of them the same --out on a shared file system"
            )
        return self.path(stage, key)

    def _together(self, stage, key, build):
        if self.place.chief:
            super().get(stage, key, build)
            return
        with tempfile.TemporaryDirectory() as unused:  # same steps, same weights: one copy is kept
            build(Path(unused))

    def _by_the_chief(self, stage, key, build):
        self._alone = True
        try:
            super().get(stage, key, build)
        finally:
            self._alone = False
