"""Metrics of free-text answers: SQuAD, TriviaQA, ReCoRD, STS-B's numbers and edited copies."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import metrics
from benchmarks.metrics import answers, edits
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

# The first call imports the library of a metric, which takes longer than a deadline per call allows.
PATIENT = settings(deadline=None)


def example(target, *others):
    return Example("0", "prompt\n", target, references=(target, *others))


@pytest.mark.parametrize(
    ("text", "squad", "trivia_qa"),
    [
        ("The  Cat,\n sat!", "cat sat", "cat sat"),
        ("an apple a day", "apple day", "apple day"),
        ("theatre another", "theatre another", "theatre another"),
        # Punctuation goes before articles: "a.m." is one word for SQuAD, and an article and a letter for TriviaQA.
        ("5 a.m.", "5 am", "5 m"),
        ("rock'n'roll", "rocknroll", "rock n roll"),
        ("U.S.", "us", "u s"),
        ("snake_case", "snakecase", "snake case"),
        ("‘Hello’ ´x`", "‘hello’ ´x", "hello x"),
        ("the the", "", ""),
        ("50%–60%", "50–60", "50 –60"),
    ],
)
def test_normalisation_of_the_official_scripts(text, squad, trivia_qa):
    assert (answers.squad_normalise(text), answers.trivia_qa_normalise(text)) == (squad, trivia_qa)


def test_squad_by_hand():
    # "cat sat down" against "black cat sat": 2 of 3 words shared on both sides, F1 2/3; against "cat": P 1/3, R 1/1,
    # F1 1/2. The better of the two counts, and neither is exact. The second answer is exact, but for an article.
    squad = metrics.get("squad")
    judged = [example("The black cat sat", "cat"), example("Paris", "the city of Paris")]
    assert squad.per_example("a cat sat down.", judged[0]) == pytest.approx(2 / 3)
    assert squad.corpus(["a cat sat down.", "the Paris"], judged) == {
        "f1": pytest.approx(100 * (2 / 3 + 1) / 2),
        "exact_match": 50.0,
    }


def test_squad_counts_repeated_words():
    # Answer "b b c" shares "b" once and not twice with "b d": P 1/3, R 1/2, F1 = 2·(1/6)/(5/6) = 2/5.
    assert metrics.get("squad").per_example("b b c", example("b d")) == pytest.approx(2 / 5)


def test_squad_unanswerable():
    # An empty truth: only the empty answer is right, and an article or a point is empty once normalised.
    squad, nothing = metrics.get("squad"), example("")
    assert [squad.per_example(text, nothing) for text in ("", "the", "?", "no idea")] == [1, 1, 1, 0]
    assert squad.corpus(["", "x"], [nothing, nothing]) == {"f1": 50.0, "exact_match": 50.0}
    # Empty truths beside others are left out, so that keeping silent on an answerable question is wrong.
    assert squad.per_example("", example("Paris", "the")) == 0
    # Nothing of "the" is left once normalised. Officially silence is then right, and its quality is 0 all the same.
    assert squad.corpus([""], [example("the", "a")]) == {"f1": 100, "exact_match": 100}
    assert [squad.per_example(text, example("the", "a")) for text in ("", "The ", "a", "an", "?")] == [0, 1, 1, 0, 0]
    assert squad.corpus(["the"], [example("Paris", "the")]) == {"f1": 0, "exact_match": 0}
    assert squad.per_example("the", example("Paris", "the")) == 1


def test_squad_word_for_no_answer():
    squad = metrics.get("squad", no_answer="Unanswerable.")
    nothing, paris = example("unanswerable"), example("Paris")
    # Officially, silence says "unanswerable" too; an answer that curves count as right must say it.
    assert [squad.per_example(text, nothing) for text in ("Unanswerable", "", "?", "Paris")] == [1, 0, 0, 0]
    assert squad.corpus([""], [nothing]) == {"f1": 100, "exact_match": 100}
    assert squad.per_example("unanswerable", paris) == squad.per_example("", paris) == 0
    # Without the word, "unanswerable question" would share one of two words.
    assert squad.per_example("unanswerable question", nothing) == 0
    assert metrics.get("squad").per_example("unanswerable question", nothing) == pytest.approx(2 / 3)


def test_trivia_qa_by_hand():
    # "Sunset Blvd." is an alias; "Sunset Boulevards" is none and shares one of two words with each.
    judged = example("Sunset Boulevard", "Sunset Blvd", "West Sunset Boulevard")
    trivia = metrics.get("trivia_qa")
    assert trivia.per_example("the sunset-blvd.", judged) == 1 and trivia.per_example("Sunset Boulevards", judged) == 0
    numbers = trivia.corpus(["Sunset Blvd.", "Sunset Boulevards"], [judged, judged])
    assert numbers == {"exact_match": 50.0, "f1": pytest.approx(75)}


def test_record_by_hand():
    # Mentions "Bilawal Bhutto-Zardari" and "Bhutto". Punctuation goes without a trace: "bhuttozardari" is one word.
    # Answer "Bilawal Bhutto": against the first P 1/2, R 1/2; against the second P 1/2, R 1/1, F1 2/3.
    record, judged = metrics.get("record"), example("Bilawal Bhutto-Zardari", "Bhutto")
    assert record.per_example("Bilawal Bhutto", judged) == pytest.approx(2 / 3)
    assert record.corpus(["Bilawal Bhutto", "bhutto", "Pakistan"], [judged] * 3) == {
        "f1": pytest.approx(100 * (2 / 3 + 1 + 0) / 3),
        "exact_match": pytest.approx(100 / 3),
    }


def test_similarity_by_hand():
    # Answers 1 2 3 4, truths 1 3 2 5: deviations ±1.5 ±0.5 and -1.75 .25 -.75 2.25, so 5.5 / √(5 · 8.75).
    # Ranks 1 2 3 4 and 1 3 2 4: 1 − 6·(0 + 1 + 1 + 0) / (4·15) = 0.8.
    metric = metrics.get("pearson_spearman")
    truths = [example(text) for text in ("1.0", "3.0", "2.0", "5.0")]
    assert metric.corpus(["1", " 2.0", "3.000\n", "4"], truths) == {
        "pearson": pytest.approx(5.5 / (5 * 8.75) ** 0.5),
        "spearman": pytest.approx(0.8),
        "unparsable": 0.0,
    }
    assert metric.per_example("4", truths[3]) == pytest.approx(0.8)
    assert metric.per_example("99", truths[3]) == metric.per_example("-7", truths[3]) == 0


@pytest.mark.parametrize("text", ["", "very", "nan", "inf", "4 of 5", "3,5"])
def test_answers_that_are_no_number_are_counted(text):
    metric, truths = metrics.get("pearson_spearman"), [example(text) for text in ("0", "1", "2")]
    assert metric.per_example(text, truths[0]) == 0
    # It enters as -1, which orders these like the truths.
    numbers = metric.corpus([text, "1", "2"], truths)
    assert numbers["unparsable"] == 1 and numbers["spearman"] == pytest.approx(1)


@pytest.mark.parametrize("texts", [["2", "2"], ["x", "y"]])
def test_correlation_with_a_constant_is_zero(texts):
    numbers = metrics.get("pearson_spearman").corpus(texts, [example("1"), example("3")])
    assert (numbers["pearson"], numbers["spearman"]) == (0, 0)
    assert metrics.get("pearson_spearman").corpus(["1"], [example("1")])["pearson"] == 0


@PATIENT
@given(st.lists(st.tuples(st.integers(0, 50), st.integers(0, 50)), min_size=2, max_size=20))
def test_scipy_agrees(pairs):
    from scipy.stats import pearsonr, spearmanr

    numbers, truths = zip(*pairs, strict=True)
    if len(set(numbers)) == 1 or len(set(truths)) == 1:
        return
    found = metrics.get("pearson_spearman").corpus(
        [str(number / 10) for number in numbers], [example(str(truth / 10)) for truth in truths]
    )
    assert found["pearson"] == pytest.approx(pearsonr(numbers, truths).statistic)
    assert found["spearman"] == pytest.approx(spearmanr(numbers, truths).statistic)


def test_similarity_needs_one_number_as_truth():
    metric = metrics.get("pearson_spearman")
    with pytest.raises(CatKerasError, match=r"exactly one reference; example '0' has 2: \['1', '2'\]"):
        metric.corpus(["1"], [example("1", "2")])
    with pytest.raises(CatKerasError, match="must be a number; example '0' has 'high'"):
        metric.per_example("1", example("high"))


def test_edit_similarity_by_hand():
    # kitten → sitting: replace k, replace e, insert g: 3 edits in 7 characters.
    metric, judged = metrics.get("edit_distance"), example("sitting", "kit")
    assert metric.per_example("kitten", example("sitting")) == pytest.approx(4 / 7)
    assert metric.per_example(" kit\n", judged) == 1
    # One capital of 8 characters, and 3 edits of 6 towards "kit", the nearer one.
    numbers = metric.corpus(["new York", "kitten", "kit"], [example("New York"), example("kit"), judged])
    assert numbers == {
        "edit_similarity": pytest.approx(100 * (7 / 8 + 1 / 2 + 1) / 3),
        "exact_match": pytest.approx(100 / 3),
    }
    assert metric.per_example("", example("")) == 1 and metric.per_example("", example("a")) == 0


def by_table(text, other):
    """Levenshtein's distance by its definition, one row of the table at a time."""
    row = list(range(len(other) + 1))
    for above, character in enumerate(text, start=1):
        left = [above]
        for i, their in enumerate(other):
            left.append(min(row[i + 1] + 1, left[-1] + 1, row[i] + (character != their)))
        row = left
    return row[-1]


@PATIENT
@given(st.text("abé", max_size=80), st.text("abé", max_size=80))
def test_edit_distance_is_that_of_the_table(text, other):
    assert edits.distance(text, other) == by_table(text, other)
