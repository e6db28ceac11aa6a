"""Standard output and standard error in whatever encoding the terminal or pipe has."""

import contextlib
import io
import json
import sys


class _Replacing(io.TextIOBase):
    """A text stream that prints a question mark for each sign that its encoding lacks.

    It stands before the stream of the system, which Typer would reach past to print UTF-8 where it finds ASCII.
    """

    errors = "replace"

    def __init__(self, stream):
        self._stream = stream

    @property
    def encoding(self) -> str:
        return self._stream.encoding

    def write(self, text: str) -> int:
        self._stream.write(text.encode(self.encoding, "replace").decode(self.encoding))
        return len(text)

    def flush(self):
        self._stream.flush()

    def fileno(self) -> int:
        return self._stream.fileno()

    def isatty(self) -> bool:
        return self._stream.isatty()

    def writable(self) -> bool:
        return True


@contextlib.contextmanager
def replacing():
    """While the block runs, nothing that is printed can fail for want of a sign such as \u0394 in the encoding."""
    streams = sys.stdout, sys.stderr
    sys.stdout, sys.stderr = (_Replacing(s) if getattr(s, "encoding", None) else s for s in streams)
    try:
        yield
    finally:
        sys.stdout, sys.stderr = streams


def json_text(value, **options) -> str:
    """A value as JSON for standard output: signs that its encoding lacks are escapes, so that none is lost."""
    text = json.dumps(value, ensure_ascii=False, **options)
    try:
        text.encode(sys.stdout.encoding or "ascii")
    except UnicodeEncodeError:
        return json.dumps(value, **options)
    return text
