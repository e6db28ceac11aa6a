"""What comes from outside, looked at before it is believed: names of files, sizes that are declared, classes to load.

Nothing here loads a framework.
"""

import math
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage.store import read_json

LONGEST = 80  # bytes of a name; file systems take 255, and endings and numbers are put to it
# Names that Windows keeps for devices, whatever their ending.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# Classes that carry code, or read files that a configuration names.
RUNNING = {"Lambda", "__lambda__", "__typespec__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
READING = {"StringLookup", "IntegerLookup", "TextVectorization"}
TRUSTED = ("keras", "keras_hub", "builtins")  # packages that classes of a preset come from


def is_plain(name) -> bool:
    """Whether a name is that of a file in whatever folder it is put, on every operating system."""
    return (
        isinstance(name, str)
        and name.isprintable()  # no control, bidirectional or surrogate characters
        and not set('/\\:*?"<>|') & set(name)
        and 0 < len(name.encode()) <= LONGEST
        and name == name.strip(". ")
        and name.partition(".")[0].lower() not in DEVICES
    )


def plain_name(kind: str, name: str) -> str:
    """The name; folders and files are called after it.

    Raises:
        CatKerasError: it would lead out of its folder, or is no name of a file everywhere. `kind` says what is named.
    """
    if not is_plain(name):
        raise CatKerasError(
            f'The name of a {kind} is that of a file: at most {LONGEST} bytes, no / \\ : * ? " < > | or control '
            f"character, no blank or dot at an end, no device such as nul. Received: {name!r:.60}. Choose another"
        )
    return name


def read_npz(path: Path) -> dict:
    """The arrays of an npz archive that this project wrote, by name.

    Such archives are stored, not compressed: what declares more than the file holds is refused before it is read.

    Raises:
        CatKerasError: it is no such archive, or a damaged one. FileNotFoundError: it is not there.
    """
    import numpy as np

    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members, room = archive.infolist(), Path(path).stat().st_size
            if any(each.compress_type for each in members) or sum(_declared(archive, each) for each in members) > room:
                raise ValueError(f"its arrays declare more than the {room:,} bytes of the file, or are compressed")
            stream.seek(0)  # the look at the headers has moved it
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # damage has as many exceptions as there are bytes
        raise CatKerasError(f"Expected arrays as this project writes them. Received: {path} ({error})") from error


def _declared(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """Bytes that a member of an npz archive says it has: as a file, or as the array in it."""
    from numpy.lib import format as npy

    with archive.open(member) as stream:
        read = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, _, dtype = read(stream)
    return max(member.file_size, math.prod(shape) * dtype.itemsize)


def check_preset(folder: Path):
    """Looks at the configurations of a preset folder before Keras does.

    Raises:
        CatKerasError: one names a class that carries code or that is not of Keras or KerasHub (a class of one's own is
            registered first, see `keras.saving.register_keras_serializable`), is no JSON or too large, or declares a
            model that the weights beside it cannot fill.
    """
    weights = sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".h5", ".safetensors"))
    for path in sorted(folder.glob("*.json")):
        for found in _objects(read_json(path)):
            if wrong := _untrusted(found):
                raise CatKerasError(
                    f"A preset is made of classes of Keras and KerasHub, without code. Received: {wrong} in {path}. "
                    "Import what registers it first, if it is yours"
                )
            if weights and _least(found.get("config")) > 2 * weights:  # no weight takes less than four bits
                raise CatKerasError(
                    f"A preset holds the weights of the model it declares. Received: {path}, of a model of at least "
                    f"{_least(found['config']):,} weights, beside {weights:,} bytes of them. Take the whole preset"
                )


def _objects(value) -> Iterator[dict]:
    """Every serialized object in a configuration, however deep."""
    waiting = [value]
    while waiting:
        each = waiting.pop()
        if isinstance(each, dict):
            if "class_name" in each:
                yield each
            waiting += each.values()
        elif isinstance(each, list):
            waiting += each


def _untrusted(found: dict) -> str:
    """What is wrong with the class of a serialized object, in words; "" when nothing is."""
    named, registered = str(found["class_name"]), str(found.get("registered_name") or "")
    if {named, registered.rpartition(">")[2]} & (RUNNING | READING):
        return f"the class {named}"
    module = str(found.get("module") or "keras")
    return "" if module.partition(".")[0] in TRUSTED or _is_registered(registered) else f"the class {module}.{named}"


def _is_registered(name: str) -> bool:
    keras = sys.modules.get("keras")  # not loaded: nobody has registered anything
    return bool(keras and name and keras.saving.get_registered_object(name))


def _least(config) -> int:
    """Fewer weights than a model of these sizes has: its embedding, and a third of its feed-forward blocks."""
    sizes = [config.get(name) if isinstance(config, dict) else None
             for name in ("vocabulary_size", "hidden_dim", "num_layers", "intermediate_dim")]  # fmt: skip
    vocabulary, width, layers, inner = (size if isinstance(size, int) else 0 for size in sizes)
    return vocabulary * width + layers * width * inner // 2
