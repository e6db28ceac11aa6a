"""What all metrics have in common, and those of answers that are right or wrong."""

import subprocess
import sys

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import metrics
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError

# The first call imports the library of a metric, which takes longer than a deadline per call allows.
PATIENT = settings(deadline=None)
WORDS = st.text("abc ABC.,'0123日本", min_size=0, max_size=12)
# Every metric with arguments that fit the options of `judged`.
ALL = {
    "accuracy": {},
    "exact_match": {},
    "f1": {"positive": "yes"},
    "macro_f1_accuracy": {},
    "matthews": {},
    "multirc": {"positive": "yes"},
    "record": {},
    "gender_parity": {},
    "squad": {"no_answer": "unanswerable"},
    "trivia_qa": {},
    "bleu": {},
    "bleu+chrf": {"tokenize": "zh"},
    "rouge": {},
    "edit_distance": {},
    "pearson_spearman": {},
}


def example(target, *others, options=(), group="", id="0"):
    return Example(id, "prompt\n", target, options=options, references=(target, *others), group=group)


YES, NO = (example(word, options=("no", "yes")) for word in ("yes", "no"))


def test_importing_loads_no_library():
    heavy = ("sacrebleu", "rouge_score", "sklearn", "scipy", "numpy", "tensorflow", "nltk")
    code = f"import sys, benchmarks.metrics; print([name for name in {heavy} if name in sys.modules])"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True).stdout.strip() == "[]"


def test_every_metric_is_covered_here():
    assert set(ALL) | {"given"} == set(metrics._METRICS)  # which judges nothing: answers come with their quality


@pytest.mark.parametrize("name", ALL)
@PATIENT
@given(text=WORDS, reference=WORDS.filter(str.strip), other=WORDS)
def test_quality_of_one_answer_is_a_share(name, text, reference, other):
    judged = example("3.5") if name == "pearson_spearman" else example(reference, other)
    assert 0 <= metrics.get(name, **ALL[name]).per_example(text, judged) <= 1


@pytest.mark.parametrize("name", ALL)
def test_perfect_answers_give_the_maximum(name):
    targets = ("1", "4.5") if name == "pearson_spearman" else ("yes", "no")
    options = () if name == "pearson_spearman" else ("no", "yes")
    examples = [example(target, options=options, group="pair") for target in targets]
    metric = metrics.get(name, **ALL[name])
    assert [metric.per_example(e.target, e) for e in examples] == [1, 1]
    numbers = metric.corpus(list(targets), examples)
    if name == "pearson_spearman":
        assert numbers == {"pearson": pytest.approx(1), "spearman": pytest.approx(1), "unparsable": 0}
    elif name == "matthews":
        assert numbers == {"matthews": 1, "accuracy": 100}
    elif name == "gender_parity":
        assert numbers == {"accuracy": 100, "gender_parity": 0}  # the two of this pair do differ
    elif "bleu" in name or name == "rouge":
        # A text of one word has no longer n-grams: BLEU and ROUGE-2 are then 0.
        long = [example("the cat sat on the mat", "a cat sat")]
        assert all(value == pytest.approx(100) for value in metric.corpus([long[0].target], long).values())
    else:
        assert all(value == 100 for value in numbers.values())


def test_headline_comes_first():
    first = {"squad": "f1", "trivia_qa": "exact_match", "record": "f1", "multirc": "f1a", "bleu+chrf": "bleu"}
    first |= {"macro_f1_accuracy": "macro_f1", "gender_parity": "accuracy", "edit_distance": "edit_similarity"}
    examples = [example(word, options=("no", "yes"), group="pair") for word in ("yes", "no")]
    for name, key in first.items():
        assert next(iter(metrics.get(name, **ALL[name]).corpus(["yes", "yes"], examples))) == key


def test_accuracy_is_the_share_of_exact_answers():
    accuracy = metrics.get("accuracy")
    assert accuracy.per_example("yes", YES) == 1 and accuracy.per_example("yes ", YES) == 0
    assert accuracy.corpus(["yes", "no", "no", "yes"], [YES, NO, YES, YES]) == {"accuracy": 75.0}


def test_exact_match_takes_any_reference():
    match = metrics.get("exact_match")
    assert match.per_example(" six\n", example("6", "six")) == 1 and match.per_example("Six", example("6", "six")) == 0
    assert match.corpus(["6", "7"], [example("6"), example("6")]) == {"exact_match": 50.0}


def test_f1_of_the_positive_option():
    # TP 2, FP 1, FN 1: F1 = 4 / 6.
    texts, examples = ["yes", "yes", "yes", "no", "no"], [YES, YES, NO, YES, NO]
    numbers = metrics.get("f1", positive="yes").corpus(texts, examples)
    assert numbers == {"f1": pytest.approx(200 / 3), "accuracy": pytest.approx(60)}
    assert metrics.get("f1", positive="yes").corpus(["no"], [NO]) == {"f1": 0.0, "accuracy": 100.0}


def test_macro_f1_by_hand():
    # Targets e e e c n, answers e e c c c. F1 of e: P 2/2, R 2/3 → 4/5; of c: P 1/3, R 1/1 → 1/2; of n: 0.
    texts, targets = "eeccc", "eeecn"
    numbers = metrics.get("macro_f1_accuracy").corpus(list(texts), [example(target) for target in targets])
    assert numbers == {"macro_f1": pytest.approx(100 * (4 / 5 + 1 / 2 + 0) / 3), "accuracy": pytest.approx(60)}


def test_matthews_correlation():
    # TP 2, TN 1, FP 1, FN 1: (2·1 − 1·1) / √(3·3·2·2) = 1/6.
    texts, examples = ["yes", "yes", "yes", "no", "no"], [YES, YES, NO, YES, NO]
    numbers = metrics.get("matthews").corpus(texts, examples)
    assert numbers == {"matthews": pytest.approx(1 / 6), "accuracy": pytest.approx(60)}
    assert metrics.get("matthews").corpus(["yes", "no"], [YES, NO])["matthews"] == pytest.approx(1)
    assert metrics.get("matthews").corpus(["no", "yes"], [YES, NO])["matthews"] == pytest.approx(-1)


@pytest.mark.parametrize(("text", "examples"), [("yes", [YES, YES]), ("yes", [YES, NO])])
def test_matthews_of_a_constant_is_zero(text, examples):
    assert metrics.get("matthews").corpus([text, text], examples)["matthews"] == 0


@PATIENT
@given(st.lists(st.tuples(st.sampled_from("abc"), st.sampled_from("abc")), min_size=2, max_size=20))
def test_scikit_learn_agrees(pairs):
    from sklearn.metrics import accuracy_score, f1_score, matthews_corrcoef

    texts, targets = (list(column) for column in zip(*pairs, strict=True))
    examples = [example(target, options=("a", "b", "c")) for target in targets]
    accuracy = pytest.approx(100 * accuracy_score(targets, texts))
    f1 = f1_score(targets, texts, labels=["b"], average="macro", zero_division=0.0)
    macro = f1_score(targets, texts, average="macro", zero_division=0.0)
    assert metrics.get("f1", positive="b").corpus(texts, examples) == {
        "f1": pytest.approx(100 * f1),
        "accuracy": accuracy,
    }
    assert metrics.get("macro_f1_accuracy").corpus(texts, examples) == {
        "macro_f1": pytest.approx(100 * macro),
        "accuracy": accuracy,
    }
    if len({*texts, *targets}) > 1:
        expected = pytest.approx(matthews_corrcoef(targets, texts))
        assert metrics.get("matthews").corpus(texts, examples)["matthews"] == expected


def test_unknown_names_and_arguments():
    with pytest.raises(CatKerasError, match=r"Unknown metric 'rogue'; did you mean rouge\?"):
        metrics.get("rogue")
    with pytest.raises(CatKerasError, match=r"Metric f1 is made with \(positive: str\); received \{\}.*metric_args"):
        metrics.get("f1")
    with pytest.raises(CatKerasError, match=r"Metric accuracy is made with \(\); received \{'positive': 'yes'\}"):
        metrics.get("accuracy", positive="yes")


@pytest.mark.parametrize("name", ["f1", "multirc"])
def test_the_positive_option_must_exist(name):
    judged = example("true", options=("false", "true"), group="q")
    with pytest.raises(CatKerasError, match=r"must be one of \['false', 'true'\]; received 'yes'"):
        metrics.get(name, positive="yes").corpus(["true"], [judged])


@pytest.mark.parametrize("name", ALL)
def test_one_answer_per_example(name):
    metric = metrics.get(name, **ALL[name])
    with pytest.raises(CatKerasError, match=r"one answer per example.*2 answers to 1 examples"):
        metric.corpus(["1", "1"], [example("1", group="g")])
    with pytest.raises(CatKerasError, match="at least one; received 0 answers"):
        metric.corpus([], [])


@pytest.mark.filterwarnings("ignore:The official numbers of metric")  # some texts are Chinese
@pytest.mark.parametrize("name", ALL)
@PATIENT
@given(answers=st.lists(st.tuples(WORDS, WORDS.filter(str.strip), WORDS), min_size=1, max_size=6))
def test_official_numbers_follow_from_numbers_per_answer(name, answers):
    import numpy as np

    options = ("no", "yes") if name in ("f1", "multirc", "gender_parity") else ()
    if name == "pearson_spearman":
        examples = [example(f"{len(target)}.5") for _, target, _ in answers]
    else:
        examples = [example(target, other, options=options) for _, target, other in answers]
    # Pairs, as gender parity wants them.
    texts = [text for text, _, _ in answers for _ in (0, 1)]
    examples = [Example(**(e.asdict() | {"group": f"pair {i}"})) for i, e in enumerate(examples) for _ in (0, 1)]
    metric = metrics.get(name, **ALL[name])
    kept = np.array(metric.statistics(texts, examples), dtype=np.float64)  # as a file of results holds them
    assert kept.ndim == 2 and len(kept) == len(texts) and np.isfinite(kept).all()
    assert metric.combine(*kept.T.tolist()) == metric.corpus(texts, examples)


def test_codes_are_equal_for_equal_texts_only():
    from benchmarks.metrics.metric import code

    texts = [f"{word}{i}" for word in ("yes", "no", "日本", "") for i in range(500)]
    assert [code(text) for text in texts] == [code(text) for text in texts]
    assert len({code(text) for text in texts}) == len(texts)
    assert all(code(text).is_integer() and 0 <= code(text) < 2**48 for text in texts)
