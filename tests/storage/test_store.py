"""Files that survive a kill, and folders that say when they did not."""

import os
import re

import pytest

from cat_keras.errors import CatKerasError
from cat_keras.storage import processes, store
from cat_keras.storage.store import (
    Store,
    damage,
    identity,
    read_json,
    read_manifest,
    seal,
    write_bytes,
    write_json,
    write_manifest,
)

KEY = identity(what="an entry")


def names(folder):
    return sorted(p.name for p in folder.iterdir())


# -- identity --------------------------------------------------------------------------------------------------------


def test_identity_does_not_depend_on_order():
    assert identity(a=1, b={"x": [1, 2], "y": None}) == identity(b={"y": None, "x": [1, 2]}, a=1)


@pytest.mark.parametrize("other", [{"a": 2}, {"a": "1"}, {"a": 1, "b": None}, {"b": 1}, {"a": [1]}, {"a": 1.5}, {}])
def test_identity_differs_where_the_parts_do(other):
    assert identity(a=1) != identity(**other)


@pytest.mark.parametrize("value", [float("nan"), float("inf"), {1, 2}, object(), b"bytes"])
def test_what_is_no_json_has_no_identity(value):
    with pytest.raises(CatKerasError, match="JSON values"):
        identity(part=value)


def test_identity_contains_its_scheme(monkeypatch):
    before = identity(a=1)
    monkeypatch.setattr(store, "HASH_SCHEME", store.HASH_SCHEME + 1)
    assert identity(a=1) != before


# -- files -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("interrupted", ["fsync", "replace"])
@pytest.mark.parametrize("old", [b"old", None], ids=["replacing", "new"])
def test_an_interrupted_write_leaves_what_was_there(tmp_path, monkeypatch, old, interrupted):
    path = tmp_path / "folder" / "file.bin"
    if old is not None:
        write_bytes(path, old)

    def kill(*_):
        raise KeyboardInterrupt

    if interrupted == "fsync":
        monkeypatch.setattr(os, "fsync", kill)
    else:
        monkeypatch.setattr(type(path), "replace", kill)
    with pytest.raises(KeyboardInterrupt):
        write_bytes(path, b"new, and longer")
    assert (path.read_bytes() if path.exists() else None) == old
    monkeypatch.undo()
    write_bytes(path, b"new, and longer")
    assert path.read_bytes() == b"new, and longer"
    assert names(path.parent) == ["file.bin"]


def test_a_write_that_fails_leaves_no_part_of_it(tmp_path, monkeypatch):
    write_bytes(tmp_path / "file.bin", b"old")

    def full(*_):
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    with pytest.raises(OSError, match="No space left"):
        write_bytes(tmp_path / "file.bin", b"new")
    assert names(tmp_path) == ["file.bin"] and (tmp_path / "file.bin").read_bytes() == b"old"


def test_json_survives_a_file(tmp_path):
    value = {"b": [1, 2.5, None], "a": "ä\n"}
    write_json(tmp_path / "v.json", value)
    assert read_json(tmp_path / "v.json") == value


@pytest.mark.parametrize("content", [b"", b"{", b"\xff\xfe", None])
def test_unreadable_json_is_named(tmp_path, content):
    path = tmp_path / "v.json"
    if content is not None:
        path.write_bytes(content)
    with pytest.raises(CatKerasError, match=r"v\.json"):
        read_json(path)


def test_a_manifest_is_as_it_was_written(tmp_path):
    path, facts = tmp_path / "manifest.json", {"b": [1, 2.5, None], "a": {"1": "ä"}}
    write_manifest(path, facts)
    assert read_manifest(path) == facts
    write_json(path, facts)  # an earlier version
    assert read_manifest(path) == facts
    write_json(path, [facts])
    with pytest.raises(CatKerasError, match="A manifest is a JSON object"):
        read_manifest(path)


# -- sealed folders --------------------------------------------------------------------------------------------------


def filled(folder, **more):
    """A sealed folder with two files of equal size, one of them in a sealed folder of its own."""
    for name, content in {"one.bin": b"1111", "part/two.bin": b"2222", **more}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(content)
    seal(folder / "part", {"of": "the part"})
    seal(folder, {"facts": "of the whole"})
    return folder


def swap(folder):
    one, two = (folder / "one.bin").read_bytes(), (folder / "part/two.bin").read_bytes()
    (folder / "one.bin").write_bytes(two)
    (folder / "part/two.bin").write_bytes(one)


def edit(folder, change):
    manifest = read_manifest(folder / "manifest.json")
    change(manifest)
    write_manifest(folder / "manifest.json", manifest)


def falsify(folder, old, new):
    path = folder / "manifest.json"
    assert old in path.read_text()
    path.write_text(path.read_text().replace(old, new))


DAMAGES = {
    "truncated": (lambda f: (f / "one.bin").write_bytes(b"111"), r"one\.bin has another checksum"),
    "emptied": (lambda f: (f / "one.bin").write_bytes(b""), r"one\.bin has another checksum"),
    "flipped": (lambda f: (f / "part/two.bin").write_bytes(b"2232"), r"two\.bin has another checksum"),
    "grown": (lambda f: (f / "one.bin").write_bytes(b"11111"), r"one\.bin has another checksum"),
    "missing": (lambda f: (f / "part/two.bin").unlink(), r"two\.bin is missing"),
    "swapped": (swap, "another checksum"),
    "a folder in its place": (lambda f: ((f / "one.bin").unlink(), (f / "one.bin").mkdir()), r"one\.bin is missing"),
    "manifest of a part": (lambda f: edit(f / "part", lambda m: m.update(of="x")), "part/manifest.json has another"),
    "no manifest": (lambda f: (f / "manifest.json").unlink(), "manifest.json is missing"),
    "empty manifest": (lambda f: (f / "manifest.json").write_bytes(b""), "manifest.json is not readable"),
    "half a manifest": (lambda f: (f / "manifest.json").write_text('{"files": {"one'), "not readable"),
    "binary manifest": (lambda f: (f / "manifest.json").write_bytes(b"\xff\x00"), "not readable"),
    "manifest of a list": (lambda f: (f / "manifest.json").write_text("[]"), "not readable"),
    "manifest without files": (lambda f: edit(f, lambda m: m.pop("files")), "not readable"),
    "files in a list": (lambda f: edit(f, lambda m: m.update(files=["one.bin"])), "not readable"),
    "a changed fact": (lambda f: falsify(f, '"bytes"', '"bytez"'), "not readable .*changed since"),
    "another word for it": (lambda f: falsify(f, '"checksum"', '"checksun"'), "not readable .*changed since"),
    "files without a checksum": (lambda f: edit(f, lambda m: m["files"].update({"one.bin": None})), "not readable"),
}


def test_a_sealed_folder_is_whole_and_keeps_its_facts(tmp_path):
    filled(tmp_path)
    assert damage(tmp_path) is None
    assert read_json(tmp_path / "manifest.json")["facts"] == "of the whole"


@pytest.mark.parametrize("kind", DAMAGES)
def test_damage_is_found_and_named(tmp_path, kind):
    change, message = DAMAGES[kind]
    change(filled(tmp_path))
    problem = damage(tmp_path)
    assert problem is not None
    assert re.search(message, problem)


# -- results by identity ---------------------------------------------------------------------------------------------


class Builder:
    """Fills a folder and counts how often it was asked to."""

    def __init__(self, facts=None):
        self.calls, self.facts = 0, facts

    def __call__(self, folder):
        self.calls += 1
        filled(folder)
        (folder / "manifest.json").unlink()
        return self.facts


@pytest.fixture
def reports():
    return []


@pytest.fixture
def results(tmp_path, reports):
    """A function: the store as a new process would open it."""
    return lambda: Store(tmp_path / "store", reports.append)


def test_get_builds_once(results, reports):
    build = Builder({"rows": 7})
    s = results()
    path = s.get("stage", KEY, build)
    assert s.get("stage", KEY, build) == results().get("stage", KEY, build) == path == s.path("stage", KEY)
    assert build.calls == 1 and reports == []
    manifest = read_json(path / "manifest.json")
    assert (manifest["rows"], manifest["stage"], manifest["key"]) == (7, "stage", KEY)
    assert names(path.parent) == [path.name]


def test_stages_and_keys_do_not_meet(results):
    s, build = results(), Builder()
    paths = {s.get(stage, key, build) for stage in ("one", "two") for key in (KEY, identity(what="another"))}
    assert len(paths) == build.calls == 4


@pytest.mark.parametrize("kind", DAMAGES)
def test_a_damaged_entry_is_reported_and_rebuilt(results, reports, kind):
    build = Builder()
    path = results().get("stage", KEY, build)
    DAMAGES[kind][0](path)
    assert results().get("stage", KEY, build) == path
    assert build.calls == 2 and damage(path) is None
    assert len(reports) == 1 and str(path) in reports[0] and "building it again" in reports[0]


def test_an_entry_under_a_wrong_key_is_rejected(results, reports):
    build = Builder()
    path = results().get("stage", KEY, build)
    twin = KEY[:16] + identity(what="twin")[16:]  # the same folder name
    assert not results().has("stage", twin)
    assert "another key" in reports[0] and not path.exists()
    results().get("stage", twin, build)
    assert results().has("stage", twin) and build.calls == 2


@pytest.mark.parametrize("error", [RuntimeError, KeyboardInterrupt])
def test_a_failed_build_leaves_nothing(results, tmp_path, error):
    def fail(folder):
        filled(folder)
        raise error

    s = results()
    with pytest.raises(error):
        s.get("stage", KEY, fail)
    assert not s.has("stage", KEY)
    assert names(tmp_path / "store/stage") == []
    build = Builder()
    s.get("stage", KEY, build)
    assert build.calls == 1


def test_a_half_built_folder_of_a_killed_process_is_not_taken_for_a_result(results):
    s, build = results(), Builder()
    path = s.path("stage", KEY)
    half_built = processes.beside(path)
    (half_built / "old").mkdir(parents=True)
    s.get("stage", KEY, build)
    assert build.calls == 1 and not (path / "old").exists() and not half_built.exists()


def test_the_first_of_two_processes_wins(results):
    s, other = results(), Builder({"by": "the other"})

    def build(folder):
        results().get("stage", KEY, lambda f: other(f) if f != folder else None)
        return Builder({"by": "us"})(folder)

    # Two builders in one process would share the temporary name, which holds the process id.
    pid = os.getpid()
    pids = iter([pid, pid + 1, pid + 1])
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(os, "getpid", lambda: next(pids, pid))
        path = s.get("stage", KEY, build)
    assert read_json(path / "manifest.json")["by"] == "the other" and damage(path) is None
    assert names(path.parent) == [path.name]


def test_scratch_is_kept_until_the_entry_is_complete(results):
    s = results()
    state = s.unfinished("stage", KEY) / "state.npz"

    def fail(folder):
        write_bytes(state, b"half way")
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        s.get("stage", KEY, fail)
    assert state.read_bytes() == b"half way"
    s.get("stage", KEY, Builder())
    assert not state.exists()


def test_facts_are_json(results):
    with pytest.raises(TypeError):
        results().get("stage", KEY, Builder({"x": object()}))
    assert not results().has("stage", KEY)
