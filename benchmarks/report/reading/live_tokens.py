"""The record of live target tokens, task by task, that `python -m benchmarks illustrate` leaves in a run folder."""

from pathlib import Path

import numpy as np

from cat_keras.storage import store

FILE = "live_tokens.json"


def shares(folder: Path) -> dict[str, float]:
    """Task → share of its target tokens that are live, in the mean over a training; {} without a record."""
    path = Path(folder) / FILE
    if not path.is_file():
        return {}
    parts = store.read_json(path)["parts"]
    by_task = {name: [part for part in parts if part["task"] == name] for name in {part["task"] for part in parts}}
    return {
        name: float(np.sum([np.mean(part["live"]) for part in of_task]) / sum(part["tokens"] for part in of_task))
        for name, of_task in by_task.items()
        if any(part["tokens"] for part in of_task)
    }
