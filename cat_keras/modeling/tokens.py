"""Texts to token ids. Data is data: a text that holds the word of a control token never becomes that token."""

import re
import weakref
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from functools import cached_property

from cat_keras.errors import CatKerasError, check_list

# SentencePiece keeps a symbol that its trainer was given in one piece wherever a text holds it. Those in brackets, such
# as Gemma's <start_of_turn>, steer a model; others, such as a line feed, are text.
BRACKETED = re.compile(r"<.+>|\[.+\]", re.DOTALL)
WORD = re.compile(r"<[^<>\s]+>|\[/?[A-Z_]+\]")  # what a control word looks like in a chat template
CONTROL, USER_DEFINED = 3, 4  # types of a piece in a SentencePiece model
_WORDS: weakref.WeakKeyDictionary = weakref.WeakKeyDictionary()  # tokenizer → its `ControlWords`


@dataclass(frozen=True)
class ControlWords:
    """The words that a tokenizer writes for its control tokens, such as `<|endoftext|>`.

    Attributes:
        words: those of more than one character. ids: their tokens.
    """

    words: tuple[str, ...]
    ids: frozenset[int]

    @classmethod
    def of(cls, tokenizer, words: Iterable[str]) -> "ControlWords":
        """Those of a tokenizer that are tokens by these words."""
        words = tuple(sorted(set(words)))
        return cls(words, frozenset(int(tokenizer.token_to_id(word)) for word in words))

    @cached_property
    def _pattern(self) -> re.Pattern:
        longest_first = sorted(self.words, key=len, reverse=True)
        return re.compile("|".join(map(re.escape, longest_first)) or r"(?!)")

    def within(self, text: str) -> list[str]:
        """The words that a text holds, in its order."""
        return self._pattern.findall(text)

    def parts(self, text: str) -> list[str]:
        """The text in parts none of which holds such a word: each is divided after its first character."""
        places = [match.start() + 1 for match in self._pattern.finditer(text)]
        return [text[i:j] for i, j in zip([0, *places], [*places, len(text)], strict=True)]


def control_words(tokenizer) -> ControlWords:
    """The words of the control tokens of a KerasHub tokenizer of any family."""
    try:
        if tokenizer not in _WORDS:
            _WORDS[tokenizer] = _find_words(tokenizer)
        return _WORDS[tokenizer]
    except TypeError:  # it has no hash, or cannot be referred to weakly
        return _find_words(tokenizer)


def _find_words(tokenizer) -> ControlWords:
    words = {
        *(getattr(tokenizer, "special_tokens", None) or ()),
        *(getattr(tokenizer, "unsplittable_tokens", None) or ()),
    }
    if proto := getattr(tokenizer, "proto", None):
        from sentencepiece import sentencepiece_model_pb2

        pieces = sentencepiece_model_pb2.ModelProto.FromString(proto).pieces
        words |= {p.piece for p in pieces if p.type in (CONTROL, USER_DEFINED) and BRACKETED.fullmatch(p.piece)}
    vocabulary = set(tokenizer.get_vocabulary()) if words else set()
    return ControlWords.of(tokenizer, (word for word in words & vocabulary if len(word.strip()) > 1))


def tokenize(tokenizer, texts: Sequence[str], control: ControlWords | None = None) -> list[list[int]]:
    """Token ids of each text, without special tokens.

    A word of a control token in a text is encoded as the characters that it consists of.

    Args:
        tokenizer: a KerasHub tokenizer.
        texts: any number of them.
        control: the words of control tokens; by default those that the tokenizer says itself, see `control_words`.

    Raises:
        CatKerasError: the texts are no list of texts; the tokenizer cannot write such a word as text.
    """
    texts = list(check_list("texts", texts, str))
    if not texts:
        return []
    ids = _token_ids(tokenizer, texts)
    control = control or control_words(tokenizer)
    # SentencePiece itself never takes text for a control token, so the ids decide, not the words.
    taken = [i for i, row in enumerate(ids) if control.ids and not control.ids.isdisjoint(row)]
    if taken:
        for i, row in zip(taken, _spelled(tokenizer, [texts[i] for i in taken], control), strict=True):
            ids[i] = row
    return ids


def _token_ids(tokenizer, texts: Sequence[str]) -> list[list[int]]:
    ids = tokenizer(list(texts))
    return ids.to_list() if hasattr(ids, "to_list") else [list(map(int, row)) for row in ids]


def _spelled(tokenizer, texts: Sequence[str], control: ControlWords) -> list[list[int]]:
    """Token ids of texts with words of control tokens, which are divided so that no such token arises."""
    words = sorted({word for text in texts for word in control.within(text)})
    divided = [control.parts(text) for text in (*words, *texts)]
    ids = iter(_token_ids(tokenizer, [part for parts in divided for part in parts]))
    rows = [[i for _ in parts for i in next(ids)] for parts in divided]
    for word, row in zip(words, rows, strict=False):  # some tokenizers put a blank before every part
        if str(tokenizer.detokenize(row)) != word:
            raise _refused(word, texts)
    rows = rows[len(words) :]
    for text, row in zip(texts, rows, strict=True):
        if not control.ids.isdisjoint(row):
            raise _refused(str(tokenizer.id_to_token(next(i for i in row if i in control.ids))), [text])
    return rows


def _refused(word: str, texts: Sequence[str]) -> CatKerasError:
    text = next((text for text in texts if word in text), texts[0])
    return CatKerasError(
        f"A text holds no word of a control token that its tokenizer cannot write as text. Received: {word!r} in "
        f"{text[:80]!r}. Take the word out of the data"
    )
