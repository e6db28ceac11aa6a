"""Examples that do not fit in memory: encoded piece by piece into files, from which batches read by position.

The files hold the arrays of `Encoded` one after the other, so that an example is read from where it lies. In memory are
then a few numbers per example, and while encoding the texts of one piece.
"""

import itertools
import os
import weakref
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from cat_keras.data.chat import Chat
from cat_keras.data.encoding import Encoded, encode
from cat_keras.data.ragged import Ragged
from cat_keras.data.records import Example
from cat_keras.errors import COUNT, CatKerasError, check_number
from cat_keras.storage import store

PIECE = 20_000  # examples that are tokenized at once
TYPES = {"tokens": np.int32, "offsets": np.int64, "n_prompt": np.int32, "names": np.uint8, "name_offsets": np.int64}
SUMS = ("truncated", "overlong", "control_words")  # of the pieces


class Names(Ragged):
    """Names of examples as they lie in a file: `values` are their letters in UTF-8, uint8."""

    def __getitem__(self, row):
        found = super().__getitem__(row)
        return tuple(found) if isinstance(row, slice) else found.tobytes().decode()


@dataclass(frozen=True)
class _Mapped(Encoded):
    """Data in the files of a folder."""

    folder: Path = Path()

    @cached_property
    def _tokens_file(self) -> int:
        """The open file of the tokens, which is closed with the object."""
        handle = os.open(self.folder / "tokens.bin", os.O_RDONLY)
        weakref.finalize(self, os.close, handle)
        return handle

    def __getstate__(self):
        """A copy, perhaps in another process, opens the file by itself."""
        return {name: value for name, value in self.__dict__.items() if name != "_tokens_file"}

    # Both read the files: pages of a mapped array, and many around each, would stay in the memory of the process.

    def sequence(self, row):
        begin, end = map(int, self.offsets[row : row + 2])
        size = TYPES["tokens"]().itemsize
        return np.frombuffer(os.pread(self._tokens_file, size * (end - begin), size * begin), TYPES["tokens"])

    def _contents(self):
        for name in ("tokens", "offsets", "n_prompt"):
            with (self.folder / f"{name}.bin").open("rb") as file:
                while part := file.read(2**20):
                    yield part


def encode_to(folder: Path, examples: Iterable[Example], tokenizer, max_length: int, long_targets: str = "error",
              chat: Chat | None = None, piece: int = PIECE) -> Encoded:  # fmt: skip
    """As `encode`, for more examples than fit in memory: the arrays go to files of a folder and stay there.

    Args:
        folder: written whole or not at all; one that exists is replaced.
        examples: read once, in order, `piece` at a time; may be a generator.
        tokenizer, max_length, long_targets, chat: as for `encode`.

    Returns:
        the data, memory-mapped, with the same fingerprint as from `encode`.

    Raises:
        CatKerasError: as `encode`.
    """
    check_number("piece", piece, COUNT, whole=True)
    rows = iter(examples)
    pieces = (encode(each, tokenizer, max_length, long_targets, chat) for each in _cut(rows, piece))
    with store.replaced(folder) as fresh:
        _write(fresh, pieces)
    return opened(Path(folder))


def load(folder: Path) -> Encoded:
    """The data that `encode_to` wrote, memory-mapped.

    Raises:
        CatKerasError: a file is missing or differs from its checksum.
    """
    folder = Path(folder)
    if problem := store.damage(folder):
        raise CatKerasError(f"Encoded data are whole. Received: {folder}, where {problem}. Encode them again")
    return opened(folder)


def opened(folder: Path) -> Encoded:
    """As `load`, for a caller who has compared the checksums."""
    facts = store.read_manifest(folder / "manifest.json")
    arrays = {name: _mapped(folder / f"{name}.bin", dtype) for name, dtype in TYPES.items()}
    return _Mapped(
        arrays["tokens"],
        arrays["offsets"],
        arrays["n_prompt"],
        Names(arrays["names"], arrays["name_offsets"]),
        facts["truncated"],
        tuple(store.read_json(folder / "dropped.json")),
        facts["tokenizer"],
        facts["overlong"],
        facts["control_words"],
        folder=folder,
    )


def _cut(rows: Iterator[Example], piece: int) -> Iterator[list[Example]]:
    """Lists of examples. The first is empty if there are none, which `encode` then says."""
    yield list(itertools.islice(rows, piece))
    yield from iter(lambda: list(itertools.islice(rows, piece)), [])


def _write(folder: Path, pieces: Iterable[Encoded]):
    """Appends the arrays of all pieces to one file each, and seals the folder."""
    total = letters = 0
    sums, dropped, tokenizer = dict.fromkeys(SUMS, 0), [], ""
    with ExitStack() as stack:
        files = {name: stack.enter_context((folder / f"{name}.bin").open("wb")) for name in TYPES}

        def append(name: str, values):
            files[name].write(np.ascontiguousarray(values, TYPES[name]).data)

        append("offsets", [0])
        append("name_offsets", [0])
        for part in pieces:
            names = [name.encode() for name in part.ids]
            append("tokens", part.tokens)
            append("offsets", part.offsets[1:] + total)
            append("n_prompt", part.n_prompt)
            append("names", np.frombuffer(b"".join(names), np.uint8))
            append("name_offsets", np.cumsum([len(name) for name in names], dtype=np.int64) + letters)
            total, letters = total + len(part.tokens), letters + sum(map(len, names))
            sums = {name: count + getattr(part, name) for name, count in sums.items()}
            dropped += part.dropped
            tokenizer = part.tokenizer
    store.write_json(folder / "dropped.json", dropped)
    store.seal(folder, {"tokenizer": tokenizer, **sums})


def _mapped(path: Path, dtype) -> np.ndarray:
    """The array of a file, read when it is indexed; a file without content cannot be mapped."""
    return np.asarray(np.memmap(path, dtype, "r")) if path.stat().st_size else np.zeros(0, dtype)
