"""What a training leaves to read later: one CSV row per step, and TensorBoard on request."""

import csv
import io
from dataclasses import fields
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from cat_keras.training.loop import Progress

COLUMNS = tuple(field.name for field in fields(Progress))


class CsvLog:
    """A `progress` of `train` that appends each step to a CSV file with the columns of `Progress`.

    A training that resumes at a step drops the rows from there on: every step stands once.

    Args:
        path: the file; its folder is made.
    """

    def __init__(self, path: Path):
        self.path, self._begun = Path(path), False

    def __call__(self, progress: Progress):
        if not self._begun:
            self._begin(progress.step)
        # Opened for each row: there is nothing to close, and a kill loses no row.
        with self.path.open("a", newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerow([getattr(progress, name) for name in COLUMNS])

    def _begin(self, step):
        whole = io.StringIO(newline="")
        csv.writer(whole).writerows([COLUMNS, *(row for row in _rows(self.path) if int(row[0]) < step)])
        store.write_bytes(self.path, whole.getvalue().encode())
        self._begun = True

    def close(self):
        """Nothing is open between two steps; logs of a run are closed alike."""


class TensorBoardLog:
    """A `progress` of `train` that writes loss, live share, learning rate and tokens per second as scalars.

    Args:
        folder: read by `tensorboard --logdir`.

    Raises:
        CatKerasError: TensorBoard is not installed, or the backend is not TensorFlow.
    """

    def __init__(self, folder: Path):
        try:
            import tensorboard  # noqa: F401  (tf.summary needs it and says so only at the first write)
            import tensorflow as tf
        except ImportError as error:
            raise CatKerasError(f"This log needs TensorBoard. Received: {error}. pip install tensorboard") from error
        self._summary, self._writer, self._tokens = tf.summary, tf.summary.create_file_writer(str(folder)), 0

    def __call__(self, progress: Progress):
        self._tokens += progress.tokens
        scalars = {name: getattr(progress, name) for name in ("loss", "live", "learning_rate")}
        scalars["tokens_per_second"] = self._tokens / max(progress.seconds, 1e-9)
        with self._writer.as_default(step=progress.step):
            for name, value in scalars.items():
                self._summary.scalar(name, value)

    def close(self):
        self._writer.close()


def _rows(path):
    """Whole rows of an earlier log; a kill may have cut the last one, and a machine that fell filled it with zeros."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8", errors="replace") as stream:
        rows = csv.reader(line.replace("\0", "") for line in stream)
        return [row for row in rows if len(row) == len(COLUMNS) and row[0].isdecimal()]
