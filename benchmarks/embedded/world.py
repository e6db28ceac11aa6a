"""The ground the embedded tasks stand on: strata, invented words, and which example belongs to which split.

Everything here is pure arithmetic on seeds. Two kinds of randomness never mix:

* the **world** (lexicons, fact tables, irregular forms) comes from `WORLD_SEED` and is the same in every split and for
  every data seed, because a closed-book fact can only be asked if it could be learned;
* the **sample** (which sentence is example i) comes from (seed, task, split, i) alone, so a smaller data set is a prefix
  of a larger one, whoever asks and in whatever order.
"""

import random
import zlib
from abc import ABC, abstractmethod
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache

from cat_keras.errors import CatKerasError, unknown_name

WORLD_SEED = 2406
STRATA = ("easy", "hard", "noise")
# A prompt belongs to exactly one split, by its hash; these are eighths of the space of prompts.
SPLIT_EIGHTHS = {"test": (0,), "validation": (1,), "train": (2, 3, 4, 5, 6, 7)}
DEFAULT_SIZES = {"train": 4000, "validation": 500, "test": 500}
# A rule whose prompts all hash away from a split can never serve it; that is a bug of the task, not bad luck.
MAX_DRAWS = 2000


@dataclass(frozen=True)
class Shares:
    """Share of each stratum in a task; they sum to 1.

    Attributes:
        easy: rules that a small model learns. hard: rules that take a larger one. noise: an answer drawn at random.
    """

    easy: float = 0.45
    hard: float = 0.40
    noise: float = 0.15

    def __post_init__(self):
        values = (self.easy, self.hard, self.noise)
        if min(values) < 0 or abs(sum(values) - 1) > 1e-9:
            raise CatKerasError(f"Shares of strata must be at least 0 and sum to 1. Received: {self}")

    def pick(self, rng: random.Random) -> str:
        """Draws the name of a stratum."""
        u = rng.random()
        return "easy" if u < self.easy else "hard" if u < self.easy + self.hard else "noise"


@dataclass(frozen=True)
class Question:
    """What a rule of a task produces: a prompt and every answer that is equally likely to be the right one.

    Attributes:
        prompt: ends with a newline. answers: one, or the K alternatives of a noise question.
        rule: name of the rule, finer than the stratum.
    """

    prompt: str
    answers: tuple[str, ...]
    rule: str


class World(ABC):
    """One embedded task: its knobs are the fields of the subclass, its rules the three methods below."""

    name: str
    title: str
    kind: str
    metric: str
    shares: Shares
    ways: int
    options: tuple[str, ...] = ()

    @abstractmethod
    def easy(self, rng: random.Random) -> Question: ...

    @abstractmethod
    def hard(self, rng: random.Random) -> Question: ...

    @abstractmethod
    def noise(self, rng: random.Random) -> Question: ...

    @property
    def bayes_quality(self) -> float:
        """Expected quality of the best possible predictor: 1 where a rule decides, 1/K where chance does."""
        return self.shares.easy + self.shares.hard + self.shares.noise / self.ways

    def row(self, split: str, index: int, seed: int = 0) -> dict:
        """Example `index` of `split`; a function of the arguments and the world alone.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
            index: position in the split, from 0.
            seed: of the sample; the world is the same for all seeds.

        Returns:
            A dict with `prompt`, `target`, `options`, `answers` (all equally likely ones), `stratum` and `rule`.
        """
        rng = random.Random(f"{seed}/{self.name}/{split}/{index}")
        stratum = self.shares.pick(rng)
        question = self._question_of_split(getattr(self, stratum), split, rng)
        return {
            "prompt": question.prompt,
            "target": rng.choice(question.answers),
            "options": self.options,
            "answers": question.answers,
            "stratum": stratum,
            "rule": question.rule,
        }

    def rows(self, split: str, limit: int | None = None, seed: int = 0) -> Iterator[tuple[str, dict]]:
        """Yields (id, row) for the first `limit` examples of a split, by default `DEFAULT_SIZES[split]`.

        Raises:
            CatKerasError: the split does not exist.
        """
        if split not in SPLIT_EIGHTHS:
            raise unknown_name("split", split, SPLIT_EIGHTHS)
        for index in range(DEFAULT_SIZES[split] if limit is None else limit):
            yield f"{split}-{index}", self.row(split, index, seed)

    def _question_of_split(self, rule, split: str, rng: random.Random) -> Question:
        # Rejection by the hash of the prompt keeps splits disjoint without looking at any other example.
        for _ in range(MAX_DRAWS):
            question = rule(rng)
            if split_of(question.prompt) == split:
                return question
        raise CatKerasError(f"{self.name}: no prompt of a rule falls into split {split!r}; give the rule more variety")


def split_of(prompt: str) -> str:
    """The only split in which a prompt may occur."""
    eighth = zlib.crc32(prompt.encode()) % 8
    return next(split for split, eighths in SPLIT_EIGHTHS.items() if eighth in eighths)


# Invented words never collide: each lexicon owns the words whose hash names it.
LEXICONS = ("mood", "person", "town", "thing", "ending", "source", "target")
SYLLABLES = {
    "mood": ("b bl d dr f g l m n p pl s sn t tr v".split(), "aeiou", ["", "", "n", "l", "m"]),
    "person": ("b d f g h j k l m n r s t v z".split(), "aeiou", ["", "", "", "n", "r", "l"]),
    "town": ("b d g k l m n r t w".split(), "aeo", ["", "n", "r", "st", "m"]),
    "thing": ("b d f g k l m p r t v z".split(), "aeiou", ["", "", "k", "n", "p", "t"]),
    "ending": ("l m n r s t".split(), "aeiou", ["", "k", "x"]),
    "source": ("k l m n r s t".split(), "aiu", ["", "", "", "n", "s"]),
    "target": ("b d f g h v w y z".split(), "aeo", ["", "", "", "b", "d", "g"]),
}
# Ordinary words that syllables could hit and that the templates use.
ENGLISH = frozenset("then rival man table sole been name home not but was are has had the and moon felon gate".split())


@cache
def words(lexicon: str, count: int, syllables: int = 2) -> tuple[str, ...]:
    """The first `count` words of an invented lexicon: pronounceable, distinct, never a word of another lexicon.

    A larger count only appends, so turning a knob up leaves the words that were already there.

    Args:
        lexicon: one of `LEXICONS`. count: how many words. syllables: syllables per word.
    """
    rng = random.Random(f"{WORLD_SEED}/{lexicon}/{syllables}")
    onsets, vowels, codas = SYLLABLES[lexicon]
    found: dict[str, None] = {}
    while len(found) < count:
        word = "".join(rng.choice(onsets) + rng.choice(vowels) for _ in range(syllables)) + rng.choice(codas)
        if zlib.crc32(word.encode()) % len(LEXICONS) == LEXICONS.index(lexicon) and word not in ENGLISH:
            found[word] = None
    return tuple(found)


def fixed(*key: str) -> random.Random:
    """A generator that belongs to the world: the same fact for the same key, always."""
    return random.Random("/".join((str(WORLD_SEED), *key)))


def chance(rng: random.Random, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability
