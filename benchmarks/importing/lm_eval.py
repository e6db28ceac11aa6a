"""Samples of lm-evaluation-harness (`--log_samples`): a file per task, in a folder per model.

A multiple-choice task holds the log-likelihood of every option, as text; a generation holds outcomes and answers, and
nothing of how sure the model was. A task that scores the reference alone (`loglikelihood`) says nothing a cascade could
know: the likelihood of the right answer is left out.
"""

import hashlib
import json
import re
from collections.abc import Iterator, Sequence
from pathlib import Path

import pandas as pd

from benchmarks.importing.answers import Answers, shown, true_or_graded
from benchmarks.importing.answers import in_unit as within
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.storage import store

PATTERN = "samples_*.jsonl"
NAME = re.compile(r"samples_(?P<task>.+?)_(?P<time>\d{4}-\d\d-\d\dT[\d:.\-]+)\.jsonl")
FIRST = ("acc", "exact_match")  # metrics that say right or wrong, which come before others


def read(paths: Sequence[Path], reading) -> Iterator[Answers]:
    """The answers of samples files; of one model and task the newest file alone.

    Args:
        paths: samples files. reading: `tables.Reading`, of which `metric` counts.

    Raises:
        CatKerasError: a file that holds something else, or a metric that it has not.
    """
    newest: dict[tuple[str, str], Path] = {}
    older: dict[tuple[str, str], int] = {}
    for path in sorted(paths, key=_time):
        key = (_model(path), _task(path))
        older[key] = older.get(key, -1) + 1
        newest[key] = path
    for (model, task), path in newest.items():
        answers = _samples(path, model, task, reading.metric)
        if older[model, task]:
            answers.notes.append(f"{model} on {task}: {older[model, task]} older files are left out.")
        yield answers


def _time(path: Path) -> str:
    match = NAME.fullmatch(path.name)
    return match["time"] if match else ""


def _task(path: Path) -> str:
    match = NAME.fullmatch(path.name)
    return match["task"] if match else path.stem.removeprefix("samples_")


def _model(path: Path) -> str:
    """As the results file beside it says, of the same time if there is one; else the name of the folder.

    For a model that was given as an object, `config.model` is the class of its wrapper, which many models share; the
    harness then names the run.
    """
    beside = sorted(path.parent.glob("results_*.json"), key=lambda each: (each.stem[8:] == _time(path), each.name))
    for results in reversed(beside):
        whole = store.read_json(results)
        config = whole.get("config") or {}
        arguments = config.get("model_args") or ""
        arguments = arguments if isinstance(arguments, dict) else dict(
            part.split("=", 1) for part in str(arguments).split(",") if "=" in part
        )  # fmt: skip
        name = arguments.get("pretrained") or arguments.get("model") or config.get("model_name")
        name = name or (whole.get("model_source") == "CUSTOM" and whole.get("model_name")) or config.get("model")
        if name:
            return str(name)
    return path.parent.resolve().name


def _samples(path: Path, model: str, task: str, wanted: str) -> Answers:
    records, digest = _records(path)
    filters = list(dict.fromkeys(str(record.get("filter", "none")) for record in records))
    name, metric = _chosen(path, records[0], filters, wanted)
    taken = [record for record in records if str(record.get("filter", "none")) == name]
    notes = []
    if len(filters) > 1:
        others = [each for each in filters if each != name]
        notes.append(f"{model} on {task}: answers filtered by {name}; also there: {shown(others)}. Choose: --metric")
    rows = [_row(record, metric) for record in taken]
    frame = pd.DataFrame(rows)
    if "option_logprobs" not in frame and any(_scored(record) for record in taken):
        notes.append(
            f"{model} on {task}: the file holds the likelihood of the right answer alone, which no cascade knows; "
            "it is not taken as a confidence."
        )
    header = f"{metric} of {path.name}"
    frame["quality"] = within(true_or_graded(frame["quality"], header), header, "quality")
    frame = frame.assign(model=model, task=task, run="")
    for column in ("id", "model", "task", "run"):
        frame[column] = frame[column].astype("category")
    has = "log-likelihoods of options → option_logprobs" if "option_logprobs" in frame else "no confidence"
    line = f"{path.name}: {model}, lm-evaluation-harness, {metric} → quality, {has}"
    return Answers(frame, [{"file": path.name, "sha256": digest, "kind": "lm-eval", "rows": len(frame)}], notes, [line])


def _records(path: Path) -> tuple[list[dict], str]:
    digest, records = hashlib.sha256(), []
    with path.open("rb") as stream:
        for number, line in enumerate(stream, 1):
            digest.update(line)
            try:
                record = json.loads(line) if line.strip() else None
                if record is not None:
                    records.append({key: record[key] for key in ("doc_id", "metrics") if key in record} | record)
            except (ValueError, TypeError, RecursionError) as error:
                raise CatKerasError(
                    f"Samples of lm-evaluation-harness are JSON objects, one a line. Received: {path}, line {number} "
                    f"({error}). Take the whole file"
                ) from None
    if not records or "doc_id" not in records[0]:
        raise CatKerasError(
            f"Samples of lm-evaluation-harness have a doc_id. Received: {path}, without. Log samples again"
        )
    return records, digest.hexdigest()


def _chosen(path: Path, record: dict, filters: Sequence[str], wanted: str) -> tuple[str, str]:
    """(filter, metric)."""
    metrics = list(record.get("metrics") or ())
    name, _, metric = wanted.rpartition("/")
    if name and name not in filters:
        raise unknown_name(f"filter of {path.name}:", name, filters)
    if metric and metric not in metrics:
        raise unknown_name(f"metric of {path.name}:", metric, metrics)
    if not metrics:
        raise CatKerasError(f"Samples of lm-evaluation-harness name their metrics. Received: {path}, without any")
    return name or filters[0], metric or next((each for each in FIRST if each in metrics), metrics[0])


def _scored(record: dict) -> list[float]:
    """Log-likelihoods of what was scored; [] for a generation."""
    found = record.get("filtered_resps") or []
    if len(found) == 2 and not isinstance(found[0], list) and str(found[1]) in ("True", "False"):
        found = [found]  # one request alone
    try:
        pairs = [(float(value), str(greedy)) for value, greedy in found]
    except (TypeError, ValueError):
        return []
    return [value for value, _ in pairs] if all(greedy in ("True", "False") for _, greedy in pairs) else []


def _row(record: dict, metric: str) -> dict:
    scores, requests = _conditional(_scored(record), _requests(record))
    target = record.get("target")
    found = {"id": str(record["doc_id"]), "quality": record.get(metric), "question": str(record.get("doc_hash", ""))}
    found["prompt"] = str(requests[0][0]) if requests else ""
    if len(scores) < 2:
        texts = record.get("filtered_resps") or [""]
        return found | {"text": "" if scores else str(texts[0]), "target": str(target)}
    options = [str(each[1]).strip() if len(each) > 1 else "" for each in requests]
    if len(set(options)) < len(scores):
        options = [str(i) for i in range(len(scores))]
    place = int(target) if str(target).isdecimal() and int(target) < len(options) else -1
    best = max(range(len(scores)), key=scores.__getitem__)
    return found | {
        "option_logprobs": scores,
        "options": options,
        "text": options[best],
        "target": options[place] if place >= 0 else str(target),
    }


def _conditional(scores: list[float], requests: list[list]) -> tuple[list[float], list[list]]:
    """Without the requests for options after no context at all, which acc_mutual_info adds to the others."""
    if len(scores) != len(requests) or not any(request[0] for request in requests):
        return scores, requests
    kept = [i for i, request in enumerate(requests) if request[0]]
    return [scores[i] for i in kept], [requests[i] for i in kept]


def _requests(record: dict) -> list[list]:
    """Arguments of the requests: [context, continuation] of each."""
    given = record.get("arguments") or []
    if isinstance(given, dict):
        given = [list(each.values()) if isinstance(each, dict) else [each] for each in given.values()]
    return [list(each) if isinstance(each, list | tuple) else [each] for each in given]
