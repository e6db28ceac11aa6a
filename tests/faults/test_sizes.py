"""What a file declares is compared with a limit before it is unpacked: one error, and no memory."""

import tracemalloc
import zipfile
from pathlib import Path

import numpy as np
import pyarrow
import pyarrow.parquet
import pytest

from benchmarks.report.reading import columns, load
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store, untrusted
from tests import runs
from tests.faults.presets import BACKBONE, preset


def refused(call, match: str, room: int = 20 * 2**20):
    """One error of ours, and not more than `room` bytes of memory on the way to it."""
    tracemalloc.start()
    try:
        with pytest.raises(CatKerasError, match=match):
            call()
        assert tracemalloc.get_traced_memory()[1] < room
    finally:
        tracemalloc.stop()


def npy(shape, dtype="<f4") -> bytes:
    """A header that declares more than there is."""
    header = repr({"descr": dtype, "fortran_order": False, "shape": shape}).encode()
    header += b" " * (64 - (11 + len(header)) % 64) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(header).to_bytes(2, "little") + header


def archive(path: Path, content: bytes, compression=zipfile.ZIP_STORED) -> Path:
    with zipfile.ZipFile(path, "w", compression) as file:
        file.writestr("tokens.npy", content)
    return path


def bomb(folder: Path) -> Path:
    path = archive(folder / "bomb.npz", npy((10_000_000,)) + bytes(40_000_000), zipfile.ZIP_DEFLATED)
    assert path.stat().st_size < 100_000
    return path


def test_archives_that_unpack_to_more_than_they_are(tmp_path):
    path = bomb(tmp_path)
    refused(lambda: untrusted.read_npz(path), r"declare more than the .* bytes of the file, or are compressed")


def test_our_own_archives_are_read(tmp_path):
    arrays = {
        "tokens": np.arange(7, dtype=np.int32),
        "ids": np.array(["a", "ü" * 40]),
        "n": np.array(3),
        "none": np.zeros((0, 2)),
    }
    np.savez(tmp_path / "own.npz", **arrays)
    found = untrusted.read_npz(tmp_path / "own.npz")
    assert found.keys() == arrays.keys()
    assert all(
        np.array_equal(found[name], value) and found[name].dtype == value.dtype for name, value in arrays.items()
    )
    with pytest.raises(FileNotFoundError):
        untrusted.read_npz(tmp_path / "other.npz")


@pytest.mark.slow
def test_encoded_data_and_checkpoints_are_such_archives(tmp_path):
    from cat_keras.data import encoding
    from cat_keras.training import checkpoint

    path = bomb(tmp_path)
    for read in (encoding.Encoded.load, checkpoint._read):
        refused(lambda read=read: read(path), r"declare more than the .* bytes of the file, or are compressed")


@pytest.mark.parametrize("shape", [(10**15,), (2**62,), (10**9, 10**9), (-1,), (10**6,)])
def test_arrays_that_declare_more_than_there_is(tmp_path, shape):
    refused(
        lambda: untrusted.read_npz(archive(tmp_path / "lie.npz", npy(shape))),
        "Expected arrays as this project writes them",
    )


def test_arrays_of_objects_are_not_unpickled(tmp_path):
    np.savez(tmp_path / "objects.npz", tokens=np.array([{"a": 1}], dtype=object))
    refused(lambda: untrusted.read_npz(tmp_path / "objects.npz"), "Expected arrays .*allow_pickle")


def test_a_json_file_without_end(tmp_path):
    with (tmp_path / "manifest.json").open("wb") as stream:
        stream.truncate(store.JSON_BYTES + 1)  # a hole: it takes no room on the disk
    for call in (lambda: store.read_json(tmp_path / "manifest.json"), lambda: load.load(tmp_path)):
        refused(call, r"Expected a readable JSON file.* bytes, of 268,435,456 at most")


@pytest.mark.parametrize("text", ["[" * 200_000, '{"a":' * 200_000, "1" * 10_000, '"\\ud800', "NaN" * 3, "\xff"])
def test_json_that_breaks_parsers(tmp_path, text):
    (tmp_path / "manifest.json").write_text(text, encoding="latin-1")
    refused(lambda: load.load(tmp_path), "Expected a readable JSON file")


def test_a_parquet_file_that_unpacks_to_more_than_a_limit(tmp_path, monkeypatch):
    folder = runs.full(tmp_path, ("sst2",), n=2)
    path = folder / "examples.parquet"
    table = pyarrow.parquet.read_table(path)
    bomb = table.set_column(
        table.column_names.index("prompt"), "prompt", pyarrow.array(["x" * 10_000_000, "y" * 10_000_000])
    )
    pyarrow.parquet.write_table(bomb, path, compression="zstd", use_dictionary=False)
    assert path.stat().st_size < 20_000
    manifest = store.read_json(folder / "manifest.json")
    store.write_json(folder / "manifest.json", manifest | {"files": {}})
    load.load(folder)
    monkeypatch.setattr(columns, "LARGEST", 10_000_000)
    before = pyarrow.total_allocated_bytes()
    refused(lambda: load.load(folder), r"it declares 2 rows of 20,\d+,\d+ bytes, of 10,000,000 at most")
    assert pyarrow.total_allocated_bytes() - before < 1_000_000


@pytest.mark.parametrize("size", ["vocabulary_size", "hidden_dim", "num_layers", "intermediate_dim"])
def test_a_preset_of_a_model_that_its_weights_cannot_fill(tmp_path, size):
    grown = BACKBONE | {"config": BACKBONE["config"] | {size: 10**7}}
    folder = preset(tmp_path / "preset", config=grown)
    refused(lambda: models.load(folder), "A preset holds the weights of the model it declares")


def test_a_preset_whose_configuration_has_no_end(tmp_path):
    folder = preset(tmp_path / "deep", tokenizer="[" * 200_000)
    refused(lambda: models.load(folder), "Expected a readable JSON file")
