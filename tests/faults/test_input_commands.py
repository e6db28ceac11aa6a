"""The command line with anything for arguments: exit status 0, or 2 with one line that begins with `error:`."""

import contextlib
import io
import os
import re
import sys
from unittest import mock

import pytest
from hypothesis import strategies as st

from benchmarks import cli
from benchmarks.tasks import task
from tests import runs
from tests.faults import cases, strange

QUICK = ["--set", "data.train=16", "--set", "data.test=4"]
NAMES = ("embedded", "embedded_lookup", "sst2", "all", "superglue", "wmt22", "nano", "xent,cat-xent", "xent,,",
    "local", "samples", "0", "1", "2", "-1", "0/1", "3/2", "1/0", "-1/2", "mirrored", "cpu2", "h100", "test", "train",
    "mix", "float32", "csv", "classification", "accuracy", "data.train=3", "seeds=[]", "rule=chow-sum", "methods=[]",
    "0.1/0.4", "1/2/3", "inf")  # fmt: skip
OPTIONS = {
    "list": ("--data", "--suite", "--cluster", "--kind", "--metric", "--source", "--here", "--json", "--markdown"),
    "show": ("--data", "--source", "--split", "-n", "--template", "--seed", "--json"),
    "run": ("--data", "--source", "--small", "--large", "--methods", "--tasks", "--skip", "--seeds", "--set",
            "--strategy", "--precision", "--log", "--done", "--only",
            "--hardware"),
    "report": ("--out", "--to", "--price-small", "--price-large"),
    "keep": ("--to", "--out", "--add"),
    "verify": (),
    "compare": ("--out", "--anyway"),
    "token-level": ("--out", "--methods", "--seeds", "--rules", "--limit", "--gamma"),
    "prepare": ("--out", "--source", "--data"),
    "nothing": ("--help",),
}  # fmt: skip
FLAGS = ("--here", "--json", "--markdown", "--add", "--anyway", "--help")


def call(*arguments: str) -> tuple[int, str, str]:
    """Exit status, standard output and standard error of one call in this process; a traceback is raised."""
    out, err = (
        io.TextIOWrapper(io.BytesIO(), "utf-8", errors, write_through=True) for errors in ("strict", "backslashreplace")
    )
    status = 0
    with (
        mock.patch.object(sys, "argv", ["benchmarks", *arguments]),
        contextlib.redirect_stdout(out),
        contextlib.redirect_stderr(err),
    ):
        try:
            cli.main()
        except SystemExit as end:
            status = end.code or 0
    return status, *(stream.buffer.getvalue().decode("utf-8", "surrogatepass") for stream in (out, err))


def check_call(*arguments: str):
    status, out, err = call(*arguments)
    assert status in (0, 1, 2), (status, err)
    assert "Traceback" not in out + err
    if status == 2 and "Usage:" not in err:
        assert err.startswith("error: ") and err.endswith("\n")
        strange.check_message(err.removesuffix("\n"))
    return status


def no_nul(text: str) -> str:
    """An argument as the system passes it on: without NUL, and bytes that are no UTF-8 as surrogates of its own."""
    return os.fsdecode(text.replace("\0", "").encode(errors="replace") + (b"\xff" if "\ud800" in text else b""))


words = st.one_of(
    st.sampled_from(NAMES),
    strange.texts.map(no_nul),
    st.sampled_from(["file", "folder", "finished", "junk"]),
)


@st.composite
def commands(draw):
    name = draw(st.sampled_from([*OPTIONS, "run", "run", "show"]))
    arguments = [draw(words) for _ in range(draw(st.integers(name not in ("list", "run", "verify"), 2)))]
    if name == "run":
        arguments = draw(st.sampled_from([["embedded"], ["embedded"], [], arguments]))
    for option in draw(st.lists(st.sampled_from(OPTIONS[name]), max_size=3)) if OPTIONS[name] else ():
        arguments += [option] if option in FLAGS else [option, draw(words)]
    if name == "run":
        # --set of the draw comes first, so that the sizes are small; the last word is that nothing is trained.
        return [name, *arguments, *QUICK, "--dry-run"]
    # Downloads show bars, and there is nothing to download from.
    return [name, *arguments, *(["--source", "local"] if name == "prepare" else [])]


@pytest.fixture
def place(tmp_path, monkeypatch):
    """A folder to call from, with a finished run, a file, an empty folder and a folder of junk in it."""
    runs.full(tmp_path / "finished", ("sst2",), ("xent",), (0,), n=4)
    (tmp_path / "file").write_text("text")
    (tmp_path / "folder").mkdir()
    (tmp_path / "junk").mkdir()
    for name in ("manifest.json", "examples.parquet", "predictions.parquet"):
        (tmp_path / "junk" / name).write_bytes(b"\0junk")
    monkeypatch.chdir(tmp_path)
    for declared in task.select("embedded"):
        monkeypatch.setitem(declared.source.sizes, "train", 40)  # rows take a second to make
    monkeypatch.setattr("benchmarks.report.files", runs.quick_report)
    monkeypatch.setattr("benchmarks.report.build", lambda folder, *_: runs.quick_report(load(folder)))
    return tmp_path


def load(folder):
    from benchmarks.report.reading import load

    return load.load(folder)


@pytest.mark.parametrize("n", cases(20, 700))
def test_any_arguments(n, place):
    statuses = {0: 0, 1: 0, 2: 0}

    def check(command):
        statuses[check_call(*command)] += 1

    strange.prove(check, n, command=commands())
    assert statuses[0] > n / 40 and statuses[2] > n / 3


@pytest.mark.parametrize(
    "command",
    [
        "report junk", "report folder", "report file", "report nothing finished", "report finished --price-small 1",
        "keep junk --to k", "keep finished --to file", "keep finished --to file/below", "keep finished --to finished",
        "verify junk", "verify folder", "verify file", "verify", "compare junk finished", "compare finished file",
        "show sst2 --data file", "show sst2 --data folder -n 0", "show sst2 --source samples --template 9",
        "list --data file", "list --data folder --source local", "run --seeds -2 --dry-run", "token-level finished",
        "run --out file --tasks nothing", "run file", "run folder.toml", "--tasks-file folder list",
        "prepare sst2 --out file --source local --data folder", "prepare sst2 --out folder --source local",
        "token-level junk", "show sst2 --source samples --template " + "9" * 5000, "run " + "x" * 3000,
        "report " + "x" * 3000, "run --on " + "9" * 5000, "list --cluster nothing", "show nothing",
        "run --set seeds=[-1] --dry-run",
    ],
)  # fmt: skip
def test_status_2_and_one_line(command, place):
    (place / "folder.toml").mkdir()
    before = set(place.rglob("*"))
    assert check_call(*command.split(" ")) == 2 or "list --data" in command
    written = {path.name for path in set(place.rglob("*")) - before}
    assert written <= {"log.txt", "runs"}, written  # nothing half done


def test_a_prompt_injected_escape_reaches_no_terminal(tmp_path, monkeypatch):
    """What `show` prints of data moves no cursor and hides no text."""
    folder = tmp_path / "glue" / "sst2"
    folder.mkdir(parents=True)
    (folder / "validation.jsonl").write_text(
        '{"sentence": "a\\u001b[2J\\u001b]0;owned\\u0007b\\u202ec [red]", "label": 0}\n'
    )
    (folder / "train.jsonl").write_text("")
    status, out, _ = call("show", "sst2", "--data", str(tmp_path))
    assert status == 0 and "[red]" in out
    assert not re.search("[\x00-\x08\x0b-\x1f\x7f\u202a-\u202e\u2066-\u2069]", out), repr(out)
