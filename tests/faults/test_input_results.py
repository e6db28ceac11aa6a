"""Run folders that another hand has been at: manifests and Parquet columns that say what none should."""

import json
from unittest import mock

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest
from hypothesis import strategies as st

from benchmarks.keeping import verify
from benchmarks.keeping.keep import keep
from benchmarks.report.numbers import cells, training
from benchmarks.report.reading import load
from cat_keras.cascades import deferral
from cat_keras.storage import store
from tests import runs
from tests.faults import cases, strange

TASKS = ("sst2", "xsum", "multirc")
FILES = ("examples", "predictions")
COLUMNS = ("quality", "flops", "seconds", "token_logprobs", "option_logprobs", "text", "statistics", "n_prompt")


@pytest.fixture(scope="module", params=["full", "kept"])
def finished(tmp_path_factory, request):
    """A finished run, or what is kept of it; its manifest and its two tables."""
    course = {"step": [1, 2], "live": [1.0, 0.5], "loss": [3.0, 2.0]}
    training = {"xent/0": {"live": 0.5, "steps": 3, "history": course}}
    folder = runs.full(tmp_path_factory.mktemp("run"), TASKS, ("xent",), (0, 1), n=4, training=training)
    if request.param == "kept":
        with mock.patch("benchmarks.report.files", lambda run, drawn: {"table.csv": b"drawn"}):
            folder = keep(folder, tmp_path_factory.mktemp("kept"))
    tables = {name: pyarrow.parquet.read_table(folder / f"{name}.parquet") for name in FILES}
    manifest = store.read_json(folder / "manifest.json")
    manifest.pop("checksum", None)  # which finds most of this; early manifests have none
    return folder, manifest, tables


def touch(run: load.Run):
    """Everything that a report reads of a run, without the arithmetic of intervals."""
    rule = deferral.get(run.rule)
    assert run.bars is not None and run.answers is not None and run.bayes is None
    for name in run.tasks:
        assert len(run.fingerprint(name)) == 64 and len(run.units[name]) == len(run.examples[name])
    for (method, seed, name), cell in run.small.items():
        assert run.live(method) is not None
        for column in COLUMNS:
            assert column not in cell or len(cell[column]) == len(run.examples[name])
        if name in run.large and rule.needs == ("token_logprobs",):
            curve = cells.Cell(run, method, seed, name).curve(run.rule)
            assert np.isfinite(curve.audc) and -1e-9 <= curve.audc <= 1 + 1e-9
            assert np.isfinite(curve.cost).all()
    training.live(run)
    for name, cell in run.large.items():
        assert set(cells.official(run, name, cell))


def read_and_touch(folder):
    touch(load.load(folder))


@pytest.mark.parametrize("n", cases(40, 800))
def test_manifests(n, finished):
    folder, manifest, _ = finished
    good = 0

    def check(content):
        nonlocal good
        (folder / "manifest.json").write_bytes(content)
        run = strange.result_or_error(load.load, folder)
        if run is not None:
            good += 1
            strange.result_or_error(touch, run)
            list(verify._damaged(folder, run.manifest))
            list(verify._stale(run.manifest))

    contents = st.one_of(
        strange.mutated(manifest, 2).map(lambda value: json.dumps(value).encode()),
        strange.mutated(manifest, 2).map(lambda value: json.dumps(value).encode()),
        st.binary(max_size=20),
        st.sampled_from(
            [b"", b"{}", b"[]", b"null", b"[" * 100_000, b"\xff\xfe", b'{"profile": ' + b"9" * 5000 + b"}"]
        ),
    )
    strange.prove(check, n, content=contents)
    store.write_json(folder / "manifest.json", manifest)
    assert good > n / 20


TYPES = (
    pyarrow.string(), pyarrow.large_string(), pyarrow.binary(), pyarrow.int8(), pyarrow.int64(), pyarrow.uint64(),
    pyarrow.float16(), pyarrow.float32(), pyarrow.float64(), pyarrow.bool_(), pyarrow.null(), pyarrow.date32(),
    pyarrow.timestamp("ns"), pyarrow.decimal128(38, 3), pyarrow.list_(pyarrow.float64()),
    pyarrow.list_(pyarrow.string()), pyarrow.large_list(pyarrow.float32()), pyarrow.list_(pyarrow.int64(), 2),
    pyarrow.list_(pyarrow.list_(pyarrow.float64())), pyarrow.struct([("x", pyarrow.int64())]),
    pyarrow.dictionary(pyarrow.int8(), pyarrow.string()),
)  # fmt: skip
CELLS = (None, float("nan"), float("inf"), -float("inf"), 1e308, -1e308, -1.0, 0.0, 2.0, 0, 1, -1, 2**62, "",
    "test-0", "\u202e", "\0", "x" * 10_000, b"\xff", True, [], [float("nan")], [-float("inf")], [1e308] * 2,
    [0.0] * 3, [None], [[]], "small", "large", "sst2")  # fmt: skip


@st.composite
def tables(draw, table: pyarrow.Table):
    """A table with a column or some rows changed."""
    name = draw(st.sampled_from(table.column_names))
    kind = draw(st.sampled_from("without retyped cell cell cell every rows twice renamed".split()))
    if kind == "without":
        return table.drop_columns([name])
    if kind == "renamed":
        return table.rename_columns(
            [n if n != name else draw(st.sampled_from(["x", *table.column_names])) for n in table.column_names]
        )
    if kind in ("rows", "twice"):
        most = len(table) - 1 if kind == "rows" else 2
        rows = draw(st.lists(st.integers(0, len(table) - 1), max_size=most, unique=kind == "rows"))
        taken = table.take(pyarrow.array(rows, pyarrow.int64()))
        return taken if kind == "rows" else pyarrow.concat_tables([table, taken])
    values, place = table[name].to_pylist(), draw(st.integers(0, len(table) - 1))
    wanted = draw(st.sampled_from(TYPES)) if kind == "retyped" else None
    if kind == "cell":
        values[place] = draw(st.sampled_from(CELLS))
    elif kind == "every":
        values = [draw(st.sampled_from(CELLS))] * len(values)
    column = typed(values, wanted)
    return table.set_column(table.column_names.index(name), name, column)


def typed(values: list, wanted: pyarrow.DataType | None) -> pyarrow.Array:
    """The values as that type, or where they have none, as text or as nothing."""
    for each in (wanted, None) if wanted is not None else (None,):
        try:
            return pyarrow.array(values, each)
        except (pyarrow.ArrowException, TypeError, OverflowError, ValueError):
            pass
    try:
        return pyarrow.array(list(map(str, values)))
    except (pyarrow.ArrowException, UnicodeError):
        return pyarrow.nulls(len(values), wanted)


@pytest.mark.parametrize("n", cases(30, 1000))
def test_columns(n, finished):
    folder, manifest, whole = finished
    good = 0
    store.write_json(folder / "manifest.json", manifest | {"files": {}})  # no checksum tells

    def check(data):
        nonlocal good
        name, other = data.draw(st.permutations(FILES))
        changed = data.draw(tables(whole[name]))
        pyarrow.parquet.write_table(whole[other], folder / f"{other}.parquet")
        pyarrow.parquet.write_table(changed, folder / f"{name}.parquet")
        run = strange.result_or_error(load.load, folder)
        if run is not None:
            good += 1
            strange.result_or_error(touch, run)

    strange.prove(check, n, data=st.data())
    for name, table in whole.items():
        pyarrow.parquet.write_table(table, folder / f"{name}.parquet")
    store.write_json(folder / "manifest.json", manifest)
    assert good > n / 20


@pytest.mark.parametrize("n", cases(15, 200))
def test_bytes(n, finished):
    """A Parquet file changed in some bytes, where no checksum tells."""
    folder, manifest, whole = finished
    path = folder / "predictions.parquet"
    pyarrow.parquet.write_table(whole["predictions"], path)
    pyarrow.parquet.write_table(whole["examples"], folder / "examples.parquet")
    content = path.read_bytes()
    store.write_json(folder / "manifest.json", manifest | {"files": {}})

    def check(places, cut):
        changed = bytearray(content)
        for place, value in places:
            changed[place] = value
        path.write_bytes(bytes(changed[: len(changed) - cut]))
        strange.result_or_error(read_and_touch, folder)

    bytes_ = st.lists(st.tuples(st.integers(0, len(content) - 1), st.integers(0, 255)), max_size=4)
    strange.prove(check, n, places=bytes_, cut=st.sampled_from([0, 0, 0, 1, 8, 200, len(content)]))
    path.write_bytes(content)
    store.write_json(folder / "manifest.json", manifest)
