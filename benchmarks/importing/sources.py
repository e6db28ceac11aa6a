"""Which reader a file or folder is for."""

import json
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.importing import every_eval, inspect_logs, lm_eval, tables
from benchmarks.importing.answers import Answers, together
from cat_keras.errors import CatKerasError

PICKLES = (".pkl", ".pickle", ".pt", ".pth", ".bin", ".joblib", ".npy", ".npz", ".dill")
LONGEST_LINE = 1 << 24  # characters of a first record
KINDS = "CSV, JSON lines or Parquet tables, lm-evaluation-harness folders, inspect_ai logs, Every Eval Ever samples"


def read(paths: Sequence[Path], reading: tables.Reading) -> Answers:
    """The answers of all files.

    Raises:
        CatKerasError: a file that is missing, of no known kind, or a pickle.
    """
    return together([part for path in paths for part in _named(path, reading)])


def _named(given: Path, reading: tables.Reading) -> Iterator[Answers]:
    """Of a path, or of MODEL=PATH: then every answer there is that model's."""
    name, equals, path = str(given).partition("=")
    if not equals or Path(given).exists():
        yield from _read(Path(given), reading)
        return
    for part in _read(Path(path), reading):
        part.frame["model"] = pd.Categorical([name] * len(part.frame))
        yield part


def _read(path: Path, reading: tables.Reading) -> Iterator[Answers]:
    if not path.exists():
        raise CatKerasError(f"An import reads files that are there. Received: {path}")
    if path.is_dir():
        yield from _folder(path, reading)
        return
    _refuse_pickles(path)
    kind = _kind(path)
    if kind == "lm-eval":
        yield from lm_eval.read([path], reading)
    elif kind == "inspect":
        yield inspect_logs.read(path, reading)
    elif kind == "every-eval-ever":
        yield every_eval.read(path)
    else:
        yield tables.read(path, reading)


def _folder(path: Path, reading: tables.Reading) -> Iterator[Answers]:
    samples = sorted(path.rglob(lm_eval.PATTERN))
    logs = sorted({*path.rglob("*.eval"), *(each for each in path.rglob("*.json") if _kind(each) == "inspect")})
    others = sorted(each for each in path.rglob("*.jsonl") if each not in samples and _kind(each) == "every-eval-ever")
    if not (samples or logs or others):
        raise CatKerasError(f"An import reads {KINDS}. Received: the folder {path}, which holds none. Name the files")
    if samples:
        yield from lm_eval.read(samples, reading)
    for log in logs:
        yield inspect_logs.read(log, reading)
    for file in others:
        yield every_eval.read(file)


def _kind(path: Path) -> str:
    """What a file is by its name and its first record."""
    if path.suffix == ".eval":
        return "inspect"
    if path.suffix == ".json":
        with path.open("rb") as stream:
            head = stream.read(1 << 16)
        return "inspect" if b'"eval"' in head and b'"eval_id"' in head + b"" else "table"
    if path.suffix in (".jsonl", ".ndjson"):
        try:
            with path.open(encoding="utf-8") as stream:
                first = json.loads(stream.readline(LONGEST_LINE))
        except (ValueError, RecursionError):
            return "table"
        keys = first.keys() if isinstance(first, dict) else set()
        if {"doc_id", "resps"} <= keys:
            return "lm-eval"
        if {"evaluation_name", "sample_id", "evaluation"} <= keys:
            return "every-eval-ever"
    return "table"


def _refuse_pickles(path: Path):
    """A pickle runs what it says when it is read; one is known by its ending or its first bytes."""
    head = b""
    if path.is_file():
        with path.open("rb") as stream:
            head = stream.read(2)
    if path.suffix.lower() in PICKLES or (head[:1] == b"\x80" and head[1:] in (b"\x02", b"\x03", b"\x04", b"\x05")):
        raise CatKerasError(
            f"A pickle can run code when it is read, and is refused. Received: {path}. Write it as CSV or Parquet "
            "where it was made"
        )
