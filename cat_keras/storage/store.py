"""Files that survive a kill: content hashes, atomic writes, verified folders.

A result is a folder whose `manifest.json` lists the sha256 of every other file. The folder is filled under a temporary
name beside its place and renamed last, so that at any instant its name holds either all of it or nothing. The checksums
tell whether a file was changed or lost later.
"""

import contextlib
import hashlib
import json
import os
import re
import shutil
import time
from collections.abc import Callable, Collection, Iterator
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage import processes

HASH_SCHEME = 1  # part of every identity: raise it when `identity` itself changes
JSON_BYTES = 256 * 2**20  # largest file to read: a manifest of 2,000 models has 20 MiB, as Python objects 200


def identity(**parts) -> str:
    """sha256 (hex) over everything that changes an output; `parts` must be JSON values.

    Raises:
        CatKerasError: a part is no JSON value; equal inputs could then hash differently.
    """
    try:
        text = json.dumps({"scheme": HASH_SCHEME, **parts}, sort_keys=True, separators=(",", ":"), allow_nan=False)
    except (TypeError, ValueError) as error:
        raise CatKerasError(f"The parts of an identity are JSON values. Received: {error}") from error
    return hashlib.sha256(text.encode()).hexdigest()


def sha256_file(path: Path) -> str:
    """sha256 (hex) of the content of a file."""
    with Path(path).open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def write_bytes(path: Path, content: bytes):
    """Writes a whole file or none of it: the content goes to a temporary name, is synced, and is renamed last."""
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    temporary = processes.beside(path)
    try:
        with temporary.open("wb") as stream:
            stream.write(content)
            stream.flush()
            os.fsync(stream.fileno())
        temporary.replace(path)
    except BaseException:  # a full disk must not keep the half that did fit
        temporary.unlink(missing_ok=True)
        raise


def write_json(path: Path, value):
    """Writes JSON with sorted keys, whole or not at all."""
    write_bytes(path, (json.dumps(value, indent=1, sort_keys=True, ensure_ascii=False) + "\n").encode())


def read_json(path: Path):
    """The value of a JSON file.

    Raises:
        CatKerasError: the file is missing, larger than `JSON_BYTES`, or no JSON.
    """
    path = Path(path)
    try:
        if (size := path.stat().st_size) > JSON_BYTES:
            raise ValueError(f"{size:,} bytes, of {JSON_BYTES:,} at most")
        return json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError, RecursionError) as error:
        raise CatKerasError(
            f"Expected a readable JSON file. Received: {path} ({error}). Delete it to rebuild it"
        ) from error


def write_manifest(path: Path, facts: dict):
    """Writes a JSON object with a checksum of itself, since no other file holds one of the manifest."""
    facts = json.loads(json.dumps(facts))  # as it will be read: keys become strings, tuples become lists
    write_json(path, facts | {"checksum": _checksum(facts)})


def read_manifest(path: Path) -> dict:
    """The facts that `write_manifest` wrote; manifests of earlier versions have no checksum and are not checked.

    Raises:
        CatKerasError: the manifest is missing, not readable, or not what was written.
    """
    facts = read_json(path)
    if not isinstance(facts, dict):
        raise CatKerasError(f"A manifest is a JSON object. Received: {path}, which is none. Delete it to rebuild it")
    checksum = facts.pop("checksum", None)
    # Damage may also hit the key "checksum" itself: then the value still shows that there was one.
    from_earlier_version = checksum is None and not any(str(value).startswith("sha256:") for value in facts.values())
    if not from_earlier_version and checksum != _checksum(facts):
        raise CatKerasError(f"A manifest is as it was written. Received: {path}, changed since. Delete it")
    return facts


def _checksum(facts: dict) -> str:
    return "sha256:" + hashlib.sha256(json.dumps(facts, sort_keys=True).encode()).hexdigest()


def write_together(folder: Path, contents: dict[str, bytes], manifest: dict):
    """Writes files that belong together, and last the manifest with the sha256 of each under `files`.

    A reader that opens them under `processes.locked` sees all of the old ones or all of the new ones. A kill between
    two files leaves a manifest whose checksums differ from the files, which tells that they have to be written again.
    """
    folder.mkdir(parents=True, exist_ok=True)
    processes.sweep(folder)
    files = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    with processes.locked(folder):
        for name, content in contents.items():
            write_bytes(folder / name, content)
        write_manifest(folder / "manifest.json", manifest | {"files": files})


def seal(folder: Path, facts: dict):
    """Writes the manifest of a filled folder: `facts` plus the size and sha256 of every file under it."""
    folder = Path(folder)
    files = {
        str(p.relative_to(folder)): {"sha256": sha256_file(p), "bytes": p.stat().st_size}
        for p in sorted(folder.rglob("*"))
        if p.is_file() and p != folder / "manifest.json"
    }
    write_manifest(folder / "manifest.json", {**facts, "files": files})


def files_of(folder: Path) -> dict[str, dict]:
    """Name → {"sha256", "bytes"} of every file of a sealed folder.

    Raises:
        CatKerasError: the manifest is missing or changed, or names a file that lies elsewhere.
    """
    files = read_manifest(folder / "manifest.json")["files"]
    for name in files:
        if Path(name).is_absolute() or ".." in Path(name).parts:
            raise CatKerasError(f"A manifest names files of its folder. Received: {name!r}, which lies elsewhere")
    return files


def damage(folder: Path, only: Collection[str] | None = None) -> str | None:
    """What is wrong with a sealed folder, in words; None if every listed file has its checksum.

    Args:
        only: names of files that are looked at; None for all.
    """
    folder = Path(folder)
    if not (folder / "manifest.json").exists():
        return "manifest.json is missing"
    try:
        files = files_of(folder)
        for name in files if only is None else only:
            entry = files[name]
            if not (folder / name).is_file():
                return f"{name} is missing"
            if (folder / name).stat().st_size != entry["bytes"] or sha256_file(folder / name) != entry["sha256"]:
                return f"{name} has another checksum than the manifest"
    except (CatKerasError, KeyError, TypeError, AttributeError) as error:
        return f"manifest.json is not readable ({error})"
    except FileNotFoundError as error:  # another process has found the damage first and is removing the folder
        return f"{Path(error.filename).name} is missing"
    return None


@contextlib.contextmanager
def replaced(folder: Path):
    """Gives an empty folder to fill, which takes the place of `folder` at the end of the block.

    After an error in the block nothing has changed.
    """
    folder = Path(folder)
    temporary, old = processes.beside(folder), processes.beside(folder, "old")
    shutil.rmtree(temporary, ignore_errors=True)
    temporary.mkdir(parents=True)
    try:
        yield temporary
        # A rename cannot replace a folder that is not empty, so the old one moves aside first. After a kill between
        # the two renames, it lies whole under that other name.
        if folder.exists():
            folder.rename(old)
        temporary.rename(folder)
        shutil.rmtree(old, ignore_errors=True)
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _entry_damage(entry: Path, key: str) -> str | None:
    """What is wrong with an entry of a store, in words; None if it is whole and belongs to the key."""
    problem = damage(entry)
    if problem is None and read_manifest(entry / "manifest.json").get("key") != key:
        problem = "its manifest names another key"
    return problem


def _put(temporary: Path, path: Path):
    """Gives a filled folder its name, unless another process was first."""
    with contextlib.suppress(OSError):
        temporary.rename(path)


class Store:
    """Results by identity: `<root>/<stage>/<first 16 hex digits>/`.

    Args:
        root: the folder; made on first write.
        report: called with one line when a damaged entry is found and rebuilt.
        remote: a `remote.Remote` that machines without a common folder share. An entry that is not here is fetched from
            there, and one that is here is sent there. None for a store of this folder alone.
    """

    def __init__(self, root: Path, report: Callable[[str], None] = print, remote=None):
        self.root, self.report, self.remote = Path(root), report, remote
        self._verified: set[Path] = set()  # entries whose checksums this process has compared
        self._swept: set[Path] = set()  # folders of stages that this process has swept

    def path(self, stage: str, key: str) -> Path:
        """The folder of an entry, whether or not it exists."""
        # Damaged entries are removed, so a key must not lead out of the folder of its stage.
        if not re.fullmatch("[0-9a-f]{16,64}", str(key)):
            raise CatKerasError(f"A key is a hash in hex digits. Received: {key!r:.60}")
        return self.root / stage / key[:16]

    def has(self, stage: str, key: str) -> bool:
        """Whether a complete, undamaged entry exists, which is here then; a damaged one is removed and reported."""
        path = self.path(stage, key)
        if path in self._verified:
            return True
        if path.exists() and not (_entry_damage(path, key) and self._remove_damaged(path, key)):
            if self.remote:
                self.remote.send(path, self._remote_name(path))
        elif not self._fetch(path, key):
            return False
        self._verified.add(path)
        return True

    def exists(self, stage: str, key: str) -> bool:
        """Whether there is an entry, here or at the remote address; its content is not looked at."""
        path = self.path(stage, key)
        return path.exists() or bool(self.remote and self.remote.has(self._remote_name(path)))

    def is_shared(self, stage: str, key: str) -> bool:
        """Whether every machine of a run finds an entry; what is here alone is sent."""
        return self.has(stage, key) if self.path(stage, key).exists() else self.exists(stage, key)

    @contextlib.contextmanager
    def glance(self, stage: str, key: str, *names: str) -> Iterator[Path | None]:
        """For the time of the block, a folder with the manifest of an entry and its files of some names.

        The entry itself where it is here; None where there is none. The other files of an entry at the remote address,
        which may be the weights of a large model, are not fetched.
        """
        path = self.path(stage, key)
        with contextlib.ExitStack() as stack:
            folder = path
            if self.remote and not path.exists():
                folder = stack.enter_context(self._beside(path))
                self.remote.fetch(self._remote_name(path), folder, names)
            if folder == path or damage(folder, names):
                folder = path if self.has(stage, key) else None
            yield folder

    def _remote_name(self, path: Path) -> str:
        return path.relative_to(self.root).as_posix()

    def _fetch(self, path: Path, key: str) -> bool:
        """Whether an entry was at the remote address and is here now; one that is damaged there is removed there."""
        if not self.remote:
            return False
        name = self._remote_name(path)
        with self._beside(path) as temporary:
            if not self.remote.fetch(name, temporary):
                return False
            if problem := _entry_damage(temporary, key):
                self.report(f"{self.remote.address}, {name}: {problem}; building it again")
                self.remote.forget(name, temporary)
                return False
            _put(temporary, path)
        return True

    def _remove_damaged(self, path: Path, key: str) -> bool:
        """Removes an entry if it is still damaged, and says whether there is none any more.

        Several processes may find the same damage: the lock and the second look ensure that one of them removes the
        entry, and that none removes what another has built in the meantime.
        """
        with processes.locked(path.parent):
            problem = path.exists() and _entry_damage(path, key)
            if problem:
                self.report(f"{path}: {problem}; building it again")
                aside = processes.beside(path.with_name(f"{path.name}.damaged"))
                path.rename(aside)
                processes.remove(aside)
        return bool(problem) or not path.exists()

    def get(self, stage: str, key: str, build: Callable[[Path], dict | None]) -> Path:
        """The folder of an entry, built by `build(folder)` if it does not exist.

        `build` fills the folder it is given and returns facts for the manifest. If two processes build the same entry,
        the first rename wins, and the copy of the other, which is equal by construction, is dropped.
        """
        path = self.path(stage, key)
        if self.has(stage, key):
            return path
        started = time.monotonic()
        with self._beside(path) as temporary:
            facts = build(temporary) or {}
            seal(temporary, {"stage": stage, "key": key, "seconds": round(time.monotonic() - started, 2), **facts})
            _put(temporary, path)
        if not self.has(stage, key):
            raise CatKerasError(f"Could not put {path} in place; is the folder writable?")
        unfinished = self.unfinished(stage, key)
        shutil.rmtree(unfinished, ignore_errors=True)
        if self.remote:
            self.remote.remove(self._remote_name(unfinished))
        return path

    @contextlib.contextmanager
    def _beside(self, path: Path) -> Iterator[Path]:
        """An empty folder beside the place of an entry, for the time of the block."""
        temporary = processes.beside(path)
        if path.parent not in self._swept:  # only once, since a folder may hold thousands of entries
            processes.sweep(path.parent)
            self._swept.add(path.parent)
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        try:
            yield temporary
        finally:
            shutil.rmtree(temporary, ignore_errors=True)

    # -- what is unfinished ------------------------------------------------------------------------------------------

    def unfinished(self, stage: str, key: str) -> Path:
        """Where an unfinished entry keeps checkpoints and parts; removed when the entry is complete."""
        return self.root / "unfinished" / f"{stage}-{key[:16]}"

    def taken_up(self, stage: str, key: str, part: str = "") -> Path:
        """`unfinished`, or the part of some name in it, with what other machines have sent of that."""
        folder = self.unfinished(stage, key) / part
        if self.remote:
            self.remote.fetch_missing(self._remote_name(folder), folder)
        return folder

    def hand_on(self, path: Path):
        """Sends a file or a folder of an unfinished entry to the remote address, so that another machine can go on."""
        if self.remote:
            for file in [path] if path.is_file() else sorted(p for p in path.rglob("*") if p.is_file()):
                self.remote.send_file(file, self._remote_name(file))
