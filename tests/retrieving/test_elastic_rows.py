"""Elastic models of a retrieval run: their section of the profile, the whole way without steps, numbers, tables."""

import io
import json

import numpy as np
import pyarrow
import pytest
from rich.console import Console

from benchmarks.report.numbers import retrieval as numbers
from benchmarks.report.plots import retrieval as plots
from benchmarks.report.tables import retrieval_table as tables
from benchmarks.retrieving import profile, run
from benchmarks.running.progress import Progress
from cat_keras.errors import CatKerasError
from tests.analysis_rows import retrieval_rows
from tests.conftest import ANIMALS, NUMBERS

SHAPE = {"width": 16, "heads": 2, "feedforward": 16}
STILL = {"epochs": 0, "learning_rate": 1e-2, "batch_size": 8}
TINY = {
    "name": "tiny",
    "negatives": 2,
    "depth": 6,
    "rerank": 5,
    "rungs": ("alone",),
    "data": {"query_length": 16, "document_length": 24, "vocabulary_size": 320},
    "teacher": {"layers": 2, **SHAPE, "pretrain": STILL, "tune": STILL},
    "student": {"layers": 1, **SHAPE, "pretrain": STILL, "tune": STILL},
    "ranker": {"tune": STILL, "hard": 1},
    "elastic": {"sizes": {"tiny": {"layers": 1, "heads": 1, "feedforward": 8}, "half": {"layers": 1}}, "tune": STILL},
}


def section(**changes):
    return profile.Profile.model_validate(TINY | {"elastic": TINY["elastic"] | changes})


@pytest.fixture(scope="module")
def data(tmp_path_factory):
    """A data folder of six paragraphs and as many questions in each split."""
    folder = tmp_path_factory.mktemp("elastic")
    squad = folder / "squad" / "v1.1"
    squad.mkdir(parents=True)
    for split, first in (("train", 0), ("validation", 3)):
        rows = [{"context": f"The {ANIMALS[i]} of house {i} has {NUMBERS[i]} legs.", "question": f"{ANIMALS[i]} {i}?"}
                for i in range(first, first + 6)]  # fmt: skip
        (squad / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


def retrieved(chosen, data, out):
    """(standings, facts, rows, tables, what was shown) of a run."""
    shown = io.StringIO()
    with Progress(Console(file=shown)) as progress:
        folder, made = run.run(chosen, data, out, progress)
    table = pyarrow.parquet.read_table(folder / run.FILE)
    return numbers.standings(table, 50), numbers.facts(table), table.to_pandas(), made, shown.getvalue()


@pytest.mark.long
def test_the_whole_way_without_steps(data, tmp_path):
    """No training has a step, so the whole sizes are the teacher and its ranker; all else is as in a real run."""
    pytest.importorskip("faiss")
    pytest.importorskip("ir_measures")
    standings, facts, rows, made, shown = retrieved(section(), data, tmp_path)
    assert [table.title for table in made][2] == "Sizes of the elastic retriever and ranker"
    assert "denser 0: tune: no steps" in shown and "elastic ranker 0: tune: no steps" in shown
    assert standings["denser-whole", 0].measures == standings["teacher", 0].measures
    assert standings["ranker-whole", 5].measures == standings["teacher", 5].measures
    assert standings["ranker-whole", 5].flops == standings["teacher", 5].flops
    for kind, depth in (("denser", 0), ("ranker", 5)):
        flops = [standings[f"{kind}-{size}", depth].flops for size in ("tiny", "half", "whole")]
        parameters = [facts["parameters"][f"{kind}-{size}"] for size in ("tiny", "half", "whole")]
        assert flops == sorted(set(flops)) and parameters == sorted(set(parameters))
    plain = profile.Profile.model_validate({k: v for k, v in TINY.items() if k != "elastic"})
    without, facts_without, rows_without, made_without, shown = retrieved(plain, data, tmp_path)
    assert "tune" not in shown  # the cache has all that a run without elastic models needs
    assert "elastic" not in facts_without and "elastic" not in facts_without["profile"]
    assert made_without == made[:2] and set(without) < set(standings)
    labelled = rows[rows["model"].isin(facts["labels"])].reset_index(drop=True)
    assert labelled.equals(rows_without)


@pytest.mark.long
def test_both_are_trained_at_all_sizes(data, tmp_path):
    tune = STILL | {"epochs": 3}
    chosen = profile.Profile.model_validate(
        TINY | {"ranker": {"tune": tune, "hard": 1}, "elastic": TINY["elastic"] | {"tune": tune, "seeds": (0, 1)}}
    )
    standings, *_, shown = retrieved(chosen, data, tmp_path)
    assert standings["denser-half", 0].seeds == standings["ranker-tiny", 5].seeds == 2
    assert "elastic ranker 1: tune: loss" in shown
    assert standings["denser-whole", 0].measures != standings["teacher", 0].measures
    again = retrieved(chosen, data, tmp_path)
    assert "tune" not in again[-1]  # all of it is kept
    assert {key: one.measures for key, one in again[0].items()} == {key: one.measures for key, one in standings.items()}


def test_a_size_is_compared_with_the_whole_query_by_query():
    rng = np.random.default_rng(0)
    values = rng.random(40)
    rows = [
        {"model": model, "seed": 0, "reranked": reranked, "query": f"q{i}", "flops": 1.0}
        | dict.fromkeys(numbers.MEASURES, float(values[i] + plus))
        for model, reranked, plus in (("denser-half", 0, 0.0), ("denser-whole", 0, 0.25), ("ranker-half", 5, 0.5),
                                      ("ranker-whole", 5, 0.4))
        for i in range(40)
    ]  # fmt: skip
    facts = {"cat_keras": json.dumps({"before": {}, "elastic": {"sizes": ["half", "whole"], "reranked": 5}})}
    standings = numbers.standings(pyarrow.Table.from_pylist(rows).replace_schema_metadata(facts), 200)
    np.testing.assert_allclose(standings["denser-half", 0].difference, -0.25, atol=1e-6)
    np.testing.assert_allclose(standings["ranker-half", 5].difference, 0.1, atol=1e-6)
    assert standings["denser-whole", 0].difference is standings["ranker-whole", 5].difference is None
    assert standings["denser-half", 0].to_alone is None


def test_tables_and_figure_of_invented_rows():
    table, plain = retrieval_rows(elastic=True), retrieval_rows()
    standings, facts = numbers.standings(table, 50), numbers.facts(table)
    staircase, sizes = tables.tables(standings, facts)
    others = numbers.standings(plain, 50), numbers.facts(plain)
    assert tables.tables(*others) == [staircase]
    named = [row[0] for row in sizes.rows]
    assert named == ["retriever, half", "retriever, whole", "ranker, half", "ranker, whole", "teacher"]
    assert sizes.rows[1][3] == sizes.rows[3][3] == tables.NOTHING != sizes.rows[0][3]
    assert "means over 1 seed." in sizes.notes[0] and "first 5 documents" in sizes.notes[0]
    assert {record["model"] for record in tables.records(standings)} >= {"denser-half", "ranker-whole"}
    wide, narrow = plots.figure(standings, facts)["retrieval.svg"], plots.figure(*others)["retrieval.svg"]
    assert len(wide) > len(narrow)


@pytest.mark.parametrize(
    "changes, message",
    [
        ({"sizes": {}}, r"names the sizes beside 'whole', at least one\. Received: \[\]"),
        ({"sizes": {"whole": {"layers": 1}}}, "names the sizes beside 'whole'"),
        ({"sizes": {"narrow": {"width": 8}}}, "Extra inputs are not permitted"),
        ({"sizes": {"large": {"layers": 3}}}, "which has layers=2"),
        ({"sizes": {"a": {"layers": 1}, "b": {"heads": 1}}}, "The sizes of an elastic model are nested"),
        ({"seeds": (1, 1)}, "at least one seed, and each once"),
    ],
)
def test_bad_sections(changes, message):
    with pytest.raises(ValueError, match=message):
        section(**changes)


def test_a_size_with_the_name_of_a_student():
    with pytest.raises(CatKerasError, match="a size 'scores', whose ranker has the name of a student"):
        run.run(section(sizes={"scores": {"layers": 1}}), None, None, None)
