"""Ways in which a file on a disk stops being what was written."""

import random
from collections.abc import Iterator, Sequence
from pathlib import Path

KINDS = ("truncated", "emptied", "flipped", "removed", "swapped")


def do(kind: str, path: Path, others: Sequence[Path], rng: random.Random) -> list[Path]:
    """Damages a file; the files that are no longer what was written, none where nothing could be done."""
    content = path.read_bytes()
    if kind == "removed":
        path.unlink()
        return [path]
    if kind == "swapped":
        different = [other for other in others if other != path and other.read_bytes() != content]
        if not different:
            return []
        other = rng.choice(different)
        path.write_bytes(other.read_bytes())
        other.write_bytes(content)
        return [path, other]
    if not content:
        return []
    changed = bytearray(content)
    if kind == "flipped":
        changed[rng.randrange(len(changed))] ^= 1 << rng.randrange(8)
    else:
        # At least two bytes: JSON without the end of its last line still says the same.
        del changed[0 if kind == "emptied" else rng.randrange(max(len(changed) - 1, 1)) :]
    path.write_bytes(bytes(changed))
    return [path]


def cases(files: Sequence[Path], count: int, rng: random.Random) -> Iterator[tuple[str, Path]]:
    """(kind, file): every file in every way, and then again, until there are so many."""
    every = [(kind, path) for path in files for kind in KINDS]
    for number in range(max(count, len(every))):
        if number % len(every) == 0:
            rng.shuffle(every)
        yield every[number % len(every)]


class Kept:
    """The files of a folder as they were written; `restore` brings them back."""

    def __init__(self, root: Path):
        self.root = root
        self.contents = {path: path.read_bytes() for path in sorted(root.rglob("*")) if path.is_file()}

    def restore(self):
        there = {path for path in self.root.rglob("*") if path.is_file()}
        for path in there - self.contents.keys():
            path.unlink()
        for path, content in self.contents.items():
            if path not in there or path.stat().st_size != len(content) or path.read_bytes() != content:
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(content)
