"""The command line as a user meets it: quick, and one line for what is wrong."""

import subprocess
import sys

import pytest


def benchmarks(*arguments, cwd=None):
    return subprocess.run([sys.executable, "-m", "benchmarks", *arguments], capture_output=True, text=True, cwd=cwd)


@pytest.mark.parametrize("arguments", [("--help",), ("run", "--help"), ("show", "--help"), ("report", "--help")])
def test_help(arguments):
    done = benchmarks(*arguments)
    assert done.returncode == 0
    assert "Usage" in done.stdout


def test_list_and_help_load_no_framework():
    code = (
        "import sys; from benchmarks import cli\n"
        "sys.argv = ['benchmarks', 'list']\n"
        "try: cli.main()\n"
        "except SystemExit: pass\n"
        "assert not {'tensorflow', 'keras', 'pandas', 'numpy'} & set(sys.modules)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr
    assert "embedded_lookup" in done.stdout
    assert "wmt22_ende" in done.stdout


def test_every_task_has_samples_to_show():
    done = benchmarks("list", "all")
    assert done.stdout.count("samples") == 93
    assert "97 tasks" in done.stdout  # and the four embedded ones


def test_own_tasks_come_from_a_file(tmp_path):
    (tmp_path / "mine.py").write_text(
        "from benchmarks.sources import Dataset\n"
        "from benchmarks.task import Task, register\n"
        "register(Task(name='mine', suites=('own',), cluster='own', kind='generation',\n"
        "    source=Dataset('mine', '1.0.0'),\n"
        "    splits={'test': 'test'}, templates=('{question}:\\n',), target='answer', metric='exact_match'))\n"
    )
    (tmp_path / "mine" / "default").mkdir(parents=True)
    (tmp_path / "mine" / "default" / "test.jsonl").write_text('{"question": "Two and two", "answer": "four"}\n')
    done = benchmarks("--tasks-file", str(tmp_path / "mine.py"), "show", "mine", "--data", str(tmp_path))
    assert done.returncode == 0, done.stderr
    assert "Two and two:\nfour" in done.stdout
    missing = benchmarks("--tasks-file", str(tmp_path / "not.py"), "list")
    assert missing.returncode == 2
    assert "no such file" in missing.stderr


def test_prepared_data_is_read_back_and_checked(tmp_path):
    import json

    rows = [{"sentence": f"film {i} was fine", "label": i % 2, "idx": i} for i in range(300)]
    for part in ("train", "validation"):
        folder = tmp_path / "in" / "glue" / "sst2"
        folder.mkdir(parents=True, exist_ok=True)
        (folder / f"{part}.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    out = tmp_path / "out"
    arguments = ("--source", "local", "--data", str(tmp_path / "in"))
    assert benchmarks("prepare", "sst2", "--out", str(out), *arguments).returncode == 0
    assert benchmarks("show", "sst2", "--data", str(out)).returncode == 0
    (out / "glue" / "sst2" / "validation.jsonl").write_text(json.dumps(rows[0]) + "\n")
    damaged = benchmarks("show", "sst2", "--data", str(out))
    assert damaged.returncode == 2
    assert "validation.jsonl" in damaged.stderr


def test_show_prints_prompt_and_target():
    done = benchmarks("show", "embedded_lookup", "-n", "2")
    assert done.returncode == 0
    assert done.stdout.count("Answer:") == 2


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("show", "sst3"), "Unknown task, suite or cluster 'sst3'; did you mean sst2"),
        (("show", "sst2", "--source", "sampels"), "Unknown source 'sampels'; did you mean samples"),
        (("list", "embeded"), "did you mean embedded"),
        (("run", "nanoo"), "Unknown profile 'nanoo'; did you mean nano"),
        (("run", "--methods", "cat_xent"), "Unknown method 'cat_xent'; did you mean cat-xent"),
        (("run", "--set", "data.tset=3"), "Unknown profile key 'data.tset'; did you mean data.test"),
        (("run", "--tasks", "embedded_loockup"), "did you mean embedded_lookup"),
        (("run", "nano", "--data", "/nowhere"), "/nowhere"),
        (("run", "nano"), "--data"),
        (("report", "nothing"), "Unknown run 'nothing'"),
    ],
)
def test_bad_input_is_one_line_and_status_2(arguments, message, tmp_path):
    done = benchmarks(*arguments, *(("--out", str(tmp_path)) if arguments[0] in ("run", "report") else ()))
    assert done.returncode == 2
    assert message in done.stderr
    assert len(done.stderr.strip().splitlines()) == 1
    assert "Traceback" not in done.stderr
