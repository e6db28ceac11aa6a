"""What stands against a run, found before anything is trained: all of it at once, each with its place."""

import contextlib
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from cat_keras.errors import CatKerasError

SHOWN = 200  # findings that are printed; the others are counted


class Finding(NamedTuple):
    """Something that a run would fail at.

    Attributes:
        place: file and line of a row, or what else is meant. problem: one sentence, or more.
        task, split, id: of a row, "" of anything else. A row can be left out by `data.bad_rows`.
    """

    place: str
    problem: str
    task: str = ""
    split: str = ""
    id: str = ""

    def __str__(self):
        return f"{self.place}: {self.problem}" if self.place else self.problem


class BadInput(CatKerasError):
    """The error of a run that has findings; the first ones stand in its message.

    Attributes:
        findings: the first ones. count: how many there are.
    """

    def __init__(self, findings: Sequence[Finding], count: int = 0):
        self.findings, self.count = list(findings), max(count, len(findings))
        rows = any(finding.id for finding in findings)
        remedy = 'Correct them, or leave such rows out: --set "data.bad_rows=leave out"' if rows else "Correct them"
        if self.count > 1:
            text = f"A run begins when nothing stands against it. Received: {self.count:,} findings, which are: "
            text += "; ".join(map(str, self.findings[:5])) + (" …" if self.count > 5 else "")
        else:
            text = str(self.findings[0])
        tasks = list(dict.fromkeys(finding.task for finding in findings if finding.task))
        skip = f". Or leave the task out: --skip {','.join(tasks[:5])}" if tasks else ""
        super().__init__(f"{text}. {remedy}{skip}" if rows or self.count > 1 else text + skip)

    def lines(self) -> list[str]:
        """A line for each finding, for a console or a log; none where the message holds the only one."""
        if self.count == 1:
            return []
        lines = list(map(str, self.findings[:SHOWN]))
        return lines + ([f"… {self.count - len(lines):,} more"] if self.count > len(lines) else [])


@contextlib.contextmanager
def printed(console) -> Iterator[None]:
    """Prints the findings of an error that has several, before the one line in which it ends."""
    try:
        yield
    except BadInput as error:
        for line in error.lines():
            console.print(line, style="yellow", markup=False, soft_wrap=True, highlight=False)
        raise
