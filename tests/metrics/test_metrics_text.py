"""Metrics of translations and summaries, against values worked out by hand and the libraries' own outputs."""

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks import metrics
from benchmarks.metrics import translation
from cat_keras.data.records import Example
from cat_keras.errors import CatKerasError


def example(target, *others):
    return Example("0", "prompt\n", target, references=(target, *others))


TEXTS = ["the cat is here now", "good morning to you all", ""]
EXAMPLES = [
    example("a cat is here now", "the cat is right here"),
    example("good morning to everybody here"),
    example("nothing was said", "silence", "not a word"),
]
STREAMS = [
    ["a cat is here now", "good morning to everybody here", "nothing was said"],
    ["the cat is right here", None, "silence"],
    [None, None, "not a word"],
]


def test_bleu_and_chrf_of_a_perfect_and_of_a_hopeless_translation():
    metric, right = metrics.get("bleu+chrf"), example("The cat sat on the mat.")
    assert metric.corpus([right.target], [right]) == {"bleu": pytest.approx(100), "chrf": pytest.approx(100)}
    assert metric.per_example(right.target, right) == pytest.approx(1)
    assert metric.per_example("", right) == metric.per_example("zzz", right) == 0


def test_bleu_by_hand():
    # Precisions 5/5, 4/4, 3/3, 2/2 and brevity penalty exp(1 − 7/5).
    for name in ("bleu", "bleu+chrf"):
        numbers = metrics.get(name).corpus(["a b c d e"], [example("a b c d e f g")])
        assert numbers["bleu"] == pytest.approx(100 * 2.718281828459045**-0.4)


def test_chrf_by_hand():
    # "abcd" against "abce": 3 of 4 characters, 2 of 3 pairs, 1 of 2 triples, 0 of 1 quadruples; no longer n-grams.
    # Precision and recall are both the mean of these four, and so is their F2.
    expected = (3 / 4 + 2 / 3 + 1 / 2 + 0) / 4
    assert metrics.get("bleu").per_example("abcd", example("abce")) == pytest.approx(expected)


def test_sacrebleu_sees_references_of_varying_number():
    import sacrebleu

    metric = metrics.get("bleu+chrf")
    bleu, chrf = (score(TEXTS, STREAMS).score for score in (sacrebleu.corpus_bleu, sacrebleu.corpus_chrf))
    assert metric.corpus(TEXTS, EXAMPLES) == {"bleu": bleu, "chrf": chrf}
    assert metrics.get("bleu").corpus(TEXTS, EXAMPLES) == {"bleu": bleu}
    for text, judged in zip(TEXTS, EXAMPLES, strict=True):
        expected = sacrebleu.sentence_chrf(text, list(judged.references)).score / 100
        assert metric.per_example(text, judged) == expected
    assert "nrefs:var" in metric.signature(EXAMPLES)


@pytest.mark.filterwarnings("ignore:The official numbers of metric")
@pytest.mark.parametrize("tokenize", ["13a", "zh", "intl", "char"])
def test_sacrebleu_tokenizes(tokenize):
    import sacrebleu

    texts, judged = (
        ["我们今天去公园(东门)。", "Hello, world! It's 5,000."],
        ["我们明天去公园。", "Hello world, it's 5,000!"],
    )
    found = metrics.get("bleu", tokenize=tokenize).corpus(texts, [example(text) for text in judged])
    assert found["bleu"] == sacrebleu.corpus_bleu(texts, [judged], tokenize=tokenize).score > 0


def test_statistics_of_references_are_built_once_and_never_mixed_up(monkeypatch):
    from sacrebleu.metrics import BLEU

    built = []
    extract = BLEU._extract_reference_info
    monkeypatch.setattr(BLEU, "_extract_reference_info", lambda self, refs: built.append(refs) or extract(self, refs))
    metric, one, other = metrics.get("bleu"), [example("a b c d e")], [example("v w x y z")]
    first = metric.corpus(["a b c d e"], one)
    again = metric.corpus(["a b c d x"], [example("a b c d e")])
    assert len(built) == 1 and first["bleu"] == pytest.approx(100) and 0 < again["bleu"] < 100
    assert metric.corpus(["a b c d e"], other)["bleu"] == 0
    assert metric.corpus(["a b c d e"], one) == first and len(built) == 3
    assert metrics.get("bleu", tokenize="char").corpus(["a b c d e"], one) == {"bleu": pytest.approx(100)}


def test_japanese():
    pytest.importorskip("MeCab", reason="the Japanese tokenizer is optional: pip install 'sacrebleu[ja]'")
    import sacrebleu

    texts, judged = ["私は昨日学校に行きました。"], ["私は今日学校に行きました。"]
    metric = metrics.get("bleu+chrf", tokenize="ja-mecab")
    found = metric.corpus(texts, [example(judged[0])])
    assert found["bleu"] == sacrebleu.corpus_bleu(texts, [judged], tokenize="ja-mecab").score > 0
    assert "tok:ja-mecab" in metric.signature([example(judged[0])])


def test_japanese_without_its_tokenizer(monkeypatch):
    monkeypatch.setattr("sacrebleu.tokenizers.tokenizer_ja_mecab.MeCab", None)
    translation._bleu.cache_clear()
    translation._plain_bleu.cache_clear()
    metric, judged = metrics.get("bleu+chrf", tokenize="ja-mecab"), example("私は学校に行きました。")
    assert metric.per_example(judged.target, judged) == 1  # the curves need no tokenizer
    for act in (lambda: metric.corpus([judged.target], [judged]), lambda: metric.signature([judged])):
        with pytest.raises(CatKerasError, match=r"ja-mecab needs packages.*pip install 'sacrebleu\[ja\]'"):
            act()


def test_unknown_tokenizer():
    from sacrebleu.metrics import BLEU

    assert set(translation.TOKENIZERS) == set(BLEU.TOKENIZERS)
    with pytest.raises(CatKerasError, match=r"Unknown tokenizer of BLEU 'ja'; did you mean ja-mecab"):
        metrics.get("bleu", tokenize="ja")


def test_signature_names_references_and_tokenizer():
    signature = metrics.get("bleu+chrf", tokenize="zh").signature([example("a", "b")])
    assert signature.startswith("BLEU nrefs:2|") and "tok:zh" in signature and "chrF2 nrefs:2|" in signature
    assert "chrF" not in metrics.get("bleu").signature([example("a")])
    assert metrics.get("accuracy").signature([example("a")]) == ""
    assert metrics.get("rouge").signature([example("a")]).startswith("rouge-score stemmer:no|refs:max|version:")


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


def test_rouge_score_agrees():
    from rouge_score.rouge_scorer import RougeScorer

    kinds = ["rouge1", "rouge2", "rougeLsum"]
    texts = ["The cats ran.\nIt's 5,000 miles!", "good morning to you all", "rains in Spain\nfalls", ""]
    judged = [
        example("A cat was running 5,000 miles.\nThe cats ran.", "It's miles"),
        example("a good morning\nto all of you"),
        example("The rain in Spain\nfalls mainly"),
        example("nothing"),
    ]
    scorer = RougeScorer(kinds, use_stemmer=False)
    scores = [scorer.score_multi(list(e.references), text) for text, e in zip(texts, judged, strict=True)]
    rouge = metrics.get("rouge")
    for _ in range(2):  # the second time with remembered words
        found = rouge.corpus(texts, judged)
        assert found == {kind: 100 * sum(score[kind].fmeasure for score in scores) / 4 for kind in kinds}
        assert rouge.per_example(texts[0], judged[0]) == scores[0]["rougeLsum"].fmeasure


HIGHLIGHTS = "Cat missing for years is found .\nA chip led staff to its owner ."


def test_rouge_lsum_compares_the_lines_of_the_data():
    from rouge_score.rouge_scorer import RougeScorer

    from benchmarks.tasks import task

    rouge = metrics.get("rouge")
    judged = task.get("cnn_dailymail").example({"article": "A story.", "highlights": HIGHLIGHTS}, "0")
    assert judged.target == "Cat missing for years is found.\nA chip led staff to its owner."
    other_order = "A chip led staff to its owner. Cat missing for years is found."
    assert rouge.corpus([other_order], [judged])["rougeLsum"] == pytest.approx(100)
    assert rouge.per_example(other_order, judged) == 1
    # As rouge-score has it for lines, also where no full stop ends them.
    official = RougeScorer(["rougeLsum"], use_stemmer=False)
    bare = example("cat missing for years\nchip led staff to owner\nnobody knows")
    for text in ("chip led staff. cat missing", "chip led. nobody. cat cat", "years for missing cat"):
        lines = text.replace(". ", ".\n")
        expected = official.score(bare.target, lines)["rougeLsum"].fmeasure
        assert rouge.per_example(text, bare) == rouge.per_example(lines, bare) == pytest.approx(expected)


def test_sentences_of_rouge():
    from benchmarks.metrics.summaries import sentences

    text = "Mr. Smith met the U.S. envoy at 5 p.m. on Jan. 3. Who won? He paid $4.50! J. R. Hall saw it. ok"
    assert sentences(text) == [
        "Mr. Smith met the U.S. envoy at 5 p.m. on Jan. 3.", "Who won?", "He paid $4.50!", "J. R. Hall saw it.", "ok"
    ]  # fmt: skip
    assert sentences("我们去公园。天气很好！") == ["我们去公园。", "天气很好！"]
    assert sentences(" \n ") == []


@settings(deadline=None)
@given(
    st.lists(st.sampled_from("the cat sat. He ran! yes , 5 p.m. Mr. Smith 日本。 é".split()), min_size=1, max_size=20),
    st.data(),
)
def test_line_breaks_of_an_answer_do_not_change_its_rouge(words, data):
    rouge, judged = metrics.get("rouge"), example("The cat ran. He sat!\nMr. Smith sat, yes", "He sat at 5 p.m. Yes")
    marks = st.sampled_from((" ", "\n", "\n\n", "\r\n", "  ", "\t"))
    broken = "".join(word + data.draw(marks) for word in words)
    assert rouge.statistics([broken], [judged]) == rouge.statistics([" ".join(words)], [judged])
    assert rouge.per_example(broken, judged) == rouge.per_example(" ".join(words), judged)
    # Nor do they where the answer has the words of a reference that ends its sentences elsewhere.
    same = example(data.draw(st.sampled_from((" ", "\n"))).join(words))
    if judged_words(same.target):
        assert rouge.statistics([broken], [same])[0][2] == 1


def judged_words(text):
    from benchmarks.metrics.summaries import official_words

    return official_words(text)
