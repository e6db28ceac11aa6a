"""Every code block and command of the README and the guides, run as written; runs are made smaller by further options.

Python blocks of a page run in order in one namespace. A block whose first line is a comment with the name of a file is
that file. Blocks of bash hold commands; what is not run here stands in `ELSEWHERE` with the reason. All other languages
show what a file or an output looks like.
"""

import itertools
import json
import os
import re
import shlex
import shutil
import tomllib
from pathlib import Path

import pytest

from tests import commands
from tests.endpoint_server import serving

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
DATA = os.environ.get("CAT_KERAS_DATA", "")
GUIDES = sorted(str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md"))
PAGES = ["README.md", "CONTRIBUTING.md", *GUIDES, "results/README.md", "results/perf/README.md"]
BLOCKS = {
    page: re.findall(r"^```(\w+)\n(.*?)^```", (ROOT / page).read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE)
    for page in PAGES
}

# How a command begins → why it does not run here.
ELSEWHERE = {
    "pip install": "CI installs the project anew",
    "ruff": "CI checks the style",
    "pytest tests": "CI draws a few of these cases; many take hours",
    "lm_eval --model hf": "downloads a model and data; tests/harness evaluates models of ours",
    "python -m tests.cluster.kill_cluster": "takes an hour; test_cluster.py loses a node",
    "python -m tests.faults.kill_run": "takes hours; test_kill.py and test_run.py kill runs in CI",
    "pytest benchmarks -k boolq --data DIR --profile": "trains the models of a profile for an hour",
    "python -m benchmarks run asked.toml": "needs a server; test_endpoint_run.py has one",
    "python -m benchmarks prepare": "downloads; test_cli.py and test_tfds.py prepare stored rows",
    "python -m benchmarks perf": "measures for minutes; tests/perf has every measurement at a small size",
    "python -m benchmarks run full --dry-run --hardware here.toml": "of a measured machine; test_full.py reads a file",
    "python -m benchmarks route": "writes committed results; test_router_or_cascade.py makes prompts again",
    "python -m benchmarks verify --write": "writes committed results; test_verify.py writes copies",
    "python -m benchmarks keep study": "the run of hours is not there; embedded is kept here",
    "python -m benchmarks keep nano": "the run of hours is not there; embedded is kept here",
    "python -m benchmarks keep embedded_noise60": "the run is not there; embedded is kept here",
    "python -m benchmarks load": "needs latencies and more examples; test_load_command.py has both",
    "python -m benchmarks reject": "needs more questions than the runs here; test_rejecting.py mixes a tiny run",
    "python -m benchmarks retrieve": "trains for minutes; test_retrieve.py has the whole way at a tiny size",
    "python -m benchmarks pairs": "needs public answers; test_pairs.py has the whole way with invented ones",
    "python -m benchmarks sweep": "trains for hours; test_sweep_run.py has a sweep of two points",
    "python -m benchmarks best-rules": "reads committed results that are not here; test_best_rules.py invents some",
    "python -m benchmarks hypotheses": "reads committed results that are not here; test_hypotheses.py reads them",
    "python -m benchmarks forecast": "reads committed results that are not here; test_forecast.py has invented ones",
    "python -m benchmarks illustrate study": "the run of hours is not there; embedded is illustrated here",
    "python -m benchmarks compare runs/0": "the trainings are not there; test_compare.py compares several",
    "python -m benchmarks compare nano": "the run of hours is not there; embedded is compared here",
    "python -m benchmarks report results/nano": "draws again what is committed; embedded is reported here",
    "python -m paper_figs --check": "CI checks the figures",
    "vllm serve": "a server of its own; test_export_peer.py compares with transformers",
    "python -m benchmarks tune embedded_three": "the run is not there; test_chain_run.py tunes one",
    "python -m benchmarks export embedded_three": "the run is not there; test_chain_run.py exports of one",
    "ray start": "starts nodes that stay; tests/cluster has a cluster of several nodes",
    "RAY_ADDRESS=HEAD:6379": "the cluster is not there; tests/cluster has one",
    "python ask.py": "transformers is not installed in CI; test_export_peer.py compares with it",
}
# How a command begins → why it is planned here (--dry-run) and not run.
PLANNED = dict.fromkeys(
    (
        *("python -m benchmarks run study --data DIR --seeds", "python -m benchmarks run study_small"),
        *("python -m benchmarks run nano --data DIR --seeds", "python -m benchmarks run nano_tune"),
        *("python -m benchmarks run embedded_study", "python -m benchmarks run embedded_noise60"),
        "python -m benchmarks run room",
    ),
    "made the committed results in up to hours; runs of the same kind are in the guides",
) | {
    "python -m benchmarks run embedded_three": "test_chain_run.py trains three models",
    "python -m benchmarks run salt_ds": "test_salt_run.py trains with chosen sequences",
    "python -m benchmarks run elastic": "test_elastic_run.py trains a small ladder",
    "python -m benchmarks run embedded --set large.tune": "a run of the same kind is in the guides",
}
# Page → the package of an extra that its Python blocks need, and without which they are skipped.
NEEDED = {
    "docs/lm-eval.md": "lm_eval",
    "docs/endpoints.md": "openai",
    "docs/export.md": "safetensors",
    "docs/retrieval.md": "faiss",
}
# How a command begins → the quicker test that CI runs instead; -m "" runs both.
LONG = {
    "pytest benchmarks -k boolq": "CI runs one task of each kind",
    "python -m benchmarks verify": "test_verify.py",
    "python -m benchmarks run nano": "test_run.py",
    "python -m benchmarks run study": "test_run.py",
    "python -m benchmarks run --tasks": "test_run.py",
    "python -m benchmarks run --seeds": "test_run.py",
    "python -m benchmarks run defer_token": "test_run.py",
    "python -m benchmarks run full --source samples": "test_full.py",
    "python -m benchmarks run tiny --on ray": "test_cluster.py",
    "python -m benchmarks list --here": "test_listing.py",
    "python -m benchmarks token-level": "test_token_level.py",
    "python -m benchmarks illustrate": "test_paper_figs.py",
    "python -m benchmarks report embedded --price": "test_report.py",
    "python -m paper_figs": "CI checks the figures",
    **PLANNED,
}
QUICK = ("python -m benchmarks verify kept", "python -m paper_figs --list")  # begin like long ones
SMALLER = (
    "data.train=8 data.test=3 data.vocabulary_size=400 buckets=1 teacher.k=4 large.tune.epochs=0.5 small.layers=1 "
    "large.layers=1 large.width=32 large.heads=1 small.width=16 small.heads=1"
).split()


def begins(command: str, table) -> bool:
    return any(command.startswith(start) for start in table)


def pages_commands() -> dict[str, str]:
    """Every command of every page that is run here, once → the first page that has it."""
    found = {}
    for page, blocks in BLOCKS.items():
        for line in "\n".join(body for language, body in blocks if language == "bash").splitlines():
            for part in " ".join(shlex.split(line, comments=True)).split(" && "):
                command = part.strip()
                if command not in ("", "pytest") and not begins(command, ELSEWHERE):  # all tests are no test
                    found.setdefault(command, page)
    return found


def case(command: str):
    long = begins(command, LONG) and not begins(command, QUICK) and "--dry-run" not in command
    return pytest.param(command, id=command, marks=[pytest.mark.long] if long else [])


def file_of(body: str) -> str:
    """The name of the file that a block is, or ""."""
    first = re.match(r"# ([\w.-]+\.\w+)\n", body)
    return first[1] if first else ""


@pytest.fixture(scope="module")
def presets(tmp_path_factory):
    """What the guides take for granted: examples, and two models of one tokenizer."""
    from cat_keras.modeling import models

    folder = tmp_path_factory.mktemp("given")
    colours = ["red", "green", "blue"]
    rows = [
        {"id": str(i), "prompt": f"Name the colour of thing {i}.\nAnswer:\n", "target": colours[i % 3]}
        for i in range(40)
    ]
    (folder / "train.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    proto = models.train_tokenizer([row["prompt"] + row["target"] for row in rows], 320)
    for name, width in (("small", 16), ("large", 32), ("small-cat", 16)):
        model = models.build(proto, layers=1, width=width, heads=1, feedforward=16)
        models.save(model, folder / "presets" / name)
    return folder


@pytest.fixture(scope="module")
def place(tmp_path_factory, presets):
    """The folder of all commands, with the files that the guides write and the rows of the task that they declare."""
    folder = shutil.copytree(presets, tmp_path_factory.mktemp("commands") / "place")
    for _, body in itertools.chain.from_iterable(BLOCKS.values()):
        if file_of(body):
            (folder / file_of(body)).write_text(body)
    rows = folder / "mydata" / "colours" / "default" / "test.jsonl"
    rows.parent.mkdir(parents=True)
    rows.write_text('{"question": "Name the colour of the sky.", "answer": "blue"}\n')
    return folder


def made_small(arguments: list[str]) -> list[str]:
    """A run of seconds: the same command with options that make data and models small."""
    named = {arguments[i + 1].partition("=")[0] for i, word in enumerate(arguments) if word == "--set"}
    more = [] if "--methods" in arguments else ["--methods", "xent,cat-xent"]
    small = [s for s in SMALLER if s.partition("=")[0] not in named - {"data.train"}]
    if "--small" in arguments:  # a preset or another profile has its own shape
        small = [s for s in small if not s.startswith(("small.", "large."))]
    return more + [word for setting in small for word in ("--set", setting)]


@pytest.mark.parametrize("command", map(case, pages_commands()))
def test_command(command, place):
    if "DIR" in command and not DATA:
        pytest.skip("CAT_KERAS_DATA names no folder of real data")
    words = [DATA if word == "DIR" else word for word in command.split()]
    if words[0] == "pytest":
        words = ["pytest", "--rootdir", str(ROOT), "-c", str(ROOT / "pyproject.toml"), str(ROOT / words[1]), *words[2:]]
    else:
        assert words[:2] == ["python", "-m"], f"{command!r}: run it, or give the reason in ELSEWHERE"
        words = words[2:]
    # What the tiny run of this test gave, beside itself: the committed one has other settings.
    words = ["runs/embedded" if word == "results/embedded" else word for word in words]
    if "full" in words:
        words += ["--tasks", "sst2,common_gen"]
    words += ["--dry-run"] * begins(command, PLANNED)
    if words[1:2] == ["run"] and "--dry-run" not in words:
        words += made_small(words)
    if words[0] == "paper_figs" and not {"--results", "--list"} & {*words}:
        words += ["--out", str(place / "drawn")]
    where = ROOT if words == ["benchmarks", "verify"] or "paper_figs" in command else place
    where = place if "--results" in words else where
    done = commands.call(*words, cwd=where)
    assert done.returncode == 0, done.stdout + done.stderr
    assert done.stdout


def snippets(page: str) -> list[str]:
    return [body for language, body in BLOCKS[page] if language == "python" and not file_of(body)]


@pytest.fixture
def address():
    """Where a server answers in the place of the one that the guides take for granted."""
    with serving() as server:
        server.models, server.answer = None, lambda prompt: "red"
        yield server.url


@pytest.mark.allow_hosts(["127.0.0.1"])
@pytest.mark.parametrize("page", filter(snippets, PAGES))
def test_python_blocks(page, presets, tmp_path, monkeypatch, address):
    if page in NEEDED:
        pytest.importorskip(NEEDED[page])
    from cat_keras.cascades import deferral

    monkeypatch.setattr(deferral, "RULES", dict(deferral.RULES))  # a guide registers a rule
    monkeypatch.chdir(shutil.copytree(presets, tmp_path / "place"))
    scope = {"__name__": page}
    for number, body in enumerate(snippets(page), 1):
        body = body.replace("http://127.0.0.1:8000/v1", address)
        exec(compile(body, f"{page}, block {number} of Python", "exec"), scope)


def test_blocks_of_data_are_what_they_say():
    for page, blocks in BLOCKS.items():
        for language, body in blocks:
            assert language in ("bash", "python", "json", "toml", "text"), f"{page}: a block of {language}"
            if language == "json":
                [json.loads(line) for line in body.splitlines()]
            elif language == "toml":
                tomllib.loads(body)


def test_reasons_are_needed():
    """A reason whose command left the pages leaves the table."""
    lines = "\n".join(body for blocks in BLOCKS.values() for language, body in blocks if language == "bash")
    assert not [start for start in (*ELSEWHERE, *LONG, *QUICK) if start not in lines]
