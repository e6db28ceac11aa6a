"""What a person sees of a run: one bar with stage, rate and time left; one line for every stage that is done."""

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
    """Context manager; without a terminal only the lines are printed.

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
        self._stage, self._done, self._expected, self._units = None, 0, 0, 0.0
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
            # Native code that meets the interrupt half-way makes an error of its own of it, SystemError and the like.
            raise KeyboardInterrupt from error

    def _interrupt(self, *_):
        # An exception that lands in a finaliser or in a callback of native code is swallowed there: it is raised again
        # at the next step, so that Ctrl-C always stops the run.
        self._interrupted = True
        raise KeyboardInterrupt

    def _terminate(self, *_):
        # A machine that is taken away says so with SIGTERM and leaves some seconds: a training saves its step first.
        self._terminated = True

    def stopping(self) -> bool:
        """Whether a training is to save its state and stop."""
        return self._terminated

    def go_on(self, saved: bool = True):
        """Raises what ends the run where it was asked to end, once what is under way is `saved`."""
        if self._interrupted:
            raise KeyboardInterrupt
        if self._terminated and saved:
            raise Stopped

    def expect(self, stages: int):
        """How many stages will come."""
        self._expected = stages

    def start(self, label: str, total: float, unit: str):
        """Opens a stage. An unfinished one before it has only been interrupted by what it needs: it starts anew."""
        self.go_on()
        if self._stage is not None:
            self._bars.remove_task(self._stage)
        self._label, self._unit, self._total, self._units = label, unit, total, 0.0
        self._began = time.monotonic()
        count = f"[{self._done + 1}/{max(self._expected, self._done + 1)}]"
        self._stage = self._bars.add_task(escape(label), total=total, count=escape(count), rate="", text="")
        self.log("begin", label)

    def advance(self, n: float = 1, text: str = "", saves: bool = False):
        """`n` units more of the current stage are done; `saves`: the stage asks `stopping` itself."""
        self.go_on(saved=not saves)
        self._units += n
        rate = self._units / max(time.monotonic() - self._began, 1e-9)
        shown = f"{rate:,.1f} {self._unit}/s" if self._unit else ""
        self._bars.update(self._stage, completed=self._units, rate=shown, text=text)

    def upto(self, n: float, total: float):
        """`n` of `total` units are done."""
        self.advance(n - self._units)

    def done(self, text: str = ""):
        """Closes the stage with one line."""
        self.go_on()
        seconds = time.monotonic() - self._began
        self._done += 1
        self._bars.remove_task(self._stage)
        self._stage = None
        rate = f", {self._total / seconds:,.1f} {self._unit}/s" if self._unit and seconds > 0 else ""
        count = f"{self._done}/{max(self._expected, self._done)}"
        line = f"[dim]{count:>7}[/]  {escape(self._label)}: {escape(text)} [dim]({seconds:.1f} s{rate})[/]"
        self.console.print(line, soft_wrap=True)
        self.log("done", f"{self._label}: {text} ({seconds:.1f} s{rate})")
