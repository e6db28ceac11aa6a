"""The store of a run whose processes train together: all take part in a training, the chief builds everything else."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.running.leases import SharedStore
from cat_keras.errors import CatKerasError
from cat_keras.training.distribution import Distribution


class CollectiveStore(SharedStore):
    """As `SharedStore` for the workers of one cluster, which share its folder and call `get` in the same order.

    The chief decides for all workers whether an entry is there. Otherwise a late worker could find an entry that the
    chief has just finished, skip its part, and be out of step with the others.

    Args:
        root, report, meanwhile: as for `SharedStore`. place: a `Distribution` of several workers.
    """

    def __init__(self, root: Path, report: Callable[[str], None], place: Distribution, meanwhile=None):
        super().__init__(root, report, meanwhile)
        self.place = place
        # True while the chief builds an entry alone: what that entry is built from is then not agreed on either.
        self._chief_builds = False

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        if self._chief_builds:
            return super().get(stage, key, build)
        if not self.place.agree(self.has(stage, key) if self.place.chief else False):
            if stage == "train":
                self._train_together(stage, key, build)
            elif self.place.chief:
                self._build_alone(stage, key, build)
            self.place.agree(True)  # everybody waits until it is there
        if not self.has(stage, key):
            raise CatKerasError(
                f"Workers share the folder of results. Received: {self.root}, where worker {self.place.worker} does "
                "not see what the chief wrote. Give all of them the same --out on a shared file system"
            )
        return self.path(stage, key)

    def _train_together(self, stage, key, build):
        if self.place.chief:
            super().get(stage, key, build)
            return
        # Every worker takes the same steps and ends with the same weights; only the chief's copy is stored.
        with tempfile.TemporaryDirectory() as discarded:
            build(Path(discarded))

    def _build_alone(self, stage, key, build):
        self._chief_builds = True
        try:
            super().get(stage, key, build)
        finally:
            self._chief_builds = False
