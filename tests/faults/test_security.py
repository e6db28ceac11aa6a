"""Nothing that came as data runs as code: no module can, no preset may, and every dependency is the one it was."""

import ast
import base64
import json
import re
import sys
import tomllib
import types
from pathlib import Path

import pytest
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store, untrusted
from tests.faults.presets import preset, serialized

ROOT = Path(__file__).parents[2]

CODE_IN_DATA = {"pickle", "cloudpickle", "dill", "joblib", "marshal", "shelve", "yaml", "jsonpickle"}
NETWORK = {"socket", "http", "urllib", "requests", "ftplib", "httpx", "aiohttp", "xmlrpc", "smtplib", "openai"}
IMPORTS = CODE_IN_DATA | NETWORK | {"subprocess", "runpy", "code", "codeop", "ctypes"}
BUILTINS = {"eval", "exec", "compile", "__import__"}
METHODS = {
    "system",
    "popen",
    "exec_module",
    "import_module",
    "read_pickle",
    "to_pickle",
    "enable_unsafe_deserialization",
}
METHODS |= {"load_module", "resolve_name", "func_load", "run_path", "run_module"}
KEYWORDS = {"allow_pickle": False, "shell": False, "safe_mode": True, "trust_remote_code": False}
ALLOWED = {
    ("cat_keras/__init__.py", "resolve_name"): "names of a table in that file",
    ("cat_keras/data/chat.py", "system"): "the system prompt of a chat, no command",
    ("cat_keras/decoding/endpoints/client.py", "openai"): "asks the endpoints that the user names",
    ("cat_keras/decoding/endpoints/endpoint.py", "urllib"): "takes an address apart, no request",
    ("cat_keras/decoding/endpoints/predictor.py", "system"): "the system prompt of a chat, no command",
    ("cat_keras/training/device.py", "ctypes"): "tells the C library to keep memory, by three constants",
    ("benchmarks/tasks/task.py", "import_module"): "MODULES, a constant",
    ("benchmarks/tasks/extensions.py", "exec_module"): "--tasks-file names code of the user's own",
    ("benchmarks/cli/__init__.py", "load_module"): "that option",
    ("benchmarks/running/cluster/box.py", "load_module"): "that option, on a worker",
    ("benchmarks/running/cluster/gang.py", "socket"): "finds a free port of this host",
    ("benchmarks/running/cluster/joining.py", "socket"): "asks whether the cluster that the user names answers",
    ("benchmarks/test_reproduction.py", "subprocess"): "starts this project's command line, as a list of words",
    ("benchmarks/cli/run.py", "subprocess"): "asks a process of its own which device there is",
    ("benchmarks/report/plots/aside.py", "subprocess"): "starts itself, as a list of words",
    ("benchmarks/report/plots/aside.py", "pickle"): "figures and files between that process and this one",
    ("benchmarks/perf/calibrate.py", "subprocess"): "starts this project's command line, as a list of words",
    ("benchmarks/perf/paired.py", "subprocess"): "starts a module beside it, as a list of words",
    ("benchmarks/perf/peer.py", "subprocess"): "starts a module beside it, as a list of words",
    ("benchmarks/perf/registry.py", "subprocess"): "starts this project's command line, as a list of words",
}


def risky(source: str) -> set[str]:
    """What in a module could run code that came as data, reach a network or start a shell."""
    found = set()
    for node in ast.walk(ast.parse(source)):
        match node:
            case ast.Import(names=names):
                found |= {alias.name.partition(".")[0] for alias in names} & IMPORTS
            case ast.ImportFrom(module=str(module), level=0):
                found |= {module.partition(".")[0]} & IMPORTS
            case ast.Name(id=name, ctx=ast.Load()) if name in BUILTINS:
                found.add(name)
            case ast.Attribute(attr=name) if name in METHODS:
                found.add(name)
            case ast.keyword(arg=str(name), value=value) if name in KEYWORDS:
                if not (isinstance(value, ast.Constant) and value.value is KEYWORDS[name]):
                    found.add(name)
    return found


def test_no_module_can_run_code_that_came_as_data():
    modules = [path for part in ("cat_keras", "benchmarks", "paper_figs") for path in (ROOT / part).rglob("*.py")]
    assert len(modules) > 100
    found = {(path.relative_to(ROOT).as_posix(), name) for path in modules for name in risky(path.read_text())}
    assert found == set(ALLOWED)


@pytest.mark.parametrize(
    "line",
    [
        "import pickle", "from joblib import load", "import yaml as y", "eval('1')", "f = exec", "__import__('os')",
        "np.load(p, allow_pickle=True)", "np.load(p, allow_pickle=flag)", "subprocess.run(c, shell=True)",
        "keras.models.load_model(p, safe_mode=False)", "keras.config.enable_unsafe_deserialization()",
        "pandas.read_pickle(p)", "os.system('ls')", "from urllib.request import urlopen", "import http.client",
        "AutoModel.from_pretrained(n, trust_remote_code=True)", "importlib.import_module(name)",
    ],
)  # fmt: skip
def test_what_the_search_finds(line):
    assert risky(f"def f():\n    {line}\n")


def test_templates_trust_nothing_but_our_own_script_and_style():
    text = (ROOT / "benchmarks/report/page/html/page.html.j2").read_text()
    assert sorted(re.findall(r"{{ (\w+) \| safe }}", text)) == ["script", "style"]
    assert len(re.findall(r"\bsafe\b", text)) == 2 and "autoescape" not in text


RAN = "import pathlib; pathlib.Path('ran').touch()"
CODE = base64.b64encode(RAN.encode()).decode()
ATTACKS = {
    "a Lambda layer": serialized("Lambda", function=serialized("__lambda__", "builtins", value=[CODE, None, None])),
    "a bare lambda": serialized("__lambda__", "builtins", value=[CODE, None, None]),
    "a Lambda by its registered name": serialized("Dense", registered="keras>Lambda"),
    "a function of os": {"module": "os", "class_name": "function", "config": "system", "registered_name": "system"},
    "a class of subprocess": serialized("Popen", "subprocess", args=["touch", "ran"]),
    "a class of a package that resembles": serialized("Layer", "keras_evil.layers"),
    "a SavedModel": serialized("TFSMLayer", filepath="/tmp/other"),
    "a pickled torch module": serialized("TorchModuleWrapper", module=CODE),
    "a layer that reads a file": serialized("StringLookup", vocabulary="/etc/passwd"),
    "a class that nobody registered": serialized("Mine", None, "mine>Mine") | {"module": "mine"},
    "a type specification": serialized("__typespec__", "os", spec_name="system"),
}


@pytest.mark.parametrize("where", ["config", "task", "preprocessor", "tokenizer"])
@pytest.mark.parametrize("attack", ATTACKS)
def test_a_preset_with_code_is_refused_unread(tmp_path, monkeypatch, attack, where):
    monkeypatch.chdir(tmp_path)
    monkeypatch.setitem(sys.modules, "keras_hub", None)  # refused before KerasHub sees it
    whole = serialized("GemmaCausalLM", "keras_hub", inner=[{"deep": ATTACKS[attack]}])
    folder = preset(tmp_path / "preset", **{where: whole})
    for each in (folder, str(folder)):
        with pytest.raises(CatKerasError, match=rf"without code\. Received: the class .* in .*{where}\.json"):
            models.load(each)
    assert not (tmp_path / "ran").exists()


def test_a_genuine_preset_and_classes_that_were_registered_are_not_refused(tmp_path, monkeypatch):
    untrusted.check_preset(preset(tmp_path / "genuine"))
    folder = preset(tmp_path / "mine", task=serialized("Mine", "my.models", "mine>Mine"))
    known = types.SimpleNamespace(get_registered_object={"mine>Mine": object}.get)
    monkeypatch.setitem(sys.modules, "keras", types.SimpleNamespace(saving=known))
    untrusted.check_preset(folder)
    monkeypatch.setitem(
        sys.modules, "keras", types.SimpleNamespace(saving=types.SimpleNamespace(get_registered_object={}.get))
    )
    with pytest.raises(CatKerasError, match=r"the class my\.models\.Mine"):
        untrusted.check_preset(folder)


@pytest.mark.slow
@pytest.mark.long
@pytest.mark.parametrize("attack", ATTACKS)
def test_keras_too_refuses_a_preset_with_code(tmp_path, monkeypatch, small, attack):
    """The second line of defence, and its errors are one error of ours as well."""
    monkeypatch.chdir(tmp_path)
    models.save(small, tmp_path / "preset")
    path = tmp_path / "preset" / "task.json"
    path.write_text(json.dumps(store.read_json(path) | {"registered_name": None} | ATTACKS[attack]))
    monkeypatch.setattr(untrusted, "check_preset", lambda folder: None)
    with pytest.raises(CatKerasError, match="Expected a KerasHub CausalLM preset"):
        models.load(tmp_path / "preset")
    assert not (tmp_path / "ran").exists()


def pinned() -> list[str]:
    lines = [line for line in (ROOT / "constraints.txt").read_text().splitlines() if not line.lstrip().startswith("#")]
    return [" ".join(part.split()) for part in "\n".join(lines).replace("\\\n", " ").splitlines() if part.strip()]


def test_every_dependency_is_pinned_and_hashed():
    for line in pinned():
        assert re.fullmatch(r"[a-zA-Z0-9._-]+==[\w.+!-]+( ; [^#]+?)?( --hash=sha256:[0-9a-f]{64})+", line), line


def test_constraints_name_no_index():
    text = (ROOT / "constraints.txt").read_text()
    assert "://" not in text and " @ " not in text
    assert not [line for line in pinned() if line.startswith("-")]  # no --index-url, --find-links, -r, -e
    assert len(pinned()) > 100


def test_constraints_hold_what_the_project_asks_for():
    declared = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    locked = {canonicalize_name(line.split("==")[0]): line.split("==")[1].split()[0] for line in pinned()}
    for text in (*declared["dependencies"], *declared["optional-dependencies"]["dev"]):
        wanted = Requirement(text)
        assert wanted.specifier.contains(locked[canonicalize_name(wanted.name)], prereleases=True), text
