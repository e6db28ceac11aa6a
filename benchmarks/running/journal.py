"""What a run did, line by line, for whoever has to find out why it failed: `log.txt` in the run folder.

A line has the time (UTC), the process, the event and a text. It is written by one call and at once, so that a kill cuts
none and processes that share the folder may write beside each other.
"""

import contextlib
import os
import platform
import resource
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

NAME = "log.txt"
PACKAGES = ("cat-keras", "numpy", "pyarrow")  # beside those that a result depends on
# What changes a run and stands on no command line.
ENVIRONMENT = ("KERAS_BACKEND", "TF_CONFIG", "TPU_NAME", "CUDA_VISIBLE_DEVICES", "XLA_FLAGS", "TF_XLA_FLAGS")


class Journal:
    """The log of one call of `run`.

    Args:
        folder: of the run. command: words that start this run. console: a rich console.

    Attributes:
        model: the model that is being made, as `--only` names it; "" outside of that.
    """

    def __init__(self, folder: Path, command: Sequence[str], console):
        self.path, self.command, self.console, self.model = folder / NAME, list(command), console, ""

    def __call__(self, event: str, text: str):
        """Appends a line. A log that cannot be written stops no run."""
        now = datetime.now(UTC).isoformat(timespec="milliseconds").replace("+00:00", "Z")
        line = f"{now} {os.getpid()} {event:<8} {escaped(text)}\n"
        with contextlib.suppress(OSError):
            self.path.parent.mkdir(parents=True, exist_ok=True)
            with self.path.open("ab", buffering=0) as stream:
                stream.write(line.encode())

    def notice(self, line: str):
        """Also on the console."""
        self("notice", line)
        self._say(line)

    def making(self, todo: plan.Plan, model: plan.Model):
        """What is done from here on belongs to a model."""
        self.model, key = todo.name(model), todo.model_key(model)
        self("model", f"{self.model}: train/{key[:16]}, predict/{todo.prediction_key(key)[:16]}")

    @contextlib.contextmanager
    def run(self, todo: plan.Plan) -> Iterator[None]:
        """From the first line of the run to its last, which says how it ended."""
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
            peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024
            self("end", f"{end} after {time.monotonic() - began:.1f} s; peak memory {peak:,} MiB")

    @property
    def repeat(self) -> str:
        """The command that does again what is being done, and no more."""
        only = ["--only", self.model] if self.model else []
        return shlex.join(self.command if self.command[-2:] == only else self.command + only)

    def _failed(self, error: Exception):
        self("failed", f"{self.model or 'outside of any model'}: {type(error).__name__}: {error}")
        for line in "".join(traceback.format_exception(error)).splitlines():
            self("trace", line)
        self("repeat", self.repeat)
        self._say(f"{self.model or 'The run'} failed; {self.path} has the details. Again: {self.repeat}")

    def _say(self, line: str):
        self.console.print(line, style="yellow", markup=False, soft_wrap=True)


def _beginning(todo: plan.Plan, command: Sequence[str]) -> Iterator[tuple[str, str]]:
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
