"""A retrieval run from top to bottom: texts, models, rankings, reranking, and the folder that shows them."""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pyarrow

from benchmarks.planning.ladder import WHOLE
from benchmarks.report.numbers import retrieval as numbers
from benchmarks.report.plots import retrieval as plots
from benchmarks.report.reading import analysis
from benchmarks.report.tables import render
from benchmarks.report.tables import retrieval_table as tables
from benchmarks.retrieving import columns, elastic, judging
from benchmarks.retrieving.models import RUNGS, TEACHER, VERSION, Workshop, rungs
from benchmarks.retrieving.profile import Profile
from cat_keras import retrieval
from cat_keras.storage import store
from cat_keras.training import distribution

FILE = "retrieval.parquet"


def run(profile: Profile, data: Path | None, out: Path, progress) -> tuple[Path, list[render.Table]]:
    """Trains, ranks and reports one profile; what is in the cache already is used again.

    Args:
        data: the data folder. out: where runs and their cache lie. progress: as `running.progress.Progress`.

    Returns:
        the folder of the run, and its tables.
    """
    names = rungs(profile)  # an unknown one is said before anything is read
    distribution.make_deterministic(0)  # or sums of gradients have another order in every call
    collections = columns.read(profile.data, data)
    kept = store.Store(out / "cache", report=lambda line: None)
    shop = Workshop(
        profile, columns.tokens(collections, profile.data, _tokenizer(kept, collections, profile)), kept, progress
    )
    entries = judging.entries(shop, names)
    ranked = [judging.ranked(shop, *entry) for entry in entries]
    read_again = [one for one in ranked if one.model in _reranked(names)]
    rows, facts = _rows(shop, ranked) + _reranked_rows(shop, read_again), _facts(shop, ranked, names)
    if profile.elastic:
        add_sizes(shop, rows, facts)
    table = analysis.described(pyarrow.Table.from_pylist(rows), facts)
    folder = out / profile.name
    return folder, write(folder, table)


def write(folder: Path, table: pyarrow.Table) -> list[render.Table]:
    """Writes the numbers, tables and figures of the rows of a run, and returns the tables."""
    standings, facts = numbers.standings(table), numbers.facts(table)
    contents = {FILE: analysis.to_parquet(table), **plots.figure(standings, facts), **tables.files(standings, facts)}
    store.write_together(folder, contents, {"kind": "retrieval", **facts})
    return tables.tables(standings, facts)


def _tokenizer(kept: store.Store, collections, profile: Profile) -> bytes:
    texts = [collections[part].fingerprint for part in ("train", "test")]
    key = store.identity(stage="tokenizer", version=VERSION, texts=texts, pieces=profile.data.vocabulary_size)

    def build(folder):
        (folder / "tokenizer.spm").write_bytes(columns.train_tokenizer(collections, profile.data))

    return (kept.get("retrieval", key, build) / "tokenizer.spm").read_bytes()


def _reranked(names: Sequence[str]) -> tuple[str, ...]:
    """Retrievers whose rankings the ranker reads: the teacher, the student alone and the last bi-encoder's student."""
    taught = [name for name in names if RUNGS[name].scores != "ranker"]
    return (TEACHER, *dict.fromkeys([*names[:1], *taught[-1:]]))


def _rows(shop: Workshop, ranked: Sequence[judging.Ranked]) -> list[dict]:
    """One row per retriever and test query."""
    return [row for one in ranked for row in _judged(shop, one, one.rows, 0, one.flops)]


def _reranked_rows(shop: Workshop, ranked: Sequence[judging.Ranked]) -> list[dict]:
    """One row per retriever, number of documents reranked, and test query."""
    rows = []
    entry = shop.ranker()
    read = judging.ranker_scores(shop, ranked, shop.loaded(entry), {"ranker": entry.name})
    for one, (scores, flops) in zip(ranked, read, strict=True):
        for depth in (d for d in judging.DEPTHS if d <= scores.shape[1]):
            price = one.flops + flops[:, :depth].sum(axis=1)
            rows += _judged(shop, one, retrieval.rerank(scores, one.rows, depth), depth, price)
    return rows


def add_sizes(shop: Workshop, rows: list[dict], facts: dict):
    """Adds the elastic models: a row per size and test query, of the bi-encoder and of the ranker behind the whole."""
    retrieved = elastic.retrieved(shop)
    read = elastic.reread(shop, retrieved)
    rows += _rows(shop, retrieved)
    for one, scores, flops in read:
        depth = scores.shape[1]
        rows += _judged(shop, one, retrieval.rerank(scores, one.rows, depth), depth, one.flops + flops.sum(axis=1))
    facts["elastic"] = {"sizes": [*shop.profile.elastic.sizes, WHOLE], "reranked": read[0][1].shape[1]}
    facts["parameters"] |= {one.model: int(one.parameters) for one in [*retrieved, *(one for one, *_ in read)]}


def _judged(shop: Workshop, one: judging.Ranked, rankings: np.ndarray, depth: int, flops: np.ndarray) -> list[dict]:
    collection = shop.tokens.collections["test"]
    values = retrieval.per_query(collection, rankings, numbers.MEASURES)
    return [
        {"model": one.model, "seed": one.seed, "reranked": depth, "query": query, "flops": float(flops[i])}
        | {name: float(column[i]) for name, column in values.items()}
        for i, query in enumerate(collection.queries)
    ]


def _facts(shop: Workshop, ranked: Sequence[judging.Ranked], names: Sequence[str]) -> dict:
    before = {"scores": "alone", "frozen": "scores", "matching": "frozen", "generated": "matching",
              "ranker-scores": "alone", "ranker-matching": "ranker-scores"}  # fmt: skip
    return {
        "profile": shop.profile.model_dump(mode="json"),
        "labels": {TEACHER: "teacher"} | {name: RUNGS[name].label for name in names},
        "before": {name: other for name, other in before.items() if name in names and other in names},
        "parameters": {one.model: int(one.parameters) for one in ranked},
        "documents": len(shop.tokens.documents),
        "queries": {"train": len(shop.tokens.train), "test": len(shop.tokens.test)},
    }
