"""Samples of Every Eval Ever: JSON lines by its instance-level schema, whatever framework the answers came from."""

import hashlib
import json
from pathlib import Path

import pandas as pd

from benchmarks.importing.answers import Answers, in_unit
from cat_keras.errors import CatKerasError


def read(path: Path) -> Answers:
    """The answers of a file; its schema has no confidence.

    Raises:
        CatKerasError: a line that is no such sample.
    """
    digest, rows = hashlib.sha256(), []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            digest.update(line)
            if line.strip():
                rows.append(_row(path, number, line))
    frame = pd.DataFrame(rows).dropna(axis=1, how="all").assign(run="")
    frame["quality"] = in_unit(frame["quality"].to_numpy("float64"), path.name, "quality")
    for column in ("id", "model", "task", "run"):
        frame[column] = frame[column].astype("category")
    line = f"{path.name}: Every Eval Ever, evaluation.score → quality, no confidence"
    source = {"file": path.name, "sha256": digest.hexdigest(), "kind": "every-eval-ever", "rows": len(frame)}
    return Answers(frame, [source], [], [line])


def _row(path: Path, number: int, line: bytes) -> dict:
    try:
        record = json.loads(line)
        evaluation, given = record["evaluation"], record.get("input") or {}
        score = evaluation.get("score")
        graded = isinstance(score, int | float) and 0 <= score <= 1
        usage, performance = record.get("token_usage") or {}, record.get("performance") or {}
        outputs = (record.get("output") or {}).get("raw") or [""]
        references, milliseconds = given.get("reference") or [""], performance.get("latency_ms")
        outputs, references = (each if isinstance(each, list) else [each] for each in (outputs, references))
        return {
            "id": str(record["sample_id"]),
            "model": str(record["model_id"]),
            "task": str(record["evaluation_name"]),
            "quality": float(score if graded else evaluation["is_correct"]),
            "text": str(outputs[0]),
            "prompt": str(given.get("raw", "")),
            "target": str(references[0]),
            "question": record.get("sample_hash"),
            "n_prompt": usage.get("input_tokens"),
            "n_answer": usage.get("output_tokens"),
            "seconds": None if milliseconds is None else milliseconds / 1000,
        }
    except (ValueError, KeyError, TypeError, AttributeError, IndexError, RecursionError) as error:
        raise CatKerasError(
            "Samples of Every Eval Ever have model_id, evaluation_name, sample_id and evaluation. Received: "
            f"{path}, line {number} ({error!r}). Validate the file against its schema"
        ) from None
