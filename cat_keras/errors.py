"""The one error a user sees: the rule that was broken, the value received, the remedy."""

import difflib
from collections.abc import Iterable


class CatKerasError(ValueError):
    """Bad input or a damaged file. The message states the rule, what was received, and what to do."""


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
