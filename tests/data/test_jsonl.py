"""Files of examples: what editors and other programs write is read, and what is wrong is named by file and line."""

import json

import pytest

import cat_keras as ck
from benchmarks import sources

ROW = {"id": "0", "prompt": "Name it.\n", "target": "blue"}


def written(tmp_path, content: bytes):
    path = tmp_path / "rows.jsonl"
    path.write_bytes(content)
    return path


def test_all_fields(tmp_path):
    row = ROW | {"task": "t", "options": ["blue", "red"], "references": ["blue", "Blue"], "group": "colours"}
    assert list(ck.read_jsonl(written(tmp_path, json.dumps(row).encode()))) == [ck.Example(**row)]


@pytest.mark.parametrize("mark", [b"", b"\xef\xbb\xbf"])
@pytest.mark.parametrize("end", [b"", b"\n", b"\n\n", b"\r\n \r\n"])
def test_marks_blank_lines_and_line_separators(tmp_path, mark, end):
    """A byte order mark, blank lines and line separators inside a text neither end a line nor make one."""
    first, second = ROW | {"prompt": "one\u2028two\x85three\n"}, ROW | {"id": "1"}
    lines = [json.dumps(row, ensure_ascii=False).encode() for row in (first, second)]
    path = written(tmp_path, mark + b"\n" + lines[0] + b"\n\n" + lines[1] + end)
    assert list(ck.read_jsonl(path)) == [ck.Example(**first), ck.Example(**second)]
    assert [index for index, _ in sources.read_jsonl(path)] == [1, 3]  # a data folder is read in the same way


def test_a_mark_alone_is_an_empty_file(tmp_path):
    assert list(ck.read_jsonl(written(tmp_path, b"\xef\xbb\xbf"))) == []


@pytest.mark.parametrize(
    ("second", "message"),
    [
        (b"{", "not a line of JSON"),
        (b"[1]", "a row is a JSON object; received list"),
        (b'"\xff"', "not a line of JSON"),
        (json.dumps({"id": "1", "prompt": "p"}).encode(), "Received: no target"),
        (json.dumps(ROW | {"targets": "blue"}).encode(), "'targets'; did you mean target"),
        (json.dumps(ROW | {"id": 1}).encode(), "fields of an example are texts"),
        (json.dumps(ROW | {"options": "blue"}).encode(), "options of an example is a list"),
        (json.dumps(ROW | {"references": {"blue": 1}}).encode(), "references of an example is a list"),
    ],
)
def test_a_bad_row_is_named_by_file_and_line(tmp_path, second, message):
    path = written(tmp_path, json.dumps(ROW).encode() + b"\n\n" + second + b"\n")
    rows = ck.read_jsonl(path)
    assert next(rows).id == "0"
    with pytest.raises(ck.CatKerasError, match=message) as raised:
        next(rows)
    assert str(raised.value).startswith(f"{path}:3: ")


def test_no_file(tmp_path):
    for path in (tmp_path / "none.jsonl", tmp_path):
        with pytest.raises(ck.CatKerasError, match="a file that exists"):
            next(ck.read_jsonl(path))
