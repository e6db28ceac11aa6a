"""SALT by the command line, at a tiny size: what a user asks for, on real models."""

import json

import pytest

from tests import tiny

pytestmark = pytest.mark.long  # the guide of systems runs `salt` in CI

ARGUMENTS = ("--methods", "cat-dist", "--set", "large.pretrain.epochs=0", "--set", "teacher.k=12")


def manifest(folder):
    return json.loads((folder / "runs" / "tiny" / "manifest.json").read_text())


def test_a_run_with_chosen_sequences_and_its_baseline(tmp_path):
    salt = ("--set", "large.tune.objective=salt-ds", "--set", "large.tune.salt.share=0.5")
    planned = tiny.run(tmp_path, *ARGUMENTS, *salt, "--dry-run")
    assert "columns of the small model" in planned and "--set large.tune.epochs=2.0" in planned
    output = tiny.run(tmp_path, *ARGUMENTS, *salt)
    assert "columns of the small model: right on" in output
    assert output.index("small pretrain seed 0") < output.index("columns of the small") < output.index("large tune")
    assert manifest(tmp_path)["settings"]["large"]["tune"]["objective"] == "salt-ds"
    answers = tiny.predictions(tmp_path)
    (tmp_path / "runs" / "tiny").rename(tmp_path / "helped")

    again = tiny.run(tmp_path, *ARGUMENTS, *salt)
    assert "nothing to do" in again and tiny.predictions(tmp_path) == answers
    (tmp_path / "runs" / "tiny").rename(tmp_path / "again")

    output = tiny.run(tmp_path, *ARGUMENTS)
    assert "small pretrain" not in output and "large tune" in output  # the small start is the one that has helped
    assert tiny.predictions(tmp_path) != answers
