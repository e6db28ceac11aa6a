"""Ctrl-C stops a run even where native code swallows the exception."""

import contextlib
import io
import signal

import pytest
from rich.console import Console

from benchmarks.running.progress import Progress


def test_a_swallowed_interrupt_stops_the_next_step():
    before = signal.getsignal(signal.SIGINT)
    with pytest.raises(KeyboardInterrupt), Progress(Console(file=io.StringIO())) as progress:
        progress.start("stage", 2, "steps")
        with contextlib.suppress(KeyboardInterrupt):  # as a finaliser would
            signal.raise_signal(signal.SIGINT)
        progress.advance(1)
    assert signal.getsignal(signal.SIGINT) is before


def test_an_interrupt_that_native_code_turns_into_an_error_is_an_interrupt():
    with pytest.raises(KeyboardInterrupt), Progress(Console(file=io.StringIO())):
        try:
            signal.raise_signal(signal.SIGINT)
        except KeyboardInterrupt:
            raise SystemError("bad argument to internal function") from None


def test_an_error_without_an_interrupt_stays_itself():
    with pytest.raises(ValueError, match="mine"), Progress(Console(file=io.StringIO())):
        raise ValueError("mine")


def test_a_stage_is_one_line_with_its_rate():
    out = io.StringIO()
    with Progress(Console(file=out)) as progress:
        progress.expect(1)
        progress.start("train [x]", 4, "steps")
        progress.upto(4, 4)
        progress.done("loss 1")
    assert "1/1  train [x]: loss 1 (" in out.getvalue()
    assert "steps/s" in out.getvalue()
