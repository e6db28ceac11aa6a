"""Run by test_kill.py: trains in child processes that are killed at random instants, and says where all of them end.

Children are forked from a process that has imported everything and run nothing: a start costs no import.
"""

import hashlib
import json
import os
import random
import shutil
import signal
import sys
import time
from pathlib import Path

import keras
import keras_hub  # noqa: F401  (imported once, here)

from cat_keras.data.encoding import encode
from cat_keras.decoding import predictor
from cat_keras.modeling import models
from cat_keras.training import distribution
from cat_keras.training.batches import Batches
from cat_keras.training.loop import Schedule, train
from cat_keras.training.teacher import TeacherCache
from cat_keras.training.trainer import CascadeAware
from tests.conftest import invented_examples

STEPS = 150


def work(folder: Path):
    """A training with dropout and shuffled batches, then predictions; the hash of both goes to a file."""
    distribution.make_deterministic(0)
    examples = invented_examples()
    proto = models.train_tokenizer([part for e in examples for part in (e.prompt, e.target)], 320)
    large = models.build(proto, layers=1, width=32, heads=2, feedforward=16, seed=1)
    small = models.build(proto, layers=1, width=16, heads=2, feedforward=16, dropout=0.2, seed=7)
    data = encode(examples, models.tokenizer_of(small), 40)
    cache = TeacherCache.build(large, data, "none", directory=folder / "teacher", shard=20)
    trainer = CascadeAware(small, "cat-xent")
    trainer.compile(keras.optimizers.AdamW(1e-2), jit_compile=False)
    batches = Batches(data, 8, seed=1, loss="cat-xent", teacher=cache, buckets=1)

    def progress(said):
        (folder / "step").write_text(str(said.step))
        time.sleep(0.003)  # as long a training as there are instants to choose from

    train(trainer, batches, Schedule(1e-2, STEPS), folder / "state.npz", every_seconds=0.1, progress=progress)
    digest = hashlib.sha256()
    for weight in small.weights:
        digest.update(keras.ops.convert_to_numpy(weight).tobytes())
    weights = digest.hexdigest()
    for answer in predictor.Predictor(small, max_length=40, max_new_tokens=4)(examples):
        digest.update(json.dumps([answer.text, list(map(float, answer.token_logprobs))]).encode())
    (folder / "end.json").write_text(json.dumps([weights, digest.hexdigest()]))


def child(folder: Path) -> int:
    pid = os.fork()
    if pid:
        return pid
    code = 1
    try:
        work(folder)
        code = 0
    finally:
        os._exit(code)


def ended(folder: Path):
    _, status = os.waitpid(child(folder), 0)
    assert status == 0, status
    return json.loads((folder / "end.json").read_text())


def killed(folder: Path, delay: float, step: int) -> int:
    """Kills a child so many seconds after its start, or after a step that is not 0; the step it had reached."""
    (folder / "step").unlink(missing_ok=True)
    pid = child(folder)
    latest = time.monotonic() + 120
    while _step(folder) < step and not (folder / "end.json").exists() and time.monotonic() < latest:
        time.sleep(0.001)
    time.sleep(delay)
    os.kill(pid, signal.SIGKILL)
    os.waitpid(pid, 0)
    return _step(folder)


def _step(folder) -> int:
    try:
        return int((folder / "step").read_text() or 0)  # empty while it is written
    except FileNotFoundError:
        return 0


def main(root: Path, kills: int, seed: int):
    (root / "whole").mkdir()
    began = time.monotonic()
    expected = ended(root / "whole")
    whole = time.monotonic() - began
    rng, folder, ends, reached = random.Random(seed), root / "killed", [], []
    while len(reached) < kills:
        folder.mkdir()
        while len(reached) < kills and not (folder / "end.json").exists():
            # In turns at any instant, and at one within the training, however long the rest takes on this machine.
            within = len(reached) % 2
            delay = rng.uniform(0, 0.02 if within else whole)
            reached.append(killed(folder, delay, rng.randrange(1, STEPS - 10) if within else 0))
        ends.append(ended(folder))
        shutil.rmtree(folder)
    print(json.dumps({"expected": expected, "ends": ends, "reached": reached}))


main(Path(sys.argv[1]), int(sys.argv[2]), int(sys.argv[3]))
