"""A store that several processes and machines fill together, without building the same thing twice.

The process that builds an entry holds a lease: a small file that it touches every few seconds. Other processes that
need the entry wait and report what they wait for. A lease that is no longer touched belongs to a process that died, and
another process takes it over. The waiting process watches whether the file's time changes and counts how often it
looked without seeing a change, because the clocks of machines differ and jump. If two processes build the same entry
after all, only time is lost: both write the same content, and the first rename wins.
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
STALE = 120.0  # seconds without a touch until a lease is taken over; longer than a network file system caches times
POLL = 0.5  # seconds between two looks at a lease
_HELD: set[int] = set()  # creation times, in ns, of the leases that this process holds


class SharedStore(store.Store):
    """As `cat_keras.storage.store.Store`; `get` waits while another process builds the entry.

    Args:
        root, report: as for `Store`.
        meanwhile: called again and again while waiting; an error that it raises ends the wait.
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
        lease = Lease(self.root / "leases" / f"{name}.json")
        self._wait(lease, until)
        try:
            yield
        finally:
            lease.release()

    def _wait(self, lease: "Lease", until):
        last_owner, silence, reported = None, 0.0, False
        while not (until() or lease.take()):
            self._meanwhile()
            owner = lease.owner()
            silence = silence + POLL if owner == last_owner else 0.0
            last_owner = owner
            if owner and (_is_gone(owner) or silence > STALE):
                if lease.owner() == owner:  # no third process has taken it over in the meantime
                    self.report(f"{lease.path.stem}: {_name(owner)} does not answer any more; taking over")
                    lease.path.unlink(missing_ok=True)
                continue
            if owner and not reported:
                reported = True
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
        self._released, self._heartbeat, self._since = threading.Event(), None, time.time_ns()
        self._content = json.dumps({"host": platform.node(), "process": os.getpid(), "since": self._since})

    def take(self) -> bool:
        """Takes the lease unless somebody holds it; whether this process holds it now."""
        self.path.parent.mkdir(parents=True, exist_ok=True)
        _HELD.add(self._since)
        try:
            with self.path.open("x") as file:  # atomic, on network file systems too
                file.write(self._content)
        except FileExistsError:
            _HELD.discard(self._since)
            return False
        except OSError:  # a full disk: a lease without its content would name no owner
            self.path.unlink(missing_ok=True)
            raise
        self._heartbeat = threading.Thread(target=self._touch_until_released, daemon=True)
        self._heartbeat.start()
        return True

    def _touch_until_released(self):
        while not self._released.wait(BEAT):
            with contextlib.suppress(OSError):  # taken over: the result is built twice, which does no harm
                os.utime(self.path)

    def owner(self) -> dict | None:
        """Host, process and creation time of the lease, and when it was last touched; None when nobody holds it."""
        try:
            text, touched = self.path.read_text(), self.path.stat().st_mtime_ns
        except OSError:
            return None
        with contextlib.suppress(ValueError):
            content = json.loads(text)
            if isinstance(content, dict) and isinstance(content.get("process"), int) and content["process"] > 0:
                return content | {"touched": touched}
        return {"touched": touched}  # the file is damaged, or was created and has no content yet

    def release(self):
        """Ends this process's hold on the lease; a lease that was taken over stays with its new owner."""
        if self._heartbeat:
            self._released.set()
            self._heartbeat.join()
            with contextlib.suppress(FileNotFoundError):  # taken over, and released by its new owner
                if self.path.read_text() == self._content:
                    self.path.unlink()
            _HELD.discard(self._since)


def _name(owner: dict) -> str:
    return f"process {owner.get('process', '?')} on {owner.get('host', '?')}"


def _is_gone(owner: dict) -> bool:
    """Whether the owner was a process of this machine that has ended."""
    if "process" not in owner or owner.get("host") != platform.node():
        return False
    # A container that is restarted numbers its processes as before: this process may have the number of a dead owner.
    if owner["process"] == os.getpid():
        return owner.get("since") not in _HELD
    return not processes.is_running(owner["process"])
