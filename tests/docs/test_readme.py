"""Every command and snippet of the README, run as written (runs are made smaller by further options)."""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
README = (ROOT / "README.md").read_text(encoding="utf-8")
DATA = os.environ.get("CAT_KERAS_DATA", "")
BLOCKS = {
    language: re.findall(rf"```{language}\n(.*?)```", README, re.DOTALL) for language in ("bash", "python")
}  # fmt: skip
COMMANDS = [
    shlex.split(line, comments=True)
    for block in BLOCKS["bash"]
    for line in re.split(r"\n|&&", block)
    if line.strip().startswith(("python -m", "pytest benchmarks"))
]
SMALLER = (
    "data.train=8 data.test=3 data.vocabulary_size=400 buckets=1 teacher.k=4 large.tune.epochs=0.5 small.layers=1 "
    "large.layers=1 large.width=32 large.heads=1 small.width=16 small.heads=1"
).split()


def test_there_are_commands_and_snippets():
    assert len(COMMANDS) >= 6
    assert len(BLOCKS["python"]) == 5


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("readme")


def case(command):
    """CI takes verify in test_verify.py, one task in benchmarks/, other runs of the embedded suite in test_run.py."""
    real = "run" in command and not {"nano", "study", "embedded_lookup", "--seeds"}.isdisjoint(command)
    elsewhere = real or "verify" in command or "pytest" in command
    return pytest.param(command, id=" ".join(command), marks=[pytest.mark.long] if elsewhere else [])


@pytest.mark.parametrize("command", map(case, COMMANDS))
def test_command(command, place):
    if "DIR" in command and not DATA:
        pytest.skip("CAT_KERAS_DATA names no folder of real data")
    arguments = [DATA if word == "DIR" else word for word in command]
    arguments = arguments[1:] if arguments[0] == "python" else ["-m", "pytest", "--rootdir", str(ROOT), "-c",
        str(ROOT / "pyproject.toml"), str(ROOT / arguments[1]), *arguments[2:]]  # fmt: skip
    # What the tiny run of this test gave, beside itself: the committed one has other settings.
    arguments = ["runs/embedded" if word == "results/embedded" else word for word in arguments]
    if "full" in arguments:
        arguments += ["--tasks", "sst2,common_gen"]
    if arguments[2] == "run" and "--dry-run" not in arguments:
        named = {arguments[i + 1].partition("=")[0] for i, a in enumerate(arguments) if a == "--set"}
        arguments += [] if "--methods" in arguments else ["--methods", "xent,cat-dist"]
        arguments += [x for s in SMALLER if s.partition("=")[0] not in named - {"data.train"} for x in ("--set", s)]
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    where = ROOT if "verify" in arguments or "paper_figs" in arguments else place  # they read committed results
    done = subprocess.run([sys.executable, *arguments], cwd=where, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def test_snippets(place, monkeypatch, capsys):
    from cat_keras.modeling import models

    monkeypatch.chdir(place)
    colours = ["red", "green", "blue"]
    rows = [
        {"id": str(i), "prompt": f"Name the colour of thing {i}.\nAnswer:\n", "target": colours[i % 3]}
        for i in range(40)
    ]
    Path("train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    proto = models.train_tokenizer([row["prompt"] + row["target"] for row in rows], 320)
    for name, width in (("small", 16), ("large", 32)):
        model = models.build(proto, layers=1, width=width, heads=1, feedforward=16)
        models.save(model, Path("presets") / name)
    scope = {}
    for snippet in BLOCKS["python"]:
        exec(compile(snippet, "README.md", "exec"), scope)
    assert Path("presets/small-cat/config.json").exists()
    assert len(capsys.readouterr().out.strip().splitlines()) >= 2
