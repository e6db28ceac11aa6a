"""The one error a user sees: the rule that was broken, the value received, the remedy."""

import difflib
import functools
import re
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
    single = isinstance(values, str | bytes | Mapping) or getattr(values, "shape", None) == ()  # an array without axes
    return isinstance(values, Iterable) and not single


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
            f"{kind[0].upper()}{kind[1:]} come as a list. Received: {type(values).__name__} {shown(values)}. "
            "Give a list, also of a single one"
        )
    values = values if hasattr(values, "__getitem__") else list(values)
    for place, value in enumerate(values) if of else ():
        if not isinstance(value, of):
            raise CatKerasError(
                f"Each of the {kind} is of type {of.__name__}. Received: {type(value).__name__} {shown(value)} at "
                f"place {place}. Give {of.__name__} objects"
            )
    return values


# Intervals of arguments that several functions take, for `check_number`.
SHARE = "[0, 1]"
COUNT = "[1, 2147483647]"  # whole; every format can store it
TOKENS = "[1, 16777216]"  # whole: the length of a text in tokens
ROWS = "[1, 1048576]"  # whole: what is computed at a time
SEED = "[0, 9007199254740991]"  # whole; JSON holds it exactly
TEMPERATURE = "[1e-06, 1e+06]"  # logits that are divided by it stay finite in float32
RATE = "[0, 1e30]"  # a learning rate, finite in float32


def check_number(name: str, value, interval: str, whole: bool = False, remedy: str = ""):
    """The value as an int, if whole, or a float, if it is a number within an interval.

    NaN is in none. Numbers are those of Python and of NumPy, and not true, false or texts.

    Args:
        name: of the argument.
        value: what was received.
        interval: as mathematics writes it: `"[0, 1)"` holds 0 and not 1, `"[0, inf)"` all finite numbers from 0.
        whole: whether it is an integer.
        remedy: a sentence that says what to do, where the interval alone does not.

    Raises:
        CatKerasError: it is none.
    """
    if getattr(value, "shape", None) == () and hasattr(value, "item"):  # of NumPy: a scalar, or an array without axes
        value = value.item()
    if (
        not isinstance(value, int if whole else int | float)
        or isinstance(value, bool)
        or not _within(value, interval, whole)
    ):
        raise CatKerasError(
            f"{name} is a {'whole ' * whole}number in {interval}. Received: {shown(value)}{_end(remedy)}"
        )
    return value if whole else float(value)


def check_numbers(name: str, values, interval: str, whole: bool = False, remedy: str = ""):
    """As `check_number` for an array of any shape, or what NumPy makes one of.

    Returns:
        the array, float64 or, if whole, of its type of integers.
    """
    import numpy as np

    try:
        array = np.asarray(values)
        if array.dtype.kind not in ("iu" if whole else "iuf") and array.size:
            raise TypeError("other values")
        array = array if whole else array.astype(np.float64)
    except (TypeError, ValueError, OverflowError):
        raise CatKerasError(
            f"{name} holds {'whole ' * whole}numbers. Received: {shown(values)}{_end(remedy)}"
        ) from None
    for end in (array.min(), array.max()) if array.size else ():  # the minimum of NaN and a number is NaN
        check_number(f"Each of {name}", end.item(), interval, whole, remedy)
    return array


def _within(value, interval: str, whole: bool) -> bool:
    low, high, with_low, with_high = _ends(interval)
    if not whole:
        try:
            value = float(value)
        except OverflowError:  # an integer of hundreds of digits
            return False
    return (low <= value if with_low else low < value) and (value <= high if with_high else value < high)


@functools.cache
def _ends(interval: str) -> tuple[float, float, bool, bool]:
    """The ends of an interval, and whether each belongs to it."""
    first, low, high, last = re.fullmatch(r"([\[(])(\S+), (\S+)([\])])", interval).groups()
    return float(low), float(high), first == "[", last == "]"


def _end(remedy: str) -> str:
    return remedy and f". {remedy}"


def shown(value) -> str:
    """A value for a message."""
    try:
        return f"{value!r:.80}"
    except Exception:  # Python refuses to write integers of thousands of digits, and a repr may fail in any way
        return f"a {type(value).__name__} that cannot be written"


class Stopped(BaseException):
    """Raised when work was asked to end (by SIGTERM, or by the `stop` of `train`) and has saved its state.

    It is not an error: it derives from `BaseException`, so that no `except Exception` catches it.
    """
