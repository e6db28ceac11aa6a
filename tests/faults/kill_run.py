"""Whole runs that are ended at random instants and started again: where do all of them end?

    python -m tests.faults.kill_run FOLDER KILLS [--signals KILL,TERM,INT] [--seed 2406] [-- OPTIONS OF THE RUN]

Each round takes a fresh folder, ends a run in some of its stages, drawn at random, each at a random instant of the
stage, moves the folder or not, and lets the last one finish. FOLDER keeps what was done: called again, it goes on until
KILLS are reached. Children are forked from a process that has imported everything and run nothing: a start costs no
import.
"""

import argparse
import json
import os
import random
import shutil
import signal
import sys
import time
from datetime import datetime
from pathlib import Path

import keras_hub  # noqa: F401  (imported once, here)

from benchmarks import cli
from benchmarks.running import journal, workbench  # noqa: F401
from cat_keras.storage import store
from tests import tiny
from tests.faults.outcome import differences, leftovers, outcome

ENDS = {"KILL": (-9,), "TERM": (-15, 143), "INT": (130,)}
LONGEST = 900.0  # seconds of a run on a busy machine


def child(folder: Path) -> int:
    """The id of a new process that runs the profile in the folder, with the options of this call."""
    if pid := os.fork():
        return pid
    code = 1
    try:
        output = os.open(folder / "output.txt", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
        os.dup2(output, 1), os.dup2(output, 2)
        options = sys.argv[sys.argv.index("--") + 1 :] if "--" in sys.argv else []
        sys.argv = ["benchmarks", *tiny.words(folder), *options]
        cli.main()
        code = 0
    except SystemExit as end:
        code = int(end.code or 0)
    finally:
        sys.stdout.flush()
        os._exit(code)


def ended(pid: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])


def events(folder: Path, pid: int) -> list[tuple[float, str]]:
    """(time, stage) at which a process began each of its stages, from the log of the run."""
    path = folder / "runs" / "tiny" / journal.NAME
    lines = [line.split(maxsplit=3) for line in path.read_text().splitlines()] if path.exists() else []
    own = [(datetime.fromisoformat(line[0]).timestamp(), *line[2:]) for line in lines if line[1] == str(pid)]
    found = [
        (when, {"run": "data", "plan": "plan"}.get(event, text))
        for when, event, text in own
        if event in ("run", "plan", "begin")
    ]
    last = max(
        (when for when, event, text in own if event == "done" and text.startswith("predict cat-dist")), default=0
    )
    return found + [(last, "report")] * bool(last)


def durations(folder: Path, pid: int, end: float) -> dict[str, float]:
    """Stage → its seconds in an uninterrupted run."""
    begun = events(folder, pid)
    ends = [when for when, _ in begun[1:]] + [end]
    return {stage: stop - start for (start, stage), stop in zip(begun, ends, strict=True)}


def interrupt(folder: Path, stage: str, delay: float, name: str) -> str | None:
    """Ends a run so many seconds after it began a stage; the stage it was in, None when it was faster."""
    pid, latest = child(folder), time.monotonic() + LONGEST
    while stage not in (begun := [s for _, s in events(folder, pid)]) and time.monotonic() < latest:
        if os.waitid(os.P_PID, pid, os.WEXITED | os.WNOHANG | os.WNOWAIT):
            break
        time.sleep(0.005)
    time.sleep(delay)
    os.kill(pid, signal.Signals[f"SIG{name}"])
    code, begun = ended(pid), [s for _, s in events(folder, pid)]
    if code == 0:
        return None
    assert code in ENDS[name], f"{name} in {begun[-1:]}: exit status {code}, see {folder / 'output.txt'}"
    return begun[-1] if begun else "start"


def round_of(root: Path, stages: dict[str, float], names: list[str], rng) -> tuple[Path, list[list[str]]]:
    """A folder in which a run finished, and [stage, signal] of each that was ended before; it moves in between."""
    places = [root / "here", root / "moved"]
    for place in places:
        shutil.rmtree(place, ignore_errors=True)
    folder = places[0]
    folder.mkdir()
    order, done = list(stages), []
    for stage in sorted(rng.sample(order, min(6, len(order))), key=order.index):
        name = rng.choice(names)
        reached = interrupt(folder, stage, rng.uniform(0, stages[stage]), name)
        if reached is None:
            break
        done.append([reached, name])
        folder = folder.rename(rng.choice(places))
    code = ended(child(folder))
    assert code == 0, f"exit status {code}, see {folder / 'output.txt'}"
    assert "Traceback" not in (folder / "output.txt").read_text(), folder / "output.txt"
    return folder, done


def whole(root: Path) -> dict:
    """An uninterrupted run: where it ends, and how long its stages take."""
    folder = root / "whole"
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir()
    pid = child(folder)
    code, end = ended(pid), time.time()
    assert code == 0, f"exit status {code}, see {folder / 'output.txt'}"
    return {
        "expected": outcome(folder / "runs" / "tiny"),
        "stages": list(durations(folder, pid, end).items()),  # a list: JSON would sort them, and they have an order
        "kills": [],
        "rounds": [],
    }


def main(root: Path, kills: int, names: list[str], seed: int):
    root.mkdir(parents=True, exist_ok=True)
    path = root / "state.json"
    state = store.read_json(path) if path.exists() else whole(root)
    store.write_json(path, state)
    stages = dict(state["stages"])
    print(
        f"one run takes {sum(stages.values()):.0f} s:",
        ", ".join(f"{s} {t:.1f}" for s, t in stages.items()),
        flush=True,
    )
    while len(state["kills"]) < kills:
        rng = random.Random(f"{seed} {len(state['rounds'])}")
        folder, done = round_of(root, stages, names, rng)
        problems = differences(state["expected"], outcome(folder / "runs" / "tiny")) + leftovers(folder / "runs")
        state["kills"] += done
        state["rounds"].append(problems)
        store.write_json(path, state)
        print(
            f"{len(state['kills'])} of {kills} kills:",
            ", ".join(f"{n} in {s}" for s, n in done),
            "→",
            problems or "the same",
            flush=True,
        )
        if problems:
            folder.rename(root / f"different-{len(state['rounds'])}")
    print(json.dumps({"kills": state["kills"], "rounds": state["rounds"], "stages": list(stages)}))


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("kills", type=int)
    parser.add_argument("--signals", default="KILL")
    parser.add_argument("--seed", type=int, default=2406)
    given, _ = parser.parse_known_args()
    main(given.folder, given.kills, given.signals.split(","), given.seed)
