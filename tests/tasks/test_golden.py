"""Golden task hashes: whoever changes what a task renders or how it is judged raises its `version`.

`tests/tasks/task_hashes.json` holds per task its version, the hash of its declaration, and the hash of what its samples
render to, which sees the bodies of the functions that the declaration only names. After raising versions:

    python -m tests.tasks.test_golden
"""

import hashlib
import json
import sys
from pathlib import Path

import pytest

from benchmarks.tasks import sample_rows, task
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

GOLDEN = Path(__file__).with_name("task_hashes.json")
REMEDY = "raise its version, then run `python -m tests.tasks.test_golden`"


def current(name: str) -> dict:
    """What the golden file holds of a task. `version` is part of no hash: the rule compares it with them."""
    declared = task.get(name)
    declaration = {key: value for key, value in declared.identity().items() if key != "version"}
    found = {"version": declared.version, "declaration": store.identity(**declaration)}
    file = sample_rows.path(declared)
    if not hasattr(declared.source, "open") or not file.is_file():
        return found
    rows = [(id, row) for id, row in sample_rows.rows(declared) if declared.keeps(row)]
    rendered = [declared.example(row, id, i).asdict() for id, row in rows for i in range(len(declared.templates))]
    digest = hashlib.sha256(json.dumps(rendered, sort_keys=True).encode()).hexdigest()
    return found | {"samples": store.sha256_file(file), "rendered": digest}


def changed(old: dict, new: dict) -> bool:
    """Whether a task is another one. Other samples render otherwise, which says nothing about the task."""
    same_samples = old.get("samples") == new.get("samples")
    return old["declaration"] != new["declaration"] or (same_samples and old.get("rendered") != new.get("rendered"))


def golden() -> dict:
    return json.loads(GOLDEN.read_text(encoding="utf-8"))


@pytest.mark.parametrize("name", task.names())
def test_a_change_raises_the_version(name):
    old, new = golden().get(name), current(name)
    assert old is not None, f"task {name} is new: run `python -m tests.tasks.test_golden`"
    assert not changed(old, new) or new["version"] > old["version"], f"task {name} has changed: {REMEDY}"
    assert old == new, f"the hashes of task {name} are old: run `python -m tests.tasks.test_golden`"


def test_no_task_has_gone():
    assert sorted(golden()) == sorted(task.names())


def test_every_change_is_seen():
    old = {"version": 1, "declaration": "a", "samples": "s", "rendered": "r"}
    assert not changed(old, dict(old))
    assert changed(old, old | {"declaration": "b"}) and changed(old, old | {"rendered": "q"})
    assert not changed(old, old | {"samples": "t", "rendered": "q"})


def write() -> None:
    """Writes the golden file, unless a task has changed under the same version."""
    old = golden() if GOLDEN.is_file() else {}
    new = {name: current(name) for name in task.names()}
    wrong = [n for n in new if n in old and changed(old[n], new[n]) and new[n]["version"] <= old[n]["version"]]
    if wrong:
        raise CatKerasError(f"A task that changes has a new version. Changed under the old one: {', '.join(wrong)}")
    store.write_json(GOLDEN, new)


if __name__ == "__main__":
    try:
        write()
    except CatKerasError as error:
        sys.exit(f"error: {error}")
