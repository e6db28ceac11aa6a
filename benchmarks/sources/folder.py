"""The local source: JSON lines in a folder, checked against the folder's manifest where there is one."""

import difflib
import functools
import json
from collections.abc import Iterator
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage import store

LAYOUT = "a data folder holds <dataset>/<config, or default>/<split>.jsonl, one JSON object per line"
# sha256 and size of the files of a data folder, by their path in it; `benchmarks.tasks.prepare` writes it.
MANIFEST = "manifest.json"


def data_folder(data: str | Path | None) -> Path:
    """The data folder as a path.

    Raises:
        CatKerasError: none was named, or it does not exist.
    """
    if data is None:
        raise CatKerasError(
            f"This task reads local data and no folder was named; pass --data DIR ({LAYOUT}), or --source samples"
        )
    root = Path(data).expanduser()
    if not root.is_dir():
        raise CatKerasError(f"The data folder does not exist; received {str(data)!r}. Pass --data DIR: {LAYOUT}")
    return root


def split_file(folder: Path, part: str, root: Path) -> Path:
    """`folder/part.jsonl`, which lies in the data folder `root`, with the checksum that the manifest of `root` gives.

    Raises:
        CatKerasError: folder or file is missing, and what is there instead; or the file is not what the manifest says.
    """
    if not folder.is_dir():
        wanted = folder.relative_to(root).as_posix()
        there = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.is_dir())
        near = difflib.get_close_matches(wanted, there, n=3) or there[:5]
        raise CatKerasError(
            f"The data set {wanted} is missing in {root}, where {', '.join(near) or 'nothing'} is. "
            f"Put it there: {LAYOUT}"
        )
    path = folder / f"{part}.jsonl"
    if not path.is_file():
        there = ", ".join(sorted(p.stem for p in folder.glob("*.jsonl"))) or "none"
        raise CatKerasError(f"The split file {path} is missing; {folder} has the splits: {there}")
    verify(path, root)
    return path


def verify(path: Path, root: Path) -> None:
    """Compares a file with the manifest of its data folder; without a manifest, or an entry in it, there is no promise.

    Raises:
        CatKerasError: size or sha256 differ, or the manifest cannot be read.
    """
    entry = entries(root).get(path.relative_to(root).as_posix())
    if entry is None:
        return
    wanted = (entry["bytes"], entry["sha256"])
    stat = path.stat()
    if stat.st_size != wanted[0] or _sha256(path, stat.st_mtime_ns, stat.st_size) != wanted[1]:
        raise CatKerasError(
            f"{path} is not the file that {root / MANIFEST} lists (size or sha256 differ). Restore it, or write it "
            "again with `python -m benchmarks prepare`; take it out of the manifest if you changed it on purpose"
        )


def entries(root: Path) -> dict[str, dict]:
    """What the manifest of a data folder says of its files, by their path in it; nothing without a manifest.

    Raises:
        CatKerasError: the manifest cannot be read.
    """
    manifest = root / MANIFEST
    return _entries(manifest, manifest.stat().st_mtime_ns) if manifest.is_file() else {}


@functools.lru_cache(maxsize=8)
def _entries(manifest: Path, modified: int) -> dict[str, dict]:
    return read_entries(manifest)


def read_entries(manifest: Path) -> dict[str, dict]:
    """`entries` of the manifest as it is at this moment."""
    try:
        files = store.read_json(manifest)["files"]
        return {
            name: {**entry, "bytes": int(entry["bytes"]), "sha256": str(entry["sha256"])}
            for name, entry in files.items()
        }
    except CatKerasError:
        raise
    except (KeyError, TypeError, AttributeError, ValueError, OverflowError) as error:
        raise CatKerasError(
            f'{manifest} must read {{"files": {{path: {{"bytes": …, "sha256": …}}}}}}; received {error!r}. '
            "Write it again with `python -m benchmarks prepare`, or delete it"
        ) from error


@functools.cache
def _sha256(path: Path, modified: int, size: int) -> str:
    """Read once per process, as long as the file is not written again."""
    return store.sha256_file(path)


def read_jsonl(path: Path) -> Iterator[tuple[int, dict]]:
    """Index of the line (from 0) and object of every line that is not blank.

    Raises:
        CatKerasError: a line is not a JSON object; file and line are named.
    """
    # Binary, because in text mode a line separator inside a string (U+2028) could end a line.
    with path.open("rb") as lines:
        for index, line in enumerate(lines):
            if line.strip():
                yield index, _object(line, path, index)


def _object(line: bytes, path: Path, index: int) -> dict:
    try:
        row = json.loads(line)
        if b"\\u" in line:  # half of a surrogate pair is JSON and no text
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # malformed JSON, bytes that are not UTF-8, lists in lists in lists
        raise CatKerasError(f"{path}:{index + 1}: not a line of JSON ({error}). Correct or remove it") from error
    if not isinstance(row, dict):
        raise CatKerasError(f"{path}:{index + 1}: a row is a JSON object; received {type(row).__name__}")
    return row
