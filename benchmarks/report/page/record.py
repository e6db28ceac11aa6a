"""What a report was made from, so that a run with nothing to do shows its report again without computing it."""

import hashlib
import json
from collections.abc import Mapping
from functools import cache
from pathlib import Path

from rich.console import Console
from rich.text import Text

from benchmarks.planning import plan
from benchmarks.report.reading import folder as files
from benchmarks.report.reading import histories
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

FILE = ".report.json"
INPUTS = ("examples.parquet", "predictions.parquet", histories.FILE)
OF_THE_CALL = ("seconds", "peak_memory_mib")  # facts of a manifest that differ with every call and are not reported
CODE = Path(__file__).parents[3]


def inputs(folder: Path, console: Console, verbose: bool) -> str:
    """Hash of all that the report of a folder and its short form in print follow from, code and packages included."""
    manifest = {k: v for k, v in files.manifest(folder / "manifest.json").items() if k not in OF_THE_CALL}
    contents = {name: store.sha256_file(folder / name) for name in INPUTS if (folder / name).is_file()}
    parts = [manifest, contents, console.width, verbose, plan.packages(), _code()]
    return hashlib.sha256(json.dumps(parts, sort_keys=True).encode()).hexdigest()


@cache
def _code() -> str:
    digest = hashlib.sha256()
    for package in ("benchmarks", "cat_keras"):
        for path in sorted((CODE / package).rglob("*.py")):
            digest.update(path.relative_to(CODE).as_posix().encode() + b"\0" + path.read_bytes())
    return digest.hexdigest()


def write(folder: Path, key: str, contents: Mapping[str, bytes], screen: str):
    """Notes that the report of these contents, which lies in the folder, is what `inputs` gave the key for."""
    checksums = {name: hashlib.sha256(content).hexdigest() for name, content in contents.items()}
    store.write_json(folder / FILE, {"inputs": key, "files": checksums, "screen": screen})


def shown_again(folder: Path, key: str, console: Console) -> bool:
    """Prints the short form as it was printed before; False where the report is of other inputs or was changed."""
    try:
        noted = store.read_json(folder / FILE)
        same = noted["inputs"] == key and all(
            store.sha256_file(folder / name) == checksum for name, checksum in noted["files"].items()
        )
        screen = noted["screen"]
    except (OSError, CatKerasError, LookupError, TypeError, AttributeError, ValueError):  # none, or not of this form
        return False
    if same:
        console.print(Text.from_ansi(screen), soft_wrap=True)
    return same
