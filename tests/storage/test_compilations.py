"""Kept machine code: a second process takes it from the first, and nothing that was damaged is ever run."""

import os
from pathlib import Path

import pytest

from cat_keras.storage import compilations
from tests import commands


def kept(folder):
    (place,) = [path for path in folder.iterdir() if path.is_dir()]
    return place


def compiled(own, **contents):
    for name, content in contents.items():
        (own / f"{name}.pb").write_bytes(content)


def own_folder():
    flags = os.environ[compilations.FLAGS].split()
    return Path(next(flag.partition("=")[2] for flag in flags if flag.startswith(compilations.FLAG)))


def test_what_one_process_left_the_next_one_finds(tmp_path):
    with compilations.kept(tmp_path):
        compiled(own_folder(), one=b"code", two=b"more")
    assert compilations.FLAGS not in os.environ
    assert {path.name for path in kept(tmp_path).glob("*")} == {"one.pb", "two.pb", compilations.INDEX}
    with compilations.kept(tmp_path):
        assert {path.name for path in own_folder().iterdir()} == {"one.pb", "two.pb"}


def test_damaged_unknown_and_old_files_are_not_taken(tmp_path, monkeypatch):
    with compilations.kept(tmp_path):
        compiled(own_folder(), good=b"code", damaged=b"more")
    place = kept(tmp_path)
    (place / "damaged.pb").write_bytes(b"Xore")
    (place / "unknown.pb").write_bytes(b"from elsewhere")
    with compilations.kept(tmp_path):
        assert [path.name for path in own_folder().iterdir()] == ["good.pb"]
        compiled(own_folder(), later=b"newest")
    os.utime(place / "good.pb", (0, 0))
    monkeypatch.setattr(compilations, "MOST", len(b"newest"))
    with compilations.kept(tmp_path):
        assert [path.name for path in own_folder().iterdir()] == ["later.pb"]
    (place / compilations.INDEX).write_text("{")
    with compilations.kept(tmp_path):
        assert not list(own_folder().iterdir())


def test_code_so_far_is_left_before_the_end(tmp_path):
    with compilations.kept(tmp_path) as collect:
        compiled(own_folder(), one=b"code")
        collect()
        assert (kept(tmp_path) / "one.pb").read_bytes() == b"code"


def test_the_folder_of_the_user_is_left_alone(tmp_path, monkeypatch):
    monkeypatch.setenv(compilations.FLAGS, f"{compilations.FLAG}=/elsewhere")
    with compilations.kept(tmp_path):
        assert os.environ[compilations.FLAGS] == f"{compilations.FLAG}=/elsewhere"
    assert not list(tmp_path.iterdir())
    monkeypatch.setenv(compilations.FLAGS, "--tf_xla_cpu_global_jit")
    with compilations.kept(tmp_path):
        assert os.environ[compilations.FLAGS].startswith("--tf_xla_cpu_global_jit ")
    assert os.environ[compilations.FLAGS] == "--tf_xla_cpu_global_jit"


@pytest.mark.skipif(os.geteuid() == 0, reason="nothing is forbidden to the superuser")
def test_a_folder_that_cannot_be_written_costs_nothing_else(tmp_path):
    tmp_path.chmod(0o500)
    with compilations.kept(tmp_path / "in"):
        assert compilations.FLAGS not in os.environ
    tmp_path.chmod(0o700)


@pytest.mark.slow
def test_tensorflow_takes_it(tmp_path):
    first, second = (commands.call("tests.compiled", str(tmp_path)) for _ in range(2))
    assert first.returncode == second.returncode == 0, first.stderr + second.stderr
    (none, some, total), (held, still, same) = (done.stdout.split() for done in (first, second))
    assert none == "0" and int(some) > 0 and held == still == some and total == same
