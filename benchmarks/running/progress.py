"""The progress display of a run: a bar with stage, rate and time left, and a line for every finished stage."""

import signal
import threading
import time
from collections.abc import Callable

from rich.console import Console
from rich.markup import escape
from rich.progress import BarColumn, MofNCompleteColumn, TextColumn, TimeRemainingColumn
from rich.progress import Progress as Bars

from cat_keras.errors import Stopped


class Progress:
    """Context manager that shows the stages of a run; without a terminal it prints the lines alone.

    Args:
        console: a rich console. log: called with an event and a text when a stage begins or is done.
    """

    def __init__(self, console: Console, log: Callable[[str, str], None] = lambda event, text: None):
        self.console, self.log = console, log
        self._bars = Bars(
            TextColumn("{task.fields[count]} {task.description}"),
            BarColumn(bar_width=24),
            MofNCompleteColumn(),
            TextColumn("{task.fields[rate]}"),
            TimeRemainingColumn(),
            TextColumn("{task.fields[text]}"),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        )
        self._stage, self._finished, self._expected, self._units = None, 0, 0, 0.0
        self._interrupted, self._terminated, self._previous = False, False, {}

    def __enter__(self):
        if threading.current_thread() is threading.main_thread():
            self._previous = {
                signal.SIGINT: signal.signal(signal.SIGINT, self._interrupt),
                signal.SIGTERM: signal.signal(signal.SIGTERM, self._terminate),
            }
        self._bars.start()
        return self

    def __exit__(self, _, error, __):
        self._bars.stop()
        for number, handler in self._previous.items():
            signal.signal(number, handler)
        if self._interrupted and isinstance(error, Exception):
            # Native code that is interrupted half-way raises an error of its own in its place, such as SystemError.
            raise KeyboardInterrupt from error

    def _interrupt(self, *_):
        # An exception that is raised inside a finaliser or a callback of native code is swallowed there. `go_on` raises
        # it again at the next step, so that Ctrl-C always stops the run.
        self._interrupted = True
        raise KeyboardInterrupt

    def _terminate(self, *_):
        # A machine that is taken away sends SIGTERM some seconds earlier: time for a training to save its state.
        self._terminated = True

    def stopping(self) -> bool:
        """Whether a training is to save its state and stop."""
        return self._terminated

    def go_on(self, saved: bool = True):
        """Raises KeyboardInterrupt or Stopped if the run was asked to end.

        Args:
            saved: whether the work under way is saved; if not, the run goes on after SIGTERM.
        """
        if self._interrupted:
            raise KeyboardInterrupt
        if self._terminated and saved:
            raise Stopped

    def expect(self, stages: int):
        """Sets how many stages will come."""
        self._expected = stages

    def start(self, label: str, total: float, unit: str):
        """Opens a stage. A stage that is still open gives way: it needs this one first, and starts again after it."""
        self.go_on()
        if self._stage is not None:
            self._bars.remove_task(self._stage)
        self._label, self._unit, self._total, self._units = label, unit, total, 0.0
        self._began = time.monotonic()
        count = f"[{self._finished + 1}/{max(self._expected, self._finished + 1)}]"
        self._stage = self._bars.add_task(escape(label), total=total, count=escape(count), rate="", text="")
        self.log("begin", label)

    def advance(self, n: float = 1, text: str = "", saves: bool = False):
        """Adds `n` finished units to the current stage.

        Args:
            n: units. text: shown beside the bar.
            saves: whether the stage asks `stopping` itself and saves its state.
        """
        self.go_on(saved=not saves)
        self._units += n
        rate = self._units / max(time.monotonic() - self._began, 1e-9)
        rate_text = f"{rate:,.1f} {self._unit}/s" if self._unit else ""
        self._bars.update(self._stage, completed=self._units, rate=rate_text, text=text)

    def upto(self, n: float, total: float):
        """Sets the finished units of the current stage to `n`."""
        self.advance(n - self._units)

    def done(self, text: str = ""):
        """Closes the stage and prints its line."""
        self.go_on()
        seconds = time.monotonic() - self._began
        self._finished += 1
        self._bars.remove_task(self._stage)
        self._stage = None
        rate = f", {self._total / seconds:,.1f} {self._unit}/s" if self._unit and seconds > 0 else ""
        count = f"{self._finished}/{max(self._expected, self._finished)}"
        line = f"[dim]{count:>7}[/]  {escape(self._label)}: {escape(text)} [dim]({seconds:.1f} s{rate})[/]"
        self.console.print(line, soft_wrap=True)
        self.log("done", f"{self._label}: {text} ({seconds:.1f} s{rate})")
