"""Data that the project generates itself: four small tasks whose best possible quality is known exactly.

Why they are made as they are: a cascade can help only where the models differ, and cascade-aware training claims to
help by not training the small model on what nobody can predict. To test that claim, one needs to know of every example
whether a small model can answer it, only a large one, or nobody. Real data never say. So every example here belongs to
a stratum, which is written into `Example.group`:

    easy    a rule with few, frequent words; a small language model learns it
    hard    a rule that takes a larger model, because of *memory* (many facts, words or irregular forms, each seen a few
            times in training) or of *composition* (negation, contrast, reordering, agreement)
    noise   one word of the answer is drawn uniformly from K alternatives, afresh for every example, so that nobody is
            right more often than 1/K. The prompt shows that the example is of this kind, so that a model can know that
            it does not know

The strata are kinds of *rules*. They do not depend on any loss, deferral score or model, and every objective gets the
same examples. The knobs (shares, numbers of rare words, ...) are fields of the four `World`s. They may be turned until
the large model is clearly better than the small one and neither is at floor or ceiling, but never until an objective
wins. Which examples a small model fails on is for the run to find out: "hard" is an intention, not a measurement.

In noise examples the rest of the target follows from the prompt, because objectives act per token. By exact match such
an example is still right with probability 1/K. Hence the Bayes-optimal quality is easy + hard + noise / K.

The world (lexicons, facts, irregular forms) is the same in all splits, but their texts are disjoint: the test split
asks for held-out combinations, not for held-out words. For `embedded_lookup` that means known facts in phrasings that
were not seen with that fact, and few distinct easy questions. A rare item that training shows r times on average is
missing from it with probability exp(-r). At the default knobs and 4000 rows r is at least 4, which costs a task well
under 1 % of its Bayes quality.
"""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path

from benchmarks.tasks.embedded.classify import Classify
from benchmarks.tasks.embedded.describe import Describe
from benchmarks.tasks.embedded.lookup import Lookup
from benchmarks.tasks.embedded.translate import Translate
from benchmarks.tasks.embedded.world import SPLIT_EIGHTHS, WORLD_SEED, World
from benchmarks.tasks.task import Task, register
from cat_keras.errors import unknown_name

# The difficulty of each task is set here: pass knobs to its world.
WORLDS: dict[str, World] = {world.name: world for world in (Classify(), Translate(), Describe(), Lookup())}
SIZES = {"train": 8000, "validation": 500, "test": 500}


@dataclass(frozen=True)
class Embedded:
    """A source (see `sources.Source`) whose rows are computed; it reads no file.

    Attributes:
        world: the task with its knobs. seed: of the sample; the world is the same for all seeds.
        sizes: rows per part; a smaller part is a prefix of a larger one.
    """

    world: World
    seed: int = 0
    sizes: Mapping[str, int] = field(default_factory=lambda: dict(SIZES))

    @property
    def bayes_quality(self) -> float:
        """Expected quality of the best possible predictor."""
        return self.world.bayes_quality

    def rows(self, part: str, data: str | Path | None = None) -> Iterator[tuple[str, dict]]:
        """All rows of a part as (id, row); `data` is ignored.

        Raises:
            CatKerasError: the part does not exist.
        """
        if part not in self.sizes:
            raise unknown_name(f"part of {self.world.name}:", part, self.sizes)
        for index in range(self.sizes[part]):
            yield f"{part}-{index}", self.world.row(part, index, self.seed)

    def identity(self) -> dict:
        """All that the rows depend on except the code of the rules, for which the version of the task stands."""
        knobs = {"name": self.world.name, "world_seed": WORLD_SEED, **asdict(self.world)}
        return {"embedded": knobs, "seed": self.seed, "sizes": dict(self.sizes)}


def bayes_quality(name: str) -> float:
    """Expected quality (accuracy or exact match, 0..1) of the best possible predictor of an embedded task.

    Args:
        name: of the task, e.g. `"embedded_lookup"`.

    Raises:
        CatKerasError: there is no embedded task of that name.
    """
    if name not in WORLDS:
        raise unknown_name("embedded task", name, WORLDS)
    return WORLDS[name].bayes_quality


def with_noise(tasks: Iterable[Task], noise: float) -> tuple[Task, ...]:
    """The same tasks, but the embedded ones with another share of questions that nobody can answer.

    Args:
        tasks: any tasks. noise: that share, 0 to 1; easy and hard questions divide the rest as before.
    """
    changed = []
    for task in tasks:
        if isinstance(task.source, Embedded):
            shares = task.source.world.shares.with_noise(noise)
            task = replace(task, source=replace(task.source, world=replace(task.source.world, shares=shares)))
        changed.append(task)
    return tuple(changed)


def _task(world: World) -> Task:
    return Task(
        name=world.name,
        suites=("embedded",),
        cluster=world.cluster,
        kind=world.kind,
        source=Embedded(world),
        splits={split: split for split in SPLIT_EIGHTHS},
        templates=(world.template,),
        target="target",
        options=world.options,
        group="stratum",
        metric=world.metric,
        max_lengths=(64, 24),
        license="Apache-2.0 (generated by this project)",
        citation="cat-keras, benchmarks/embedded",
    )


for _world in WORLDS.values():
    register(_task(_world))
