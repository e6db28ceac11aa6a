"""Logs of inspect_ai: `.json`, or `.eval`, a zip archive of JSON files, one per sample.

They are read without inspect_ai: what an archive declares is looked at before it is unpacked; none of it is code.
"""

import hashlib
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import pandas as pd

from benchmarks.importing import archives
from benchmarks.importing.answers import Answers, in_unit, shown
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

LARGEST = 8 * 2**30  # bytes of a log, unpacked
MEMBER = 512 * 2**20  # of one sample
LETTERS = {"C": 1.0, "P": 0.5, "I": 0.0, "N": 0.0}  # correct, partial, incorrect, no answer


def read(path: Path, reading) -> Answers:
    """The answers of a log; epochs are runs of the model.

    Args:
        path: of a log. reading: `tables.Reading`, of which `metric` counts: the name of a scorer, or SCORER/KEY.

    Raises:
        CatKerasError: no log, a damaged one, one that declares too much, or a scorer that it has not.
    """
    header, samples = _zipped(path) if zipfile.is_zipfile(path) else _plain(path)
    facts = header.get("eval") or {}
    model, task = str(facts.get("model") or path.stem), str(facts.get("task") or path.stem).rsplit("/", 1)[-1]
    rows, notes, names = [], [], {}
    for sample in samples:
        names |= dict.fromkeys(sample.get("scores") or {})
        rows.append(_row(sample, reading.metric))
    if not rows:
        raise CatKerasError(f"A log of inspect_ai holds samples. Received: {path}, without. Log samples again")
    wanted = reading.metric.partition("/")[0]
    if wanted and wanted not in names:
        raise unknown_name(f"scorer of {path.name}:", wanted, names)
    if header.get("status") not in (None, "success"):
        notes.append(f"{path.name}: the evaluation ended as {header['status']!r}; it may lack samples.")
    if len(names) > 1:
        chosen = wanted or next(iter(names))
        notes.append(f"{model} on {task}: judged by {chosen}; also there: "
                     f"{shown(name for name in names if name != chosen)}. Choose: --metric")  # fmt: skip
    failed = sum(row.pop("failed") for row in rows)
    if failed:
        notes.append(f"{path.name}: {failed} samples ended in an error.")
    frame = pd.DataFrame(rows).dropna(axis=1, how="all").assign(model=model, task=task)
    if "quality" not in frame:
        raise CatKerasError(f"Samples of inspect_ai are scored. Received: {path}, without a score. Score the log first")
    frame["quality"] = in_unit(frame["quality"].astype("float64").to_numpy(), path.name, "quality")
    if frame["run"].nunique() == 1:
        frame["run"] = ""
    for column in ("id", "model", "task", "run"):
        frame[column] = frame[column].astype("category")
    has = [role for role in ("token_logprobs", "n_prompt", "n_answer", "cost", "seconds") if role in frame]
    line = f"{path.name}: {model}, inspect_ai; {', '.join(has) or 'no confidence, no cost'}"
    source = {"file": path.name, "sha256": store.sha256_file(path), "kind": "inspect_ai", "rows": len(frame)}
    return Answers(frame, [source], notes, [line], "USD" if "cost" in frame else None)


def _plain(path: Path) -> tuple[dict, list[dict]]:
    try:
        if path.stat().st_size > LARGEST:
            raise ValueError(f"of more than {LARGEST:,} bytes")
        log = json.loads(path.read_text(encoding="utf-8"))
        samples = log.get("samples") or []
        if not (isinstance(log.get("eval"), dict) and all(isinstance(sample, dict) for sample in samples)):
            raise ValueError("without eval and samples")
    except (ValueError, AttributeError, RecursionError) as error:
        raise _damaged(path, error) from None
    return log, samples


def _zipped(path: Path) -> tuple[dict, Iterator[dict]]:
    try:
        archive = zipfile.ZipFile(path)
        members = archive.infolist()
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise _damaged(path, error) from None
    names = [each.filename for each in members if each.filename.startswith("samples/")]
    wanted = [each for each in members if each.filename in ("header.json", "_journal/start.json", *names)]
    if sum(each.file_size for each in wanted) > LARGEST or any(each.file_size > MEMBER for each in wanted):
        raise _damaged(path, f"it declares more than {MEMBER:,} bytes for a sample or {LARGEST:,} for all")
    there = {each.filename for each in members}
    head = next((name for name in ("header.json", "_journal/start.json") if name in there), None)
    if head is None:
        raise _damaged(path, "it has no header.json")
    return _member(path, archive, head), (_member(path, archive, name) for name in sorted(names))


def _member(path: Path, archive: zipfile.ZipFile, name: str) -> dict:
    try:
        found = json.loads(archives.member(archive, name))
        if not isinstance(found, dict):
            raise ValueError(f"{name} is no object")
    except NotImplementedError as error:  # a compression that this Python does not know
        raise CatKerasError(
            f"Archives are compressed by deflate or Zstandard. Received: {path} ({error}). Write it as JSON: "
            "inspect log convert --to json"
        ) from None
    except (zipfile.BadZipFile, zipfile.zlib.error, ValueError, EOFError, OSError, RecursionError) as error:
        raise _damaged(path, error) from None
    return found


def _damaged(path: Path, why) -> CatKerasError:
    return CatKerasError(f"Expected a whole log of inspect_ai. Received: {path} ({why}). Copy it again")


def _row(sample: Mapping, metric: str) -> dict:
    output = sample.get("output") or {}
    usage = _usage(sample, output)
    target = sample.get("target")
    found = {
        "id": str(sample.get("id")),
        "run": str(sample.get("epoch", 1)),
        "quality": _quality(sample.get("scores") or {}, metric),
        "text": _answer(sample, output),
        "target": str(target if not isinstance(target, list) else target[0] if target else ""),
        "prompt": _text(sample.get("input")),
        "question": hashlib.sha256(_text(sample.get("input")).encode()).hexdigest()[:16],
        "seconds": output.get("time") or sample.get("working_time") or sample.get("total_time"),
        "failed": bool(sample.get("error")),
        **usage,
    }
    if logprobs := _logprobs(output):
        found["token_logprobs"] = logprobs
    return found


def _usage(sample: Mapping, output: Mapping) -> dict:
    """Tokens and cost of all calls that the sample took."""
    calls = list((sample.get("model_usage") or {}).values()) or [output.get("usage") or {}]
    read = ("input_tokens", "input_tokens_cache_read", "input_tokens_cache_write")
    found = {}
    if any("input_tokens" in call for call in calls):
        found["n_prompt"] = sum(call.get(name) or 0 for call in calls for name in read)
        found["n_answer"] = sum(call.get("output_tokens") or 0 for call in calls)
    if all(call.get("total_cost") is not None for call in calls):
        found["cost"] = sum(call["total_cost"] for call in calls)
    return found


def _quality(scores: Mapping, metric: str) -> float | None:
    name, _, key = metric.partition("/")
    score = scores.get(name) if name else next(iter(scores.values()), None)
    value = (score or {}).get("value")
    if isinstance(value, Mapping):
        value = value.get(key) if key else next(iter(value.values()), None)
    if isinstance(value, str):
        return LETTERS.get(value.strip().upper())
    return float(value) if isinstance(value, bool | int | float) else None


def _answer(sample: Mapping, output: Mapping) -> str:
    given = next((score.get("answer") for score in (sample.get("scores") or {}).values() if score.get("answer")), None)
    return str(given or output.get("completion") or "")


def _text(value) -> str:
    if isinstance(value, str):
        return value
    parts = value if isinstance(value, list) else []
    return "\n".join(str(part.get("content", "")) for part in parts if isinstance(part, Mapping))


def _logprobs(output: Mapping) -> list[float]:
    choices = output.get("choices") or []
    content = ((choices[0].get("logprobs") or {}).get("content") or []) if choices else []
    return [float(token["logprob"]) for token in content if isinstance(token, Mapping) and "logprob" in token]
