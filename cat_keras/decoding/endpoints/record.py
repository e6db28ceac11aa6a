"""A file of answers that were paid for, a line of JSON each: written as they come, and read instead of asking again."""

import hashlib
import json
import os
import threading
from collections.abc import Mapping
from pathlib import Path

from cat_keras.decoding.endpoints.replies import Reply
from cat_keras.errors import CatKerasError


class Record:
    """Answers by the names of their requests, which are hashes, so that no prompt stands in the file.

    A line is written by one call at the end of the file, so that several processes may write at a time. A kill leaves
    at most half a line, which is not read, and which the next line does not continue.

    Args:
        path: of the file, which is made if it is not there; None to keep nothing.

    Raises:
        CatKerasError: the file cannot be read or written.
    """

    def __init__(self, path: str | Path | None):
        self._replies: dict[str, Reply] = {}
        self._lock, self._stream = threading.Lock(), None
        if path is None:
            return
        path = Path(path)
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            self._stream = path.open("ab", buffering=0)
            content = path.read_bytes()
        except OSError as error:
            raise CatKerasError(f"Answers are kept in a file. Received: {path} ({error.strerror})") from error
        for line in content.splitlines():
            try:
                name, values = json.loads(line)
                self._replies[name] = Reply.from_config(values)
            except (ValueError, TypeError):
                continue  # half a line of a process that was killed
        if content and not content.endswith(b"\n"):
            self._stream.write(b"\n")

    def get(self, name: str) -> Reply | None:
        """The answer to the request of that name, see `name_of`; None if it is not there."""
        return self._replies.get(name)

    def add(self, name: str, reply: Reply):
        """Writes an answer, on the disk when this returns."""
        if self._stream is None:
            return
        line = json.dumps([name, reply.config()], ensure_ascii=True) + "\n"
        with self._lock:
            self._stream.write(line.encode())
            os.fsync(self._stream.fileno())

    def close(self):
        """Closes the file."""
        if self._stream:
            self._stream.close()


def name_of(url: str, request: Mapping) -> str:
    """A name of a request to an address that does not contain its text: 32 hex digits."""
    return hashlib.sha256(json.dumps([url, dict(request)], sort_keys=True).encode()).hexdigest()[:32]
