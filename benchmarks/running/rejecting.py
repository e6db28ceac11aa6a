"""Rejecting in a finished run: its small models are asked its own questions and questions from elsewhere, mixed.

Takes the trained models from the run's cache. A question from elsewhere is asked as the run's own are, with the options
of one of them or freely, so that nothing but its text gives it away. Of the run's test examples two fifths are the
calibration, one fifth is in the unlabelled traffic and two fifths are in the test mixture.
"""

import hashlib
import math
import random
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import pyarrow

from benchmarks import metrics
from benchmarks.report.reading import analysis, load
from benchmarks.running import trained
from benchmarks.tasks import loading, task
from cat_keras.data import overlap
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError, check_number, unknown_name

FILE = "rejection.parquet"
SCRAMBLED = "scrambled"
CALIBRATION, TRAFFIC = 0.4, 0.2  # shares of the run's test examples; the others are tested
LEAST = 20  # questions from elsewhere


@dataclass(frozen=True)
class Mixture:
    """The examples of one mixture, each list in an order that their ids alone decide."""

    calibration: list[Example]
    traffic: list[Example]
    test: list[Example]
    outside: int  # so many of the last test examples are from elsewhere

    @property
    def asked(self) -> list[Example]:
        """All of them, in the order of the attributes."""
        return self.calibration + self.traffic + self.test


def evaluate(folder: Path, cache: Path, progress, elsewhere: Sequence[str], methods: Sequence[str] = (),
             seeds: int = 0, share: float = 0.3, c_fn: float = 0.75, deferral: float = 0.0, data: Path | None = None,
             out: Path = Path("runs")) -> pyarrow.Table:  # fmt: skip
    """Scores of every rule that rejects, one row per mixture, method, seed and test question.

    Args:
        folder: of the run, with its texts. cache: the store it was built in.
        progress: as for `workbench.Workbench`.
        elsewhere: where the others come from, a mixture for each: the name of a task, a run folder or the name of a run
            under `out`, or "scrambled": the run's own questions with their words in another order.
        methods: by default all. seeds: so many, 0 for all.
        share: of the mixture that is from elsewhere. c_fn: see `evaluation.rejection`.
        deferral: share of the calibration questions whose answer the large model gives in place of the small one.
        data: folder with the rows of tasks that the run does not have.

    Raises:
        CatKerasError: a name that does not exist, too few questions, results without texts, or models that are gone.
    """
    run = load.load(folder)
    if not run.has_text or not run.manifest.get("settings") or not run.manifest.get("cells"):
        raise CatKerasError(
            f"A run's models are asked its own questions and others. Received: {folder}, which keeps no texts or names "
            "no models. Give the folder of a run"
        )
    for name, value, interval in (
        ("share", share, "(0, 1)"),
        ("c_fn", c_fn, "[0, 1]"),
        ("deferral", deferral, "[0, 1)"),
    ):
        check_number(name, value, interval)
    if unknown := [name for name in methods if name not in run.methods]:
        raise unknown_name("method of the run", unknown[0], run.methods)
    mixtures = {name: _mixture(run, name, share, data, out) for name in elsewhere}
    from cat_keras.cascades.rejection import PluginOOD  # late: bad input loads no TensorFlow

    plugins, rows = [PluginOOD(c_fn=c_fn, distance=distance) for distance in (True, False)], []
    presets = {
        (method, seed): trained.preset(run.manifest, cache, "small", (f"small {method} seed {seed}",))
        for method in methods or run.methods
        for seed in run.seeds[: seeds or None]
    }
    for (method, seed), answer in _answering(run, presets):
        for name, mixture in mixtures.items():
            progress.start(f"reject {name}, {method} seed {seed}", len(mixture.asked), "answers")
            predictions = answer(mixture.asked, progress=progress.advance)
            quality = _quality(run, mixture, predictions, deferral)
            labels = {"elsewhere": name, "method": method, "seed": seed}
            rows += [labels | row for row in _scored(mixture, predictions, quality, plugins)]
            progress.done(f"{mixture.outside} of {len(mixture.test)} tested are from elsewhere")
    facts = {"share": share, "c_fn": c_fn, "deferral": deferral, "predictions": run.manifest.get("predictions", {})}
    return analysis.described(pyarrow.Table.from_pylist(rows), facts)


def _answering(run: load.Run, presets):
    """(method, seed) and a predictor with the weights of that model, one after the other."""
    from cat_keras.data.chat import Chat
    from cat_keras.decoding.predictor import Predictor
    from cat_keras.modeling import models

    limits, predictor = run.manifest["settings"]["data"], None
    for key, preset in presets.items():
        model = models.load(preset)
        if predictor is None:
            predictor = Predictor(
                model, max_length=limits["max_length"], max_new_tokens=limits["max_new_tokens"], measures=("hidden",),
                stop=limits.get("stop", ()), compare=limits.get("compare", "sum"),
                chat=Chat(**limits["chat"]) if limits.get("chat") else None,
            )  # fmt: skip
        else:
            predictor.model.set_weights(model.get_weights())
        yield key, predictor


def _mixture(run: load.Run, name: str, share: float, data: Path | None, out: Path) -> Mixture:
    """The run's own examples in their three parts, with others among the traffic and the test."""
    own = [e for served in run.covered if served != name for e in run.examples[served]]
    if not own:
        raise CatKerasError(
            f"Questions from elsewhere are of another task than the run's own. Received: {name} in both"
        )
    own = sorted(own, key=_digest)
    first, second = round(len(own) * CALIBRATION), round(len(own) * (CALIBRATION + TRAFFIC))
    needed = [math.ceil(n * share / (1 - share)) for n in (second - first, len(own) - second)]
    known = {overlap.content(e) for e in own}
    asked = (replace(own[i % len(own)], id=f"elsewhere-{i}", prompt=prompt, cut=(), group="")
             for i, prompt in enumerate(_prompts(run, name, sum(needed), own, data, out)))  # fmt: skip
    others = [e for e in asked if overlap.content(e) not in known]
    if len(others) < LEAST:
        raise CatKerasError(
            f"A mixture has at least {LEAST} questions from elsewhere that the run does not ask itself. Received: "
            f"{len(others)} of {name}. Take another task or run, or give --data"
        )
    # Where there are fewer than asked for, both parts have fewer.
    in_traffic = min(needed[0], round(len(others) * needed[0] / sum(needed)))
    tested = others[in_traffic : in_traffic + needed[1]]
    return Mixture(own[:first], own[first:second] + others[:in_traffic], own[second:] + tested, len(tested))


def _prompts(run: load.Run, name: str, count: int, own: Sequence[Example], data: Path | None, out: Path) -> list[str]:
    """Prompts from elsewhere, at most `count` different ones."""
    if name == SCRAMBLED:
        found = [_scrambled(e) for e in own]
    elif name in run.examples:
        found = [e.prompt for e in sorted(run.examples[name], key=_digest)]
    elif name in task.names():
        source = "local" if data else "samples"
        found = [e.prompt for e in loading.load(task.get(name), "test", data, limit=2 * count, source=source)]
    else:
        place = next((p for p in (Path(name), out / name) if (p / "manifest.json").exists()), None)
        other = load.load(place) if place else None
        if other is None or not other.has_text:
            raise CatKerasError(
                f'Questions come from a task, from a run with its texts, or are "{SCRAMBLED}". Received: {name!r}. '
                "`python -m benchmarks list` has the tasks"
            )
        found = [e.prompt for each in other.tasks for e in sorted(other.examples[each], key=_digest)]
        random.Random(0).shuffle(found)
    return list(dict.fromkeys(found))[:count]


def _scrambled(example: Example) -> str:
    """The prompt with its words in another order; a last line of several, which asks for the answer, stays."""
    lines = example.prompt.rstrip("\n").split("\n")
    body, last = (lines[:-1], lines[-1:]) if len(lines) > 1 else (lines, [])
    words = " ".join(body).split()
    random.Random(example.id + example.task).shuffle(words)
    return "\n".join([" ".join(words), *last]) + "\n" * (len(example.prompt) - len(example.prompt.rstrip("\n")))


def _digest(example: Example) -> str:
    return hashlib.sha256(f"{example.task}\x1f{example.id}".encode()).hexdigest()


def _quality(run: load.Run, mixture: Mixture, predictions, deferral: float) -> np.ndarray:
    """(n,) quality of the answers given to all examples of a mixture; 0 to those from elsewhere.

    The answers with the lowest scores are the large model's, by a threshold that defers `deferral` of the calibration.
    """
    from cat_keras.cascades.deferral import columns, get
    from cat_keras.cascades.playback import threshold

    known = {name: {e.id: i for i, e in enumerate(run.examples[name])} for name in run.covered}
    metric = {name: metrics.of(task.get(name)) for name in run.covered}
    score = get(run.rule).compared(columns(predictions))
    limit = threshold(score[: len(mixture.calibration)], deferral)
    large = {name: run.large[name]["quality"] for name in run.covered}
    found = np.zeros(len(predictions))
    for i, (example, prediction) in enumerate(zip(mixture.asked, predictions, strict=True)):
        place = known[example.task].get(example.id)
        if place is not None:
            alone = metric[example.task].per_example(prediction.text, example)
            found[i] = large[example.task][place] if score[i] < limit else alone
    return np.clip(found, 0, 1)


def _scored(mixture: Mixture, predictions, quality: np.ndarray, plugins) -> list[dict]:
    """One row per test example: where it is from, the loss, and the score of every rule."""
    from cat_keras.cascades import rejection
    from cat_keras.cascades.deferral import columns

    first = len(mixture.calibration)
    second = first + len(mixture.traffic)
    own = columns(predictions[:first], quality_small=quality[:first])
    traffic, tested = columns(predictions[first:second]), predictions[second:]
    rules = rejection.RULES | {plugin.name: plugin for plugin in plugins}
    scores = {name: rule.fit(own, traffic).compared(tested) for name, rule in rules.items()}
    outside = np.arange(len(tested)) >= len(tested) - mixture.outside
    return [
        {"task": e.task, "id": _digest(e)[:16], "outside": bool(outside[i]), "loss": float(1 - quality[second + i])}
        | {name: float(column[i]) for name, column in scores.items()}
        for i, e in enumerate(mixture.test)
    ]
