"""The embedded task `embedded_describe`: a record, written like a predicate with its arguments, told in one sentence.

easy    every argument has its place in the sentence: "pet(Adam, red, dog)" -> "Adam has a red dog."
hard    *plural*: many invented nouns, each with one of several plural endings that must be known by heart:
        "many(Lena, 3, kugit)" -> "Lena has three kugitla."
        *rival*: a negated trait is told as its opposite, and the rival has the opposite of that:
        "rival(Eric, not poor, Dora)" -> "Eric is rich, but Dora is poor."
noise   the sentence for "day(Adam, red, dog)" opens with one of four words, drawn at random; the rest of it is easy
"""

import random
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.tasks.embedded.world import Question, Shares, World, chance, fixed, listed, words

NAMES = listed("Adam Bella Carl Dora Eric Fiona Gina Hugo Ivan Lena")
PETS = listed("dog cat horse goat pony parrot rabbit duck")
COLOURS = listed("red blue green black white brown")
NUMBERS = {"2": "two", "3": "three", "4": "four", "5": "five"}
OPPOSITES = (("small", "big"), ("rich", "poor"), ("young", "old"), ("quick", "slow"), ("loud", "silent"))
OPPOSITE = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
OPENERS = ("Once", "Today", "Lately", "Often")


@dataclass(frozen=True)
class Describe(World):
    """The world of records.

    Attributes:
        shares: of the strata. tail_nouns: number of nouns with irregular plurals. endings: number of plural endings.
        rival_share: share of *rival* among the hard examples.
    """

    shares: Shares = field(default_factory=Shares)
    tail_nouns: int = 60
    endings: int = 6
    rival_share: float = 0.4

    name = "embedded_describe"
    cluster = "phrasing"
    kind = "generation"
    template = "{text}\nIn words:\n"
    metric = "exact_match"
    ways = len(OPENERS)

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """The nouns with irregular plurals."""
        return words("thing", self.tail_nouns)

    def plural(self, noun: str) -> str:
        """The irregular plural of a noun: the noun with the ending that it has in this world."""
        return noun + fixed("plural", noun).choice(words("ending", self.endings, syllables=1))

    def easy(self, rng: random.Random) -> Question:
        name, pet, colour = _pet(rng)
        return Question(_record("pet", name, colour, pet), (f"{name} has a {colour} {pet}.",), "slots")

    def hard(self, rng: random.Random) -> Question:
        return self._rival(rng) if chance(rng, self.rival_share) else self._plural(rng)

    def noise(self, rng: random.Random) -> Question:
        name, pet, colour = _pet(rng)
        answers = tuple(f"{opener} {name} saw a {colour} {pet}." for opener in OPENERS)
        return Question(_record("day", name, colour, pet), answers, "opener")

    def _plural(self, rng: random.Random) -> Question:
        name, noun = rng.choice(NAMES), rng.choice(self.nouns)
        digit, number = rng.choice(list(NUMBERS.items()))
        return Question(_record("many", name, digit, noun), (f"{name} has {number} {self.plural(noun)}.",), "plural")

    def _rival(self, rng: random.Random) -> Question:
        name, rival = rng.sample(NAMES, 2)
        trait = rng.choice(list(OPPOSITE))
        trait_text = f"not {OPPOSITE[trait]}" if chance(rng, 0.5) else trait
        answer = f"{name} is {trait}, but {rival} is {OPPOSITE[trait]}."
        return Question(_record("rival", name, trait_text, rival), (answer,), "rival")


def _pet(rng: random.Random) -> tuple[str, str, str]:
    return rng.choice(NAMES), rng.choice(PETS), rng.choice(COLOURS)


def _record(predicate: str, *arguments: str) -> str:
    return f"{predicate}({', '.join(arguments)})"
