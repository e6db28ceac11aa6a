"""Metrics against values worked out by hand, and against sacrebleu's and rouge-score's own outputs."""

import pytest

from benchmarks import metrics
from cat_keras.errors import CatKerasError
from cat_keras.records import Example


def example(target, *others, options=()):
    return Example("0", "prompt\n", target, options=options, references=(target, *others))


YES, NO = (example(word, options=("no", "yes")) for word in ("yes", "no"))


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


def test_bleu_and_chrf_of_a_perfect_and_of_a_hopeless_translation():
    metric, right = metrics.get("bleu+chrf"), example("The cat sat on the mat.")
    assert metric.corpus([right.target], [right]) == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert metric.per_example(right.target, right) == pytest.approx(1)
    assert metric.per_example("", right) == metric.per_example("zzz", right) == 0


def test_bleu_by_hand():
    # Precisions 5/5, 4/4, 3/3, 2/2 and brevity penalty exp(1 − 7/5).
    numbers = metrics.get("bleu+chrf").corpus(["a b c d e"], [example("a b c d e f g")])
    assert numbers["bleu"] == pytest.approx(100 * 2.718281828459045**-0.4)


def test_sacrebleu_sees_references_of_varying_number():
    import sacrebleu

    texts = ["the cat is here now", "good morning to you all"]
    examples = [example("a cat is here now", "the cat is right here"), example("good morning to everybody here")]
    streams = [["a cat is here now", "good morning to everybody here"], ["the cat is right here", None]]
    metric = metrics.get("bleu+chrf")
    assert metric.corpus(texts, examples) == {
        "bleu": pytest.approx(sacrebleu.corpus_bleu(texts, streams).score),
        "chrf": pytest.approx(sacrebleu.corpus_chrf(texts, streams).score),
    }
    expected = sacrebleu.sentence_chrf(texts[0], list(examples[0].references)).score / 100
    assert metric.per_example(texts[0], examples[0]) == pytest.approx(expected)
    assert "nrefs:var" in metric.signature(examples)


def test_signature_names_references_and_tokenizer():
    signature = metrics.get("bleu+chrf", tokenize="zh").signature([example("a", "b")])
    assert signature.startswith("BLEU nrefs:2|") and "tok:zh" in signature and "chrF2 nrefs:2|" in signature
    assert metrics.get("accuracy").signature([YES]) == ""
    assert metrics.get("rouge").signature([YES]).startswith("rouge-score stemmer:no|refs:max|version:")


def test_rouge_by_hand_is_the_best_reference():
    # Of 4 words, 3 are in the 6-word reference and 2 neighbours of 3 and 5; longest common subsequence 3.
    rouge, near = metrics.get("rouge"), example("a dog runs over the lawn", "nothing alike")
    numbers = rouge.corpus(["a dog runs home"], [near])
    assert numbers == {
        "rouge1": pytest.approx(60),
        "rouge2": pytest.approx(50),
        "rougeLsum": pytest.approx(60),
    }
    assert rouge.per_example("nothing alike", near) == pytest.approx(1)
    assert rouge.per_example("", near) == 0
    assert rouge.corpus(["nothing alike", ""], [near, near])["rouge1"] == pytest.approx(50)


def test_bad_requests():
    with pytest.raises(CatKerasError, match=r"Unknown metric 'rogue'; did you mean rouge\?"):
        metrics.get("rogue")
    for name in ("accuracy", "matthews", "bleu+chrf", "rouge"):
        with pytest.raises(CatKerasError, match="one answer per example"):
            metrics.get(name).corpus(["yes"], [])
        with pytest.raises(CatKerasError, match="at least one"):
            metrics.get(name).corpus([], [])
