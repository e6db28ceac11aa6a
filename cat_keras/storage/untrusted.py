"""Checks of what comes from outside before it is used: names of files, declared sizes of arrays, classes of presets.

This module loads no framework.
"""

import math
import sys
import zipfile
from collections.abc import Iterator
from pathlib import Path

from cat_keras.errors import CatKerasError
from cat_keras.storage.store import read_json

MAX_NAME_BYTES = 80  # file systems take 255, but endings and numbers are appended to a name
# Names that Windows reserves for devices, whatever their ending.
DEVICES = {"con", "prn", "aux", "nul", *(f"{port}{n}" for port in ("com", "lpt") for n in range(1, 10))}
# Keras classes that run code out of a configuration, and classes that read files that a configuration names.
CODE_CLASSES = {"Lambda", "__lambda__", "__typespec__", "TFSMLayer", "TorchModuleWrapper", "JaxLayer", "FlaxLayer"}
FILE_CLASSES = {"StringLookup", "IntegerLookup", "TextVectorization"}
TRUSTED_PACKAGES = ("keras", "keras_hub", "builtins")  # where the classes of a preset come from


def is_plain(name) -> bool:
    """Whether a name is one of a file inside the folder where it is put, on every operating system."""
    return (
        isinstance(name, str)
        and name.isprintable()  # no control, bidirectional or surrogate characters
        and not set('/\\:*?"<>|') & set(name)
        and 0 < len(name.encode()) <= MAX_NAME_BYTES
        and name == name.strip(". ")
        and name.partition(".")[0].lower() not in DEVICES
    )


def plain_name(kind: str, name: str) -> str:
    """Returns a name after which folders and files are called, once it is checked.

    Args:
        kind: what is named, for the message.
        name: the name.

    Raises:
        CatKerasError: the name would lead out of its folder, or some operating system cannot have a file of that name.
    """
    if not is_plain(name):
        raise CatKerasError(
            f'The name of a {kind} is that of a file: at most {MAX_NAME_BYTES} bytes, no / \\ : * ? " < > | or control '
            f"character, no blank or dot at an end, no device such as nul. Received: {name!r:.60}. Choose another"
        )
    return name


def read_npz(path: Path) -> dict:
    """The arrays of an npz archive that this project wrote, by name.

    This project stores such archives without compression. So an archive whose arrays declare more bytes than the file
    has is refused before memory is reserved for them.

    Raises:
        CatKerasError: the file is no such archive, or a damaged one.
        FileNotFoundError: the file does not exist.
    """
    import numpy as np

    try:
        with Path(path).open("rb") as stream, zipfile.ZipFile(stream) as archive:
            members, size = archive.infolist(), Path(path).stat().st_size
            if any(m.compress_type for m in members) or sum(_declared_bytes(archive, m) for m in members) > size:
                raise ValueError(f"its arrays declare more than the {size:,} bytes of the file, or are compressed")
            stream.seek(0)  # reading the headers has moved it
            with np.load(stream, allow_pickle=False) as arrays:
                return {name: arrays[name] for name in arrays.files}
    except FileNotFoundError:
        raise
    except Exception as error:  # damage has as many exceptions as there are bytes
        raise CatKerasError(f"Expected arrays as this project writes them. Received: {path} ({error})") from error


def _declared_bytes(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> int:
    """The size that a member of an npz archive declares, as a file or as an array, whichever is larger."""
    from numpy.lib import format as npy

    with archive.open(member) as stream:
        read_header = {(1, 0): npy.read_array_header_1_0, (2, 0): npy.read_array_header_2_0}[npy.read_magic(stream)]
        shape, _, dtype = read_header(stream)
    return max(member.file_size, math.prod(shape) * dtype.itemsize)


def check_preset(folder: Path):
    """Checks the configurations of a preset folder before Keras builds anything from them.

    Raises:
        CatKerasError: a configuration names a class that runs code or reads files, or one that is not of Keras or
            KerasHub (register your own classes first, see `keras.saving.register_keras_serializable`); it is no JSON,
            or too large; or it declares a model that the weights beside it cannot fill.
    """
    weight_bytes = sum(path.stat().st_size for path in folder.rglob("*") if path.suffix in (".h5", ".safetensors"))
    for path in sorted(folder.glob("*.json")):
        for config in _serialized_objects(read_json(path)):
            if problem := _class_problem(config):
                raise CatKerasError(
                    f"A preset is made of classes of Keras and KerasHub, without code. Received: {problem} in {path}. "
                    "Import what registers it first, if it is yours"
                )
            n_weights = _min_weights(config.get("config"))
            if weight_bytes and n_weights > 2 * weight_bytes:  # no weight takes less than four bits
                raise CatKerasError(
                    f"A preset holds the weights of the model it declares. Received: {path}, of a model of at least "
                    f"{n_weights:,} weights, beside {weight_bytes:,} bytes of them. Take the whole preset"
                )


def _serialized_objects(value) -> Iterator[dict]:
    """Every serialized Keras object in a configuration, however deep."""
    stack = [value]  # not recursion, which a deep configuration could exhaust
    while stack:
        node = stack.pop()
        if isinstance(node, dict):
            if "class_name" in node:
                yield node
            stack += node.values()
        elif isinstance(node, list):
            stack += node


def _class_problem(config: dict) -> str:
    """What is wrong with the class of a serialized object, in words; "" if it may be loaded."""
    class_name, registered_name = str(config["class_name"]), str(config.get("registered_name") or "")
    if {class_name, registered_name.rpartition(">")[2]} & (CODE_CLASSES | FILE_CLASSES):
        return f"the class {class_name}"
    module = str(config.get("module") or "keras")
    if module.partition(".")[0] in TRUSTED_PACKAGES:
        return ""
    keras = sys.modules.get("keras")  # where Keras is not loaded, nobody can have registered a class
    if keras and registered_name and keras.saving.get_registered_object(registered_name):
        return ""
    return f"the class {module}.{class_name}"


def _min_weights(config) -> int:
    """A lower bound of the weights of a model of these sizes: its embedding, and a third of its feed-forward blocks."""
    sizes = [config.get(name) if isinstance(config, dict) else None
             for name in ("vocabulary_size", "hidden_dim", "num_layers", "intermediate_dim")]  # fmt: skip
    vocabulary, width, layers, inner = (size if isinstance(size, int) else 0 for size in sizes)
    return vocabulary * width + layers * width * inner // 2
