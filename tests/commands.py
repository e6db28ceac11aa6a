"""`python -m benchmarks …` as its user calls it, in a process of its own, without the seconds that its imports take.

Processes are forked from a server that has loaded the frameworks and used none of them (the forkserver of
`multiprocessing`), so that they share nothing but imported code. Tests of what a command imports, of a signal or of the
environment start an interpreter instead.
"""

import multiprocessing
import os
import runpy
import subprocess
import sys
import tempfile
from pathlib import Path

_server = multiprocessing.get_context("forkserver")
_server.set_forkserver_preload(["tests.preloaded"])


def benchmarks(*words: str, status: int = 0, cwd: Path | None = None) -> str:
    """What `python -m benchmarks` with these words prints, to either stream, where it ends with a status."""
    done = call("benchmarks", *words, cwd=cwd, merged=True)
    assert done.returncode == status, done.stdout
    return done.stdout


def call(module: str, *words: str, cwd: Path | None = None, merged: bool = False) -> subprocess.CompletedProcess:
    """What `python -m MODULE` with these words gives: `returncode`, `stdout` and `stderr`.

    Args:
        cwd: the working directory. merged: standard error goes where standard output goes.
    """
    with tempfile.TemporaryDirectory() as place:
        outputs = [Path(place) / name for name in ("stdout", "stdout" if merged else "stderr")]
        arguments = module, words, os.fspath(cwd or Path.cwd()), outputs, dict(os.environ)
        process = _server.Process(target=_main, args=arguments)
        process.start()
        process.join()
        stdout, stderr = (path.read_text(encoding="utf-8") if path.exists() else "" for path in outputs)
    return subprocess.CompletedProcess([module, *words], process.exitcode, stdout, "" if merged else stderr)


def _main(module: str, words: tuple[str, ...], cwd: str, outputs: list[Path], environment: dict[str, str]):
    """In the forked process: the command as an interpreter would run it."""
    for stream, path in zip((sys.stdout, sys.stderr), outputs, strict=True):
        os.dup2(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600), stream.fileno())
        stream.reconfigure(encoding="utf-8", line_buffering=True)
    os.environ.clear()
    os.environ.update(environment)
    os.chdir(cwd)
    sys.path.insert(0, cwd)
    sys.argv = [module, *words]
    runpy.run_module(module, run_name="__main__", alter_sys=True)
