"""Sends the state of a training to where another machine finds it, if this one is lost."""

import time
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage.store import Store

SECONDS = 60.0  # between two uploads, at least
SHARE = 0.1  # of the time of a training that uploads may take


class Sender:
    """Sends the file that a training keeps its state in, when it has changed and some time has passed.

    A log of a training: called after each step. As a context it sends the last state where the block ends with an
    error, e.g. since the run is to stop.

    Args:
        store: whose unfinished entry this is; without a remote address nothing is sent.
        state: the file.
    """

    def __init__(self, store: Store, state: Path):
        self._store, self._state = store, state
        self._sent, self._next = self._version(), time.monotonic() + SECONDS

    def __call__(self, progress=None):
        if self._store.remote and time.monotonic() > self._next and self._version() != self._sent:
            began, self._sent = time.monotonic(), self._version()
            self._store.hand_on(self._state)
            ended = time.monotonic()
            self._next = ended + max(SECONDS, (ended - began) * (1 - SHARE) / SHARE)

    def __enter__(self):
        return self

    def __exit__(self, kind, error, trace):
        # An address that fails is the error already, or would hide it.
        if kind and not issubclass(kind, CatKerasError):
            self._next = 0.0
            self()

    def _version(self) -> int:
        return self._state.stat().st_mtime_ns if self._state.exists() else 0
