"""Run folders read: what is wrong with them is said in one line, and little of them is in memory."""

import tracemalloc

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.report.reading import load
from cat_keras.cascades import deferral
from cat_keras.data.ragged import Ragged
from cat_keras.errors import CatKerasError
from cat_keras.storage import store
from tests import runs


def rewrite(path, change):
    """Predictions with some rows changed; the manifest lists the new file."""
    rows = change(pyarrow.parquet.read_table(path / "predictions.parquet").to_pylist())
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(rows), path / "predictions.parquet")
    manifest = store.read_json(path / "manifest.json")
    manifest["files"]["predictions.parquet"] = store.sha256_file(path / "predictions.parquet")
    store.write_json(path / "manifest.json", manifest)
    return path


def test_rows_in_any_order_are_brought_into_that_of_the_examples(tmp_path):
    ordered = load.load(runs.full(tmp_path / "a", ("sst2", "xsum"), n=10))
    rng = np.random.default_rng(0)
    mixed = runs.full(tmp_path / "b", ("sst2", "xsum"), n=10)
    mixed = load.load(rewrite(mixed, lambda rows: list(rng.permutation(rows))))
    assert ordered.small.keys() == mixed.small.keys() and mixed.missing == ()
    for key, cell in ordered.small.items():
        assert mixed.small[key]["id"].tolist() == ordered.examples[key[2]].ids
        for name in ("text", "quality", "flops", "n_prompt"):
            assert mixed.small[key][name].tolist() == cell[name].tolist()
        for one, other in zip(cell["token_logprobs"], mixed.small[key]["token_logprobs"], strict=True):
            assert one.tolist() == other.tolist()


def test_examples_are_a_sequence(tmp_path):
    examples = load.load(runs.full(tmp_path, ("sst2",), n=6)).examples["sst2"]
    listed = list(examples)
    assert len(examples) == len(listed) == 6
    assert examples[-1] == examples[5] == listed[5] and examples[2:4] == listed[2:4]
    assert examples[0].options == ("negative", "positive") and examples[0].prompt == "secret prompt 0\n"
    with pytest.raises(IndexError):
        examples[6]


def test_rules_score_ragged_columns_like_lists(tmp_path):
    cell = load.load(runs.full(tmp_path, ("cb", "xsum"), n=10)).small["xent", 0, "cb"]
    plain = {name: list(cell[name]) for name in ("id", "task", "token_logprobs", "option_logprobs")}
    for name in ("chow-sum", "chow-average", "chow-quantile-0.1", "max-probability"):
        np.testing.assert_array_equal(deferral.get(name)(cell), deferral.get(name)(plain))


def test_ragged():
    rows = Ragged(np.arange(5.0), np.array([0, 2, 2, 5]))
    assert [row.tolist() for row in rows] == [[0, 1], [], [2, 3, 4]]
    assert rows[-1].tolist() == [2, 3, 4] and rows.lengths.tolist() == [2, 0, 3]
    assert [row.tolist() for row in rows[:2]] == [[0, 1], []]
    with pytest.raises(IndexError):
        rows[3]


@pytest.mark.parametrize("facts", [{"scheme": store.HASH_SCHEME + 1}, {"kept": {"scheme": 99}}])
def test_a_manifest_of_a_newer_scheme(tmp_path, facts):
    with pytest.raises(CatKerasError, match=r"newer version of this code.*received (2|99).*Update"):
        load.load(runs.full(tmp_path, ("sst2",), n=2, **facts))


def test_a_file_cut_short_or_exchanged(tmp_path):
    folder = runs.full(tmp_path / "a", ("sst2",), n=4)
    path = folder / "predictions.parquet"
    whole = path.read_bytes()
    path.write_bytes(whole[:-50])
    with pytest.raises(CatKerasError, match=r"predictions.parquet must be the file that manifest.json lists"):
        load.load(folder)
    manifest = store.read_json(folder / "manifest.json")
    store.write_json(folder / "manifest.json", manifest | {"files": {}})  # an early run listed none
    with pytest.raises(CatKerasError, match=r"predictions.parquet is not a readable Parquet file"):
        load.load(folder)
    other = runs.full(tmp_path / "b", ("sst2",), n=4, seed=1)
    path.write_bytes(whole)
    (other / "predictions.parquet").write_bytes(whole)
    with pytest.raises(CatKerasError, match=r"must be the file that manifest.json lists"):
        load.load(other)


def test_empty_cells(tmp_path):
    folder = runs.full(tmp_path, ("sst2",), n=4)
    rewrite(folder, lambda rows: [rows[0] | {"flops": None}, *rows[1:]])
    with pytest.raises(CatKerasError, match="a value in every cell; flops has not"):
        load.load(folder)
    rewrite(folder, lambda rows: [rows[0] | {"flops": 1.0, "token_logprobs": None}, *rows[1:]])
    cell = load.load(folder).large["sst2"]
    with pytest.raises(CatKerasError, match="a value in every cell; token_logprobs has not"):
        cell["token_logprobs"]


def test_runs_that_contradict_each_other(tmp_path):
    a, b = (runs.full(tmp_path / name, ("sst2", "cb"), n=8) for name in "ab")
    assert [run.folder for run in load.load_all([a, b])] == [a, b]  # twice the same is no contradiction
    other = runs.full(tmp_path / "c", ("sst2", "cb"), n=8, seed=1)
    assert len(load.load_all([a, other])) == 2  # other keys
    rewrite(
        b, lambda rows: [r | ({"quality": 0.25} if (r["task"], r["method"]) == ("cb", "xent") else {}) for r in rows]
    )
    with pytest.raises(CatKerasError, match=r"xent/0 of .*a and xent/0 of .*b are both \w{16} and differ on cb"):
        load.load_all([a, b])


def test_bayes_quality_is_that_of_the_run(tmp_path):
    run = load.load(runs.full(tmp_path / "a", ("embedded_translate",), n=2, bayes_quality={"embedded_translate": 0.5}))
    assert run.bayes == 0.5
    early = load.load(runs.full(tmp_path / "b", ("embedded_translate",), n=2))
    assert early.bayes == load.bayes_quality("embedded_translate") != 0.5
    assert load.load(runs.full(tmp_path / "c", ("sst2",), n=2)).bayes is None


def test_many_runs_fit_the_memory(tmp_path):
    """100 runs of 100,000 predictions must fit 4 GiB, 400 bytes each: objects of Python alone would take that."""
    n, copies = 5000, 12
    folder = runs.full(tmp_path, ("xsum",), ("xent",), (0,), n=2)
    for name, models in (("examples", 1), ("predictions", 2)):
        table = pyarrow.parquet.read_table(folder / f"{name}.parquet")
        wide = pyarrow.concat_tables([table.slice(2 * i, 1) for i in range(models) for _ in range(n)])
        ids = pyarrow.array([f"test-{i}" for i in range(n)] * models)
        pyarrow.parquet.write_table(wide.set_column(0, "id", ids), folder / f"{name}.parquet")
    store.write_json(folder / "manifest.json", store.read_json(folder / "manifest.json") | {"files": {}})
    load.load(folder)  # what imports take is not counted
    before = pyarrow.total_allocated_bytes()
    tracemalloc.start()
    loaded = [load.load(folder) for _ in range(copies)]
    for run in loaded:  # texts and lists stay in memory for the last of them only
        assert len(run.small["xent", 0, "xsum"]["token_logprobs"]) == len(run.small["xent", 0, "xsum"]["text"]) == n
    used = tracemalloc.get_traced_memory()[0] + pyarrow.total_allocated_bytes() - before
    tracemalloc.stop()
    assert used / (copies * 2 * n) < 200
