"""The embedded task `embedded_classify`: the mood of a person, in one word out of four.

easy    a common mood word decides: "Anna is very happy today." -> glad
hard    *tail*: one of many rare, invented mood words decides ("Anna is very bledun today.")
        *turn*: two moods, their order in time and a negation decide ("Anna is not happy
        now but was calm before." -> sad)
noise   the person wears a mask: the mood is uniform over the four options, whatever the face shows
"""

import random
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.tasks.embedded.world import Question, Shares, World, chance, listed, words

NAMES = listed(
    "Anna Ben Clara David Emma Felix Grace Henry Iris Jonas Karin Leo Maya Nora Oscar Paula Ruth Simon Tina Victor"
)
MOODS = ("glad", "sad", "angry", "calm")
OPPOSITE = {"glad": "sad", "sad": "glad", "angry": "calm", "calm": "angry"}
COMMON = {
    "glad": ("happy", "merry", "cheerful", "jolly"),
    "sad": ("gloomy", "tearful", "mournful", "downcast"),
    "angry": ("furious", "cross", "raging", "bitter"),
    "calm": ("peaceful", "quiet", "relaxed", "gentle"),
}
DEGREES = ("very", "quite", "rather", "so", "really", "truly")
TIMES = ("today", "tonight", "at home", "at work", "at school", "this morning", "on the train", "in the garden")
# The second field is True where the first of the two moods is the one that holds now.
TURNS = (
    ("{name} was {a} before but is {b} now.", False),
    ("{name} is {a} now but was {b} before.", True),
    ("At first {name} was {a}, then {b}.", False),
    ("In the end {name} was {a}, at first {b}.", True),
)


@dataclass(frozen=True)
class Classify(World):
    """The world of moods.

    Attributes:
        shares: of the strata. tail_words: number of rare mood words per option.
        turn_share: share of *turn* among the hard examples. negated: probability of "not" before each mood of a *turn*.
    """

    shares: Shares = field(default_factory=Shares)
    tail_words: int = 50
    turn_share: float = 0.4
    negated: float = 0.3

    name = "embedded_classify"
    cluster = "mood"
    kind = "classification"
    template = "{text}\nMood:\n"
    metric = "accuracy"
    options = MOODS
    ways = len(MOODS)

    @cached_property
    def tail(self) -> dict[str, tuple[str, ...]]:
        """Mood → its rare words."""
        rare_words = words("mood", self.tail_words * len(MOODS))
        return {mood: rare_words[i :: len(MOODS)] for i, mood in enumerate(MOODS)}

    def easy(self, rng: random.Random) -> Question:
        mood = rng.choice(MOODS)
        return Question(_sentence(rng, rng.choice(COMMON[mood])), (mood,), "common")

    def hard(self, rng: random.Random) -> Question:
        return self._turn(rng) if chance(rng, self.turn_share) else self._tail(rng)

    def noise(self, rng: random.Random) -> Question:
        face = rng.choice(COMMON[rng.choice(MOODS)])
        text = f"Behind the mask {rng.choice(NAMES)} looks {face} {rng.choice(TIMES)}."
        return Question(text, MOODS, "mask")

    def _tail(self, rng: random.Random) -> Question:
        mood = rng.choice(MOODS)
        return Question(_sentence(rng, rng.choice(self.tail[mood])), (mood,), "tail")

    def _turn(self, rng: random.Random) -> Question:
        template, first_holds = rng.choice(TURNS)
        moods = rng.sample(MOODS, 2)
        negated = [chance(rng, self.negated), chance(rng, self.negated)]
        a, b = (("not " if no else "") + rng.choice(COMMON[mood]) for mood, no in zip(moods, negated, strict=True))
        now = 0 if first_holds else 1
        answer = OPPOSITE[moods[now]] if negated[now] else moods[now]
        return Question(template.format(name=rng.choice(NAMES), a=a, b=b), (answer,), "turn")


def _sentence(rng: random.Random, word: str) -> str:
    return f"{rng.choice(NAMES)} is {rng.choice(DEGREES)} {word} {rng.choice(TIMES)}."
