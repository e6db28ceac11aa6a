"""The option that a freely written answer names."""

import re
from collections.abc import Sequence

LISTED = "OPTIONS:\n{}\n"


def asked(prompt: str, options: Sequence[str]) -> str:
    """The prompt, with the options listed at its end unless it names all of them."""
    if all(option in prompt for option in options):
        return prompt
    blank = "" if prompt.endswith("\n") else "\n"
    return f"{prompt}{blank}{LISTED.format(chr(10).join('- ' + option for option in options))}"


def matched(answer: str, options: Sequence[str]) -> str | None:
    """The option that an answer is, begins with, or has as the only one in it; None if there is none.

    Case, white space and punctuation at the ends do not count. Of options that an answer begins with, the longest one
    is taken. An option is a whole word or several: "no" is not in "nothing".
    """
    plain = _plain(answer)
    forms = {option: _plain(option) for option in options}
    same = [option for option, form in forms.items() if form == plain]
    if same:
        return min(same, key=lambda option: option.strip() != answer.strip())  # of "A" and "a", the one as written
    beginning = [option for option, form in forms.items() if form and re.match(rf"{re.escape(form)}(?!\w)", plain)]
    if beginning:
        return max(beginning, key=len)
    named = [o for o, form in forms.items() if form and re.search(rf"(?<!\w){re.escape(form)}(?!\w)", plain)]
    return named[0] if len(named) == 1 else None


def _plain(text: str) -> str:
    return re.sub(r"^\W+|\W+$", "", " ".join(text.casefold().split())) or " ".join(text.casefold().split())
