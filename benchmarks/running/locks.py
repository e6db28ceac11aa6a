"""A store that several processes fill together, without building the same thing twice.

The process that builds an entry holds a lock of the operating system, which drops it when that process dies. Others
that need the entry wait, and say so. Where a file system has no locks, two processes may build the same entry: then
only time is lost, since both write the same content and the first rename wins.
"""

import contextlib
import os
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cat_keras.storage import processes, store

POLL = 0.5  # seconds between two attempts to take a lock


class SharedStore(store.Store):
    """As `cat_keras.storage.store.Store`; `get` waits while another process builds the entry.

    Args:
        root, report, remote: as for `Store`.
        meanwhile: called again and again while waiting; an error that it raises ends the wait.
    """

    def __init__(self, root: Path, report: Callable[[str], None] = print, meanwhile: Callable[[], None] | None = None,
                 remote=None):  # fmt: skip
        super().__init__(root, report, remote)
        self._meanwhile = meanwhile or (lambda: None)

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        if self.has(stage, key):
            return self.path(stage, key)
        with self.lock(f"{stage}-{key[:16]}", until=self.path(stage, key).exists):
            return super().get(stage, key, build)

    @contextlib.contextmanager
    def lock(self, name: str, until: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds a lock while the block runs; begins without one as soon as `until()` is true."""
        path = self.root / "locks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        handle, reported = None, False
        while not until() and (handle := _taken(path)) is None:
            self._meanwhile()
            if not reported:
                reported = True
                self.report(f"waiting for {name}, which another process is building")
            time.sleep(POLL)
        try:
            yield
        finally:
            if handle is not None:
                path.unlink(missing_ok=True)  # while it is held, see `_taken`
                os.close(handle)


def _taken(path: Path) -> int | None:
    """An open file that holds the lock of a name; None while another process holds it.

    Who releases a lock removes its file first. So a lock counts only if its file still has that name: otherwise it is
    the one of a file that was removed between opening and locking it.
    """
    handle = os.open(path, os.O_RDWR | os.O_CREAT, 0o644)
    try:
        processes.take_lock(handle)
        if path.stat().st_ino == os.fstat(handle).st_ino:
            return handle
    except (BlockingIOError, FileNotFoundError):
        pass
    except OSError:  # a file system without locks
        return handle
    os.close(handle)
    return None
