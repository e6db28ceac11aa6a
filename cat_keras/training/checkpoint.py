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
    """What a step changes: trainable weights, generator states of dropout, optimizer variables."""
    frozen_or_not = {id(v) for v in trainer.model.weights}
    generators = [v for v in trainer.model.variables if id(v) not in frozen_or_not]
    return [*trainer.model.trainable_variables, *generators, *trainer.optimizer.variables]


def packed(trainer, history: dict[str, list[float]], identity: str) -> bytes:
    """A checkpoint as an npz archive, whose members carry checksums of their own.

    Args:
        identity: of the training, see `training.identity`; `restore` refuses another's.
    """
    buffer = io.BytesIO()
    values = {f"v{i}": keras.ops.convert_to_numpy(v) for i, v in enumerate(state(trainer))}
    np.savez(buffer, identity=identity, **values, **{f"history_{k}": np.asarray(history[k]) for k in HISTORY})
    return buffer.getvalue()


def save(path: Path, content: bytes):
    """Writes a checkpoint and keeps the one before it.

    A kill before the first rename leaves the old one, between the two the old one under its second name, after them
    the new one: at every instant one of the two names holds a whole checkpoint.
    """
    path = Path(path)
    if path.exists():
        path.replace(_previous(path))
    store.write_bytes(path, content)


def restore(trainer, path: Path, identity: str) -> dict[str, list[float]]:
    """Loads the newest readable checkpoint into a trainer; an unreadable one is said, removed and stepped over.

    Returns:
        The history up to it; an empty one when there is no checkpoint.

    Raises:
        CatKerasError: a readable checkpoint of another training.
    """
    for candidate in (Path(path), _previous(Path(path))):
        try:
            values, history, written_by = _read(candidate)
        except FileNotFoundError:
            continue
        except Exception as error:  # damage has as many exceptions as there are bytes
            candidate.unlink()
            older = candidate == Path(path) and _previous(candidate).exists()
            then = "the checkpoint before it is used" if older else "training from the start"
            print(f"{candidate} is not readable ({error}); {then}")
            continue
        _load(trainer, values, candidate, written_by, identity)
        return history
    return {k: [] for k in HISTORY}


def _previous(path: Path) -> Path:
    return path.with_name(f"{path.stem}.previous{path.suffix}")


def _read(path):
    arrays = read_npz(path)
    count = sum(name.startswith("v") for name in arrays)
    history = {k: arrays[f"history_{k}"].tolist() for k in HISTORY}
    return [arrays[f"v{i}"] for i in range(count)], history, str(arrays["identity"])


def _load(trainer, values, path, written_by, identity):
    variables = state(trainer)
    if written_by != identity or [v.shape for v in values] != [tuple(v.shape) for v in variables]:
        raise CatKerasError(
            "A checkpoint is continued by the training that wrote it: same model, data, batches, objective, optimizer "
            f"and schedule. Received: {path} of training {written_by[:12]}, this one is {identity[:12]}. Delete it, or "
            "name another file"
        )
    for variable, value in zip(variables, values, strict=True):
        variable.assign(value)
