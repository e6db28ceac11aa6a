"""A record of a few fields, told in one sentence: structure to text.

easy    every field has its place in the sentence: "name: Anna | pet: dog | colour: red | size: small"
        -> "Anna has a small red dog."
hard    *plural*: many invented nouns, each with one of several plural endings that must be known by heart
        *rival*: negated traits are told as their opposites, and the rival has the opposite of everything
noise   a record with `day: some` opens with one of four words, in free variation; the rest of the sentence is easy
"""

import random
from dataclasses import dataclass
from functools import cached_property

from benchmarks.embedded.world import Question, Shares, World, chance, fixed, words

NAMES = tuple("Adam Bella Carl Dora Eric Fiona Gina Hugo Ivan Julia Kurt Lena Max Nina Otto Petra".split())
PETS = tuple("dog cat horse goat pony parrot rabbit turtle duck mouse".split())
COLOURS = tuple("red blue green black white brown grey yellow".split())
SIZES = ("small", "big", "tall", "tiny")
NUMBERS = {"2": "two", "3": "three", "4": "four", "5": "five", "6": "six", "7": "seven"}
OPPOSITES = (("small", "big"), ("rich", "poor"), ("young", "old"), ("quick", "slow"), ("loud", "silent"))
OPPOSITE = {a: b for pair in OPPOSITES for a, b in (pair, pair[::-1])}
OPENERS = ("Once", "Today", "Lately", "Often")


@dataclass(frozen=True)
class Describe(World):
    """Knobs: `tail_nouns` with irregular plurals, `endings` they take, `rival_share`, the share of *rival* among hard."""

    shares: Shares = Shares()
    tail_nouns: int = 100
    endings: int = 8
    rival_share: float = 0.4

    name = "embedded_describe"
    title = "record to sentence"
    kind = "structure-to-text"
    metric = "exact_match"
    ways = len(OPENERS)

    @cached_property
    def nouns(self) -> tuple[str, ...]:
        """The nouns with irregular plurals."""
        return words("thing", self.tail_nouns)

    def plural(self, noun: str) -> str:
        """The irregular plural of a noun: the noun with the ending it happens to take."""
        return noun + fixed("plural", noun).choice(words("ending", self.endings, syllables=1))

    def easy(self, rng: random.Random) -> Question:
        name, pet, colour, size = _pet(rng)
        return Question(_record(_fields(name, pet, colour, size)), (f"{name} has a {size} {colour} {pet}.",), "slots")

    def hard(self, rng: random.Random) -> Question:
        return self._rival(rng) if chance(rng, self.rival_share) else self._plural(rng)

    def noise(self, rng: random.Random) -> Question:
        name, pet, colour, size = _pet(rng)
        prompt = _record(_fields(name, pet, colour, size) | {"day": "some"})
        return Question(prompt, tuple(f"{opener} {name} saw a {size} {colour} {pet}." for opener in OPENERS), "opener")

    def _plural(self, rng: random.Random) -> Question:
        name, noun, colour = rng.choice(NAMES), rng.choice(self.nouns), rng.choice(COLOURS)
        digit, number = rng.choice(list(NUMBERS.items()))
        prompt = _record({"name": name, "thing": noun, "colour": colour, "count": digit})
        return Question(prompt, (f"{name} has {number} {colour} {self.plural(noun)}.",), "plural")

    def _rival(self, rng: random.Random) -> Question:
        name, rival = rng.sample(NAMES, 2)
        traits = [rng.choice(pair) for pair in rng.sample(OPPOSITES, 2)]
        shown = [f"not {OPPOSITE[trait]}" if chance(rng, 0.5) else trait for trait in traits]
        other = [OPPOSITE[trait] for trait in traits]
        answer = f"{name} is {traits[0]} and {traits[1]}, but {rival} is {other[0]} and {other[1]}."
        prompt = _record({"name": name, "traits": ", ".join(shown), "rival": rival})
        return Question(prompt, (answer,), "rival")


def _pet(rng: random.Random) -> tuple[str, str, str, str]:
    return rng.choice(NAMES), rng.choice(PETS), rng.choice(COLOURS), rng.choice(SIZES)


def _fields(name: str, pet: str, colour: str, size: str) -> dict[str, str]:
    return {"name": name, "pet": pet, "colour": colour, "size": size}


def _record(fields: dict[str, str]) -> str:
    return " | ".join(f"{key}: {value}" for key, value in fields.items()) + "\n"
