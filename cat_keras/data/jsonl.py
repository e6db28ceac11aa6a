"""JSON lines: files with one JSON object per line, as rows of a data set or as examples."""

import json
from collections.abc import Iterator
from dataclasses import MISSING, fields
from pathlib import Path

from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, unknown_name

BYTE_ORDER_MARK = b"\xef\xbb\xbf"  # some editors begin a file of UTF-8 with it
_FIELDS = {field.name: field.default is MISSING for field in fields(Example)}  # name → whether every row has it


def read_jsonl(path: str | Path) -> Iterator[Example]:
    """Yields the examples of a file with one JSON object per line.

    A row has the fields `id`, `prompt` and `target`, and may have `task`, `options`, `references` and `group`, see
    `Example`. The file is UTF-8, with or without a byte order mark. Blank lines are skipped, and line separators inside
    a text (U+2028) end no line.

    Raises:
        CatKerasError: there is no such file, a line is no JSON object, or a row lacks a field, has an unknown one, or
            has one of another type. The message names file and line. It is raised when that row is reached.
    """
    for index, row in read_rows(path):
        try:
            yield _example(row)
        except CatKerasError as error:
            raise CatKerasError(f"{path}:{index + 1}: {error}") from error


def _example(row: dict) -> Example:
    if unknown := [name for name in row if name not in _FIELDS]:
        raise unknown_name("field of an example", unknown[0], _FIELDS)
    if missing := [name for name, required in _FIELDS.items() if required and name not in row]:
        raise CatKerasError(f"An example has id, prompt and target. Received: no {', '.join(missing)}. Add it")
    lists = [name for name in ("options", "references") if not isinstance(row.get(name, []), list)]
    if lists:
        raise CatKerasError(f"{lists[0]} of an example is a list of texts. Received: {row[lists[0]]!r:.80}")
    return Example(**row)


def read_rows(path: str | Path) -> Iterator[tuple[int, dict]]:
    """Yields (index of the line from 0, object) of every line that is not blank.

    Raises:
        CatKerasError: there is no such file, or a line is no JSON object; file and line are named.
    """
    if not Path(path).is_file():
        raise CatKerasError(f"Rows are read from a file that exists. Received: {path}. Name another")
    # The file is read as bytes, because in text mode a line separator inside a string (U+2028) could end a line.
    with Path(path).open("rb") as lines:
        for index, line in enumerate(lines):
            line = line.removeprefix(BYTE_ORDER_MARK) if index == 0 else line
            if line.strip():
                yield index, _parsed(line, path, index)


def _parsed(line: bytes, path: str | Path, index: int) -> dict:
    try:
        row = json.loads(line)
        if b"\\u" in line:  # half of a surrogate pair is valid JSON, but no text that could be encoded
            json.dumps(row, ensure_ascii=False).encode()
    except (ValueError, RecursionError) as error:  # malformed JSON, bytes that are not UTF-8, lists nested too deeply
        raise CatKerasError(f"{path}:{index + 1}: not a line of JSON ({error}). Correct or remove it") from error
    if not isinstance(row, dict):
        raise CatKerasError(f"{path}:{index + 1}: a row is a JSON object; received {type(row).__name__}")
    return row
