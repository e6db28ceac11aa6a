"""Residue of layout and encoding is in nothing that a task renders, and nothing else is taken out of a text."""

import os
import re

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from benchmarks.sources import Dataset
from benchmarks.tasks import loading, residue, task
from benchmarks.tasks.task import Task
from cat_keras.errors import CatKerasError

DATA = os.environ.get("CAT_KERAS_DATA")
# Written apart from the code that they judge.
RESIDUE = {
    "line end": r"[\r\x0b\x0c\x85\u2028\u2029]",
    "entity": r"&(amp|lt|gt|quot|apos|nbsp|#\d+|#x[0-9a-fA-F]+);",
    "break": r"(?i)<br ?/?>",
    "blank": r"[\t\u00a0\u2007\u202f\u3000]",
    "invisible": r"[\u00ad\u200b\u200e\u200f\u2060\ufeff]",
    "control": r"[\x00-\x08\x0e-\x1f\x7f-\x9f]",
    "mojibake": r"\u00e2\u20ac|\u00c3\u00a9|\u00c2\u00a3",
}
TAG = r"(?i)</?(p|b|i|u|em|strong|font|a|div|span|table|tr|td)( [^<>]*)?/?>"


@pytest.mark.parametrize(
    ("text", "clean"),
    [
        ("one\r\ntwo\rthree\u2028four", "one\ntwo\nthree\nfour"),
        ("Tom &amp; Jerry &lt;3 &#39;x&#39; &#x27;y&#x27; &quot;z&quot;", "Tom & Jerry <3 'x' 'y' \"z\""),
        ("twice &amp;quot;escaped&amp;quot;", 'twice "escaped"'),
        ("AT&T, R&D; &notit; a & b", "AT&T, R&D; &notit; a & b"),
        ("dash &#150; and &#x80;", "dash – and €"),
        ("no text: &#0;&#55296;&#1114112;", "no text: "),
        ("500\u00a0km, 5\u202f%\tx", "500 km, 5 % x"),
        ("soft\u00adly zero\u200bwidth \ufeffmark", "softly zerowidth mark"),
        ("state\u200d--\u200cthe", "state--the"),
        ("family 👩\u200d👩\u200d👧", "family 👩\u200d👩\u200d👧"),
        ("put \x08a picture", "put a picture"),
        ("\x93quoted\x94 12\x9614\x85", "“quoted” 12–14…"),
        ("exposÃ© Â£290m donâ€™t Iraqâ\x80\x99s ðŸ˜€", "exposé £290m don’t Iraq’s 😀"),
        ("São Tomé, Malmö Å” AMANHÃ” À\u00a0Paris, 3 × â – ”", "São Tomé, Malmö Å” AMANHÃ” À Paris, 3 × â – ”"),
        ("good<br /><br />bad", "good\n\nbad"),
        ("a <div> tag, <lwb@alltel.net>, <ERTS.O>", "a <div> tag, <lwb@alltel.net>, <ERTS.O>"),
        ("`` Nine Inch Nails ''  a  b", "`` Nine Inch Nails ''  a  b"),
    ],
)
def test_known_texts(text, clean):
    assert residue.plain(text) == clean
    assert residue.plain(clean) == clean


def test_tags_are_residue_where_a_task_says_so():
    text = '<P>Dear <b>all</b>,<BR>see <a href="x">this</a> &lt;i&gt;now&lt;/i&gt; <ERTS.O> <sigh> 1 < 2 > 0<!-- no -->'
    assert residue.html_text(text) == "\nDear all,\nsee this now <ERTS.O> <sigh> 1 < 2 > 0\n"


def test_characters_that_are_scored_stay():
    text = "&amp; <br> \u00a0\u200b\x96 Ã©\u2028"
    assert residue.verbatim(f"{text}\r\n{text}") == f"{text}\n{text}"
    verbatim = {name for name in task.names() if task.get(name).text == "verbatim"}
    assert verbatim == {t.name for t in task.select("translation") + task.select("text_formatting")} - {
        "embedded_translate"
    }


PARTS = "& amp; lt; # 39; < br > / b \r \n \x80 \x99 Ã © â € ™ Â ð Ÿ ˜ é x".split(" ")


@settings(deadline=None)
@given(st.lists(st.sampled_from([*PARTS, " ", "\u200b", "\u200d", "\u00a0", "\x85", "😀"]), max_size=12).map("".join))
@pytest.mark.parametrize("name", residue.CLEANERS)
def test_a_clean_text_stays_as_it_is(name, text):
    clean = residue.CLEANERS[name](text)
    assert residue.CLEANERS[name](clean) == clean
    if name != "verbatim":
        # Half of a character that was read wrongly cannot be told from text.
        assert not any(re.search(pattern, clean) for kind, pattern in RESIDUE.items() if kind != "mojibake")


def test_every_text_of_an_example_is_cleaned():
    dirty, clean = " A\r\nB &amp;\u00a0C\u200b ", "A\nB & C"
    declared = Task(
        name="toy",
        suites=(),
        cluster="toys",
        kind="classification",
        source=Dataset("toys/colour", "1.0.0"),
        splits={"test": "test"},
        templates=("{text}\nColour:\n",),
        fields=lambda row: {"text": f"{row['text']}!"},
        target="answer",
        options="choices",
        references="all",
        metric="accuracy",
    )
    row = {"text": dirty, "answer": dirty, "choices": ["other", dirty], "all": [dirty, "\u200b"]}
    example = declared.example(row, "id")
    assert example.prompt == f"{clean} !\nColour:\n"
    assert (example.target, example.options, example.references) == (clean, ("other", clean), (clean,))


def test_chats_and_tweets():
    chat = {"dialogue": "Ann: hi\r\nBob: hello", "summary": "They\r\ngreet.", "id": "1"}
    assert task.get("samsum").example(chat, "id").prompt.startswith("Ann: hi\nBob: hello\n")
    tweet = {"text": "good &amp; cheap &lt;3 &quot;yes&quot;", "polarity": 4}
    assert task.get("sentiment140").example(tweet, "id").prompt.startswith('Tweet: good & cheap <3 "yes"\n')


def residues(declared, example):
    """Names of the residue that an example has."""
    patterns = {"line end": "\r"} if declared.text == "verbatim" else RESIDUE
    patterns = patterns | ({"tag": TAG} if declared.text == "html" else {})
    texts = (example.prompt, example.target, *example.options, *example.references)
    return [name for name, pattern in patterns.items() if any(re.search(pattern, text) for text in texts)]


@pytest.mark.slow
@pytest.mark.skipif(not DATA, reason="CAT_KERAS_DATA names no folder with real data")
@pytest.mark.parametrize("name", [name for name in task.names() if "embedded" not in name])
@pytest.mark.parametrize("limit", [200, pytest.param(None, marks=pytest.mark.long)])
def test_no_real_row_has_any(name, limit):
    declared = task.get(name)
    for split in declared.splits:
        try:
            examples = loading.load(declared, split, DATA, limit)
        except CatKerasError as error:
            assert re.search("missing|Training pairs lie in|is empty", str(error))
            continue
        for example in examples:
            assert not residues(declared, example), example
