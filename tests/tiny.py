"""Whole runs of a profile so small that one takes half a minute, by the command line."""

import subprocess
import sys
from pathlib import Path

import pandas

from tests import commands

PROFILE = """
methods = ["xent", "cat-dist"]
buckets = 1
[data]
tasks = ["embedded_lookup", "embedded_classify"]
train = 48
test = 12
max_length = 48
max_new_tokens = 8
vocabulary_size = 400
[large]
layers = 2
width = 32
heads = 2
feedforward = 32
pretrain = {epochs = 1, learning_rate = 1e-3, batch_size = 16}
tune = {epochs = 2, learning_rate = 1e-3, batch_size = 16}
[small]
layers = 1
width = 16
heads = 1
feedforward = 16
pretrain = {epochs = 1, learning_rate = 1e-3, batch_size = 16}
[objective]
epochs = 2
learning_rate = 1e-3
batch_size = 16
[teacher]
k = 4
"""

# Every stage once, in less than half of the time.
EACH_STAGE = ("--methods", "cat-dist", "--set", "large.pretrain.epochs=0", "--set", "small.pretrain.epochs=0")


def words(folder: Path) -> list[str]:
    """The command of a run in a folder, behind `python -m benchmarks`."""
    (folder / "tiny.toml").write_text(PROFILE)
    return ["run", str(folder / "tiny.toml"), "--out", str(folder / "runs")]


def start(folder: Path, *arguments: str) -> subprocess.Popen:
    command = [sys.executable, "-u", "-m", "benchmarks", *words(folder), *arguments]
    return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)


def run(folder: Path, *arguments: str, status: int = 0) -> str:
    """What a run prints that ends with a status."""
    return commands.benchmarks(*words(folder), *arguments, status=status)


def command(folder: Path, *arguments: str) -> str:
    """What another command says of the runs in a folder."""
    words = [sys.executable, "-m", "benchmarks", *arguments, "--out", str(folder / "runs")]
    done = subprocess.run(words, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert done.returncode == 0, done.stdout
    return done.stdout


def predictions(folder: Path) -> str:
    """What the models answered, without the times."""
    table = pandas.read_parquet(folder / "runs" / "tiny" / "predictions.parquet").drop(columns="seconds")
    return table.to_json(double_precision=15)
