"""Logs of a training to read later: one CSV row per step, and scalars for TensorBoard.

A log is a `progress` of `train`: it is called with the `Progress` of each step.
"""

import csv
import io
from dataclasses import fields
from pathlib import Path

import keras

from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from cat_keras.training.loop import Progress

COLUMNS = tuple(field.name for field in fields(Progress))


class CsvLog:
    """Appends each step to a CSV file with the columns of `Progress`.

    A training that resumes at a step first drops the rows from that step on, so that every step has one row.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path):
        self.path, self._begun = Path(path), False

    def __call__(self, progress: Progress):
        if not self._begun:
            earlier_rows = [row for row in _complete_rows(self.path) if int(row[0]) < progress.step]
            table = io.StringIO(newline="")
            csv.writer(table).writerows([COLUMNS, *earlier_rows])
            store.write_bytes(self.path, table.getvalue().encode())
            self._begun = True
        # The file is opened for each row, so that a kill loses no row and there is nothing to close.
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow([getattr(progress, name) for name in COLUMNS])

    def close(self):
        """Does nothing, since no file is open between two steps; `TensorBoardLog` has something to close."""


class TensorBoardLog:
    """Writes loss, live share, learning rate and tokens per second as scalars of TensorBoard.

    Args:
        folder: what `tensorboard --logdir` reads.

    Raises:
        CatKerasError: TensorBoard is not installed, or the backend is not TensorFlow.
    """

    def __init__(self, folder: Path):
        self.check_available()
        import tensorflow as tf

        self._summary, self._writer, self._tokens = tf.summary, tf.summary.create_file_writer(str(folder)), 0

    @staticmethod
    def check_available():
        """Raises CatKerasError where this log cannot be written, without writing anything."""
        if keras.config.backend() != "tensorflow":
            raise CatKerasError(
                f"TensorBoard's log is written by the TensorFlow backend. Received: {keras.config.backend()}. "
                "Use CsvLog, or set KERAS_BACKEND=tensorflow"
            )
        try:
            import tensorboard  # noqa: F401  (tf.summary needs it, and would fail only at the first write)
            import tensorflow  # noqa: F401
        except ImportError as error:
            raise CatKerasError(f"This log needs TensorBoard. Received: {error}. pip install tensorboard") from error

    def __call__(self, progress: Progress):
        self._tokens += progress.tokens
        scalars = {name: getattr(progress, name) for name in ("loss", "live", "learning_rate")}
        scalars["tokens_per_second"] = self._tokens / max(progress.seconds, 1e-9)
        with self._writer.as_default(step=progress.step):
            for name, value in scalars.items():
                self._summary.scalar(name, value)

    def close(self):
        self._writer.close()


def _complete_rows(path):
    """The complete rows of an earlier log: a kill may cut the last row, and a crash of the machine may zero it."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = csv.reader(line.replace("\0", "") for line in stream)
        return [row for row in rows if len(row) == len(COLUMNS) and row[0].isdecimal()]
