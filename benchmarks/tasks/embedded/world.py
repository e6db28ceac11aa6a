"""What the embedded tasks have in common: strata, invented words, and which example belongs to which split.

Everything here is computed from seeds. There are two kinds of randomness, which never mix:

* the **world** (lexicons, fact tables, irregular forms) comes from `WORLD_SEED`. It is the same in every split and for
  every data seed, because a closed-book fact can only be asked for if it could be learned;
* the **sample** (which sentence is example i) comes from (seed, task, split, i) alone. So a smaller data set is a
  prefix of a larger one, and the order in which examples are made does not matter.
"""

import hashlib
import random
from abc import ABC, abstractmethod
from dataclasses import dataclass
from functools import cache

from cat_keras.errors import CatKerasError, unknown_name

WORLD_SEED = 2406
STRATA = ("easy", "hard", "noise")
# The hash of a text says in which eighth of all texts it is, and so to which split it belongs.
SPLIT_EIGHTHS = {"test": (0,), "validation": (1,), "train": (2, 3, 4, 5, 6, 7)}
# So many texts are drawn for one example. If none of them falls into the split, the rule has too few texts.
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

    def with_noise(self, noise: float) -> "Shares":
        """The shares with another one of noise, 0 to 1; easy and hard divide the rest as before."""
        scale = (1 - noise) / (self.easy + self.hard)
        return Shares(self.easy * scale, self.hard * scale, noise)

    def pick(self, rng: random.Random) -> str:
        """Draws the name of a stratum."""
        u = rng.random()
        return "easy" if u < self.easy else "hard" if u < self.easy + self.hard else "noise"


@dataclass(frozen=True)
class Question:
    """What a rule of a task produces: a text, and all answers that are equally likely to be right.

    Attributes:
        text: what the prompt is about. answers: one answer, or the K alternatives of a noise question.
        rule: name of the rule; a stratum may have several.
    """

    text: str
    answers: tuple[str, ...]
    rule: str


class World(ABC):
    """One embedded task. Its knobs are the fields of the subclass, and its rules are the three methods of the strata.

    Attributes:
        name, cluster, kind, metric, options: as of a `Task`. template: of the prompt, with a place for `{text}`.
        shares: of the strata. ways: K, the number of alternatives of a noise question.
    """

    name: str
    cluster: str
    kind: str
    metric: str
    template: str
    shares: Shares
    ways: int
    options: tuple[str, ...] = ()

    @abstractmethod
    def easy(self, rng: random.Random) -> Question:
        """Draws a question that a small model can learn to answer."""

    @abstractmethod
    def hard(self, rng: random.Random) -> Question:
        """Draws a question that takes a larger model."""

    @abstractmethod
    def noise(self, rng: random.Random) -> Question:
        """Draws a question with `ways` answers, of which chance decides."""

    @property
    def bayes_quality(self) -> float:
        """Expected quality of the best possible predictor: 1 where a rule decides, 1/K where chance does."""
        return self.shares.easy + self.shares.hard + self.shares.noise / self.ways

    def row(self, split: str, index: int, seed: int = 0) -> dict:
        """Example `index` of `split`, which depends on the arguments and the world alone.

        Args:
            split: `"train"`, `"validation"` or `"test"`.
            index: position in the split, from 0.
            seed: of the sample; the world is the same for all seeds.

        Raises:
            CatKerasError: the split does not exist.

        Returns:
            A dict with `text`, `target`, `answers` (all equally likely ones), `stratum` and `rule`.
        """
        if split not in SPLIT_EIGHTHS:
            raise unknown_name("split", split, SPLIT_EIGHTHS)
        rng = random.Random(f"{seed}/{self.name}/{split}/{index}")
        stratum = self.shares.pick(rng)
        question = self._question_of_split(getattr(self, stratum), split, rng)
        return {
            "text": question.text,
            "target": rng.choice(question.answers),
            "answers": question.answers,
            "stratum": stratum,
            "rule": question.rule,
        }

    def _question_of_split(self, rule, split: str, rng: random.Random) -> Question:
        # Texts that belong to other splits are rejected, which keeps the splits disjoint without any look at the other
        # examples.
        for _ in range(MAX_DRAWS):
            question = rule(rng)
            if split_of(question.text) == split:
                return question
        raise CatKerasError(f"{self.name}: no text of a rule falls into split {split!r}; give the rule more variety")


def split_of(text: str) -> str:
    """The only split in which a text may occur."""
    eighth = _hash(text) % 8
    return next(split for split, eighths in SPLIT_EIGHTHS.items() if eighth in eighths)


def _hash(text: str) -> int:
    # This must be a cryptographic hash. CRC-32 is linear, so the split would be an XOR of what is in each slot: whole
    # classes of combinations would be held out, and models would learn never to say them.
    return int.from_bytes(hashlib.blake2b(text.encode(), digest_size=8).digest(), "big")


def listed(text: str) -> tuple[str, ...]:
    """The words of a text."""
    return tuple(text.split())


# The hash of an invented word says which lexicon owns it, so that no word is in two lexicons. It is taken modulo the
# number of lexicons, so one more lexicon changes all worlds.
LEXICONS = ("mood", "person", "town", "thing", "ending", "source", "target")
SYLLABLES = {  # lexicon → onsets, vowels, codas
    "mood": ("b bl d dr f g l m n p pl s sn t tr v", "a e i o u", ("", "", "n", "l", "m")),
    "person": ("b d f g h j k l m n r s t v z", "a e i o u", ("", "", "", "n", "r", "l")),
    "town": ("b d g k l m n r t w", "a e o", ("", "n", "r", "st", "m")),
    "thing": ("b d f g k l m p r t v z", "a e i o u", ("", "", "k", "n", "p", "t")),
    "ending": ("l m n r s t", "a e i o u", ("", "k", "x")),
    "source": ("k l m n r s t", "a i u", ("", "", "", "n", "s")),
    "target": ("b d f g h v w y z", "a e o", ("", "", "", "b", "d", "g")),
}
# Ordinary words that the templates use and that the syllables could produce. No invented word may be one of them.
ENGLISH = frozenset(listed("then rival man table sole been name home not but was are has had the and moon felon gate"))


@cache
def words(lexicon: str, count: int, syllables: int = 2) -> tuple[str, ...]:
    """The first `count` words of an invented lexicon: pronounceable, distinct, never a word of another lexicon.

    A larger count only appends, so a knob that is turned up leaves the words as they were.

    Args:
        lexicon: one of `LEXICONS`. count: how many words. syllables: syllables per word.
    """
    rng = random.Random(f"{WORLD_SEED}/{lexicon}/{syllables}")
    onsets, vowels, codas = SYLLABLES[lexicon]
    invented: dict[str, None] = {}  # an ordered set
    while len(invented) < count:
        stem = "".join(rng.choice(listed(onsets)) + rng.choice(listed(vowels)) for _ in range(syllables))
        word = stem + rng.choice(codas)
        if _hash(word) % len(LEXICONS) == LEXICONS.index(lexicon) and word not in ENGLISH:
            invented[word] = None
    return tuple(invented)


def fixed(*key: str) -> random.Random:
    """A random generator of the world, which gives the same numbers for the same key in every run."""
    return random.Random("/".join((str(WORLD_SEED), *key)))


def chance(rng: random.Random, probability: float) -> bool:
    """True with the given probability."""
    return rng.random() < probability
