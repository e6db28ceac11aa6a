"""Results at an address of fsspec (`s3://…`, `gs://…`, `file:///…`, `memory://…`): machines without a common folder.

A file lies under its sha256, and the manifest of an entry, which names the files, is written when all of them are
there. So an address has an entry whole or not at all, whoever writes at the same time, and the next upload goes on
where an interrupted one ended. What a training or a shard has left unfinished lies beside under its own name.
"""

import contextlib
import functools
import re
import time
from collections.abc import Callable, Collection
from pathlib import Path, PurePosixPath

from cat_keras.errors import CatKerasError
from cat_keras.storage import processes, store

ATTEMPTS = 3  # of a call to a server
PAUSE = 1.0  # seconds between the first two, four times as many between the next


class Remote:
    """Files at an address.

    Args:
        address: of a folder, as fsspec reads it. Keys, regions and servers are given as its file system reads them, for
            S3 in the environment variables of AWS.

    Raises:
        CatKerasError: no such kind of address, or its package is not installed.
    """

    def __init__(self, address: str):
        self.address = address
        try:
            import fsspec

            self._files, self._root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
        except (ImportError, ValueError) as error:
            raise CatKerasError(
                f"Results are kept at an address that fsspec can open. Received: {address!r:.200} ({error}). Write "
                's3://BUCKET/FOLDER and install its package: pip install "cat-keras[s3]", or [gs]'
            ) from error

    def __reduce__(self):
        return Remote, (self.address,)  # a connection is not given to another process

    def check(self):
        """Raises CatKerasError unless a file can be written here, read and removed."""
        name = f"checks/{processes.beside(Path('probe')).name}"
        self.write(name, b"probe")
        if self.read(name) != b"probe":
            raise self._refused(ValueError("what was written is not what is read"))
        self.remove(name)

    def write(self, name: str, content: bytes):
        """Writes a small file."""
        self._make_folder(self._path(name))
        self._call(self._files.pipe_file, self._path(name), content)

    def read(self, name: str) -> bytes | None:
        """The content of a small file; None where there is none."""
        return self._asked(self._files.cat_file, self._path(name))

    def has(self, name: str) -> bool:
        """Whether there is an entry."""
        return bool(self._asked(self._files.exists, self._path(_manifest(name))))

    def remove(self, name: str):
        """Removes a file or a folder, if it is there."""
        self._asked(functools.partial(self._files.rm, recursive=True), self._path(name))

    def send(self, folder: Path, name: str):
        """Sends a sealed folder, see `store.seal`, unless it is here already.

        Args:
            name: of the entry here, e.g. "train/0123456789abcdef".
        """
        if self.has(name):
            return
        for file, facts in store.files_of(folder).items():
            path = self._path(_content(facts["sha256"]))
            if self._size(path) != facts["bytes"]:  # what an upload that was interrupted has left is written again
                self._upload(folder / file, path)
        self.write(_manifest(name), (folder / "manifest.json").read_bytes())

    def fetch(self, name: str, folder: Path, only: Collection[str] | None = None) -> bool:
        """Writes an entry into an empty folder; False where there is none. Whoever calls it compares the checksums.

        Args:
            only: files to fetch beside the manifest; None for all.
        """
        manifest = self.read(_manifest(name))
        if manifest is None:
            return False
        (folder / "manifest.json").write_bytes(manifest)
        for file, content in _contents(folder).items():
            if only is not None and file not in only:
                continue
            (folder / file).parent.mkdir(parents=True, exist_ok=True)
            self._asked(self._files.get_file, self._path(content), str(folder / file))
        return True

    def forget(self, name: str, folder: Path):
        """Removes an entry that was fetched into a folder, with those of its files that are not as they were sent."""
        self.remove(_manifest(name))
        for file, content in _contents(folder).items():
            if (folder / file).is_file() and _content(store.sha256_file(folder / file)) != content:
                self.remove(content)

    def send_file(self, path: Path, name: str):
        """Sends one file, in place of the one that is here under that name."""
        self._upload(path, self._path(name))

    def fetch_missing(self, name: str, folder: Path):
        """Fetches the files under a name that a local folder has not, each whole or not at all."""
        for path in self._asked(self._files.find, self._path(name)) or ():
            file = PurePosixPath(path).relative_to(PurePosixPath(self._path(name)))
            target = folder / file
            if ".." in file.parts or target.exists():
                continue
            target.parent.mkdir(parents=True, exist_ok=True)
            temporary = processes.beside(target)
            self._asked(self._files.get_file, path, str(temporary))
            if temporary.exists():  # another machine may have removed it meanwhile
                temporary.replace(target)

    def _path(self, name: str) -> str:
        return f"{self._root.rstrip('/')}/{name}"

    def _size(self, path: str) -> int | None:
        return (self._asked(self._files.info, path) or {}).get("size")

    def _upload(self, source: Path, path: str):
        self._make_folder(path)
        self._call(self._files.put_file, str(source), path)

    def _make_folder(self, path: str):
        """Makes the folder of a file where the file system has folders."""
        if "file" in self._files.protocol:
            self._call(functools.partial(self._files.makedirs, exist_ok=True), path.rpartition("/")[0])

    def _asked(self, function: Callable, *arguments):
        """As `_call`, of what may not be there; None then."""
        with contextlib.suppress(FileNotFoundError):
            return self._repeated(function, *arguments)
        return None

    def _call(self, function: Callable, *arguments):
        """What a call to the server returns.

        Raises:
            CatKerasError: it failed, also when it was repeated.
        """
        try:
            return self._repeated(function, *arguments)
        except FileNotFoundError as error:  # a bucket that is not there
            raise self._refused(error) from error

    def _repeated(self, function, *arguments):
        for attempt in range(ATTEMPTS):
            try:
                self._files.invalidate_cache()  # another machine may have written since
                return function(*arguments)
            except FileNotFoundError:
                raise
            except Exception as error:  # of as many kinds as there are servers
                if attempt + 1 == ATTEMPTS or isinstance(error, PermissionError):
                    raise self._refused(error) from error
                time.sleep(PAUSE * 4**attempt)
        return None

    def _refused(self, error: Exception) -> CatKerasError:
        return CatKerasError(
            f"Results are kept at an address that can be read and written. Received: {self.address} "
            f"({type(error).__name__}: {str(error)[:300]}). Look at the address, its credentials and the network. "
            "What was finished is kept here: start the same command again"
        )


def _manifest(name: str) -> str:
    return f"{name}.json"


def _contents(folder: Path) -> dict[str, str]:
    """Name of a file in a fetched folder → name of its content here; nothing of a manifest that is damaged."""
    try:
        return {file: _content(facts["sha256"]) for file, facts in store.files_of(folder).items()}
    except (CatKerasError, KeyError, TypeError, AttributeError):
        return {}


def _content(sha256: str) -> str:
    if not re.fullmatch("[0-9a-f]{64}", sha256):
        raise CatKerasError(f"A checksum is 64 hex digits. Received: {sha256!r:.80}")
    return f"files/{sha256[:2]}/{sha256}"
