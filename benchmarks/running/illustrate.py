"""The mask of a finished run on real tokens: on some sentences, and on a sample while the small model trains.

    python -m benchmarks illustrate embedded
    python -m benchmarks illustrate study --data DIR

Takes the run's models from its cache and trains one small model a second time, exactly as the run did, to look at it
between steps. Writes `live_tokens.json` into the run folder, and `illustration.json`, which holds text and is therefore
of tasks that the project generates itself; without such a task there is none.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from cat_keras.errors import CatKerasError
from cat_keras.storage import store

SENTENCES, LIVE = "illustration.json", "live_tokens.json"
METHOD = "cat-xent"
PER_TASK, IN_ALL = 200, 1600  # training examples looked at, at most
LOOKS = 24  # times, closer together at the beginning


@dataclass(frozen=True)
class Columns:
    """What one model says of the target tokens of some examples, all (target tokens,): see `TeacherCache`."""

    right: np.ndarray
    logprob: np.ndarray


class Sample:
    """The first training examples of each task, encoded, and a forward pass over them."""

    def __init__(self, bench, plan):
        import cat_keras as ck
        from cat_keras.modeling import models

        first, most = {}, min(PER_TASK, max(1, IN_ALL // len(plan.tasks)))
        for example in plan.train:
            if len(of_task := first.setdefault(example.task, [])) < most:
                of_task.append(example)
        chosen = [example for of_task in first.values() for example in of_task]
        self.generated = {t.name for t in plan.tasks if "embedded" in t.suites}
        self.tokenizer = models.tokenizer_of(bench.model("small"))
        self.data = ck.encode(chosen, self.tokenizer, plan.profile.data.max_length, long_targets="drop")
        kept = set(self.data.ids)
        self.examples = [e for e in chosen if f"{e.task}/{e.id}" in kept]
        self.starts = np.concatenate([[0], np.cumsum(self.data.n_target)])

    def read(self, model) -> Columns:
        """Bits and log-probabilities of the labels under a model as it is now."""
        from cat_keras.training.teacher import TeacherCache

        cache = TeacherCache.build(model, self.data, "none", batch_size=64)
        return Columns(cache.right, cache.logprob.astype(np.float32))

    def pieces(self, row: int) -> list[str]:
        """The target tokens of one example as text."""
        end = int(self.data.offsets[row + 1])
        ids = self.data.tokens[end - int(self.data.n_target[row]) : end]
        return [self.tokenizer.id_to_token(int(i)) for i in ids]


def sentences(sample: Sample, small: Columns, large: Columns) -> list[dict]:
    """Per generated task and stratum the first example in the order of the data that shows the mask at work.

    At work means that the mask drops a token and keeps one that only the large model predicts; where a stratum has no
    such example, either of the two; where it has none, its first example.
    """
    best: dict[tuple[str, str], tuple[int, int]] = {}
    for row, example in enumerate(sample.examples):
        if example.task not in sample.generated:
            continue
        s, l = (c.right[sample.starts[row] : sample.starts[row + 1]] for c in (small, large))  # noqa: E741
        shows = int((~s & ~l).any()) + int((l & ~s).any())
        key = (example.task, example.group)
        if key not in best or shows > best[key][0]:
            best[key] = (shows, row)
    return [_sentence(sample, row, small, large) for _, row in best.values()]


def _sentence(sample: Sample, row: int, small: Columns, large: Columns) -> dict:
    example, span = sample.examples[row], slice(sample.starts[row], sample.starts[row + 1])
    said = {
        name: {"right": c.right[span].tolist(), "logprob": [round(float(x), 4) for x in c.logprob[span]]}
        for name, c in (("small", small), ("large", large))
    }
    about = {"task": example.task, "group": example.group, "id": example.id, "prompt": example.prompt}
    return about | {"tokens": sample.pieces(row), **said}


def queries(folder: Path, seed: int) -> list[dict]:
    """Two test queries of the run, of the generated task with the longest answers: one kept, one deferred.

    At the threshold that defers a quarter of the task: the first query that is kept and right, and the first that is
    deferred, wrong, and right in the large model's answer. Empty when there are no two such.
    """
    from benchmarks.report.reading import load
    from cat_keras.cascades import deferral

    run = load.load(folder)
    names = [name for name in run.covered if name.startswith("embedded_") and (METHOD, seed, name) in run.small]
    name = max(names, key=lambda name: sum(len(example.target) for example in run.examples[name]))
    small, large = run.small[METHOD, seed, name], run.large[name]
    score = deferral.get(run.rule)(small)
    threshold = float(np.quantile(score, 0.25))
    kept = np.flatnonzero((score >= threshold) & (small["quality"] == 1))
    deferred = np.flatnonzero((score < threshold) & (small["quality"] == 0) & (large["quality"] == 1))
    rows = [int(found[0]) for found in (kept, deferred) if len(found)]
    return [
        {"prompt": run.examples[name][row].prompt, "small": small["text"][row], "large": large["text"][row],
         "score": round(float(score[row]), 4), "threshold": round(threshold, 4)}
        for row in rows if len(rows) == 2
    ]  # fmt: skip


def observed(bench, plan, sample: Sample, small: Columns, large: Columns, seed: int) -> dict:
    """Trains a small model again and counts, at some steps, the live tokens of each task and stratum.

    Returns:
        steps: where it was looked at, 0 before the first. parts: task, stratum, number of target tokens, on how many
        the small model as it starts and the large one are right, and how many the mask keeps at each of those steps.
        repeated: whether the training ended with the run's weights.
    """
    from cat_keras import training
    from cat_keras.modeling import models

    cell, looks = plan.small[METHOD, seed], {0: small.right | large.right}
    weights = bench.weights("small", cell.start, cell.seed)
    trainer, batches, schedule = bench.session(cell)
    training.restart(trainer, weights)
    when = set(np.unique(np.round(np.linspace(0, 1, LOOKS) ** 2 * schedule.steps).astype(int)).tolist())

    def look(progress):
        if progress.step in when:
            looks[progress.step] = sample.read(trainer.model).right | large.right

    training.train(trainer, batches, schedule, progress=look)
    repeated = models.weights_fingerprint(trainer.model) == models.weights_fingerprint(models.load(bench.trained(cell)))
    about = {"method": METHOD, "seed": seed, "repeated": repeated, "steps": sorted(looks)}
    return about | {"parts": _parts(sample, small, large, [looks[step] for step in sorted(looks)])}


def _parts(sample: Sample, small: Columns, large: Columns, live: list[np.ndarray]) -> list[dict]:
    rows = {}
    for row, example in enumerate(sample.examples):
        stratum = example.group if example.task in sample.generated else ""  # elsewhere a group may be a text
        rows.setdefault((example.task, stratum), []).append(np.arange(*sample.starts[row : row + 2]))
    parts = []
    for (task, stratum), places in rows.items():
        own = np.concatenate(places)
        counts = {"tokens": len(own), "small": int(small.right[own].sum()), "large": int(large.right[own].sum())}
        parts.append({"task": task, "group": stratum, **counts, "live": [int(kept[own].sum()) for kept in live]})
    return parts


def illustrate(folder: Path, cache: Path, progress, data: Path | None = None) -> dict[str, dict]:
    """File name → content, for a finished run whose cache is still there.

    Args:
        folder: of the run. cache: the store it was built in. progress: as for `workbench.Workbench`. data: of the run.

    Raises:
        CatKerasError: the run has no method `cat-xent`, or its data cannot be read.
    """
    from benchmarks.planning import plan as plans
    from benchmarks.planning.profile import Profile
    from benchmarks.running.workbench import Workbench

    manifest = store.read_manifest(Path(folder) / "manifest.json")
    plan = plans.make(Profile.model_validate(manifest["settings"]), data)
    seed = manifest["seeds"][0]
    if (METHOD, seed) not in plan.small:
        methods = ", ".join(manifest["methods"])
        raise CatKerasError(f"The mask is shown in a training with {METHOD}. Received: a run of {methods}")
    bench = Workbench(plan, store.Store(cache), progress)
    sample = Sample(bench, plan)
    bench.set_weights("large", bench.weights("large", plan.large))
    large = sample.read(bench.model("large"))
    start = plan.small[METHOD, seed].start
    bench.set_weights("small", bench.weights("small", start, seed))
    small = sample.read(bench.model("small"))
    made = {LIVE: observed(bench, plan, sample, small, large, seed)}
    if sample.generated:
        shown = {"model": start.label if start else "small", "sentences": sentences(sample, small, large)}
        made[SENTENCES] = shown | {"method": METHOD, "seed": seed, "queries": queries(folder, seed)}
    return made
