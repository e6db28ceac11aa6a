"""The embedded task `embedded_translate`: from one invented language, Sil, into another, Vod.

The order of words is subject, verb, object, adjective in Sil, and subject, adjective, object, verb in Vod.

easy    a few common words, translated one by one and put in the order of Vod
hard    *tail*: one of many rare nouns, each with its own Vod word
        *grammar*: particles of Sil that act at a distance; a passive swaps subject and object, a negation moves to the
        front, and a plural subject makes the verb agree with the gender of the noun
noise   a Sil sentence that ends in the polite particle ends in Vod with one of four particles, drawn at random
"""

import random
from dataclasses import dataclass, field
from functools import cached_property

from benchmarks.tasks.embedded.world import Question, Shares, World, chance, fixed, words

COUNTS = {"noun": 10, "verb": 8, "adjective": 6}
GENDERS = 3
POLITE_FORMS = 4


@dataclass(frozen=True)
class Translate(World):
    """The world of two languages.

    Attributes:
        shares: of the strata. tail_nouns: number of rare nouns.
        grammar_share: share of *grammar* among the hard examples.
    """

    shares: Shares = field(default_factory=Shares)
    tail_nouns: int = 60
    grammar_share: float = 0.4

    name = "embedded_translate"
    cluster = "invented_language"
    kind = "generation"
    template = "Sil: {text}\nVod:\n"
    metric = "exact_match"
    ways = POLITE_FORMS

    @cached_property
    def common(self) -> dict[str, tuple[str, ...]]:
        """The common Sil words by part of speech."""
        sil, start, common = words("source", sum(COUNTS.values())), 0, {}
        for part, count in COUNTS.items():
            common[part] = sil[start : start + count]
            start += count
        return common

    @cached_property
    def tail(self) -> tuple[str, ...]:
        """The rare Sil nouns."""
        return words("source", sum(COUNTS.values()) + self.tail_nouns)[sum(COUNTS.values()) :]

    @cached_property
    def vod(self) -> dict[str, str]:
        """The dictionary, Sil to Vod."""
        sil = words("source", sum(COUNTS.values()) + self.tail_nouns)
        return dict(zip(sil, words("target", len(sil)), strict=True))

    @cached_property
    def particles(self) -> dict[str, str]:
        """The grammatical particles of Sil, one syllable each."""
        return dict(zip(("passive", "not", "plural", "polite"), words("source", 4, syllables=1), strict=True))

    @cached_property
    def vod_particles(self) -> tuple[str, ...]:
        """Particles of Vod: the negation, one agreement particle per gender, then the polite ones."""
        return words("target", 1 + GENDERS + POLITE_FORMS, syllables=1)

    def gender(self, noun: str) -> int:
        """The gender of a Sil noun, 0 to GENDERS - 1; nothing in the noun shows it."""
        return fixed("gender", noun).randrange(GENDERS)

    def easy(self, rng: random.Random) -> Question:
        clause = self._clause(rng)
        return Question(" ".join(clause), (self._translate(clause),), "common")

    def hard(self, rng: random.Random) -> Question:
        return self._grammar(rng) if chance(rng, self.grammar_share) else self._tail(rng)

    def noise(self, rng: random.Random) -> Question:
        clause = self._clause(rng)
        translation = self._translate(clause)
        polite_particles = self.vod_particles[1 + GENDERS :]
        text = " ".join([*clause, self.particles["polite"]])
        return Question(text, tuple(f"{translation} {particle}" for particle in polite_particles), "polite")

    def _clause(self, rng: random.Random) -> list[str]:
        """Subject, verb, object and, half of the time, an adjective for the object."""
        subject, thing = rng.sample(self.common["noun"], 2)
        adjective = [rng.choice(self.common["adjective"])] if chance(rng, 0.5) else []
        return [subject, rng.choice(self.common["verb"]), thing, *adjective]

    def _translate(self, clause: list[str]) -> str:
        subject, verb, thing, *adjective = (self.vod[word] for word in clause)
        return " ".join([subject, *adjective, thing, verb])

    def _tail(self, rng: random.Random) -> Question:
        clause = self._clause(rng)
        clause[rng.choice((0, 2))] = rng.choice(self.tail)
        return Question(" ".join(clause), (self._translate(clause),), "tail")

    def _grammar(self, rng: random.Random) -> Question:
        """A clause with at least two of passive, negation and plural; a factor 0 leaves out the particle of one."""
        passive, negated, plural = rng.choice(((1, 1, 0), (1, 0, 1), (0, 1, 1), (1, 1, 1)))
        subject, verb, thing = self._clause(rng)[:3]
        actor = [self.particles["plural"]] * plural + [subject]
        first, last = ([thing], actor) if passive else (actor, [thing])
        opening = [self.particles["passive"]] * passive
        sentence = [*opening, *first, verb, *[self.particles["not"]] * negated, *last]
        agreement = [self.vod_particles[1 + self.gender(subject)]] * plural
        negation = [self.vod_particles[0]] * negated
        answer = [*negation, self.vod[subject], self.vod[thing], self.vod[verb], *agreement]
        return Question(" ".join(sentence), (" ".join(answer),), "grammar")
