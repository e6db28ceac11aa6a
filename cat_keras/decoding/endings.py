"""Where an answer ends: at a token that its model ends answers with, or before a text that was asked for."""

from collections.abc import Iterable, Sequence

from cat_keras.errors import CatKerasError, check_list
from cat_keras.modeling import models


class Endings:
    """Finds the end of answers while they are generated.

    Args:
        ids: of the tokens that end an answer; the token is part of it.
        strings: texts that end an answer, none empty; the text and what comes after it are no part of it. A text may
            begin and end within tokens.
        tokenizer: turns tokens into text; only `strings` and `text` need it.

    Raises:
        CatKerasError: the strings are no list of texts, one of them is empty, or there is no tokenizer for them.
    """

    def __init__(self, ids: Iterable[int] = (), strings: Sequence[str] = (), tokenizer=None):
        self.ids, self.tokenizer = frozenset(map(int, ids)), tokenizer
        self.strings = tuple(check_list("stop strings", strings, str))
        if not all(self.strings):
            raise CatKerasError(f"A stop string is not empty. Received: {list(self.strings)}. Leave the empty one out")
        if self.strings and tokenizer is None:
            raise CatKerasError(
                f"Stop strings are looked for in text, which needs the model's tokenizer. Received: "
                f"{list(self.strings)} without one. Give a model with its preprocessor"
            )

    @classmethod
    def of(cls, model, strings: Sequence[str] = (), end: int | None = None) -> "Endings":
        """Those of a model, see `models.end_ids`, and further strings; and the end of a turn in a chat."""
        ids = {*models.end_ids(model), *(() if end is None else (end,))}
        return cls(ids, strings, models.tokenizer_of(model))

    def text(self, tokens: Sequence[int]) -> str:
        """The text of tokens, without those that end an answer."""
        return self._texts([tokens])[0]

    def finished(self, answers: Sequence[Sequence[int]]) -> list[bool]:
        """Whether each of some answers is at its end with its last token."""
        if not self.strings:
            return [tokens[-1] in self.ids for tokens in answers]
        pairs = zip(answers, self._texts(answers), strict=True)
        return [tokens[-1] in self.ids or any(s in text for s in self.strings) for tokens, text in pairs]

    def reached(self, tokens: Sequence[int], start: int) -> int | None:
        """The number of tokens with which an answer ends, looking at those from `start` on; None if it goes on."""
        lengths = range(start + 1, len(tokens) + 1)
        if not self.strings:
            return next((n for n in lengths if tokens[n - 1] in self.ids), None)
        ended = self.finished([tokens[:n] for n in lengths]) if lengths else ()
        return next((n for n, end in zip(lengths, ended, strict=True) if end), None)

    def cut(self, tokens: Sequence[int]) -> tuple[int, str]:
        """How many tokens of a finished answer are kept, and the text that is.

        Before a stop string these are the tokens that hold the text before it, and the first token in any case: so an
        empty answer has a log-probability, as one that ends at once with an end token has.
        """
        text = self.text(tokens)
        places = [place for string in self.strings if (place := text.find(string)) >= 0]
        if not places:
            return len(tokens), text
        kept, n = text[: min(places)], len(tokens)
        while n > 1 and self.text(tokens[: n - 1]).startswith(kept):
            n -= 1
        return n, kept

    def _texts(self, answers) -> list[str]:
        contents = [[int(t) for t in tokens if t not in self.ids] for tokens in answers]
        filled = [content for content in contents if content]  # a tokenizer cannot tell what an empty list is a list of
        texts = iter(self.tokenizer.detokenize(filled) if filled else ())
        return [str(next(texts)) if content else "" for content in contents]
