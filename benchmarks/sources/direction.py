"""The source of one direction of WMT22: its test set, and training pairs collected from whatever corpora there are.

In a data folder the test set is wmt22/<src>-<tgt>/test.jsonl, with further references row by row in
test_other_refs.jsonl. Training pairs are in parallel/<corpus>/<pair>/train.jsonl, one file for both directions of a
pair. For a download, sacrebleu has the test set, and the corpora are those of TFDS in `CORPORA_OF_TFDS`.
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

# Where two corpora share a sentence, the earlier one keeps it. Corpora not named here follow in alphabetical order.
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
# No more rows than this are read of a corpus, since some have tens of millions. TFDS stores them in shuffled order.
ROWS_OF_TFDS = 250_000


class Place(Protocol):
    """Where a direction is read: a data folder, or a download."""

    def test(self, source: str, target: str, part: str) -> tuple[list[tuple[int, dict]], list[dict] | None, str]:
        """Numbered rows of the test set; further references row by row, or None; where they are, for messages."""

    def corpora(self, source: str, target: str) -> list[tuple[str, str, Iterator[tuple[int, dict]]]]:
        """Per corpus: its name; where it is, for messages; its numbered rows."""

    def state(self, source: str, target: str) -> tuple:
        """Hashable values that differ when the corpora differ."""


@dataclass(frozen=True)
class Direction:
    """Parts `test` (with every reference) and `pairs` (the training pairs of all corpora, mixed) of one direction.

    Every sentence occurs in one training pair only, so no slice of `pairs` shares a sentence with another. Pairs are
    ordered by a hash of their content. So any slice is a fair sample of the corpora, both directions of a pair of
    languages hold out the same pairs, and a pair that is added or removed moves no other one by more than one place.

    Attributes:
        source, target: language codes. other_references: whether there are human references besides the first one.
    """

    source: str
    target: str
    other_references: bool = False

    def open(self, part: str, data: str | Path | None, place: str = "local") -> Rows:
        """The rows of a part; see `Dataset.open`."""
        reader = _reader(place, data)
        return self._pairs(reader) if part == "pairs" else self._test(reader, part)

    def rows(self, part: str, data: str | Path | None) -> Iterator[tuple[str, dict]]:
        return iter(self.open(part, data))

    def complete(self, row: dict) -> dict:
        """Adds to a row the references that the tasks read."""
        return row | {"references": [row.get(self.target)]}

    def origin(self, part: str) -> dict:
        """Says what the files of a part hold; both directions of a pair of languages share their training pairs."""
        return {"pairs": "-".join(self._languages)} if part == "pairs" else {**self.identity(), "part": part}

    def export(self, part: str, data: str | Path | None, place: str) -> Iterator[tuple[str, Rows]]:
        """The part as files of the local layout; yields (path in the data folder, rows)."""
        reader = _reader(place, data)
        if part == "pairs":
            for corpus, _, rows in reader.corpora(self.source, self.target):
                yield f"parallel/{corpus}/{'-'.join(self._languages)}/train.jsonl", _numbered(rows)
            return
        rows, other_rows, _ = reader.test(self.source, self.target, part)
        folder = f"wmt22/{self.source}-{self.target}"
        yield f"{folder}/{part}.jsonl", _numbered(rows)
        if other_rows:
            yield f"{folder}/{part}_other_refs.jsonl", _numbered(enumerate(other_rows))

    def files(self, part: str, root: Path) -> list[Path]:
        """The files of a data folder that hold the part, none if it is absent; reads nothing."""
        if part == "pairs":
            return list(_pair_files(root, self.source, self.target).values())
        path = root / "wmt22" / f"{self.source}-{self.target}" / f"{part}.jsonl"
        return [path] if path.is_file() else []

    def row_per_line(self, part: str) -> bool:
        """Whether every line of the files of a part is one of its rows; repeated sentences among the pairs are not."""
        return part != "pairs"

    def identity(self) -> dict:
        return {"wmt22": f"{self.source}-{self.target}", "other_references": self.other_references}

    @property
    def _languages(self) -> list[str]:
        return sorted((self.source, self.target))

    def _test(self, place: Place, part: str) -> Rows:
        rows, other_rows, where = place.test(self.source, self.target, part)
        if other_rows is not None and self.other_references and len(other_rows) != len(rows):
            raise CatKerasError(
                f"The further references of {where} stand row by row in {part}_other_refs.jsonl; received {len(rows)} "
                f"and {len(other_rows)} rows. Restore the two files together"
            )
        if other_rows is None or not self.other_references:
            other_rows = [{}] * len(rows)
        pairs = [
            (f"{part}-{index}", row | {"references": [row.get(self.target), *filter(None, other.values())]})
            for (index, row), other in zip(rows, other_rows, strict=True)
        ]
        return Rows.of(pairs, lambda id: f"{where}:{int(id.rpartition('-')[2]) + 1}")

    def _pairs(self, place: Place) -> Rows:
        pairs, corpus_places = _distinct_pairs(place, *self._languages, place.state(self.source, self.target))

        def where_is(id: str) -> str:
            return f"{corpus_places[id.partition('/')[0]]}:{int(id.rpartition('-')[2]) + 1}"

        return Rows(len(pairs), lambda indices: [(pairs[i][1], self.complete(pairs[i][2])) for i in indices], where_is)


def _reader(place: str, data: str | Path | None) -> Place:
    return Download(data) if place == "tfds" else Folder(data_folder(data))


# The last result is kept for the other direction of the pair, which a run reads next.
@functools.lru_cache(maxsize=1)
def _distinct_pairs(place: Place, first: str, second: str, state: tuple) -> tuple[list[tuple[bytes, str, dict]], dict]:
    """(hash, id, row) of every pair in the order of the hashes, each sentence in one pair only; corpus → its place.

    Args:
        first, second: the languages in alphabetical order. state: that of the place, so that changed corpora are read
            again.
    """
    sentences: dict[str, set] = {first: set(), second: set()}
    pairs, corpus_places = [], {}
    for corpus, where, rows in place.corpora(first, second):
        corpus_places[corpus] = where
        for index, row in rows:
            texts = {language: row.get(language) for language in sentences}
            # A row with a missing text stays in, because the task that renders it will name the missing field.
            if any(isinstance(text, str) and text in sentences[language] for language, text in texts.items()):
                continue
            for language, text in texts.items():
                sentences[language].add(str(text))
            content = "\n".join(map(str, texts.values())).encode()
            pairs.append((hashlib.blake2b(content, digest_size=16).digest(), f"{corpus}/train-{index}", row))
    pairs.sort(key=lambda pair: pair[:2])
    return pairs, corpus_places


@dataclass(frozen=True)
class Folder:
    """A local data folder."""

    root: Path

    def test(self, source: str, target: str, part: str):
        folder = self.root / "wmt22" / f"{source}-{target}"
        path = split_file(folder, part, self.root)
        # A folder may hold the first reference only. The signature of BLEU then says how many references there were.
        others_path = folder / f"{part}_other_refs.jsonl"
        other_rows = None
        if others_path.is_file():
            other_rows = [row for _, row in read_jsonl(split_file(folder, others_path.stem, self.root))]
        return list(read_jsonl(path)), other_rows, str(path)

    def corpora(self, source: str, target: str):
        files = self._files(source, target)
        ordered = [name for name in CORPORA if name in files] + sorted(set(files) - set(CORPORA))
        paths = {name: split_file(files[name].parent, "train", self.root) for name in ordered}
        return [(name, str(path), read_jsonl(path)) for name, path in paths.items()]

    def state(self, source: str, target: str) -> tuple:
        stats = ((path, path.stat()) for path in sorted(self._files(source, target).values()))
        return tuple((str(path), stat.st_mtime_ns, stat.st_size) for path, stat in stats)

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
        other_rows = [{name.removeprefix("ref:"): fields[name][i] for name in others} for i in range(len(rows))]
        return list(enumerate(rows)), other_rows if others else None, f"sacrebleu wmt22 {source}-{target}"

    def corpora(self, source: str, target: str):
        pair = tuple(sorted((source, target)))
        name, version = self.state(source, target)
        rows = tfds.rows(name, version, "train", self.data)
        numbered = enumerate(row for _, row in rows.read(range(min(rows.count, ROWS_OF_TFDS))))
        pairs = ((index, _pair_of(row, pair)) for index, row in numbered)
        return [(name.partition("/")[0], f"{name} train", ((index, texts) for index, texts in pairs if texts))]

    def state(self, source: str, target: str) -> tuple[str, str]:
        pair = tuple(sorted((source, target)))
        if pair not in CORPORA_OF_TFDS:
            raise CatKerasError(
                f"TensorFlow Datasets has no training pairs for {source}-{target}. Pass --source local --data DIR with "
                f"pairs in DIR/parallel/<corpus>/{source}-{target}/train.jsonl, one {{language: text}} object per line"
            )
        return CORPORA_OF_TFDS[pair]


def _sacrebleu_fields(pair: str) -> dict[str, list[str]]:
    """Lines by field (`src`, `ref:A`, …, `docid`); the reference that sacrebleu scores with comes before the others."""
    from sacrebleu.dataset import DATASETS

    test_set = DATASETS["wmt22"]
    try:
        paths = dict(zip(test_set.fieldnames(pair), test_set.get_files(pair), strict=True))
        scored_by = set(test_set.get_reference_files(pair))
    except Exception as error:  # a download can fail in any way
        raise CatKerasError(
            f"sacrebleu could not download the WMT22 test set {pair} ({error}). It needs the network; without one, "
            f"pass --source local --data DIR with DIR/wmt22/{pair}/test.jsonl"
        ) from error
    human = {name: path for name, path in paths.items() if name in ("src", "docid") or name.startswith("ref")}
    ordered = sorted(human, key=lambda name: (human[name] not in scored_by, name))
    return {name: Path(human[name]).read_text(encoding="utf-8").split("\n")[:-1] for name in ordered}


def _pair_of(row: dict, languages: Sequence[str]) -> dict | None:
    """`{language: text}` of a row of TFDS; None where a TED talk lacks one of the languages."""
    if "translations" in row:
        row = dict(zip(row["translations"]["language"], row["translations"]["translation"], strict=True))
    return {language: row[language] for language in languages} if all(map(row.get, languages)) else None


def _pair_files(root: Path, source: str, target: str) -> dict[str, Path]:
    """Corpus → its file of training pairs, which either order of the languages may name."""
    pairs = (f"{source}-{target}", f"{target}-{source}")
    return {path.parents[1].name: path for pair in pairs for path in root.glob(f"parallel/*/{pair}/train.jsonl")}


def _numbered(rows) -> Rows:
    return Rows.of([(f"row-{index}", row) for index, row in rows])
