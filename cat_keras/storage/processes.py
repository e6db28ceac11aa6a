"""Several processes that write into one folder: whose file is whose, who is still there, who has to wait."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
except ImportError:
    raise ImportError(
        "cat_keras runs on Linux and macOS: it locks files with fcntl, which Windows lacks. Use WSL"
    ) from None


def beside(path: Path, end: str = "tmp") -> Path:
    """A hidden name in the same folder that says which process of which machine writes there."""
    return path.with_name(f".{path.name}.{_here()}-{os.getpid()}.{end}")


def _here() -> str:
    """Where process ids mean what they mean here: this machine, and in it this container."""
    namespace = Path("/proc/self/ns/pid")
    inside = namespace.readlink() if namespace.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {inside}".encode()).hexdigest()[:8]


def is_running(process: int) -> bool:
    """Whether this machine has a process of that id."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:
        pass
    return True


def sweep(folder: Path):
    """Removes what processes that were killed left half-written in a folder; nothing of those that still write."""
    for path in Path(folder).glob(".*.tmp"):
        writer = re.fullmatch(rf"\..+\.{_here()}-([1-9]\d*)\.tmp", path.name)
        if writer and not is_running(int(writer[1])):
            remove(path)


def remove(path: Path):
    """A file or a folder, or what another process has left of it."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


@contextlib.contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """While one process replaces files of a folder that belong together, no other opens some of them.

    The system drops the lock of a process that dies. Where a file system knows no locks, one who reads while another
    writes may be told that a file is not the one of the manifest.

    Args:
        shared: for those that read; they wait for one who writes, not for each other.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
