"""What a training leaves to read later: one CSV row per step, and TensorBoard on request."""

import csv
from dataclasses import fields
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.training import Progress

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
        self._append("a", [[getattr(progress, name) for name in COLUMNS]])

    def _begin(self, step):
        self.path.parent.mkdir(parents=True, exist_ok=True)
        kept = [row for row in _rows(self.path) if int(row[0]) < step]  # read before it is opened for writing
        self._append("w", [COLUMNS, *kept])
        self._begun = True

    def _append(self, mode, rows):
        # Opened for each row: there is nothing to close, and a kill loses no row.
        with self.path.open(mode, newline="", encoding="utf-8") as stream:
            csv.writer(stream).writerows(rows)

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
    """Whole rows of an earlier log; a kill may have cut the last one."""
    if not path.exists():
        return []
    with path.open(newline="", encoding="utf-8") as stream:
        return [row for row in list(csv.reader(stream))[1:] if len(row) == len(COLUMNS)]
