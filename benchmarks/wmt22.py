"""WMT22 general translation (Kocmi et al., 2022). Its directions have test sets only; training pairs come from
`parallel/<corpus>/<pair>/train.jsonl`, one file for both directions of a pair."""

import hashlib
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from benchmarks.sources import data_folder, read_jsonl, split_file
from benchmarks.task import Task, register
from cat_keras.errors import CatKerasError

LANGUAGES = {"de": "German", "en": "English"}
# Where two corpora share a sentence the earlier one keeps it; corpora not named here follow in alphabetical order.
CORPORA = ("tatoeba_manythings", "multi30k", "newstest")


@dataclass(frozen=True)
class Direction:
    """Parts `test` (with every reference) and `pairs` (the training pairs of all corpora, mixed) of one direction.

    Every sentence occurs in one pair only, so no slice of `pairs` shares a sentence with another, and the order is
    that of a hash of the content: any slice is a fair sample of the corpora, both directions of a pair hold out the
    same pairs, and a pair added or removed moves no other one by more than a place.

    Attributes:
        source, target: language codes. other_references: whether `test_other_refs.jsonl` belongs to the test set.
    """

    source: str
    target: str
    other_references: bool = False

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        return self._pairs(data_folder(data)) if part == "pairs" else self._test(part, data_folder(data))

    def where(self, id: str, data: str | Path | None) -> str:
        """File and line of a row, for messages."""
        name, index = id.rsplit("-", 1)
        root = data_folder(data)
        corpus, _, in_corpus = name.partition("/")
        path = dict(self._corpora(root))[corpus] if in_corpus else self._test_folder(root) / f"{name}.jsonl"
        return f"{path}:{int(index) + 1}"

    def identity(self) -> dict:
        return {"wmt22": f"{self.source}-{self.target}", "other_references": self.other_references}

    def _test(self, part: str, root: Path) -> Iterator[tuple[str, dict]]:
        path = split_file(self._test_folder(root), part, root)
        rows = list(read_jsonl(path))
        others = self._other_references(path.parent, part, root) if self.other_references else [[]] * len(rows)
        if len(others) != len(rows):
            raise CatKerasError(
                f"The further references of {path} stand row by row in {part}_other_refs.jsonl; received {len(rows)} "
                f"and {len(others)} rows. Restore the two files together"
            )
        for (index, row), other in zip(rows, others, strict=True):
            yield f"{part}-{index}", row | {"references": [row.get(self.target), *other]}

    def _other_references(self, folder: Path, part: str, root: Path) -> list[list[str]]:
        path = split_file(folder, f"{part}_other_refs", root)
        return [[text for text in row.values() if text] for _, row in read_jsonl(path)]

    def _pairs(self, root: Path) -> Iterator[tuple[str, dict]]:
        seen: dict[str, set] = {language: set() for language in sorted((self.source, self.target))}
        found = []
        for corpus, path in self._corpora(root):
            for index, row in read_jsonl(path):
                texts = {language: row.get(language) for language in seen}
                # A row with a missing text passes: the task that renders it names the field.
                if any(isinstance(text, str) and text in seen[language] for language, text in texts.items()):
                    continue
                for language, text in texts.items():
                    seen[language].add(str(text))
                row["references"] = [texts[self.target]]
                found.append((_place(texts), f"{corpus}/train-{index}", row))
        found.sort(key=lambda pair: pair[:2])
        return ((id, row) for _, id, row in found)

    def _corpora(self, root: Path) -> list[tuple[str, Path]]:
        files = {
            path.parent.parent.name: path
            for pair in (f"{self.source}-{self.target}", f"{self.target}-{self.source}")
            for path in root.glob(f"parallel/*/{pair}/train.jsonl")
        }
        if not files:
            raise CatKerasError(
                f"Training pairs lie in parallel/<corpus>/{self.source}-{self.target}/train.jsonl (or the other way "
                f"round); {root} has none. Add a corpus"
            )
        ordered = [name for name in CORPORA if name in files] + sorted(set(files) - set(CORPORA))
        return [(name, files[name]) for name in ordered]

    def _test_folder(self, root: Path) -> Path:
        return root / "wmt22" / f"{self.source}-{self.target}"


def _place(texts: dict) -> bytes:
    return hashlib.blake2b("\n".join(map(str, texts.values())).encode(), digest_size=16).digest()


def _direction(source: str, target: str, other_references: bool = False) -> Task:
    return Task(
        name=f"wmt22_{source}{target}",
        aliases=(f"wmt22_{source}-{target}",),
        suites=("wmt22",),
        cluster="translation",
        kind="generation",
        source=Direction(source, target, other_references),
        splits={"train": "pairs[:-200]", "validation": "pairs[-200:]", "test": "test"},
        templates=(f"{LANGUAGES[source]}: {{{source}}}\n{LANGUAGES[target]}:\n",),
        target=target,
        references="references",
        metric="bleu+chrf",
        license="WMT test sets: research use; each parallel corpus has its own",
        citation="Kocmi et al., 2022, WMT22 findings, https://aclanthology.org/2022.wmt-1.1",
    )


register(_direction("en", "de", other_references=True))
register(_direction("de", "en", other_references=True))
