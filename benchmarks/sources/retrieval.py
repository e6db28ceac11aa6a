"""Collections for retrieval: SQuAD's questions and paragraphs from a data folder, and those of ir_datasets."""

from collections.abc import Mapping
from pathlib import Path

from benchmarks.sources import folder
from cat_keras.errors import CatKerasError, unknown_name
from cat_keras.retrieval import Collection

SQUAD = "squad"
# Names of ir_datasets that papers on retrieval report: (to train on, to test on). Others can be named as well.
USUAL = {
    "msmarco": ("msmarco-passage/train/judged", "msmarco-passage/dev/small"),
    "natural-questions": ("dpr-w100/natural-questions/train", "dpr-w100/natural-questions/dev"),
    "trivia-qa": ("dpr-w100/trivia-qa/train", "dpr-w100/trivia-qa/dev"),
}


def squad(data: Path | None) -> dict[str, Collection]:
    """The questions of both splits of SQuAD 1.1, each relevant to its paragraph; the corpus are the paragraphs of both.

    Returns:
        {"train": …, "test": …} of one corpus; "test" are the questions of the validation split.

    Raises:
        CatKerasError: no such folder, or rows without a question or a paragraph.
    """
    if data is None:
        raise CatKerasError(f"SQuAD is read from a data folder. Received: none. Pass --data DIR: {folder.LAYOUT}")
    root = folder.data_folder(data)
    rows = {
        split: [row for _, row in folder.read_jsonl(folder.split_file(root / "squad" / "v1.1", split, root))]
        for split in ("train", "validation")
    }
    try:
        paragraphs = dict.fromkeys(row["context"] for split in rows.values() for row in split)
        name = {text: f"p{i}" for i, text in enumerate(paragraphs)}
        documents = {name[text]: text for text in paragraphs}
        return {
            part: Collection(
                documents,
                {f"{split}-{i}": row["question"] for i, row in enumerate(rows[split])},
                {f"{split}-{i}": (name[row["context"]],) for i, row in enumerate(rows[split])},
            )
            for part, split in (("train", "train"), ("test", "validation"))
        }
    except (KeyError, TypeError) as error:
        raise CatKerasError(
            f"Each row of SQuAD has a question and a context. Received: one without {error}. Restore the data folder"
        ) from error


def of_ir_datasets(name: str, documents: int = 0, queries: Mapping[str, int] | None = None,
                   train_name: str = "") -> dict[str, Collection]:  # fmt: skip
    """Two collections of ir_datasets over one corpus; ir_datasets downloads what it does not have.

    Queries without a relevant document are left out. Of a corpus that is cut, the relevant documents come first.

    Args:
        name: of the data set to test on, or a key of `USUAL`. train_name: of the one to train on.
        documents: at most so many. queries: part → at most so many. 0 for all.

    Raises:
        CatKerasError: ir_datasets is not installed or does not know the name, or a document has no text.
    """
    try:
        import ir_datasets
    except ImportError as error:
        raise CatKerasError(
            f"This collection is read by ir_datasets. Received: {error}. pip install 'cat-keras[retrieval]'"
        ) from None
    usual_train, test = USUAL.get(name, (train_name, name))
    train = train_name or usual_train
    if not train:
        raise CatKerasError(
            f"A collection of ir_datasets has one to train on. Received: none beside {name}. Give data.train_collection"
        )
    try:
        sets = {"train": ir_datasets.load(train), "test": ir_datasets.load(test)}
    except KeyError as error:
        raise unknown_name(
            "data set of ir_datasets", str(error.args[0]), [*USUAL, *map(str, ir_datasets.registry)]
        ) from error
    return collections(sets, documents, queries)


def collections(sets: dict, documents: int = 0, queries: Mapping[str, int] | None = None) -> dict[str, Collection]:
    """Collections over one corpus from data sets with the methods of ir_datasets.

    Args:
        sets: part → a data set with `docs_iter`, `queries_iter` and `qrels_iter`. documents, queries: see above.
    """
    relevant = {part: _relevant(source) for part, source in sets.items()}
    texts = {}
    for part, source in sets.items():
        named = ((query.query_id, query.default_text()) for query in source.queries_iter())
        kept = [(name, text) for name, text in named if name in relevant[part]]
        texts[part] = dict(kept[: (queries or {}).get(part) or None])
    needed = {document for part, own in texts.items() for query in own for document in relevant[part][query]}
    room = max(documents - len(needed), 0) if documents else None
    corpus, source = {}, next(iter(sets.values()))
    for document in source.docs_iter():
        if document.doc_id in needed:
            corpus[document.doc_id] = document.default_text()
        elif room is None or room > 0:
            corpus[document.doc_id] = document.default_text()
            room = room if room is None else room - 1
        if room == 0 and len(corpus) >= max(documents, len(needed)):
            break
    return {part: Collection(corpus, own, {q: relevant[part][q] for q in own}) for part, own in texts.items()}


def _relevant(source) -> dict[str, tuple[str, ...]]:
    """Query → its relevant documents, those of the highest grade first."""
    graded: dict[str, list[tuple[int, str]]] = {}
    for judgement in source.qrels_iter():
        if judgement.relevance > 0:
            graded.setdefault(judgement.query_id, []).append((judgement.relevance, judgement.doc_id))
    return {
        query: tuple(name for _, name in sorted(found, key=lambda entry: -entry[0])) for query, found in graded.items()
    }
