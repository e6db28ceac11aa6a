"""Tables of answers: which column is what, how a quality is written, and what ends in one clear error."""

import json

import pandas as pd
import pytest

from benchmarks.importing import roles, sources
from benchmarks.importing.tables import Reading
from cat_keras.errors import CatKerasError

LONG = "question_id,llm,is_correct,msp\nq1,A,TRUE,0.9\nq1,B,False,0.5\nq2,A,'True',1\nq2,B,0,0\n"


def read(tmp_path, text, reading=None, name="table.csv"):
    (tmp_path / name).write_text(text)
    return sources.read([tmp_path / name], reading or Reading())


def test_columns_are_guessed_and_shown(tmp_path):
    answers = read(tmp_path, LONG)
    assert answers.columns == ["table.csv: question_id → id, llm → model, is_correct → quality, msp → confidence"]
    assert answers.frame["quality"].tolist() == [1, 0, 1, 0]
    assert answers.frame["confidence"].tolist() == [0.9, 0.5, 1, 0]


def test_of_two_headers_with_one_meaning_the_likelier_is_taken_and_the_other_named():
    found = roles.guess(["chosen_token_confidence", "max_token_confidence", "id"])
    assert found == {"confidence": "max_token_confidence", "id": "id"}


def test_flags_name_columns(tmp_path):
    answers = read(tmp_path, LONG.replace("msp", "sure"), Reading(columns={"confidence": "sure", "run": "none"}))
    assert answers.frame["confidence"].tolist() == [0.9, 0.5, 1, 0]
    with pytest.raises(CatKerasError, match="names a column of the table"):
        read(tmp_path, LONG, Reading(columns={"confidence": "sure"}))
    with pytest.raises(CatKerasError, match="did you mean confidence"):
        read(tmp_path, LONG, Reading(columns={"confidense": "msp"}))


def test_wide_tables_have_a_column_per_model_and_role(tmp_path):
    answers = read(tmp_path, "id,small_correct,msp.small,large_correct\na,1,0.3,0\nb,0,0.2,1\n")
    frame = answers.frame.set_index(["model", "id"])
    assert frame.loc[("small", "a"), "quality"] == 1 and frame.loc[("small", "b"), "confidence"] == 0.2
    assert pd.isna(frame.loc[("large", "a"), "confidence"])


def test_bare_columns_of_zeros_and_ones_are_models(tmp_path):
    answers = read(tmp_path, "id,subject,m-1,m-2\na,x,1,0\nb,x,0,1\n")
    assert set(answers.frame["model"]) == {"m-1", "m-2"} and set(answers.frame["task"]) == {"x"}


def test_json_lines_and_parquet_say_the_same_as_csv(tmp_path):
    frame = pd.DataFrame({"id": ["007", "8"], "model": ["A", "A"], "correct": [True, False], "latency_ms": [500, 250]})
    frame.to_parquet(tmp_path / "t.parquet")
    frame.to_json(tmp_path / "t.jsonl", orient="records", lines=True)
    frame.to_csv(tmp_path / "t.csv", index=False)
    for name in ("t.parquet", "t.jsonl", "t.csv"):
        found = sources.read([tmp_path / name], Reading()).frame
        assert found["id"].tolist() == ["007", "8"] and found["quality"].tolist() == [1, 0]
        assert found["seconds"].tolist() == [0.5, 0.25]


def test_a_file_without_models_is_of_the_one_it_is_called_after_or_named(tmp_path):
    (tmp_path / "gpt.csv").write_text("id,correct\na,1\n")
    assert sources.read([tmp_path / "gpt.csv"], Reading()).frame["model"].tolist() == ["gpt"]
    assert sources.read([f"own={tmp_path / 'gpt.csv'}"], Reading()).frame["model"].tolist() == ["own"]


@pytest.mark.parametrize(
    ("cell", "header", "remedy"),
    [
        ("87", "msp", "--scale confidence=100"),
        ("-0.3", "msp", "--column logprob"),
        ("0.5", "logprob", "at most 0 nats"),
        ("maybe", "is_correct", "true or false"),
        ("-1", "cost_usd", "at least 0"),
        ("much", "msp", "is a number"),
    ],
)
def test_cells_out_of_range_end_in_an_error_with_a_remedy(tmp_path, cell, header, remedy):
    row = {"id": "a", "model": "A", "correct": "1"} | {header: cell}
    row = {"correct" if header == "is_correct" and key == "correct" else key: value for key, value in row.items()}
    if header == "is_correct":
        del row["correct"]
    with pytest.raises(CatKerasError, match=remedy):
        read(tmp_path, ",".join(row) + "\n" + ",".join(row.values()) + "\n")


def test_scales_and_clips(tmp_path):
    text = "id,model,score,conf\na,A,-0.1,87\nb,A,1,99\n"
    answers = read(tmp_path, text, Reading(scales={"confidence": 100}, clip=("quality",)))
    assert answers.frame["quality"].tolist() == [0, 1] and answers.frame["confidence"].tolist() == [0.87, 0.99]
    assert answers.notes == ["1 of 2 numbers of score lay outside [0, 1] and were clipped."]


def test_currencies_do_not_mix(tmp_path):
    (tmp_path / "a.csv").write_text("id,correct,cost_usd\nx,1,1\n")
    (tmp_path / "b.csv").write_text("id,correct,cost_eur\nx,1,1\n")
    with pytest.raises(CatKerasError, match="EUR, USD"):
        sources.read([tmp_path / "a.csv", tmp_path / "b.csv"], Reading())


@pytest.mark.parametrize("text", ["model,correct\nA,1\n", "id,model\na,A\n"])
def test_what_a_table_needs_is_said(tmp_path, text):
    with pytest.raises(CatKerasError, match=r"Name it: --column (id|quality)="):
        read(tmp_path, text)


def test_pickles_are_refused_under_any_name(tmp_path):
    (tmp_path / "a.pkl").write_bytes(b"x")
    (tmp_path / "b.csv").write_bytes(b"\x80\x04\x95")
    for name in ("a.pkl", "b.csv"):
        with pytest.raises(CatKerasError, match="A pickle can run code"):
            sources.read([tmp_path / name], Reading())


@pytest.mark.parametrize(
    ("name", "content"), [("t.parquet", b"PAR1"), ("t.jsonl", b"[1]\n"), ("t.csv", b"\xff\xfe,x\n")]
)
def test_what_is_no_table_is_said(tmp_path, name, content):
    (tmp_path / name).write_bytes(content)
    with pytest.raises(CatKerasError, match="reads CSV, JSON lines or Parquet"):
        sources.read([tmp_path / name], Reading())


def test_a_list_of_records_in_json_is_a_table(tmp_path):
    (tmp_path / "t.json").write_text(json.dumps([{"id": 1, "model": "A", "score": 0.5}]))
    assert sources.read([tmp_path / "t.json"], Reading()).frame["quality"].tolist() == [0.5]
