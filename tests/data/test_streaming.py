"""Encoding piece by piece into files: the same data as at once, whatever the pieces, and batches read from them."""

import dataclasses
import itertools
import pickle
from pathlib import Path

import numpy as np
import pytest

import cat_keras as ck
from cat_keras.data import streaming
from cat_keras.data.streaming import Names
from cat_keras.errors import CatKerasError


@pytest.mark.parametrize("piece", [1, 7, 40, 1000])
def test_pieces_do_not_matter(tmp_path, tokenizer, examples, piece):
    examples = [*examples, ck.Example("long", "Say it.", "heron otter badger " * 20, task="spell")]
    whole = ck.encode(examples, tokenizer, 16, "drop")
    data = streaming.encode_to(tmp_path / "data", iter(examples), tokenizer, 16, "drop", piece=piece)
    assert whole.dropped == ("spell/long",) and whole.truncated  # else nothing is tried of them
    for field in dataclasses.fields(ck.Encoded):
        ours, theirs = getattr(data, field.name), getattr(whole, field.name)
        if field.name in ("tokens", "offsets", "n_prompt"):
            assert ours.dtype == theirs.dtype and np.array_equal(ours, theirs)
        else:
            assert tuple(ours) == theirs if field.name == "ids" else ours == theirs
    assert data.fingerprint == whole.fingerprint
    known = [each.known_to_be_of(tokenizer) for each in (data, whole)]
    assert known[0].fingerprint == known[1].fingerprint != whole.fingerprint


def test_batches_of_files_are_those_of_memory(tmp_path, tokenizer, examples):
    whole = ck.encode(examples, tokenizer, 64)
    data = streaming.encode_to(tmp_path / "data", examples, tokenizer, 64, piece=9)
    assert isinstance(data.tokens.base, np.memmap)
    ours, theirs = (ck.Batches(each, 8, seed=3) for each in (data, whole))
    assert ours.identity == theirs.identity
    for step in range(len(theirs) + 2):
        for left, right in zip(ours.batch(step), theirs.batch(step), strict=True):
            pairs = zip(left.values(), right.values(), strict=True) if isinstance(left, dict) else [(left, right)]
            assert all(np.array_equal(a, b) for a, b in pairs)


def test_a_copy_reads_for_itself_and_no_file_stays_open(tmp_path, tokenizer, examples):
    def open_files():
        paths = [path.readlink() for path in Path("/proc/self/fd").iterdir() if path.is_symlink()]
        return sum(path == tmp_path / "data" / "tokens.bin" for path in paths)

    data = streaming.encode_to(tmp_path / "data", examples, tokenizer, 64)
    expected = [data.tokens[begin:end].tolist() for begin, end in itertools.pairwise(data.offsets)]
    assert [data.sequence(row).tolist() for row in range(len(data))] == expected
    copies = [pickle.loads(pickle.dumps(data)), dataclasses.replace(data)]
    del data
    for copied in copies:
        assert [copied.sequence(row).tolist() for row in range(len(copied))] == expected
    assert open_files()
    del copies, copied
    assert open_files() == 0


def test_what_fails_leaves_what_was_there(tmp_path, tokenizer, examples):
    before = streaming.encode_to(tmp_path / "data", examples[:5], tokenizer, 64).fingerprint

    def broken():
        yield from examples
        raise OSError("the disk is gone")

    with pytest.raises(OSError, match="the disk is gone"):
        streaming.encode_to(tmp_path / "data", broken(), tokenizer, 64, piece=3)
    assert streaming.load(tmp_path / "data").fingerprint == before
    assert [path.name for path in tmp_path.iterdir()] == ["data"]


def test_no_examples_are_the_error_of_encode(tmp_path, tokenizer):
    with pytest.raises(CatKerasError, match=r"at least one example. Received: none"):
        streaming.encode_to(tmp_path / "data", iter(()), tokenizer, 64)
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("name", ["tokens.bin", "names.bin", "dropped.json", "manifest.json"])
def test_a_damaged_file_is_named(tmp_path, tokenizer, examples, name):
    streaming.encode_to(tmp_path / "data", examples, tokenizer, 64)
    content = bytearray((tmp_path / "data" / name).read_bytes())
    content[-2] ^= 1
    (tmp_path / "data" / name).write_bytes(content)
    with pytest.raises(CatKerasError, match=rf"Encoded data are whole. Received: .*{name}"):
        streaming.load(tmp_path / "data")


def test_names_are_a_sequence():
    texts = ["task/1", "täsk/2", "", "x"]
    letters = [text.encode() for text in texts]
    names = Names(np.frombuffer(b"".join(letters), np.uint8), np.cumsum([0, *map(len, letters)]))
    assert list(names) == texts and names[-1] == "x" and names[1:3] == tuple(texts[1:3]) and "täsk/2" in names
    with pytest.raises(IndexError):
        names[4]
