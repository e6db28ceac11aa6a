"""The one error a user sees: the rule that was broken, the value received, the remedy."""

import difflib
from collections.abc import Iterable, Mapping

MAX_CHARACTERS = 1500  # of a message


class CatKerasError(ValueError):
    """Bad input or a damaged file. The message states the rule, what was received, and what to do.

    The message is always one line. Characters that a terminal would obey or hide are written as escapes, and the
    middle of a message longer than `MAX_CHARACTERS` is left out.
    """

    def __init__(self, message: str):
        text = " ".join(message.split())
        if len(text) > MAX_CHARACTERS:
            text = f"{text[: MAX_CHARACTERS * 2 // 3]} … {text[-MAX_CHARACTERS // 4 :]}"
        super().__init__(escaped(text))


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
    similar = difflib.get_close_matches(name, valid, n=3, cutoff=0.5)
    similar += [v for v in valid if name and name in v and v not in similar][:3]
    if similar:
        hint = f"did you mean {', '.join(similar[:4])}?"
    else:
        hint = f"valid: {', '.join(valid[:12]) or 'there is none'}"
    return CatKerasError(f"Unknown {kind} {name!r}; {hint}")


def is_list(values) -> bool:
    """Whether this is several things. A text is one thing, although Python iterates over its characters."""
    return isinstance(values, Iterable) and not isinstance(values, str | bytes | Mapping)


def check_list(kind: str, values, of: type | None = None):
    """Returns the values, as a list where they have no order or no length yet.

    Args:
        kind: what they are, in the plural, for the message.
        values: what was received.
        of: the type of each; None for any.

    Raises:
        CatKerasError: one text, or another single thing, instead of several; see `is_list`. Or one is of another type.
    """
    if not is_list(values):
        raise CatKerasError(
            f"{kind[0].upper()}{kind[1:]} come as a list. Received: {type(values).__name__} {values!r:.60}. "
            "Give a list, also of a single one"
        )
    values = values if hasattr(values, "__getitem__") else list(values)
    for place, value in enumerate(values) if of else ():
        if not isinstance(value, of):
            raise CatKerasError(
                f"Each of the {kind} is of type {of.__name__}. Received: {type(value).__name__} {value!r:.60} at place "
                f"{place}. Give {of.__name__} objects"
            )
    return values


class Stopped(BaseException):
    """Raised when work was asked to end (by SIGTERM, or by the `stop` of `train`) and has saved its state.

    It is not an error: it derives from `BaseException`, so that no `except Exception` catches it.
    """
