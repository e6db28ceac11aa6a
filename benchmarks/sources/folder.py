"""The local source: JSON lines in a data folder, checked against the folder's manifest if it has one."""

import difflib
import functools
from pathlib import Path

from cat_keras.data.jsonl import read_rows as read_jsonl
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

__all__ = ["LAYOUT", "MANIFEST", "data_folder", "entries", "read_entries", "read_jsonl", "split_file", "verify"]

LAYOUT = "a data folder holds <dataset>/<config, or default>/<split>.jsonl, one JSON object per line"
# Gives sha256 and size of the files of a data folder by their path in it; `benchmarks.tasks.prepare` writes it.
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
    """The path `folder/part.jsonl` in the data folder `root`, once the file is verified against the manifest.

    Raises:
        CatKerasError: folder or file is missing (the message says what is there instead), or the file is not the one
            that the manifest lists.
    """
    if not folder.is_dir():
        dataset = folder.relative_to(root).as_posix()
        datasets = sorted(p.relative_to(root).as_posix() for p in root.glob("*/*") if p.is_dir())
        near = difflib.get_close_matches(dataset, datasets, n=3) or datasets[:5]
        raise CatKerasError(
            f"The data set {dataset} is missing in {root}, where {', '.join(near) or 'nothing'} is. "
            f"Put it there: {LAYOUT}"
        )
    path = folder / f"{part}.jsonl"
    if not path.is_file():
        parts = ", ".join(sorted(p.stem for p in folder.glob("*.jsonl"))) or "none"
        raise CatKerasError(f"The split file {path} is missing; {folder} has the splits: {parts}")
    verify(path, root)
    return path


def verify(path: Path, root: Path) -> None:
    """Compares a file with the manifest of its data folder; a file that no manifest lists is not checked.

    Raises:
        CatKerasError: size or sha256 differ, or the manifest cannot be read.
    """
    entry = entries(root).get(path.relative_to(root).as_posix())
    if entry is None:
        return
    stat = path.stat()
    if stat.st_size != entry["bytes"] or _sha256(path, stat.st_mtime_ns, stat.st_size) != entry["sha256"]:
        raise CatKerasError(
            f"{path} is not the file that {root / MANIFEST} lists (size or sha256 differ). Restore it, or write it "
            "again with `python -m benchmarks prepare`; take it out of the manifest if you changed it on purpose"
        )


def entries(root: Path) -> dict[str, dict]:
    """What the manifest of a data folder says of its files, by their path in it; empty without a manifest.

    Raises:
        CatKerasError: the manifest cannot be read.
    """
    manifest = root / MANIFEST
    return _entries(manifest, manifest.stat().st_mtime_ns) if manifest.is_file() else {}


@functools.lru_cache(maxsize=8)
def _entries(manifest: Path, modified: int) -> dict[str, dict]:
    return read_entries(manifest)


def read_entries(manifest: Path) -> dict[str, dict]:
    """As `entries`, but reads the manifest again, for those who write it meanwhile."""
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
    """A file is read once per process, as long as it is not written again."""
    return store.sha256_file(path)
