"""What every worker of a run gets from the driver, and what it checks before its first job."""

import functools
import hashlib
import importlib.util
import os
import platform
import sys
import uuid
from dataclasses import dataclass, field, replace
from pathlib import Path
from types import ModuleType

from benchmarks.planning import plan
from benchmarks.running.request import Request
from benchmarks.tasks import task
from cat_keras.errors import CatKerasError
from cat_keras.storage import processes, store

# Variables of the driver that change what a worker computes; those that the driver has not are removed. Ray itself sets
# the number of threads, on which the last digit of a sum may depend.
ENVIRONMENT = (
    "KERAS_BACKEND",
    "XLA_FLAGS",
    "TF_XLA_FLAGS",
    "HF_HUB_OFFLINE",
    "OMP_NUM_THREADS",
    "TF_CPP_MIN_LOG_LEVEL",
)


OUT = "CAT_KERAS_OUT"  # names the folder of a worker that lies elsewhere than that of the driver, beside --store


def environment() -> dict[str, str | None]:
    """The variables `ENVIRONMENT` of this process."""
    return {name: os.environ.get(name) for name in ENVIRONMENT}


@dataclass(frozen=True)
class Box:
    """What every worker of a run gets.

    Attributes:
        request: what is asked for. todo: its plan without the rows that no model can be given.
        left_out: (task, id) of training rows among these.
        environment, folder, versions: variables, working directory and versions of the driver.
        mark: name of a file in the folder of results by which workers know it.
    """

    request: Request
    todo: plan.Plan
    left_out: frozenset[tuple[str, str]] = frozenset()
    environment: dict[str, str | None] = field(default_factory=environment)
    folder: Path = field(default_factory=Path.cwd)
    versions: dict[str, str] = field(default_factory=lambda: versions())
    mark: str = field(default_factory=lambda: uuid.uuid4().hex)

    def check(self, host: str):
        """Raises CatKerasError if this process is none that can work for the driver.

        Args:
            host: name of this machine.
        """
        here = versions()
        for name, version in self.versions.items():
            if here[name] != version:
                raise CatKerasError(
                    f"All machines of a run have one version of everything. Received: {name} {version} of the driver "
                    f"and {here[name]} on {host}. Start Ray on {host} in the same environment and checkout"
                )
        if not self._sees_mark():
            raise CatKerasError(
                "The machines of a run share the folder of results, or an address. Received: "
                f"{self.request.address or self.request.out}, where {host} does not see what the driver wrote. Give an "
                "--out on a shared file system, or --store s3://BUCKET/FOLDER"
            )

    def enter(self):
        """Sets the variables of the driver, and its working directory, which presets may be named from."""
        for name, value in self.environment.items():
            os.environ.pop(name, None)
            os.environ |= {name: value} if value is not None else {}
        if self.folder.is_dir():
            os.chdir(self.folder)

    def write_mark(self):
        if remote := self.request.remote:
            remote.write(self._mark_name, b"")
        else:
            store.write_bytes(self._mark_path, b"")

    def remove_mark(self):
        if remote := self.request.remote:
            remote.remove(self._mark_name)
        else:
            processes.remove(self._mark_path)

    def _sees_mark(self) -> bool:
        remote = self.request.remote
        return remote.read(self._mark_name) is not None if remote else self._mark_path.exists()

    @property
    def _mark_name(self) -> str:
        return f"clusters/{self.mark}"

    @property
    def _mark_path(self) -> Path:
        return self.request.out / "cache" / self._mark_name


@dataclass(frozen=True)
class Held:
    """A `Box` that lies in the memory of Ray: what every task gets, in place of its content.

    Attributes:
        reference: of the box. tasks_files: that the user named, whose tasks are in the plan.
    """

    reference: object
    tasks_files: tuple[str, ...] = ()

    def opened(self, ray: ModuleType) -> Box:
        """The box, on a worker."""
        for path in self.tasks_files:  # first, since the box may hold functions of theirs
            task.load_module(path)
        box = ray.get(self.reference)
        if box.request.address and (out := os.environ.get(OUT)):
            box = replace(box, request=replace(box.request, out=Path(out)))
        return box


@functools.cache
def versions() -> dict[str, str]:
    """Name → version of what results depend on: Python, this project by its source, and packages."""
    digest = hashlib.sha256()
    for package in ("cat_keras", "benchmarks"):
        root = Path(importlib.util.find_spec(package).origin).parent
        for path in sorted(p for p in root.rglob("*") if p.suffix in (".py", ".toml")):
            digest.update(str(path.relative_to(root)).encode())
            digest.update(path.read_bytes())
    python = f"{platform.python_version()} ({sys.implementation.name})"
    return {"Python": python, "cat-keras": f"of source {digest.hexdigest()[:12]}"} | plan.packages()
