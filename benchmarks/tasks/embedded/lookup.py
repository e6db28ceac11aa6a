"""The embedded task `embedded_lookup`: facts about people, asked without a text to read them from (closed book).

easy    facts about a few well-known people, each seen many times: "Where does Anna live?" -> Podarn
hard    *tail*: facts about many people, each seen only a few times in training
        *pair*: who has a given trade in a given town; a table of two keys, each cell seen only a few times
noise   tomorrow's weather in a town: uniform over four answers

Closed-book facts must be seen before they can be asked for, so the three splits share their facts. They never share a
question: a fact can be asked for in 48 phrasings, and each phrasing belongs to one split.
"""

import random
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.tasks.embedded.world import Question, Shares, World, chance, fixed, listed, words

FAMOUS = ("Anna", "Ben", "Clara", "David")
HOLDERS = ("Emma", "Felix", "Grace", "Henry", "Iris", "Jonas", "Karin", "Leo")
TOWNS = 12
TRADES = listed("baker smith tailor miller potter painter farmer doctor teacher sailor hunter singer")
PETS = listed("cat dog goat hen horse pony duck rabbit sheep parrot turtle mouse")
WEATHER = ("sunny", "rainy", "windy", "foggy")
OPENINGS = (
    "",
    "Tell me: ",
    "Question: ",
    "Please: ",
    "Quick: ",
    "Quiz: ",
    "Well: ",
    "Say: ",
    "So: ",
    "Hello! ",
    "Next: ",
    "Hey! ",
)
PHRASES = {
    "home": ("Where does {x} live?", "In which town is {x} at home?", "Which town is {x} from?", "Where is {x} from?"),
    "trade": (
        "What is {x} by trade?",
        "What is the job of {x}?",
        "What does {x} work as?",
        "Which trade does {x} follow?",
    ),
    "pet": (
        "Which pet does {x} have?",
        "What pet does {x} keep?",
        "What is the pet of {x}?",
        "Which animal does {x} keep?",
    ),
    "pair": (
        "Who is the {trade} of {town}?",
        "Who is the {trade} in {town}?",
        "Name the {trade} of {town}!",
        "Who works as the {trade} of {town}?",
    ),
    "weather": (
        "What will the weather be in {town} {day}?",
        "How is the weather in {town} {day}?",
        "Which weather will {town} have {day}?",
        "What weather comes to {town} {day}?",
    ),
}
DAYS = ("tomorrow", "on Monday", "on Friday", "on Sunday")
RELATIONS = ("home", "trade", "pet")


@dataclass(frozen=True)
class Lookup(World):
    """The world of facts.

    The expected number of training examples per tail fact is
    `n_train * shares.hard * (1 - pair_share) / (3 * tail_people)`.

    Attributes:
        shares: of the strata. tail_people: number of people of the tail, with three facts each.
        pairs: number of cells in the trade-by-town table. pair_share: share of *pair* among the hard examples.
    """

    shares: Shares = field(default_factory=Shares)
    tail_people: int = 70
    pairs: int = 72
    pair_share: float = 0.35

    name = "embedded_lookup"
    cluster = "facts"
    kind = "generation"
    template = "{text}\nAnswer:\n"
    metric = "exact_match"
    ways = len(WEATHER)

    @cached_property
    def towns(self) -> tuple[str, ...]:
        return tuple(word.capitalize() for word in words("town", TOWNS))

    @cached_property
    def people(self) -> tuple[str, ...]:
        """The many people whose facts are rare."""
        return tuple(word.capitalize() for word in words("person", self.tail_people))

    @cached_property
    def cells(self) -> tuple[tuple[str, str], ...]:
        """The (trade, town) cells that are asked about."""
        cells = [(trade, town) for trade in TRADES for town in self.towns]
        fixed("cells").shuffle(cells)
        return tuple(cells[: self.pairs])

    def fact(self, relation: str, person: str) -> str:
        """The value of a relation for a person."""
        values = {"home": self.towns, "trade": TRADES, "pet": PETS}[relation]
        return fixed("fact", relation, person).choice(values)

    def holder(self, trade: str, town: str) -> str:
        """Who has a trade in a town."""
        return fixed("holder", trade, town).choice(HOLDERS)

    def easy(self, rng: random.Random) -> Question:
        return self._about(rng, rng.choice(FAMOUS), "famous")

    def hard(self, rng: random.Random) -> Question:
        return self._pair(rng) if chance(rng, self.pair_share) else self._about(rng, rng.choice(self.people), "tail")

    def noise(self, rng: random.Random) -> Question:
        text = _phrase(rng, "weather", town=rng.choice(self.towns), day=rng.choice(DAYS))
        return Question(text, WEATHER, "weather")

    def _about(self, rng: random.Random, person: str, rule: str) -> Question:
        relation = rng.choice(RELATIONS)
        return Question(_phrase(rng, relation, x=person), (self.fact(relation, person),), rule)

    def _pair(self, rng: random.Random) -> Question:
        trade, town = rng.choice(self.cells)
        return Question(_phrase(rng, "pair", trade=trade, town=town), (self.holder(trade, town),), "pair")


def _phrase(rng: random.Random, relation: str, **slots: str) -> str:
    return rng.choice(OPENINGS) + rng.choice(PHRASES[relation]).format(**slots)
