"""The mask of a finished run on real tokens: on some sentences, and on a sample while the small model trains.

    python -m benchmarks illustrate embedded
    python -m benchmarks illustrate study --data DIR

Takes the run's models from its cache and trains one small model a second time, exactly as the run did, to look at it
between steps. Writes `live_tokens.json` into the run folder. Where the run has a task that the project generates
itself, it also writes `illustration.json`, which holds text and is therefore of such tasks alone.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from benchmarks.report.reading import live_tokens
from cat_keras.errors import CatKerasError
from cat_keras.storage import store

SENTENCES, LIVE = "illustration.json", live_tokens.FILE
METHOD = "cat-xent"
PER_TASK, IN_ALL = 200, 1600  # training examples in the sample, at most
LOOKS = 24  # how often the training is looked at; the looks are closer together at the beginning


@dataclass(frozen=True)
class Columns:
    """What one model says of the target tokens of some examples, all (target tokens,): see `TeacherCache`."""

    right: np.ndarray
    logprob: np.ndarray


class Sample:
    """The first training examples of each task, encoded, and a forward pass over them.

    Attributes:
        generated: names of the tasks whose rows the project generates itself.
        examples: those that fit, in the order of `data`, their encoded form.
        starts: (examples + 1,) int, where the target tokens of each example begin in `Columns`.
    """

    def __init__(self, bench, plan):
        import cat_keras as ck
        from cat_keras.modeling import models

        limit = min(PER_TASK, max(1, IN_ALL // len(plan.tasks)))
        by_task = {}
        for example in plan.train:
            if len(of_task := by_task.setdefault(example.task, [])) < limit:
                of_task.append(example)
        examples = [example for of_task in by_task.values() for example in of_task]
        self.generated = {t.name for t in plan.tasks if "embedded" in t.suites}
        self.tokenizer = models.tokenizer_of(bench.model("small"))
        self.data = ck.encode(examples, self.tokenizer, plan.profile.data.max_length, "drop", bench.chat)
        encoded_ids = set(self.data.ids)
        self.examples = [e for e in examples if f"{e.task}/{e.id}" in encoded_ids]
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

    At work means that the mask drops a token and keeps one that only the large model predicts. Where a stratum has no
    such example, one with either of the two is taken; where it has none of these, its first example.
    """
    best: dict[tuple[str, str], tuple[int, int]] = {}  # (task, stratum) → how much its example shows, and its row
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
    """One example with its target tokens and what both models say of each."""
    example, span = sample.examples[row], slice(sample.starts[row], sample.starts[row + 1])
    verdicts = {
        name: {"right": c.right[span].tolist(), "logprob": [round(float(x), 4) for x in c.logprob[span]]}
        for name, c in (("small", small), ("large", large))
    }
    labels = {"task": example.task, "group": example.group, "id": example.id, "prompt": example.prompt}
    return labels | {"tokens": sample.pieces(row), **verdicts}


def queries(folder: Path, seed: int) -> list[dict]:
    """Two test queries of the run, of the generated task with the longest answers: one kept, one deferred.

    The threshold defers a quarter of the task. The kept query is the first that is kept and right; the deferred one is
    the first that is deferred, wrong, and right in the large model's answer. Empty unless there are both.
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
    if not (len(kept) and len(deferred)):
        return []
    return [
        {"prompt": run.examples[name][row].prompt, "small": small["text"][row], "large": large["text"][row],
         "score": round(float(score[row]), 4), "threshold": round(threshold, 4)}
        for row in (int(kept[0]), int(deferred[0]))
    ]  # fmt: skip


def observed(bench, plan, sample: Sample, small: Columns, large: Columns, seed: int) -> dict:
    """Trains a small model again and counts, at some steps, the live tokens of each task and stratum.

    Returns:
        steps: where it was looked at, 0 before the first. parts: task, stratum, number of target tokens, on how many
        the small model as it starts and the large one are right, and how many the mask keeps at each of those steps.
        repeated: whether the training ended with the run's weights.
    """
    from cat_keras import training
    from cat_keras.modeling import lora

    cell, live = plan.small[METHOD, seed], {0: small.right | large.right}  # live: step → which tokens the mask keeps
    trainer, batches, schedule = bench.begun(cell)
    look_at = set(np.unique(np.round(np.linspace(0, 1, LOOKS) ** 2 * schedule.steps).astype(int)).tolist())

    def look(progress):
        if progress.step in look_at:
            live[progress.step] = sample.read(trainer.model).right | large.right

    training.train(trainer, batches, schedule, progress=look)
    ended = zip(lora.merged(trainer.model), bench.weights("small", cell), strict=True)
    repeated = all(np.array_equal(ours, theirs) for ours, theirs in ended)
    facts = {"method": METHOD, "seed": seed, "repeated": repeated, "steps": sorted(live)}
    return facts | {"parts": _parts(sample, small, large, [live[step] for step in sorted(live)])}


def _parts(sample: Sample, small: Columns, large: Columns, live: list[np.ndarray]) -> list[dict]:
    """Counts of target tokens per task and stratum; `live` has one mask over all target tokens per look."""
    spans = {}  # (task, stratum) → places of the target tokens of each of its examples
    for row, example in enumerate(sample.examples):
        stratum = example.group if example.task in sample.generated else ""  # elsewhere a group may be a text
        spans.setdefault((example.task, stratum), []).append(np.arange(*sample.starts[row : row + 2]))
    parts = []
    for (task, stratum), places in spans.items():
        span = np.concatenate(places)
        counts = {"tokens": len(span), "small": int(small.right[span].sum()), "large": int(large.right[span].sum())}
        parts.append({"task": task, "group": stratum, **counts, "live": [int(mask[span].sum()) for mask in live]})
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
    if between := manifest.get("middle"):
        raise CatKerasError(
            f"The mask is shown of a small and a large model. Received: a run with {', '.join(between)} between them. "
            "Take a run of two models"
        )
    plan = plans.make(Profile.model_validate(manifest["settings"]), data)
    seed = manifest["seeds"][0]
    if (METHOD, seed) not in plan.small:
        methods = ", ".join(manifest["methods"])
        raise CatKerasError(f"The mask is shown in a training with {METHOD}. Received: a run of {methods}")
    bench = Workbench(plan, store.Store(cache), progress)
    if bench.remote("large"):
        raise CatKerasError("The mask is shown with the weights of both models. Received: a large model of an endpoint")
    sample = Sample(bench, plan)
    bench.set_weights("large", bench.weights("large", plan.large))
    large = sample.read(bench.model("large"))
    start = plan.small[METHOD, seed].start
    bench.set_weights("small", bench.weights("small", start, seed))
    small = sample.read(bench.model("small"))
    contents = {LIVE: observed(bench, plan, sample, small, large, seed)}
    if sample.generated:
        contents[SENTENCES] = {
            "model": start.label if start else "small",
            "sentences": sentences(sample, small, large),
            "method": METHOD,
            "seed": seed,
            "queries": queries(folder, seed),
        }
    return contents
