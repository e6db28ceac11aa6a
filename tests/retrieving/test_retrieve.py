"""The command the whole way on an invented SQuAD, collections of ir_datasets, and the numbers by hand."""

import io
import json
import subprocess
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pyarrow
import pytest
from rich.console import Console

from benchmarks.report.numbers import retrieval as numbers
from benchmarks.retrieving import columns, profile, run
from benchmarks.running.progress import Progress
from benchmarks.sources import retrieval as sources
from cat_keras.errors import CatKerasError
from tests import commands
from tests.conftest import ANIMALS, NUMBERS

TINY = """
seeds = [0, 1]
negatives = 2
depth = 12
rerank = 2
[data]
collection = "squad"
query_length = 16
document_length = 24
vocabulary_size = 320
[teacher]
layers = 1
width = 32
heads = 2
feedforward = 32
pretrain = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
tune = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
[student]
layers = 1
width = 16
heads = 1
feedforward = 16
pretrain = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
tune = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
[ranker]
tune = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
hard = 1
[generator]
layers = 1
width = 16
heads = 1
feedforward = 16
tune = {epochs = 1, learning_rate = 1e-2, batch_size = 8}
per_document = 1
max_new_tokens = 4
"""


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A data folder of twelve paragraphs and twice as many questions, and the profile."""
    folder = tmp_path_factory.mktemp("retrieval")
    squad = folder / "data" / "squad" / "v1.1"
    squad.mkdir(parents=True)
    for split, first in (("train", 0), ("validation", 6)):
        rows = [
            {"context": f"The {ANIMALS[i % 10]} of house {i} has {NUMBERS[i % 10]} legs.", "question": question}
            for i in range(first, first + 6)
            for question in (f"Legs of the {ANIMALS[i % 10]} {i}?", f"Who has {NUMBERS[i % 10]} legs at {i}?")
        ]
        (squad / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    (folder / "tiny.toml").write_text(TINY)
    return folder


def retrieve(place: Path, *more: str) -> subprocess.CompletedProcess:
    words = ["retrieve", "tiny.toml", "--data", "data", *more]
    return commands.call("benchmarks", *words, cwd=place)


@pytest.mark.long
def test_the_whole_staircase(place):
    pytest.importorskip("faiss")
    done = retrieve(place)
    assert done.returncode == 0, done.stdout + done.stderr
    _check_folder(place / "runs" / "tiny", 7)
    again = retrieve(place)
    assert "teacher: tune" not in again.stdout  # all of it is kept


@pytest.mark.slow
def test_one_step_of_the_staircase(place):
    """From the texts to the folder in this process. No training has a step; the whole with training is long."""
    pytest.importorskip("faiss")
    pytest.importorskip("ir_measures")
    still = ("teacher.pretrain", "teacher.tune", "student.pretrain", "student.tune", "ranker.tune")
    changes = {f"{training}.epochs": 0 for training in still} | {"rungs": ["matching"], "seeds": [0]}
    shown = io.StringIO()
    with Progress(Console(file=shown)) as progress:
        folder, tables = run.run(
            profile.read(str(place / "tiny.toml"), changes), place / "data", place / "short", progress
        )
    _check_folder(folder, 1)
    assert "+ query matching: no steps" in shown.getvalue() and len(tables) == 2
    with pytest.raises(CatKerasError, match="did you mean matching"):
        run.run(profile.read(str(place / "tiny.toml"), {"rungs": ["matchng"]}), None, place / "short", None)


def _check_folder(folder: Path, students: int):
    table = pyarrow.parquet.read_table(folder / "retrieval.parquet")
    standings = numbers.standings(table, 50)
    assert len([model for model, depth in standings if not depth]) == students + 1
    assert standings["teacher", 2].flops > standings["teacher", 0].flops
    assert standings["matching", 0].flops < standings["teacher", 0].flops
    frame = table.to_pandas()
    assert frame.groupby(["model", "seed", "reranked"]).size().eq(12).all()
    assert (
        (folder / "table.md").read_text().startswith("## Students of 12 training queries, on 12 others; 12 documents")
    )
    assert (folder / "retrieval.csv").exists() and (folder / "retrieval.svg").exists()


def test_intervals_are_paired_over_queries():
    rng = np.random.default_rng(0)
    values = rng.random(40)
    rows = [
        {"model": model, "seed": seed, "reranked": 0, "query": f"q{i}", "flops": 1.0}
        | dict.fromkeys(numbers.MEASURES, float(values[i] + plus + 0.1 * seed))
        for model, plus in (("alone", 0.0), ("scores", 0.25))
        for seed in (0, 1)
        for i in range(40)
    ]
    facts = {"cat_keras": json.dumps({"before": {"scores": "alone"}})}
    standings = numbers.standings(pyarrow.Table.from_pylist(rows).replace_schema_metadata(facts), 200)
    better = standings["scores", 0]
    assert better.measures["RR@10"].estimate == pytest.approx(values.mean() + 0.25 + 0.05)
    # Every query gains the same, so the paired difference has no spread although the means have.
    np.testing.assert_allclose(better.difference, 0.25, atol=1e-6)
    assert better.measures["RR@10"].high - better.measures["RR@10"].low > 0.05
    assert better.spread == pytest.approx(0.1 / 2**0.5)
    assert standings["alone", 0].difference is None


def test_squad_as_a_collection(place):
    collections = sources.squad(place / "data")
    assert len(collections["train"].documents) == 12 and len(collections["test"].queries) == 12
    assert collections["train"].documents == collections["test"].documents
    assert collections["test"].positives.tolist() == [i for i in range(6, 12) for _ in range(2)]
    cut = columns.read(profile.Data(documents=8, train=4, test=3), place / "data")
    assert len(cut["train"].documents) == 8 and len(cut["test"].queries) == 3
    with pytest.raises(CatKerasError, match="Pass --data DIR"):
        sources.squad(None)
    with pytest.raises(CatKerasError, match="every relevant document, here 4"):
        columns.read(profile.Data(documents=3, train=4, test=3), place / "data")


def test_ir_datasets_as_collections(tmp_path):
    """Data sets that ir_datasets reads from files of ours, in place of those that it downloads."""
    ir_datasets = pytest.importorskip("ir_datasets")
    (tmp_path / "docs.tsv").write_text("d1\tHerons fish.\nd2\tOtters swim.\nd3\tBadgers dig.\nd4\tStoats run.\n")
    (tmp_path / "queries.tsv").write_text("q1\tWho fishes?\nq2\tWho digs?\nq3\tWho sings?\n")
    (tmp_path / "qrels").write_text("q1 0 d1 1\nq1 0 d2 2\nq2 0 d3 1\nq3 0 d4 0\n")
    made = ir_datasets.create_dataset(docs_tsv=tmp_path / "docs.tsv", queries_tsv=tmp_path / "queries.tsv",
                                      qrels_trec=tmp_path / "qrels")  # fmt: skip
    found = sources.collections({"train": made, "test": made}, documents=3)["test"]
    assert list(found.queries) == ["q1", "q2"]  # the third has no relevant document
    assert found.relevant["q1"] == ("d2", "d1") and list(found.documents) == ["d1", "d2", "d3"]
    everything = sources.collections({"train": made, "test": made}, queries={"test": 1})["test"]
    assert len(everything.documents) == 4 and list(everything.queries) == ["q1"]
    for train, test in sources.USUAL.values():  # known by name; nothing is downloaded for that
        assert ir_datasets.load(train).has_qrels() and ir_datasets.load(test).has_docs()
    with pytest.raises(CatKerasError, match="Unknown data set of ir_datasets"):
        sources.of_ir_datasets("msmarco-pasage/dev", train_name="msmarco-passage/train")
    with pytest.raises(CatKerasError, match="one to train on"):
        sources.of_ir_datasets("msmarco-passage/dev/small")


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"student.width": 17, "student.heads": 2}, "student: width is a multiple of heads"),
        ({"hard": 3}, "at most the 2 hard negatives"),
        ({"seeds": [0, 0]}, "at least one seed, and each once"),
        ({"student.witdh": 3}, r"Unknown profile key 'student\.witdh'; did you mean student\.width"),
        ({"student.tune.epochs": -1}, r"student\.tune\.epochs"),
    ],
)
def test_bad_profiles(place, changes, message):
    with pytest.raises(CatKerasError, match=message):
        profile.read(str(place / "tiny.toml"), changes)


def test_a_profile_that_is_not_there():
    with pytest.raises(CatKerasError, match="Unknown retrieval profile 'sqaud'; did you mean squad"):
        profile.read("sqaud")


def test_no_documents_and_no_texts():
    empty = SimpleNamespace(docs_iter=list, queries_iter=list, qrels_iter=list)
    with pytest.raises(CatKerasError, match=r"at least one document\. Received: none"):
        sources.collections({"train": empty, "test": empty})
