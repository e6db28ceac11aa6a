"""Several processes that write into one folder: whose file is whose, which writer still runs, who has to wait."""

import contextlib
import hashlib
import os
import platform
import re
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path

try:
    import fcntl
    import resource
except ImportError:
    raise ImportError(
        "cat_keras runs on Linux and macOS: it locks files with fcntl, which Windows lacks. Use WSL"
    ) from None


def beside(path: Path, end: str = "tmp") -> Path:
    """A hidden name in the same folder that says which process of which machine writes there."""
    return path.with_name(f".{path.name}.{_machine()}-{os.getpid()}.{end}")


def _machine() -> str:
    """Eight hex digits that name the space in which a process id means one process: this machine and container."""
    namespace = Path("/proc/self/ns/pid")
    container = namespace.readlink() if namespace.is_symlink() else ""
    return hashlib.sha256(f"{platform.node()} {container}".encode()).hexdigest()[:8]


def peak_memory() -> int:
    """The most memory that this process has had, in bytes.

    Linux is asked through /proc: what `getrusage` says there includes the memory of the process that started this one.
    """
    try:
        status = Path("/proc/self/status").read_text(encoding="ascii", errors="replace")
        return 1024 * int(re.search(r"^VmHWM:\s+(\d+) kB", status, re.MULTILINE)[1])
    except (OSError, TypeError):  # macOS, or a sandbox without /proc
        peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        return peak if sys.platform == "darwin" else 1024 * peak  # macOS counts bytes, Linux KiB


def is_running(process: int) -> bool:
    """Whether this machine has a process with that id."""
    try:
        os.kill(process, 0)
    except (ProcessLookupError, OverflowError):
        return False
    except PermissionError:  # it runs, and belongs to another user
        pass
    return True


def sweep(folder: Path):
    """Removes the half-written files of processes that were killed; those of running processes stay."""
    for path in Path(folder).glob(".*.tmp"):
        match = re.fullmatch(rf"\..+\.{_machine()}-([1-9]\d*)\.tmp", path.name)
        if match and not is_running(int(match[1])):
            remove(path)


def remove(path: Path):
    """Removes a file or a folder; it is no error if another process has removed it, or parts of it, already."""
    with contextlib.suppress(OSError):
        shutil.rmtree(path) if path.is_dir() else path.unlink()


def take_lock(handle: int):
    """Takes the lock of an open file without waiting. It ends when the file is closed, or the process dies.

    Raises:
        BlockingIOError: another process holds it. OSError: the file system has no locks.
    """
    fcntl.flock(handle, fcntl.LOCK_EX | fcntl.LOCK_NB)


@contextlib.contextmanager
def locked(folder: Path, shared: bool = False) -> Iterator[None]:
    """Holds a lock on a folder, so that nobody reads files that belong together while another process replaces them.

    The operating system drops the lock of a process that dies. Some file systems have no locks; there a reader may be
    told, while another process writes, that a file differs from its manifest.

    Args:
        shared: True for readers: they wait for a writer, but not for each other.
    """
    with contextlib.ExitStack() as stack:
        with contextlib.suppress(OSError):
            handle = os.open(folder, os.O_RDONLY)
            stack.callback(os.close, handle)
            fcntl.flock(handle, fcntl.LOCK_SH if shared else fcntl.LOCK_EX)
        yield
