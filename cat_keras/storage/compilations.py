"""XLA's machine code, kept between processes: what one has compiled, a later one with the same shapes does not compile.

TensorFlow writes and reads the files (`--tf_xla_persistent_cache_directory`) but believes what it reads, and a damaged
one ends the process. So each process gets a folder of its own, with links to the files whose checksums are right.
"""

import contextlib
import hashlib
import importlib.metadata
import os
import platform
from collections.abc import Callable, Iterator
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage import processes, processor, store

FLAGS = "TF_XLA_FLAGS"
FLAG = "--tf_xla_persistent_cache_directory"
MOST = 512 * 2**20  # bytes of code for a machine; the oldest give way
# Steps from which on a training wins back the seconds of compiling the lengths of its batches.
LONG_TRAINING = 500
INDEX = "checksums.json"


@contextlib.contextmanager
def kept(folder: Path) -> Iterator[Callable[[], None]]:
    """Within it, a process that has not compiled anything yet takes and leaves code in a folder.

    Code is kept apart by processor and version of TensorFlow. Where the user names a folder to TensorFlow himself, or
    where the code cannot be kept, nothing is done.

    Yields:
        a function that leaves what was compiled so far, for a process that may be killed; the end does so as well.
    """
    if FLAG in os.environ.get(FLAGS, ""):
        yield lambda: None
        return
    place = Path(folder) / _machine()
    own = processes.beside(place / "process")
    before = os.environ.get(FLAGS)
    with contextlib.suppress(OSError):
        place.mkdir(parents=True, exist_ok=True)
        processes.sweep(place)
        own.mkdir()
        _link(place, own)
        os.environ[FLAGS] = f"{before or ''} {FLAG}={own} --tf_xla_persistent_cache_read_only=false".strip()
    try:
        yield lambda: _collect(own, place)
    finally:
        _collect(own, place)
        processes.remove(own)
        os.environ.pop(FLAGS, None)
        os.environ |= {FLAGS: before} if before is not None else {}


def _machine() -> str:
    """A name for the processor and the compiler: code of one runs on no other."""
    facts = processor.facts()
    parts = [platform.machine(), platform.processor(), facts.get("flags") or facts.get("Features", "")]
    parts += [importlib.metadata.version(name) for name in ("tensorflow", "keras")]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _index(place: Path) -> dict[str, str]:
    """Name of a file → its sha256; none where that cannot be read."""
    with contextlib.suppress(CatKerasError):
        return dict(store.read_json(place / INDEX))
    return {}


def _link(place: Path, own: Path):
    """Files that are as they were written; others are removed, as are the oldest of too many."""
    with processes.locked(place):
        known = _index(place)
        files = sorted(place.glob("*.pb"), key=lambda path: path.stat().st_mtime, reverse=True)
        room = MOST
        for path in files:
            room -= path.stat().st_size
            if room >= 0 and known.get(path.name) == store.sha256_file(path):
                os.link(path, own / path.name)
            else:
                path.unlink()


def _collect(own: Path, place: Path):
    """Leaves what this process has compiled where the next one finds it; a full disk costs no more than that."""
    with contextlib.suppress(OSError), processes.locked(place):
        new = [path for path in own.glob("*.pb") if not (place / path.name).exists()]
        if new:
            sums = {path.name: store.sha256_file(path) for path in new}
            store.write_json(place / INDEX, _index(place) | sums)
        for path in new:
            os.link(path, place / path.name)
