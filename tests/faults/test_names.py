"""Names of tasks, runs, presets, methods, keys and examples lead out of no folder."""

from pathlib import Path

import pytest

from benchmarks import report
from benchmarks.keeping import keep
from benchmarks.planning import profile
from benchmarks.sources import Dataset
from benchmarks.tasks import task
from cat_keras.errors import CatKerasError
from cat_keras.storage import store, untrusted
from tests import runs

NAMES = (
    "", ".", "..", "../up", "../../etc/passwd", "/absolute", "a/b", "a\\b", "..\\up", "C:\\x", "C:", "a\0b", "a\nb",
    "x" * 300, "é" * 60, "\u202eexe", "\u200b", "\ud800", " blank", "blank ", "dot.", ".hidden", "nul", "NUL.txt",
    "con", "Aux", "com1", "LPT9.x", "a:b", "a*", "a?", 'a"b', "a<b", "a|b",
)  # fmt: skip


@pytest.mark.parametrize("name", NAMES)
def test_names_that_could_leave_their_folder_are_refused(name, tmp_path):
    with pytest.raises(CatKerasError, match="The name of a run is that of a file"):
        profile.read("embedded", {"name": name})
    with pytest.raises(CatKerasError, match="The name of a method is that of a file"):
        profile.read("embedded", {"variants": {name: {"objective": "xent"}}})
    with pytest.raises(CatKerasError, match="The name of a task is that of a file"):
        task.Task(name=name, suites=(), cluster="", kind="generation", source=Dataset("x", "1.0.0"), splits={},
                  templates=("{x}:\n",), target="x", metric="exact_match")  # fmt: skip
    with pytest.raises(CatKerasError, match="A key is a hash"):
        store.Store(tmp_path).path("train", name)


def test_every_name_of_the_project_is_plain():
    names = [*task.names(), *profile.names()]
    for each in profile.names():
        names += profile.read(each).methods
    assert len(names) > 100 and all(map(untrusted.is_plain, names))


@pytest.mark.parametrize("file", ["..toml", "...toml", "nul.toml", "x" * 100 + ".toml", "cache.toml", "Logs.toml"])
def test_files_of_profiles_that_name_no_run(tmp_path, file):
    (tmp_path / file).write_text((profile.FOLDER / "embedded.toml").read_text())
    with pytest.raises(CatKerasError, match=r"^(The name of a run|A run has a folder of its own|Unknown profile)"):
        profile.read(str(tmp_path / file))


def test_a_base_lies_beside_its_profile(tmp_path):
    (tmp_path / "up.toml").write_text((profile.FOLDER / "embedded.toml").read_text())
    (tmp_path / "in").mkdir()
    (tmp_path / "in" / "mine.toml").write_text('base = "../up"')
    with pytest.raises(CatKerasError, match="The name of a profile is that of a file"):
        profile.read(str(tmp_path / "in" / "mine.toml"))


def tree(folder: Path) -> dict[str, bytes]:
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def test_ids_tasks_and_methods_of_a_strangers_run_write_nowhere_else(tmp_path, monkeypatch):
    """`keep` of a run whose manifest, ids, groups and methods are paths: nothing but the folder that was asked for."""
    monkeypatch.setattr(report, "files", runs.quick_report)
    run = runs.full(
        tmp_path / "run",
        ("sst2", "multirc"),
        ("xent", "../../cat"),
        n=20,
        ids="../../../x\\..\\/tmp/y",
        profile="../../out",
    )
    (tmp_path / "mine").write_text("mine")
    before = tree(tmp_path)
    keep.keep(run, tmp_path / "kept")
    after = tree(tmp_path)
    assert {name: after[name] for name in before} == before
    assert all(name.startswith("kept/") for name in after.keys() - before.keys())


@pytest.mark.parametrize("target", ["../mine", "/mine", "sub/../../mine"])
def test_a_kept_folder_removes_no_file_of_others(tmp_path, monkeypatch, target):
    monkeypatch.setattr(report, "files", runs.quick_report)
    run = runs.full(tmp_path / "run", ("sst2",), n=20)
    mine = tmp_path / "mine"
    mine.write_text("mine")
    keep.keep(run, tmp_path / "kept")
    path, name = tmp_path / "kept" / "manifest.json", str(mine) if target.startswith("/") else target
    manifest = store.read_manifest(path)
    store.write_manifest(path, manifest | {"files": manifest["files"] | {name: "0" * 64}})
    keep.keep(run, tmp_path / "kept")
    assert mine.read_text() == "mine"


def test_a_strangers_manifest_removes_no_folder(tmp_path):
    """An entry that is damaged is removed: a key from a manifest must not name a folder elsewhere."""
    victim = tmp_path / "victim"
    victim.mkdir()
    for key in ("../../victim", str(victim), "../" * 5):
        with pytest.raises(CatKerasError, match="A key is a hash"):
            store.Store(tmp_path / "cache").has("train", key)
    assert victim.is_dir()


@pytest.mark.parametrize("name", ["../secret", "/etc/hostname", "sub/../../secret"])
def test_a_manifest_that_lists_files_elsewhere_is_damage(tmp_path, name):
    (tmp_path / "secret").write_text("secret")
    folder = tmp_path / "entry"
    folder.mkdir()
    store.write_manifest(folder / "manifest.json", {"files": {name: {"sha256": "0" * 64, "bytes": 6}}})
    assert "which lies elsewhere" in store.damage(folder)
