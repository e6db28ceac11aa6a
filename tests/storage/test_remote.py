"""Entries that travel between machines by an address of fsspec: here, folders that know nothing of one another."""

import sys
import uuid
from pathlib import Path

import fsspec
import pytest

from cat_keras.errors import CatKerasError
from cat_keras.storage import remote, store
from cat_keras.storage.remote import Remote
from cat_keras.storage.store import Store, identity
from tests import object_store

pytestmark = pytest.mark.allow_hosts(["127.0.0.1"])
KEY = identity(what="an entry")
CONTENTS = {"weights.bin": b"weights" * 1000, "preset/config.json": b"{}", "empty": b""}


@pytest.fixture(params=["memory", "file", "s3"])
def address(request, tmp_path, monkeypatch):
    if request.param == "s3":
        pytest.importorskip("s3fs")
        with object_store.bucket(monkeypatch) as address:
            yield address
    else:
        yield {"memory": f"memory://{uuid.uuid4().hex}", "file": f"file://{tmp_path}/shared/results"}[request.param]


@pytest.fixture
def machine(address, tmp_path):
    """Makes the store of a machine, which notes what it built and what it reported."""
    return lambda name: Machine(tmp_path / name, address)


class Machine(Store):
    def __init__(self, root, address):
        self.reports, self.built = [], 0
        super().__init__(root, self.reports.append, Remote(address) if address else None)

    def made(self) -> dict[str, bytes]:
        """The files of the entry, built if it is nowhere."""

        def build(folder):
            self.built += 1
            for name, content in CONTENTS.items():
                (folder / name).parent.mkdir(exist_ok=True)
                (folder / name).write_bytes(content)

        folder = self.get("stage", KEY, build)
        assert store.damage(folder) is None
        return {name: (folder / name).read_bytes() for name in CONTENTS}


def files_at(address) -> dict[str, bytes]:
    files, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
    return {path.removeprefix(root).lstrip("/"): files.cat_file(path) for path in files.find(root)}


def test_an_entry_of_one_machine_is_there_on_another(machine):
    first, second = machine("first"), machine("second")
    assert not second.has("stage", KEY) and not second.exists("stage", KEY)
    assert first.made() == CONTENTS
    assert second.exists("stage", KEY) and not second.path("stage", KEY).exists()  # nothing is fetched to say so
    assert second.made() == CONTENTS
    assert (first.built, second.built) == (1, 0)
    manifests = {(each.path("stage", KEY) / "manifest.json").read_bytes() for each in (first, second)}
    assert len(manifests) == 1


def test_a_glance_fetches_the_files_of_some_names(machine, address):
    first, second = machine("first"), machine("second")
    with second.glance("stage", KEY, "empty") as folder:
        assert folder is None
    first.made()
    with first.glance("stage", KEY, "empty") as folder:
        assert folder == first.path("stage", KEY)
    with second.glance("stage", KEY, "preset/config.json") as folder:
        assert store.read_manifest(folder / "manifest.json")["key"] == KEY
        assert (folder / "preset" / "config.json").read_bytes() == b"{}" and not (folder / "weights.bin").exists()
    assert not folder.exists() and not second.path("stage", KEY).exists()
    Path(first.root, "cut").write_bytes(b"{")
    first.remote.send_file(first.root / "cut", f"files/{store.sha256_file(first.path('stage', KEY) / 'empty')[:2]}/"
                           + store.sha256_file(first.path("stage", KEY) / "empty"))  # fmt: skip
    with second.glance("stage", KEY, "empty") as folder:
        assert folder is None  # damaged: the whole entry is looked at, and is removed there
    assert len(second.reports) == 1


def test_what_was_made_before_there_was_an_address_is_sent(machine, address):
    Machine(machine("first").root, None).made()
    assert not machine("second").has("stage", KEY)
    assert machine("first").is_shared("stage", KEY)
    assert machine("second").is_shared("stage", KEY) and machine("second").has("stage", KEY)


def test_an_upload_that_ends_early_is_no_entry_and_goes_on(machine, address, monkeypatch):
    upload, sent = Remote._upload, []

    def fails_after_one(self, source, path):
        if sent:
            raise KeyboardInterrupt
        sent.append(source.name)
        upload(self, source, path)

    monkeypatch.setattr(Remote, "_upload", fails_after_one)
    with pytest.raises(KeyboardInterrupt):
        machine("first").made()
    assert not machine("second").has("stage", KEY)
    monkeypatch.setattr(
        Remote, "_upload", lambda self, source, path: (sent.append(source.name), upload(self, source, path))
    )
    first = machine("first")
    assert first.made() == CONTENTS and first.built == 0  # it is in place since before the upload
    assert len(sent) == len(CONTENTS) == len({*sent})
    assert machine("second").made() == CONTENTS


@pytest.mark.parametrize("damage", ["cut", "changed", "missing", "manifest", "elsewhere"])
def test_damage_at_the_address_is_reported_and_mended(machine, address, damage):
    machine("first").made()
    files, root = fsspec.core.url_to_fs(address, skip_instance_cache=True)
    largest = max(files_at(address), key=lambda name: len(files_at(address)[name]))
    manifest = f"{root}/stage/{KEY[:16]}.json"
    if damage == "missing":
        files.rm(f"{root}/{largest}")
    elif damage == "elsewhere":
        listed = store.read_manifest(machine("first").root / "stage" / KEY[:16] / "manifest.json")
        listed["files"]["../../../out"] = listed["files"].pop("weights.bin")
        store.write_manifest(Path(machine("first").root, "forged.json"), listed)
        files.pipe_file(manifest, Path(machine("first").root, "forged.json").read_bytes())
    else:
        new = {"cut": b"we", "changed": b"W" + CONTENTS["weights.bin"][1:], "manifest": b"{"}[damage]
        files.pipe_file(manifest if damage == "manifest" else f"{root}/{largest}", new)
    second = machine("second")
    assert second.made() == CONTENTS and second.built == 1
    assert len(second.reports) == 1 and second.reports[0].endswith("building it again")
    assert address in second.reports[0]
    assert not list(second.root.parent.glob("**/out"))
    third = machine("third")
    assert third.made() == CONTENTS and not third.built and not third.reports


def test_an_unfinished_entry_goes_on_elsewhere(machine, address):
    first, second = machine("first"), machine("second")
    state = first.taken_up("stage", KEY) / "state.npz"
    part = first.taken_up("stage", KEY) / "parts" / "00001" / "answers.bin"
    for path, content in ((state, b"step 1"), (part, b"yes")):
        store.write_bytes(path, content)
        first.hand_on(path)
    store.write_bytes(state, b"step 2")
    first.hand_on(state)
    taken = second.taken_up("stage", KEY)
    assert (taken / "state.npz").read_bytes() == b"step 2"
    assert (taken / "parts" / "00001" / "answers.bin").read_bytes() == b"yes"
    store.write_bytes(taken / "state.npz", b"step 3")
    assert (second.taken_up("stage", KEY) / "state.npz").read_bytes() == b"step 3"  # its own is not replaced
    second.made()
    assert not [name for name in files_at(address) if name.startswith("unfinished")]
    assert not second.unfinished("stage", KEY).exists()


def test_a_server_that_fails_for_a_moment_is_asked_again(machine, monkeypatch):
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    first, failures = machine("first"), iter([OSError("busy"), TimeoutError("slow")])
    pipe = first.remote._files.pipe_file

    def pipe_file(*arguments):
        if error := next(failures, None):
            raise error
        pipe(*arguments)

    monkeypatch.setattr(first.remote._files, "pipe_file", pipe_file)
    assert first.made() == CONTENTS


@pytest.mark.parametrize("error", [OSError("no route to host"), PermissionError("Access Denied")])
def test_a_server_that_refuses_is_one_sentence(machine, monkeypatch, error):
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    first = machine("first")

    def refuse(*_):
        raise error

    with monkeypatch.context() as patch:
        patch.setattr(first.remote._files, "pipe_file", refuse)
        with pytest.raises(CatKerasError, match=f"can be read and written. Received: .*{error}.*same command again"):
            first.remote.check()
        with pytest.raises(CatKerasError, match="What was finished is kept here"):
            first.made()
    again = machine("first")
    assert again.made() == CONTENTS and not again.built


def test_a_checked_address_has_nothing_new(address):
    Remote(address).check()
    assert files_at(address) == {}


def test_a_bucket_that_is_not_there_is_one_sentence(monkeypatch):
    pytest.importorskip("s3fs")
    monkeypatch.setattr(remote, "PAUSE", 0.0)
    with object_store.bucket(monkeypatch), pytest.raises(CatKerasError, match=r"read and written. Received: s3:"):
        Remote("s3://nobody-has-this-one/folder").check()


@pytest.mark.parametrize("wrong", ["nosuch://bucket/folder", "s4://x"])
def test_an_address_that_is_none_is_one_sentence(wrong):
    with pytest.raises(CatKerasError, match=r"an address that fsspec can open. Received: .*Write s3://"):
        Remote(wrong)


def test_a_package_that_is_missing_is_named(monkeypatch):
    monkeypatch.setitem(sys.modules, "s3fs", None)
    monkeypatch.delitem(sys.modules["fsspec.registry"]._registry, "s3", raising=False)
    with pytest.raises(CatKerasError, match=r"cat-keras\[s3\]"):
        Remote("s3://bucket/folder")
