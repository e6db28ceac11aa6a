"""One direction of WMT22: a test set, and training pairs collected from whatever corpora there are.

In a data folder they are wmt22/<src>-<tgt>/test.jsonl, with further references row by row in test_other_refs.jsonl, and
parallel/<corpus>/<pair>/train.jsonl, one file for both directions of a pair. To be downloaded, they are the test set as
sacrebleu distributes it and the corpora of TFDS in `CORPORA_OF_TFDS`.
"""

import functools
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Protocol

from benchmarks.sources import tfds
from benchmarks.sources.folder import data_folder, read_jsonl, split_file
from benchmarks.sources.rows import Rows
from cat_keras.errors import CatKerasError

# Where two corpora share a sentence the earlier one keeps it; corpora not named here follow in alphabetical order.
CORPORA = ("tatoeba_manythings", "multi30k", "newstest")
# TFDS has no WMT22 and nothing for Livonian or Yakut; WMT19, ParaCrawl and TED talks cover the other pairs.
CORPORA_OF_TFDS = {
    ("cs", "en"): ("wmt19_translate/cs-en", "1.0.0"),
    ("de", "en"): ("wmt19_translate/de-en", "1.0.0"),
    ("de", "fr"): ("wmt19_translate/fr-de", "1.0.0"),
    ("en", "ru"): ("wmt19_translate/ru-en", "1.0.0"),
    ("en", "zh"): ("wmt19_translate/zh-en", "1.0.0"),
    ("en", "hr"): ("para_crawl/enhr", "1.2.0"),
    ("en", "ja"): ("ted_multi_translate", "1.1.0"),
    ("en", "uk"): ("ted_multi_translate", "1.1.0"),
    ("cs", "uk"): ("ted_multi_translate", "1.1.0"),
}
# Of corpora with tens of millions of pairs so many rows are read; TFDS stores them in shuffled order.
ROWS_OF_TFDS = 250_000


class Place(Protocol):
    """Where a direction is read."""

    def test(self, source: str, target: str, part: str) -> tuple[list[tuple[int, dict]], list[dict] | None, str]:
        """Numbered rows of the test set, further references row by row (None where there are none), its place."""

    def corpora(self, source: str, target: str) -> list[tuple[str, str, Iterator[tuple[int, dict]]]]:
        """Per corpus: name, place, numbered rows."""

    def state(self, source: str, target: str) -> tuple:
        """Differs when the corpora do."""


@dataclass(frozen=True)
class Direction:
    """Parts `test` (with every reference) and `pairs` (the training pairs of all corpora, mixed) of one direction.

    Every sentence occurs in one pair only, so no slice of `pairs` shares a sentence with another, and the order is
    that of a hash of the content: any slice is a fair sample of the corpora, both directions of a pair hold out the
    same pairs, and a pair added or removed moves no other one by more than a place.

    Attributes:
        source, target: language codes. other_references: whether human references beside the first one exist.
    """

    source: str
    target: str
    other_references: bool = False

    def open(self, part: str, data: str | Path | None, place: str = "local") -> Rows:
        """The rows of a part; see `Dataset.open`."""
        found = Download(data) if place == "tfds" else Folder(data_folder(data))
        return self._pairs(found) if part == "pairs" else self._test(found, part)

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        return iter(self.open(part, data))

    def complete(self, row: dict) -> dict:
        """A row with the references that the tasks read."""
        return row | {"references": [row.get(self.target)]}

    def origin(self, part: str) -> dict:
        """What the files of a part hold; both directions of a pair share their training pairs."""
        return {"pairs": "-".join(self._languages)} if part == "pairs" else {**self.identity(), "part": part}

    def export(self, part: str, data: str | Path | None, place: str) -> Iterator[tuple[str, Rows]]:
        """The part as files of the local layout: path in the data folder, rows."""
        found = Download(data) if place == "tfds" else Folder(data_folder(data))
        if part == "pairs":
            for corpus, _, rows in found.corpora(self.source, self.target):
                yield f"parallel/{corpus}/{'-'.join(self._languages)}/train.jsonl", _numbered(rows)
            return
        rows, others, _ = found.test(self.source, self.target, part)
        folder = f"wmt22/{self.source}-{self.target}"
        yield f"{folder}/{part}.jsonl", _numbered(rows)
        if others:
            yield f"{folder}/{part}_other_refs.jsonl", _numbered(enumerate(others))

    def files(self, part: str, root: Path) -> list[Path]:
        """The files of a data folder that hold the part, none where it is absent; reads nothing."""
        if part == "pairs":
            return list(_pair_files(root, self.source, self.target).values())
        path = root / "wmt22" / f"{self.source}-{self.target}" / f"{part}.jsonl"
        return [path] if path.is_file() else []

    def identity(self) -> dict:
        return {"wmt22": f"{self.source}-{self.target}", "other_references": self.other_references}

    @property
    def _languages(self) -> list[str]:
        return sorted((self.source, self.target))

    def _test(self, place: Place, part: str) -> Rows:
        rows, others, where = place.test(self.source, self.target, part)
        if others is not None and self.other_references and len(others) != len(rows):
            raise CatKerasError(
                f"The further references of {where} stand row by row in {part}_other_refs.jsonl; received {len(rows)} "
                f"and {len(others)} rows. Restore the two files together"
            )
        further = [[]] * len(rows) if others is None or not self.other_references else map(_texts, others)
        pairs = [
            (f"{part}-{index}", row | {"references": [row.get(self.target), *more]})
            for (index, row), more in zip(rows, further, strict=True)
        ]
        return Rows.of(pairs, lambda id: f"{where}:{int(id.rpartition('-')[2]) + 1}")

    def _pairs(self, place: Place) -> Rows:
        pairs, places = _distinct(place, *self._languages, place.state(self.source, self.target))

        def where_is(id: str) -> str:
            return f"{places[id.partition('/')[0]]}:{int(id.rpartition('-')[2]) + 1}"

        return Rows(len(pairs), lambda indices: [(pairs[i][1], self.complete(pairs[i][2])) for i in indices], where_is)


# Kept for the other direction of the pair, which a run reads next.
@functools.lru_cache(maxsize=1)
def _distinct(place: "Place", first: str, second: str, state: tuple) -> tuple[list[tuple[bytes, str, dict]], dict]:
    """Order, id and row of every pair in order, each sentence in one pair only; and corpus → its place."""
    seen: dict[str, set] = {first: set(), second: set()}
    found, places = [], {}
    for corpus, where, rows in place.corpora(first, second):
        places[corpus] = where
        for index, row in rows:
            texts = {language: row.get(language) for language in seen}
            # A row with a missing text passes: the task that renders it names the field.
            if any(isinstance(text, str) and text in seen[language] for language, text in texts.items()):
                continue
            for language, text in texts.items():
                seen[language].add(str(text))
            found.append((_order(texts), f"{corpus}/train-{index}", row))
    found.sort(key=lambda pair: pair[:2])
    return found, places


@dataclass(frozen=True)
class Folder:
    """A local data folder."""

    root: Path

    def test(self, source: str, target: str, part: str):
        folder = self.root / "wmt22" / f"{source}-{target}"
        path = split_file(folder, part, self.root)
        # Absent in a folder that holds the first reference only; the signature of BLEU says how many there were.
        more = folder / f"{part}_other_refs.jsonl"
        others = [row for _, row in read_jsonl(split_file(folder, more.stem, self.root))] if more.is_file() else None
        return list(read_jsonl(path)), others, str(path)

    def corpora(self, source: str, target: str):
        files = self._files(source, target)
        ordered = [name for name in CORPORA if name in files] + sorted(set(files) - set(CORPORA))
        paths = {name: split_file(files[name].parent, "train", self.root) for name in ordered}
        return [(name, str(path), read_jsonl(path)) for name, path in paths.items()]

    def state(self, source: str, target: str) -> tuple:
        found = ((path, path.stat()) for path in sorted(self._files(source, target).values()))
        return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in found)

    def _files(self, source: str, target: str) -> dict[str, Path]:
        files = _pair_files(self.root, source, target)
        if not files:
            raise CatKerasError(
                f"Training pairs lie in parallel/<corpus>/{source}-{target}/train.jsonl (or the other way "
                f"round); {self.root} has none. Add a corpus"
            )
        return files


@dataclass(frozen=True)
class Download:
    """Test sets through sacrebleu, training pairs through TFDS; `data` is where TFDS keeps its own."""

    data: str | Path | None = field(default=None)

    def test(self, source: str, target: str, part: str):
        fields = _sacrebleu_fields(f"{source}-{target}")
        first, *others = [name for name in fields if name.startswith("ref")]
        rows = [
            {source: text, target: reference, "doc_id": doc}
            for text, reference, doc in zip(fields["src"], fields[first], fields["docid"], strict=True)
        ]
        further = [{name.removeprefix("ref:"): fields[name][i] for name in others} for i in range(len(rows))]
        return list(enumerate(rows)), further if others else None, f"sacrebleu wmt22 {source}-{target}"

    def corpora(self, source: str, target: str):
        pair = tuple(sorted((source, target)))
        name, version = self.state(source, target)
        rows = tfds.rows(name, version, "train", self.data)
        numbered = enumerate(row for _, row in rows.read(range(min(rows.count, ROWS_OF_TFDS))))
        texts = ((index, _pair_of(row, pair)) for index, row in numbered)
        return [(name.partition("/")[0], f"{name} train", ((index, row) for index, row in texts if row))]

    def state(self, source: str, target: str) -> tuple[str, str]:
        pair = tuple(sorted((source, target)))
        if pair not in CORPORA_OF_TFDS:
            raise CatKerasError(
                f"TensorFlow Datasets has no training pairs for {source}-{target}. Pass --source local --data DIR with "
                f"pairs in DIR/parallel/<corpus>/{source}-{target}/train.jsonl, one {{language: text}} object per line"
            )
        return CORPORA_OF_TFDS[pair]


def _sacrebleu_fields(pair: str) -> dict[str, list[str]]:
    """Lines by field (`src`, `ref:A`, …, `docid`), the reference that sacrebleu scores by before the others."""
    from sacrebleu.dataset import DATASETS

    test_set = DATASETS["wmt22"]
    try:
        paths = dict(zip(test_set.fieldnames(pair), test_set.get_files(pair), strict=True))
        scored_by = set(test_set.get_reference_files(pair))
    except Exception as error:  # whatever a download can end in
        raise CatKerasError(
            f"sacrebleu could not download the WMT22 test set {pair} ({error}). It needs the network; without one, "
            f"pass --source local --data DIR with DIR/wmt22/{pair}/test.jsonl"
        ) from error
    human = {name: path for name, path in paths.items() if name in ("src", "docid") or name.startswith("ref")}
    ordered = sorted(human, key=lambda name: (human[name] not in scored_by, name))
    return {name: Path(human[name]).read_text(encoding="utf-8").split("\n")[:-1] for name in ordered}


def _pair_of(row: dict, languages: Sequence[str]) -> dict | None:
    """`{language: text}`; None where a talk lacks one of the languages."""
    if "translations" in row:
        row = dict(zip(row["translations"]["language"], row["translations"]["translation"], strict=True))
    return {language: row[language] for language in languages} if all(map(row.get, languages)) else None


def _pair_files(root: Path, source: str, target: str) -> dict[str, Path]:
    pairs = (f"{source}-{target}", f"{target}-{source}")
    return {path.parents[1].name: path for pair in pairs for path in root.glob(f"parallel/*/{pair}/train.jsonl")}


def _texts(row: dict) -> list[str]:
    return [text for text in row.values() if text]


def _numbered(rows) -> Rows:
    return Rows.of([(f"row-{index}", row) for index, row in rows])


def _order(texts: dict) -> bytes:
    return hashlib.blake2b("\n".join(map(str, texts.values())).encode(), digest_size=16).digest()
