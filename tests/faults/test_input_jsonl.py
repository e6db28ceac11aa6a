"""A user's own data: files of JSON lines, the manifest beside them, and files that declare tasks."""

import json

import pytest
from hypothesis import strategies as st

from benchmarks import sources
from benchmarks.tasks import counting, extensions, listing, loading, task
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError
from tests.faults import cases, strange

MINE = {
    "name": "mine",
    "suites": ("own",),
    "cluster": "own",
    "kind": "generation",
    "source": sources.Dataset("mine", "1.0.0"),
    "splits": {"train": "test[:-2]", "test": "test[-2:]"},
    "templates": ("{question}:\n", "Once more: {question}\nAnswer:\n"),
    "target": "answer",
    "references": "others",
    "metric": "exact_match",
}
TASKS = {
    "generation": Task(**MINE),
    "grouped": Task(**MINE | {"group": "group", "together": True}),
    "choice": Task(**MINE | {"kind": "classification", "options": "choices", "references": None}),
}
ROW = {
    "question": "Two and two",
    "answer": "four",
    "others": ["four", "4"],
    "choices": ["three", "four"],
    "group": "sums",
}


def line(row) -> bytes:
    return json.dumps(row).encode()


changed = strange.mutated(ROW).map(line)
broken = st.one_of(
    st.binary(max_size=20),
    strange.values.map(line),
    st.sampled_from(
        [
            b"", b" ", b"\r", b"\0", b"{", b"}", b"[]", b"null", b"NaN", b"\xff\xfe{}", b"\xef\xbb\xbf" + line(ROW),
            b"[" * 100_000, b'{"a":' * 50_000, line(ROW)[:-3], line(ROW) + line(ROW),
            b'{"question": "' + b"x" * 2_000_000 + b'", "answer": "y"}',
            b'{"question": ' + b"9" * 5000 + b', "answer": "y", "others": []}', line(ROW).decode().encode("utf-16"),
            b'{"question": "\xed\xa0\x80", "answer": "y"}', line(ROW | {"question": "a\u2028b"}),
            b'{"question": 1, "question": 2}',
            json.dumps(ROW | {"question": "a\u2028b\u202ec"}, ensure_ascii=False).encode(),
        ]
    ),
)  # fmt: skip


@st.composite
def files(draw):
    """Lines as they should be, and up to two among them that are not."""
    lines = [line(ROW)] * draw(st.integers(0, 5))
    for odd in draw(st.lists(st.one_of(changed, changed, broken), max_size=2)):
        lines.insert(draw(st.integers(0, len(lines))), odd)
    return lines


@pytest.mark.parametrize("n", cases(80, 2000))
def test_a_file_of_lines(n, tmp_path):
    folder = tmp_path / "mine" / "default"
    folder.mkdir(parents=True)
    read = 0

    def check(lines, end, kind, limit, split):
        nonlocal read
        (folder / "test.jsonl").write_bytes(end.join(lines))
        declared = TASKS[kind]
        counted = strange.result_or_error(counting.count, declared, "local", tmp_path)
        assert counted is not None
        examples = strange.result_or_error(loading.load, declared, split, tmp_path, limit)
        if examples is None:
            return
        read += 1
        assert 1 <= len(examples) <= len(lines) and (limit is None or len(examples) <= limit)
        assert len({e.id for e in examples}) == len(examples)
        for example in examples:
            f"{example.prompt}{example.target}{example.references}{example.group}".encode()

    strange.prove(
        check,
        n,
        lines=files(),
        end=st.sampled_from([b"\n", b"\n", b"\r\n", b"\n\n"]),
        kind=st.sampled_from(list(TASKS)),
        limit=st.sampled_from([None, 1, 2, 3]),
        split=st.sampled_from(["train", "test"]),
    )
    assert read > n / 20


@pytest.mark.parametrize("n", cases(30, 300))
def test_the_manifest_of_a_data_folder(n, tmp_path):
    folder = tmp_path / "mine" / "default"
    folder.mkdir(parents=True)
    (folder / "test.jsonl").write_bytes(b"\n".join([line(ROW)] * 4))
    whole = {"files": {"mine/default/test.jsonl": {"bytes": 3, "sha256": "0", "rows": 4}}}

    def check(manifest):
        (tmp_path / "manifest.json").write_bytes(manifest)
        sources.folder._entries.cache_clear()  # by name and time, which many cases share
        strange.result_or_error(loading.load, TASKS["generation"], "test", tmp_path)
        strange.result_or_error(counting.count, TASKS["generation"], "local", tmp_path)

    contents = st.one_of(strange.mutated(whole, 2).map(line), st.binary(max_size=20), st.just(b"[" * 100_000))
    strange.prove(check, n, manifest=contents)


@pytest.mark.parametrize("n", cases(30, 500))
def test_pairs_of_languages(n, tmp_path):
    """Corpora that are mixed and cleared of repeated sentences, and references that stand row by row."""
    declared = task.get("wmt22_deen")
    good = {"de": "Guten Tag", "en": "Good day"}
    rows = [json.dumps({name: f"{text} {i}" for name, text in good.items()}).encode() for i in range(4)]
    paths = [
        tmp_path / name
        for name in ("wmt22/de-en/test.jsonl", "wmt22/de-en/test_other_refs.jsonl", "parallel/mine/de-en/train.jsonl")
    ]
    for path in paths:
        path.parent.mkdir(parents=True, exist_ok=True)

    def check(place, odd, which, split):
        for path in paths:
            path.write_bytes(b"\n".join(rows[:place] + [odd] + rows[place:] if path == paths[which] else rows))
        for example in strange.result_or_error(loading.load, declared, split, tmp_path) or ():
            assert example.target and all(example.references)

    odd = st.one_of(strange.mutated(good).map(line), broken)
    strange.prove(
        check,
        n,
        place=st.integers(0, 4),
        odd=odd,
        which=st.integers(0, 2),
        split=st.sampled_from(list(declared.splits)),
    )


@pytest.mark.parametrize("n", cases(60, 700))
def test_a_declaration(n):
    """A task that is accepted can be listed, asked for its identity, and read."""

    def check(data):
        name = data.draw(st.sampled_from(list(MINE)))
        changed = MINE | {name: data.draw(st.one_of(strange.values, st.tuples(strange.texts)))}
        declared = strange.result_or_error(lambda: Task(**changed))
        if declared is None or name == "source":
            return
        strange.result_or_error(declared.identity)
        strange.result_or_error(declared.declaration)
        strange.result_or_error(declared.example, ROW, "test-0")
        strange.result_or_error(lambda: listing.text([listing.Entry(declared, {})]))
        for split in ("train", "test"):
            strange.result_or_error(loading.load, declared, split, "/nowhere")
        strange.result_or_error(counting.count, declared, "local", "/nowhere")
        strange.result_or_error(loading.available, declared, "/nowhere")

    strange.prove(check, n, data=st.data())


@pytest.mark.parametrize(
    "code",
    [
        "1 / 0", "import sys; sys.exit('bye')", "exit()", "def", "raise KeyboardInterrupt", "raise CatKerasError",
        "x = '\ud800'", "raise BaseException('odd')", "import nowhere_to_be_found", "def f(): f()\nf()",
        "raise ExceptionGroup('two', [ValueError('x')])", "\0", "raise ValueError('two\\nlines')",
        "from benchmarks.task import register; register(None)", "from benchmarks.task import Task; Task()",
    ],
)  # fmt: skip
def test_a_tasks_file_that_fails(code, tmp_path):
    path, registry = tmp_path / "mine.py", {"before": None}
    path.write_bytes(code.encode(errors="surrogatepass"))
    ends = KeyboardInterrupt if "Keyboard" in code else BaseException if "BaseException" in code else CatKerasError
    with pytest.raises(ends) as caught:
        extensions.run_file(path, registry)
    assert registry == {"before": None}
    if ends is CatKerasError:
        strange.check_message(str(caught.value))


@pytest.mark.parametrize("path", ["", ".", "/", "nowhere.py", "a\0b", "x" * 5000, "\ud800.py", "~nobody/mine.py"])
def test_a_tasks_file_that_is_none(path):
    with pytest.raises(CatKerasError) as caught:
        extensions.run_file(path, {})
    strange.check_message(str(caught.value))


def test_lines_of_a_megabyte(tmp_path):
    folder = tmp_path / "mine" / "default"
    folder.mkdir(parents=True)
    long, clean = "wörd\u200b " * 150_000, "wörd " * 150_000
    (folder / "test.jsonl").write_bytes(b"\n".join([line(ROW | {"question": long})] * 3))
    with strange.in_time(10):
        assert [e.prompt for e in loading.load(TASKS["generation"], "test", tmp_path)] == [f"{clean.strip()}:\n"] * 2
    (folder / "test.jsonl").write_bytes(b"\n".join([line(ROW | {"answer": [long]})] * 3))
    assert strange.result_or_error(loading.load, TASKS["generation"], "test", tmp_path) is None
