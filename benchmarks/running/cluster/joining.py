"""Starts a Ray cluster on this machine, or joins one; says what it has, and whether its head still answers."""

import contextlib
import os
import re
import socket
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from types import ModuleType

from cat_keras.errors import CatKerasError

LOCAL = "ray"  # of --on: the cluster that RAY_ADDRESS names, or one that is started here and ends with the run
CHECKOUT = Path(__file__).parents[3]  # where workers on this machine find this package, whatever the working directory
WAIT = 120.0  # seconds for a node with a core; one takes some to start
OBJECTS = 2**30  # bytes of memory for what a cluster that is started here passes between processes: the plan


class Cluster:
    """A cluster that this process has joined.

    Args:
        ray: the module. name: how the user calls the cluster.
    """

    def __init__(self, ray: ModuleType, name: str):
        self.ray, self.name = ray, name
        self._head = None if ray.util.client.ray.is_connected() else ray.get_runtime_context().gcs_address

    def nodes(self) -> list[dict[str, float]]:
        """What each node that is alive has, by the names of Ray: CPU, GPU, memory in bytes, accelerator_type:…"""
        return [node["Resources"] for node in self.ray.nodes() if node["Alive"]]

    def places(self) -> int:
        """How many jobs can run at once: one on each GPU, or where there is none, on each core; 0 without a node."""
        total = self.total()
        return int(total["GPU"] or total["CPU"])

    def total(self) -> dict[str, float]:
        """What all nodes have together."""
        nodes = self.nodes()
        return {name: sum(node.get(name, 0.0) for node in nodes) for name in ("CPU", "GPU", "memory")}

    def wait_for_core(self, report: Callable[[str], None], seconds: float = WAIT):
        """Waits where no node can do work: the last one may just have been lost, or the first not be there yet.

        Args:
            report: told once that it waits. seconds: at most so long.
        """
        if self.total()["CPU"]:
            return
        report(f"no node of the cluster has a core; waiting {seconds:.0f} s for one")
        latest = time.monotonic() + seconds
        while not self.total()["CPU"] and time.monotonic() < latest:
            self.check_head()
            time.sleep(min(1.0, seconds))

    def check_head(self):
        """Raises CatKerasError if the head of the cluster does not answer.

        A process whose head is gone is ended by Ray some time later, without a word.
        """
        if self._head is None:  # of a client: its own connection says so
            return
        host, port = self._head.rsplit(":", 1)
        try:
            socket.create_connection((host, int(port)), timeout=10).close()
        except OSError as error:
            raise lost_head(self.name, error) from error

    def __str__(self):
        total, count = self.total(), len(self.nodes())
        gpus = f", {total['GPU']:g} GPUs" if total["GPU"] else ""
        return f"Ray, {count} node{'s' * (count > 1)}, {total['CPU']:g} CPUs{gpus}"


def gone(ray: ModuleType):
    """A context in which it is no error that a cluster, or what is stopped on it, is gone already."""
    return contextlib.suppress(ray.exceptions.RayError, ConnectionError)


def lost_head(name: str, error: Exception) -> CatKerasError:
    """The error of a run whose cluster has gone away."""
    return CatKerasError(
        f"A run goes on as long as its cluster does. Received: {name}, whose head does not answer any more "
        f"({first_line(error)}). What was finished is kept: start the cluster and the same command again"
    )


def other_code(error: Exception) -> CatKerasError:
    """The error of a run whose workers cannot load what they are to do."""
    lines = [line.strip() for line in str(getattr(error, "cause", None) or error).splitlines() if line.strip()]
    return CatKerasError(
        "Workers have the same checkout and packages as the driver. Received: "
        f"{lines[-1][:300] if lines else type(error).__name__} on a worker. Start Ray on every node in the same "
        "environment, in the folder of the checkout"
    )


def check(on: str):
    """Raises CatKerasError where a cluster is named in a way that is none, or Ray is not installed."""
    if not re.fullmatch(r"ray|auto|(ray://)?[\w.-]{1,253}:\d{1,5}|ray://[\w.-]{1,253}", on):
        raise CatKerasError(
            f"A run is on ray, on auto, or on the address of a cluster. Received: {on[:80]!r}. Write --on ray, "
            "--on ray://HOST:10001 or --on HOST:6379"
        )
    _imported()


@contextlib.contextmanager
def joined(on: str) -> Iterator[Cluster]:
    """Joins a cluster for the time of the block, from the main thread.

    Args:
        on: "ray", see `LOCAL`; or an address: "ray://HOST:10001", "HOST:6379", or "auto" on a node of the cluster.

    Raises:
        CatKerasError: Ray is not installed, no cluster answers, or it has another version of Ray or Python.
    """
    ray = _imported()
    address = os.environ.get("RAY_ADDRESS") or "local" if on == LOCAL else on
    _probe(address)
    arguments = {"log_to_driver": False, "logging_level": "CRITICAL"}
    arguments["job_config"] = ray.job_config.JobConfig(_py_driver_sys_path=[os.fspath(CHECKOUT)])
    if address == "local":
        arguments |= {"num_cpus": os.cpu_count(), "include_dashboard": False, "object_store_memory": OBJECTS}
    try:
        _start(ray, address, arguments)
    except Exception as error:  # of as many kinds as there are ways to connect
        raise _refused(address, error) from error
    try:
        yield Cluster(ray, "the cluster started here" if address == "local" else address)
    finally:
        with contextlib.suppress(Exception):  # of a lost head
            ray.shutdown()


def _start(ray: ModuleType, address: str, arguments: dict):
    """Joins a cluster. One that is started here has 30 s for that, and on a busy machine a second and third time."""
    for attempt in range(3):
        try:
            ray.init(address, **arguments)
            return
        except Exception as error:
            if attempt == 2 or "timed out during startup" not in str(error):
                raise
            ray.shutdown()


def _probe(address: str):
    """Raises CatKerasError where nobody listens at an address, which Ray would try to reach for minutes."""
    match = re.fullmatch(r"(ray://)?([\w.-]+?)(?::(\d+))?", address)
    if address in ("local", "auto") or not match:
        return
    try:
        socket.create_connection((match[2], int(match[3] or 10001)), timeout=10).close()
    except OSError as error:
        raise _refused(address, error) from error


def _imported() -> ModuleType:
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")  # Ray would tell its authors of every cluster
    os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
    try:
        import ray
        import ray.util.client
    except ImportError as error:
        raise CatKerasError(
            f'A run on a cluster needs Ray. Received: none ({error}). Install it: pip install "cat-keras[ray]"'
        ) from error
    return ray


def _refused(address: str, error: Exception) -> CatKerasError:
    text = first_line(error)
    if "ersion mismatch" in str(error):
        versions = " ".join(line.strip() for line in str(error).splitlines() if "Python:" in line or "Ray:" in line)
        return CatKerasError(
            "All machines of a run have one version of Python and of Ray. Received: "
            f"{address}: {text} {versions}. Start the cluster in the environment of this command"
        )
    return CatKerasError(
        f"A run is on a Ray cluster that answers. Received: {address} ({type(error).__name__}: {text}). Start one with "
        "`ray start --head`, or name none: --on ray starts one here"
    )


def first_line(error: Exception) -> str:
    """The first line of an error's message, at most 300 characters."""
    return next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)[:300]
