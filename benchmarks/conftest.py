"""Options and keywords of `test_reproduction.py`."""

from pathlib import Path

import pytest

from benchmarks.tasks import task


def pytest_addoption(parser):
    group = parser.getgroup("reproducing a task")
    group.addoption("--profile", default="", help="compare with the reference results of this profile")
    group.addoption("--data", type=Path, help="folder of real data; by default samples are read")
    group.addoption("--runs", type=Path, default=Path("runs"), help="where run folders lie, or are made: runs/")


def pytest_itemcollected(item):
    """`-k` takes every name that a task goes by: boolq, bool_q, superglue, reading_comprehension, glue/sst2."""
    if item.path.name == "test_reproduction.py":
        item.extra_keyword_matches.update(spellings(task.get(item.callspec.params["name"])))


def spellings(declared: task.Task) -> set[str]:
    groups = set(declared.groups) - {"all"}
    names = {declared.name, *declared.aliases, *groups, declared.source.identity().get("tfds", "")} - {""}
    return names | {name.replace("_", "") for name in names}


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config, items):
    """Runs are slow tests for who types `pytest` alone; who names this folder or a task wants them."""
    if config.args_source is pytest.Config.ArgsSource.TESTPATHS and not config.option.keyword:
        for item in items:
            if getattr(item, "originalname", "") == "test_reproduces":
                item.add_marker(pytest.mark.slow)
