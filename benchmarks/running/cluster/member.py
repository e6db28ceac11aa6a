"""The store of one of several workers that train together, see `gang`; of a worker alone it is as any other."""

import tempfile
from collections.abc import Callable
from pathlib import Path

from benchmarks.running.locks import SharedStore


class MemberStore(SharedStore):
    """The store of one of several workers that train together: what they train is written by the first alone.

    Args:
        root, report, meanwhile, remote: as for `SharedStore`. first: whether this is the worker that writes.
    """

    def __init__(self, root: Path, report: Callable[[str], None], meanwhile: Callable[[], None], first: bool,
                 remote=None):  # fmt: skip
        super().__init__(root, report, meanwhile, remote)
        self._first = first

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        if stage == "train" and not self._first and not self.has(stage, key):
            with tempfile.TemporaryDirectory() as discarded:
                build(Path(discarded))
            return self.path(stage, key)
        return super().get(stage, key, build)
