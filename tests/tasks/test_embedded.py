"""The embedded suite: deterministic, its strata and splits as promised, and its Bayes quality as computed."""

import random
import re
import subprocess
import sys
from collections import Counter
from math import sqrt
from pathlib import Path

import pytest

from benchmarks.tasks import embedded, loading, task
from benchmarks.tasks.embedded import SIZES, WORLDS, Embedded, bayes_quality
from benchmarks.tasks.embedded.classify import COMMON, MOODS, OPPOSITE, Classify
from benchmarks.tasks.embedded.lookup import FAMOUS, HOLDERS, Lookup
from benchmarks.tasks.embedded.translate import Translate
from benchmarks.tasks.embedded.world import ENGLISH, LEXICONS, STRATA, Shares, split_of, words
from cat_keras.errors import CatKerasError

NAMES = sorted(WORLDS)
SPLITS = ("train", "validation", "test")


ROOT = Path(__file__).parents[2]


def _printed(code: str) -> str:
    """What a fresh Python process prints."""
    command = [sys.executable, "-c", code]
    return subprocess.run(command, capture_output=True, text=True, check=True, timeout=60, cwd=ROOT).stdout.strip()


def _rows(name: str, split: str, size: int = 1500, seed: int = 0) -> list[dict]:
    return [row for _, row in Embedded(WORLDS[name], seed, {split: size}).rows(split)]


def _within(count: int, n: int, p: float) -> bool:
    """A binomial count within 4.5 standard deviations (and a rounding) of its mean."""
    return abs(count - n * p) <= 4.5 * sqrt(n * p * (1 - p)) + 1


@pytest.mark.parametrize("name", NAMES)
def test_rows_follow_from_seed_split_and_index_alone(name):
    whole, again = _rows(name, "train", 300), _rows(name, "train", 300)
    assert whole == again
    assert _rows(name, "train", 40) == whole[:40]
    assert WORLDS[name].row("train", 250) == whole[250]
    assert _rows(name, "train", 300, seed=1) != whole


@pytest.mark.parametrize("name", NAMES)
def test_a_new_process_generates_the_same_rows(name):
    code = f"from benchmarks.tasks.embedded import WORLDS; print(WORLDS[{name!r}].row('test', 7))"
    assert _printed(code) == str(WORLDS[name].row("test", 7))


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("split", SPLITS)
def test_strata_have_their_shares(name, split):
    rows = _rows(name, split)
    counts = Counter(row["stratum"] for row in rows)
    assert set(counts) == set(STRATA)
    for stratum in STRATA:
        assert _within(counts[stratum], len(rows), getattr(WORLDS[name].shares, stratum)), (stratum, counts)


@pytest.mark.parametrize("name", NAMES)
def test_splits_share_no_text(name):
    texts = {split: {row["text"] for row in _rows(name, split)} for split in SPLITS}
    assert all(split_of(text) == split for split in SPLITS for text in texts[split])
    assert not texts["train"] & texts["test"]
    assert not texts["train"] & texts["validation"]
    assert not texts["validation"] & texts["test"]


def test_held_out_combinations_have_no_pattern():
    """With a linear hash the eighths of (a,c) (a,d) (b,c) (b,d) cancel always: a rule for what is never trained on."""

    def tested(name: str, pet: str) -> bool:
        return split_of(f"pet({name}, red, {pet})") == "test"

    names, pets = ("Adam", "Carl", "Dora", "Eric", "Gina", "Hugo", "Ivan", "Lena"), ("dog", "cat", "cow", "hen", "bee")
    squares = [(a, b, c, d) for a in names for b in names if a < b for c in pets for d in pets if c < d]
    odd = sum(tested(a, c) ^ tested(a, d) ^ tested(b, c) ^ tested(b, d) for a, b, c, d in squares)
    assert 0.15 < odd / len(squares) < 0.6


@pytest.mark.parametrize("name", NAMES)
def test_words_of_the_test_set_are_in_the_training_set(name):
    """Test asks held-out combinations; a word never trained on could not be known by any model."""
    known = {word for row in _rows(name, "train", SIZES["train"]) for word in _words(row)}
    rows = _rows(name, "test", SIZES["test"])
    assert sum(set(_words(row)) <= known for row in rows) >= 0.99 * len(rows)


def _words(row: dict) -> list[str]:
    return re.findall(r"\w+", f"{row['text']} {row['target']}")


@pytest.mark.parametrize("name", NAMES)
def test_answers_are_a_function_of_the_text(name):
    """The same for all splits and seeds: the world is fixed, and only the noise stratum has a choice."""
    known = {}
    for split in SPLITS:
        for seed in (0, 1):
            for row in _rows(name, split, 600, seed):
                assert known.setdefault(row["text"], row["answers"]) == row["answers"]
                assert row["target"] in row["answers"]
                assert len(set(row["answers"])) == (WORLDS[name].ways if row["stratum"] == "noise" else 1)


@pytest.mark.parametrize("name", NAMES)
def test_noise_is_uniform_and_costs_one_word(name):
    rows = [row for row in _rows(name, "train", 4000) if row["stratum"] == "noise"]
    places = Counter(row["answers"].index(row["target"]) for row in rows)
    assert all(_within(places[k], len(rows), 1 / WORLDS[name].ways) for k in range(WORLDS[name].ways)), places
    for row in rows[:50]:
        one, two = (answer.split() for answer in row["answers"][:2])
        assert len(one) == len(two)
        assert sum(a != b for a, b in zip(one, two, strict=True)) == 1


@pytest.mark.parametrize("name", NAMES)
def test_bayes_quality_is_what_an_oracle_scores(name):
    """The oracle knows the world and, in the noise stratum, can only guess."""
    rng, rows = random.Random(3), _rows(name, "test", 3000)
    right = sum(rng.choice(row["answers"]) == row["target"] for row in rows)
    assert _within(right, len(rows), bayes_quality(name))
    assert task.get(name).source.bayes_quality == bayes_quality(name)


def test_bayes_quality_by_hand():
    assert Classify(shares=Shares(0.5, 0.3, 0.2)).bayes_quality == pytest.approx(0.5 + 0.3 + 0.2 / 4)


def test_mood_is_what_the_text_says():
    """An oracle that reads the text by the rules of the docstring, apart from the generator."""
    mood_of = {word: mood for lexicon in (COMMON, Classify().tail) for mood in lexicon for word in lexicon[mood]}
    for row in _rows("embedded_classify", "train"):
        said = re.findall(r"(not )?(\w+)", row["text"].lower())
        moods = [OPPOSITE[mood_of[w]] if no else mood_of[w] for no, w in said if w in mood_of]
        if row["rule"] == "turn":
            first = any(sign in row["text"] for sign in ("is now", " now but", "In the end"))
            assert row["target"] == moods[0 if first else 1]
        elif row["stratum"] != "noise":
            assert moods == [row["target"]]


def test_options_are_balanced_and_hold_the_target():
    examples = loading.load(task.get("embedded_classify"), "train")
    counts = Counter(example.target for example in examples)
    assert all(example.options == MOODS for example in examples)
    assert set(counts) == set(MOODS)
    assert all(_within(count, len(examples), 1 / len(MOODS)) for count in counts.values()), counts


def test_translation_keeps_its_words():
    """Every content word of Sil appears in Vod as its dictionary entry, and nothing else but particles does."""
    world = Translate()
    sil_particles, vod_particles = set(world.particles.values()), set(world.vod_particles)
    for row in _rows("embedded_translate", "train"):
        sil = [world.vod[word] for word in row["text"].split() if word not in sil_particles]
        vod = [word for word in row["target"].split() if word not in vod_particles]
        assert sorted(sil) == sorted(vod)


def test_a_passive_sentence_means_the_active_one():
    world, rows = Translate(), _rows("embedded_translate", "train", 6000)
    for row in rows:
        spoken = row["text"].split()
        if row["rule"] == "grammar" and spoken[0] == world.particles["passive"]:
            subject, thing = world.vod[spoken[-1]], world.vod[spoken[1]]
            assert f"{subject} {thing}" in row["target"]


def test_lookup_does_not_give_its_answer_away():
    for row in _rows("embedded_lookup", "train", 4000):
        assert not set(_words({"text": row["text"], "target": ""})) & set(row["answers"])


def test_lookup_facts_are_seen_in_training():
    """A closed-book fact that was never told cannot be known; phrasings differ, facts do not."""
    world, rows = Lookup(), _rows("embedded_lookup", "train", SIZES["train"])
    seen = Counter(_fact(world, row) for row in rows if row["stratum"] != "noise")
    asked = [_fact(world, row) for row in _rows("embedded_lookup", "test") if row["stratum"] != "noise"]
    assert sum(fact in seen for fact in asked) >= 0.99 * len(asked)


def _fact(world: Lookup, row: dict) -> tuple:
    keys = {*FAMOUS, *HOLDERS, *world.people, *world.towns, *(trade for trade, _ in world.cells)}
    return (*(word for word in _words({"text": row["text"], "target": ""}) if word in keys), row["target"])


@pytest.mark.parametrize("name", NAMES)
def test_examples_are_short_and_join_without_a_blank(name):
    for split in SPLITS:
        for example in loading.load(task.get(name), split, limit=200):
            assert len(f"{example.prompt} {example.target}".split()) <= 30
            assert example.prompt.endswith(":\n")
            assert example.target == example.target.strip() != ""
            assert example.group in STRATA
            assert example.task == name


def test_a_smaller_limit_is_part_of_a_larger_one():
    wanted = task.get("embedded_describe")
    small, large = (loading.load(wanted, "train", limit=limit) for limit in (50, 200))
    assert {example.id for example in small} < {example.id for example in large}


def test_invented_words_never_collide():
    lexicons = [words(lexicon, 40) for lexicon in LEXICONS if lexicon != "ending"]
    every = [word for lexicon in lexicons for word in lexicon]
    assert len(set(every)) == len(every)
    assert not set(every) & ENGLISH
    assert words("mood", 10) == words("mood", 40)[:10]


def test_a_knob_leaves_the_rest_of_the_world_alone():
    small, large = Lookup(tail_people=10), Lookup(tail_people=50)
    assert large.people[:10] == small.people
    assert [small.fact("home", p) for p in small.people] == [large.fact("home", p) for p in small.people]


def test_another_share_of_noise_changes_that_alone():
    several = task.select(("embedded_lookup", "sst2"))
    noisy, same = embedded.with_noise(several, 0.6)
    assert same is several[1] and noisy.identity() != several[0].identity()
    shares = noisy.source.world.shares
    assert shares.noise == 0.6 and shares.easy / shares.hard == pytest.approx(0.45 / 0.40)
    assert noisy.source.bayes_quality == pytest.approx(0.4 + 0.6 / 4)
    strata = [row["stratum"] for _, row in noisy.source.rows("test")]
    assert 0.5 < strata.count("noise") / len(strata) < 0.7
    for share in (0, 1):
        (extreme,) = embedded.with_noise(several[:1], share)
        kinds = {row["stratum"] for _, row in extreme.source.rows("test")}
        assert kinds == ({"noise"} if share else {"easy", "hard"})


def test_identity_tells_knobs_and_seed():
    assert Embedded(Lookup()).identity() == Embedded(Lookup()).identity()
    assert Embedded(Lookup(tail_people=10)).identity() != Embedded(Lookup()).identity()
    assert Embedded(Lookup(), seed=1).identity() != Embedded(Lookup()).identity()


def test_errors_name_what_was_received():
    with pytest.raises(CatKerasError, match="embedded_lookup"):
        bayes_quality("embedded_lokup")
    with pytest.raises(CatKerasError, match=r"train.*test|test"):
        list(embedded.Embedded(Lookup()).rows("tset"))
    with pytest.raises(CatKerasError, match="split"):
        Lookup().row("dev", 0)
    with pytest.raises(CatKerasError, match="sum to 1"):
        Shares(0.5, 0.5, 0.5)


def test_importing_the_suite_loads_no_framework():
    code = "import sys, benchmarks.tasks.embedded; print({'tensorflow', 'keras', 'numpy'} & set(sys.modules))"
    assert _printed(code) == "set()"
