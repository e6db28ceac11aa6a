"""`python -m benchmarks perf`: what it lists, its help, and what it says to a name that it does not have."""

import csv
import inspect
import re
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import cli
from benchmarks.cli import perf

ROOT = Path(__file__).parents[2]
NAMES = [command.callback.__name__ for command in perf.app.registered_commands]


def call(monkeypatch, *words: str) -> int:
    """Exit status of the command line."""
    monkeypatch.setattr(sys, "argv", ["benchmarks", "perf", *words])
    with pytest.raises(SystemExit) as end:
        cli.main()
    return end.value.code


def test_the_list_has_a_line_for_each_measurement(monkeypatch, capsys):
    assert call(monkeypatch) == 0
    lines = capsys.readouterr().out.splitlines()
    assert [line.split()[0] for line in lines[: len(NAMES)]] == NAMES
    assert all(len(line) <= 120 for line in lines)
    assert "perf NAME --help" in lines[-1]


def test_every_measurement_is_a_command():
    modules = (ROOT / "benchmarks" / "perf").glob("*.py")
    assert sorted(NAMES) == sorted(path.stem for path in modules if "\ndef measure(" in path.read_text())


@pytest.mark.parametrize("name", NAMES)
def test_help_names_every_option(monkeypatch, capsys, name):
    monkeypatch.setenv("COLUMNS", "200")
    assert call(monkeypatch, name, "--help") == 0
    text, command = capsys.readouterr().out, getattr(perf, name)
    assert "Usage" in text and command.__doc__.splitlines()[0] in text
    for parameter in inspect.signature(command).parameters:
        assert parameter in ("parts", "profile", "table", "file") or f"--{parameter} " in text
        assert parameter in text


def test_the_list_and_every_help_load_no_measurement():
    code = (
        "import sys; from benchmarks import cli\n"
        "def call(*words):\n"
        "    sys.argv = ['benchmarks', *words]\n"
        "    try: cli.main()\n"
        "    except SystemExit as end: assert not end.code, words\n"
        "    assert not {'tensorflow', 'keras', 'pandas', 'numpy', 'benchmarks.perf'} & set(sys.modules), words\n"
        "call('list', 'embedded')\n"
        "call('perf')\n"
        f"for name in {NAMES}: call('perf', name, '--help')\n"
    )
    subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)


def test_an_unknown_measurement_is_one_line(monkeypatch, capsys):
    assert call(monkeypatch, "trainig", "--rounds", "1") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Unknown measurement 'trainig'; did you mean training") and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize("name", ["training", "decoding"])
def test_an_unknown_part_is_one_line(monkeypatch, capsys, name):
    assert call(monkeypatch, name, "speling") == 2
    error = capsys.readouterr().err
    assert error.startswith("error: Unknown part 'speling'; ") and error.count("\n") == 1


@pytest.mark.slow
@pytest.mark.parametrize(
    "module", ["encoding", "growth", "load", "report", "starts", "torch_gpt", "transformers_gemma"]
)
def test_a_module_that_is_started_by_a_measurement_names_its_command(module):
    command = [sys.executable, "-m", f"benchmarks.perf.{module}", "--help"]
    done = subprocess.run(command, capture_output=True, text=True, cwd=ROOT)
    assert done.returncode == 1
    assert re.fullmatch(r"Measure with: python -m benchmarks perf (.*)\n", done.stderr)[1].split()[0] in NAMES


TABLES = {
    "training": ("objectives", "ceiling", "auto", "dropout", "peer", "peer-bfloat16", "overhead"),
    "teacher": ("teacher-build", "teacher-read"),
    "decoding": ("generation", "scoring", "speculative", "cascade"),
    "padding": ("padding",),
    "growth": ("growth",),
    "encoding": ("encoding",),
    "load": ("load",),
    "report": ("report-areas",),
}


@pytest.mark.parametrize("name", TABLES)
def test_the_help_promises_what_the_committed_tables_say(name):
    promises = set()
    for table in TABLES[name]:
        path = ROOT / "results" / "perf" / f"{table}.csv"
        if path.exists():  # else it was not measured yet
            with path.open(encoding="utf-8") as file:
                promises |= {row[key] for row in csv.DictReader(file) for key in row if key.startswith("promise")}
    text = re.sub(r"\s+", " ", getattr(perf, name).__doc__)
    assert promises - {""} <= set(re.findall(r"[≥≤<] [\d.]*\d(?: s)?", text))
