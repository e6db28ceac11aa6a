"""The log of a run, `log.txt` in the run folder, for whoever has to find out why a run failed.

A line has the time (UTC), the process, the event and a text. Each line is written by a single unbuffered call, so that
a kill leaves no half line and processes that share the folder can write at the same time.
"""

import contextlib
import os
import platform
import shlex
import sys
import time
import traceback
from collections.abc import Iterator, Sequence
from datetime import UTC, datetime
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

from benchmarks.planning import plan
from cat_keras.errors import Stopped, escaped
from cat_keras.storage import processes

NAME = "log.txt"
PACKAGES = ("cat-keras", "numpy", "pyarrow")  # beside those that a result depends on
# Variables that change a run without standing on its command line.
ENVIRONMENT = ("KERAS_BACKEND", "TF_CONFIG", "TPU_NAME", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS", "TF_XLA_FLAGS")


class Journal:
    """The log of one call of `run`.

    Args:
        folder: of the run. command: words that start this run. console: a rich console.

    Attributes:
        model: the model that is being made, as `--only` names it; "" while none is.
    """

    def __init__(self, folder: Path, command: Sequence[str], console):
        self.path, self.command, self.console, self.model = folder / NAME, list(command), console, ""

    def __call__(self, event: str, text: str):
        """Appends a line. A log that cannot be written does not stop the run."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{now} {os.getpid()} {event:<8} {escaped(text)}\n"
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                stream.write(line.encode())

    def notice(self, line: str):
        """Appends a line and prints it on the console too."""
        self("notice", line)
        self._print(line)

    def making(self, todo: plan.Plan, model: plan.Model):
        """Notes the model that everything from here on is done for."""
        self.model, key = todo.name(model), todo.model_key(model)
        self("model", f"{self.model}: train/{key[:16]}, predict/{todo.prediction_key(key)[:16]}")

    @contextlib.contextmanager
    def run(self, todo: plan.Plan) -> Iterator[None]:
        """Writes what the run starts with; at the end of the block a line that says how it ended."""
        began, end = time.monotonic(), "finished"
        for event, text in _beginning(todo, self.command):
            self(event, text)
        try:
            yield
        except Exception as error:
            end = "failed"
            self._failed(error)
            raise
        except BaseException as error:
            end = "stopped with its state saved" if isinstance(error, Stopped) else "interrupted"
            raise
        finally:
            peak = processes.peak_memory() // 2**20
            self("end", f"{end} after {time.monotonic() - began:.1f} s; peak memory {peak:,} MiB")

    @property
    def repeat(self) -> str:
        """The command that makes the current model again, and nothing else."""
        only = ["--only", self.model] if self.model else []
        return shlex.join(self.command if self.command[-2:] == only else self.command + only)

    def _failed(self, error: Exception):
        self("failed", f"{self.model or 'outside of any model'}: {type(error).__name__}: {error}")
        for line in "".join(traceback.format_exception(error)).splitlines():
            self("trace", line)
        self("repeat", self.repeat)
        self._print(f"{self.model or 'The run'} failed; {self.path} has the details. Again: {self.repeat}")

    def _print(self, line: str):
        self.console.print(line, style="yellow", markup=False, soft_wrap=True)


def _beginning(todo: plan.Plan, command: Sequence[str]) -> Iterator[tuple[str, str]]:
    """(event, text) of the lines that say what is run, with which versions, and where."""
    profile = todo.profile
    packages = plan.packages() | {name: _version(name) for name in PACKAGES}
    yield "run", f"{shlex.join(command)} in {Path.cwd()}"
    yield "versions", ", ".join(f"{name} {number}" for name, number in sorted(packages.items()))
    yield "machine", f"{platform.node()}, {platform.platform()}, {os.cpu_count()} cores"
    yield "python", f"{platform.python_version()}, {sys.executable}"
    for name in filter(os.environ.get, ENVIRONMENT):
        yield "environ", f"{name}={os.environ[name]}"
    yield "profile", profile.model_dump_json()
    yield "seeds", f"data {profile.data.seed}, large {profile.large.seed}, small {', '.join(map(str, profile.seeds))}"


def _version(name: str) -> str:
    try:
        return version(name)
    except PackageNotFoundError:  # a checkout that is not installed
        return "not installed"
