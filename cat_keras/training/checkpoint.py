"""The state of a training in one file: weights, optimizer, generators of dropout, and the history of its steps."""

import io
from pathlib import Path

import keras
import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from cat_keras.storage.untrusted import read_npz

HISTORY = ("loss", "live")


def state(trainer) -> list:
    """The variables that a step changes: trainable weights, generator states of dropout, optimizer variables."""
    weight_ids = {id(v) for v in trainer.model.weights}
    generators = [v for v in trainer.model.variables if id(v) not in weight_ids]
    return [*trainer.model.trainable_variables, *generators, *trainer.optimizer.variables]


def packed(trainer, history: dict[str, list[float]], identity: str) -> bytes:
    """A checkpoint as the bytes of an npz archive, whose members carry checksums of their own.

    Args:
        trainer: compiled, its optimizer built.
        history: the values of each step so far, by the names of `HISTORY`.
        identity: of the training, see `training.identity`; `restore` refuses the checkpoint of another training.
    """
    buffer = io.BytesIO()
    values = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(state(trainer))}
    np.savez(buffer, identity=identity, **values, **{f"history_{k}": np.asarray(history[k]) for k in HISTORY})
    return buffer.getvalue()


def save(path: Path, content: bytes):
    """Writes a checkpoint and keeps the one before it.

    Two files are renamed: the old checkpoint to its second name, then the new one to the first. A kill before both
    leaves the old one, a kill between them the old one under its second name, a kill after them the new one. So at
    every instant one of the two names holds a whole checkpoint.
    """
    path = Path(path)
    if path.exists():
        path.replace(_previous(path))
    store.write_bytes(path, content)


def restore(trainer, path: Path, identity: str) -> dict[str, list[float]]:
    """Loads the newest readable checkpoint into a trainer; an unreadable one is reported and removed.

    Returns:
        The history up to the checkpoint; an empty one if there is none.

    Raises:
        CatKerasError: the checkpoint is readable and belongs to another training.
    """
    for candidate in (Path(path), _previous(Path(path))):
        try:
            values, history, writer_identity = _read(candidate)
        except FileNotFoundError:
            continue
        except Exception as error:  # damage has as many exceptions as there are bytes
            candidate.unlink()
            has_previous = candidate == Path(path) and _previous(candidate).exists()
            remedy = "the checkpoint before it is used" if has_previous else "training from the start"
            print(f"{candidate} is not readable ({error}); {remedy}")
            continue
        variables = state(trainer)
        if writer_identity != identity or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
            raise CatKerasError(
                "A checkpoint is continued by the training that wrote it: same model, data, batches, objective, "
                f"optimizer and schedule. Received: {candidate} of training {writer_identity[:12]}, this one is "
                f"{identity[:12]}. Delete it, or name another file"
            )
        for variable, value in zip(variables, values, strict=True):
            variable.assign(value)
        return history
    return {k: [] for k in HISTORY}


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _read(path):
    """(values of the variables, history, identity of the training) of a checkpoint."""
    arrays = read_npz(path)
    count = sum(name.startswith("v") for name in arrays)
    history = {k: arrays[f"history_{k}"].tolist() for k in HISTORY}
    return [arrays[f"v{i}"] for i in range(count)], history, str(arrays["identity"])
