"""What passes between the workers and the driver of a run while jobs are under way."""

import time
from collections.abc import Callable

from cat_keras.errors import Stopped

BEAT = 1.0  # seconds between two messages of a worker, at least


class Reports:
    """The actor that keeps what workers have said until the driver takes it.

    A message is (job, host, event, text): "begin", "done", "notice", or "beat" of a job that goes on. The answer to
    each is whether the run is to stop.
    """

    def __init__(self):
        self._messages, self._stopping = [], False

    def tell(self, *message: str) -> bool:
        self._messages.append(message)
        return self._stopping

    def take(self) -> list[tuple[str, ...]]:
        """What was said since the last call."""
        messages, self._messages = self._messages, []
        return messages

    def stop(self):
        """From now on workers are told to save their state and to stop."""
        self._stopping = True


class Teller:
    """Tells the driver of a worker's job.

    Args:
        ray: the module. reports: the actor. host: name of this machine.

    Attributes:
        job: name of the job that is under way.
    """

    def __init__(self, ray, reports, host: str):
        self._ray, self._reports, self._host, self.job = ray, reports, host, ""
        self._answer, self._last, self._stopping = None, 0.0, False

    def __call__(self, event: str, text: str = ""):
        self._last = time.monotonic()
        self._answer = self._reports.tell.remote(self.job, self._host, event, text)

    def stopping(self) -> bool:
        """Whether the run is to stop. Asks once in a second; the answer is that of the last time."""
        if self._answer is not None and self._ray.wait([self._answer], timeout=0)[0]:
            self._stopping, self._answer = self._ray.get(self._answer) or self._stopping, None
        if time.monotonic() - self._last > BEAT:
            self("beat")
        return self._stopping


class WorkerProgress:
    """The progress of a stage on a worker, with the methods of `benchmarks.running.progress.Progress`."""

    def __init__(self, tell: Callable[[str, str], None], stopping: Callable[[], bool]):
        self._tell, self.stopping = tell, stopping
        self._label, self._unit, self._total, self._began = "", "", 0.0, 0.0

    def go_on(self, saved: bool = True):
        if self.stopping() and saved:
            raise Stopped

    def start(self, label: str, total: float, unit: str):
        self.go_on()
        self._label, self._unit, self._total, self._began = label, unit, total, time.monotonic()
        self._tell("begin", label)

    def advance(self, n: float = 1, text: str = "", saves: bool = False):
        self.go_on(saved=not saves)

    def upto(self, n: float, total: float):
        self.go_on()

    def done(self, text: str = ""):
        seconds = time.monotonic() - self._began
        rate = f", {self._total / seconds:,.1f} {self._unit}/s" if self._unit and seconds > 0 else ""
        self._tell("done", f"{self._label}: {text} ({seconds:.1f} s{rate})")
