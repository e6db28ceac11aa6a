"""Tasks declared outside this project: in a file that a user names, or in an installed package with an entry point.

Both call `benchmarks.task.register(Task(...))`, as our own modules do, and need nothing else.
"""

import functools
import hashlib
import importlib.metadata
import importlib.util
import sys
from collections.abc import Iterable, MutableMapping
from pathlib import Path
from typing import Any

from cat_keras.errors import CatKerasError

# A package's metadata has a table `[project.entry-points."cat_keras.tasks"]`, with lines such as
# any_name = "package.module_with_tasks".
GROUP = "cat_keras.tasks"
_FILES: dict[Path, list[str]] = {}  # file that ran → names of the tasks that it added
_LOADED: set[str] = set()  # values of the entry points that were loaded


def run_file(path: str | Path, tasks: MutableMapping[str, Any]) -> list[str]:
    """Runs a file that registers tasks, once per process.

    Args:
        path: of the file. tasks: the registry that it adds to.

    Returns:
        Names of the tasks that it added.

    Raises:
        CatKerasError: there is no such file, or it fails. The registry is then as it was before.
    """
    try:
        path = Path(path).expanduser().resolve()
        exists = path.is_file()
    except (OSError, ValueError, RuntimeError):  # the path is too long, holds a NUL, or names an unknown user
        exists = False
    if not exists:
        raise CatKerasError(f"A tasks file is a Python file that registers tasks; received {str(path)!r}, no such file")
    if path not in _FILES:
        snapshot = dict(tasks)
        try:
            _execute(path)
        except (Exception, SystemExit) as error:
            tasks.clear()
            tasks.update(snapshot)
            raise CatKerasError(f"The tasks file {path} failed ({type(error).__name__}: {error})") from error
        _FILES[path] = [name for name in tasks if name not in snapshot]
    return list(_FILES[path])


def files() -> list[str]:
    """Paths of the files that were run."""
    return list(map(str, _FILES))


def load_entry_points(tasks: MutableMapping[str, Any]) -> None:
    """Loads each entry point that installed packages declare in group `cat_keras.tasks`, once per process.

    Raises:
        CatKerasError: one of them fails. The registry is then as it was before that one.
    """
    for point in _entry_points():
        if point.value in _LOADED:
            continue
        _LOADED.add(point.value)  # before it runs, because it may look tasks up and so come here again
        snapshot = dict(tasks)
        try:
            point.load()
        except Exception as error:
            tasks.clear()
            tasks.update(snapshot)
            _LOADED.discard(point.value)
            raise CatKerasError(
                f"Entry point {point.name} = {point.value} of group {GROUP} failed ({type(error).__name__}: {error}). "
                "Correct or uninstall its package"
            ) from error


@functools.cache
def _entry_points() -> Iterable[importlib.metadata.EntryPoint]:
    return tuple(importlib.metadata.entry_points(group=GROUP))


def _execute(path: Path) -> None:
    name = f"cat_keras_tasks_{hashlib.sha256(str(path).encode()).hexdigest()[:16]}"
    spec = importlib.util.spec_from_file_location(name, path)
    # The module is in sys.modules before it runs, so that dataclasses and pickle find what it defines.
    module = sys.modules[name] = importlib.util.module_from_spec(spec)
    try:
        spec.loader.exec_module(module)
    except BaseException:
        del sys.modules[name]
        raise
