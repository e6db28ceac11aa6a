"""The one error a user sees: the rule that was broken, the value received, the remedy."""

import difflib
from collections.abc import Iterable

LONGEST = 1500  # characters of a message


class CatKerasError(ValueError):
    """Bad input or a damaged file. The message states the rule, what was received, and what to do.

    It is one line whatever was received: characters that a terminal would obey or hide stand in it as escapes, and of
    what is too long to read the middle is left out.
    """

    def __init__(self, message: str):
        super().__init__(_one_line(message))


def _one_line(text: str) -> str:
    text = " ".join(text.split())
    if len(text) > LONGEST:
        text = f"{text[: LONGEST * 2 // 3]} … {text[-LONGEST // 4 :]}"
    return escaped(text)


def escaped(text: str) -> str:
    """A text on one line, in which characters that a terminal would obey or hide are shown as escapes."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in text)


def unknown_name(kind: str, name: str, valid: Iterable[str]) -> CatKerasError:
    """Error for a name that does not exist, with the nearest names that do.

    Args:
        kind: what was looked up, e.g. `"task"`.
        name: the name received.
        valid: every name that exists.
    """
    valid = sorted(valid)
    near = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    near += [v for v in valid if name and name in v and v not in near][:3]
    hint = f"did you mean {', '.join(near[:4])}?" if near else f"valid: {', '.join(valid[:12]) or 'there is none'}"
    return CatKerasError(f"Unknown {kind} {name!r}; {hint}")


class Stopped(BaseException):
    """Work was asked to end (SIGTERM, a `stop` of `train`) and has saved its state.

    Not an error, so that no handler of errors catches it.
    """
