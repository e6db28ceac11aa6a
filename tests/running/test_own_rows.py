"""A run on rows of a user: what is cut and which words are data is the same from the training to the report."""

import json

import pandas
import pytest

from benchmarks.report.reading import load
from tests import commands
from tests.tiny import EACH_STAGE, words

TASK = """
from benchmarks.sources import Dataset
from benchmarks.task import Task, register

register(
    Task(
        name="stories",
        suites=("own",),
        cluster="own",
        kind="generation",
        source=Dataset("stories", "1.0.0"),
        splits={"train": "train", "test": "test"},
        templates=("Read.\\n{story}\\nWhat colour was it?\\n",),
        cut={"story": "end"},
        target="answer",
        metric="exact_match",
    )
)
"""


@pytest.mark.long
def test_a_run_cuts_stories_and_counts_control_words(tmp_path):
    (tmp_path / "own.py").write_text(TASK)
    folder = tmp_path / "data/stories/default"
    folder.mkdir(parents=True)
    colours = ("red", "blue", "green")
    rows = [
        {"story": f"The {c} mill {n} stood by a river. " * (n % 3 * 8 + 1) + "<eos>" * (n % 4 == 0), "answer": c}
        for n in range(24)
        for c in colours
    ]
    for split, part in (("train", rows[:60]), ("test", rows[60:])):
        (folder / f"{split}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in part))
    command = ["--tasks-file", str(tmp_path / "own.py"), *words(tmp_path)]
    options = [
        "--data",
        str(tmp_path / "data"),
        "--set",
        'data.tasks=["stories"]',
        "--set",
        'data.train="all"',
        *EACH_STAGE,
    ]
    commands.benchmarks(*command, *options)
    results = tmp_path / "runs/tiny"
    log = (results / "log.txt").read_text()
    assert "15 hold the word of a control token, which is read as text" in log  # of 60 training rows
    assert "3 hold the word of a control token" in log  # of 12 test rows
    encoded = json.loads((results / "manifest.json").read_text())["encoded"]
    assert 40 <= encoded["prompts_cut"] <= 60  # two of three stories are long
    assert (encoded["prompts_overlong"], encoded["control_words"]) == (0, 15)
    assert set(pandas.read_parquet(results / "examples.parquet").cut.map(len)) == {1}
    run = load.load(results)
    assert all(e.prompt[slice(*e.cut[0])].startswith("The ") for e in run.examples["stories"])
