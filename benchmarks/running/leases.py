"""A store that several processes and machines fill together, without building the same thing twice.

Who builds an entry holds a lease: a small file that it touches every few seconds. Others that need the entry wait, and
say for what. A lease that is not touched any more belongs to a process that died, and is taken over. Whether it is
touched is seen by watching it, and how long by counting the looks: clocks of machines differ, and jump. Should two
processes build the same entry after all, nothing is lost but time: both write the same content, and the first rename
wins.
"""

import contextlib
import json
import os
import platform
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

from cat_keras.storage import processes, store

BEAT = 5.0  # seconds between two touches
STALE = 120.0  # seconds without one; more than a network file system keeps attributes
POLL = 0.5
_HELD: set[int] = set()  # when this process took the leases it holds


class SharedStore(store.Store):
    """As `cat_keras.storage.store.Store`; `get` waits while another process builds the entry.

    Args:
        root, report: as there. meanwhile: called again and again while waiting; what it raises ends the wait.
    """

    def __init__(self, root: Path, report: Callable[[str], None] = print, meanwhile: Callable[[], None] | None = None):
        super().__init__(root, report)
        self._meanwhile = meanwhile or (lambda: None)

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        if self.has(stage, key):
            return self.path(stage, key)
        with self.lease(f"{stage}-{key[:16]}", until=self.path(stage, key).exists):
            return super().get(stage, key, build)

    @contextlib.contextmanager
    def lease(self, name: str, until: Callable[[], bool] = lambda: False) -> Iterator[None]:
        """Holds a lease while the block runs; begins without one as soon as `until()` is true."""
        path = self.root / "leases" / f"{name}.json"
        held = Lease(path)
        self._wait(held, until)
        try:
            yield
        finally:
            held.release()

    def _wait(self, lease: "Lease", until):
        seen, silent, said = None, 0.0, False
        while not (until() or lease.take()):
            self._meanwhile()
            owner = lease.owner()
            silent = silent + POLL if owner == seen else 0.0
            seen = owner
            if owner and (_is_gone(owner) or silent > STALE):
                if lease.owner() == owner:  # not yet taken over by a third
                    self.report(f"{lease.path.stem}: {_name(owner)} does not answer any more; taking over")
                    lease.path.unlink(missing_ok=True)
                continue
            if owner and not said:
                said = True
                self.report(
                    f"waiting for {lease.path.stem}, which {_name(owner)} is building; "
                    f"taking over if it is silent for {STALE:.0f} s"
                )
            time.sleep(POLL)


class Lease:
    """A file that exists while its process builds something.

    Args:
        path: of the file.
    """

    def __init__(self, path: Path):
        self.path = path
        self._done, self._beating, self._since = threading.Event(), None, time.time_ns()
        self._mine = json.dumps({"host": platform.node(), "process": os.getpid(), "since": self._since})

    def take(self) -> bool:
        """Whether the lease is this process's now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _HELD.add(self._since)
        try:
            with self.path.open("x") as file:  # atomic, on network file systems too
                file.write(self._mine)
        except FileExistsError:
            _HELD.discard(self._since)
            return False
        except OSError:  # a full disk: without its line, nobody would know whose it is
            self.path.unlink(missing_ok=True)
            raise
        self._beating = threading.Thread(target=self._beat, daemon=True)
        self._beating.start()
        return True

    def _beat(self):
        while not self._done.wait(BEAT):
            with contextlib.suppress(OSError):  # taken over: the result is built twice, which does no harm
                os.utime(self.path)

    def owner(self) -> dict | None:
        """Who holds the lease and when it was last touched; None when nobody does."""
        try:
            text, touched = self.path.read_text(), self.path.stat().st_mtime_ns
        except OSError:
            return None
        with contextlib.suppress(ValueError):
            said = json.loads(text)
            if isinstance(said, dict) and isinstance(said.get("process"), int) and said["process"] > 0:
                return said | {"touched": touched}
        return {"touched": touched}  # between the creation of the file and its first line, or damaged

    def release(self):
        if self._beating:
            self._done.set()
            self._beating.join()
            with contextlib.suppress(FileNotFoundError):  # taken over
                if self.path.read_text() == self._mine:
                    self.path.unlink()
            _HELD.discard(self._since)


def _name(owner: dict) -> str:
    return f"process {owner.get('process', '?')} on {owner.get('host', '?')}"


def _is_gone(owner: dict) -> bool:
    """Whether the owner was a process of this machine that is no more."""
    if "process" not in owner or owner.get("host") != platform.node():
        return False
    if owner["process"] == os.getpid():  # a container that is started again numbers its processes as before
        return owner.get("since") not in _HELD
    return not processes.is_running(owner["process"])
