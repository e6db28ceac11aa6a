"""Strange input: values that no schema expects, texts at the edges of Unicode, and what may come of them."""

import contextlib
import copy
import signal
import unicodedata

from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cat_keras.errors import CatKerasError

SECONDS = 30  # a single case that takes longer hangs
LONGEST = 2000  # characters of a message that somebody may still read

TEXTS = (
    "", " ", "\n", "\t\r\n", "\0", "a\0b", "\x1b[31mred", "\u202eevil\u2066", "\u200b", "\ufeff", "a\u2028b\u2029c",
    "e\u0301", "\u0130", "\ud800", "a\udfffb", "\U0010ffff", "\ufffe", "👩‍👩‍👧", "ﷺ" * 40, "no", "yes", "-1", "nan",
    "1e999", "²", "٣", "{label}", "{", "{0}", "[bold]", "$x_{$", "<script>", "../../up", "/etc", "CON", "x" * 5000,
    "a.b", "a/b", "=", "'", '"', "\\",
)  # fmt: skip
NUMBERS = (
    0, 1, -1, 2, 4, 7, 255, 2**31, 2**63, -(2**63) - 1, 10**30, 10**400, 0.0, -0.0, 0.5, 1.0, 2.5, -3.5, 1e-320,
    1e308, -1e308, float("nan"), float("inf"), float("-inf"),
)  # fmt: skip

texts = st.one_of(st.sampled_from(TEXTS), st.text(max_size=12))
scalars = st.one_of(st.none(), st.booleans(), st.sampled_from(NUMBERS), st.integers(), st.floats(), texts)
values = st.recursive(
    scalars,
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(texts, inner, max_size=3)),
    max_leaves=4,
)


@st.composite
def mutated(draw, value, changes: int = 3):
    """A JSON value with up to so many parts taken out, put in, exchanged or replaced by anything."""
    value = copy.deepcopy(value)
    for _ in range(draw(st.integers(1, changes))):
        value = draw(_changed(value))
    return value


@st.composite
def _changed(draw, value):
    if not (isinstance(value, dict | list) and value) or draw(st.integers(0, 4)) == 0:
        return draw(st.one_of(values, st.just([value]), st.just({"": value})))
    keys = list(value) if isinstance(value, dict) else range(len(value))
    key, kind = draw(st.sampled_from(list(keys))), draw(st.sampled_from("inside inside replaced out in".split()))
    if kind == "inside":
        value[key] = draw(_changed(value[key]))
    elif kind == "replaced":
        value[key] = draw(values)
    elif kind == "out":
        del value[key]
    elif isinstance(value, dict):
        value[draw(texts)] = draw(values)
    else:
        value.insert(key, value[key])
    return value


def prove(check, n: int, **strategies):
    """Calls `check` with n draws; of a failure the smallest case is shown. CI always draws the same ones."""
    count = 0

    def counted(**drawn):
        nonlocal count
        count += 1
        with in_time():
            check(**drawn)

    given(**strategies)(
        settings(
            max_examples=n,
            deadline=None,
            database=None,
            derandomize=True,
            suppress_health_check=list(HealthCheck),
            phases=(Phase.generate, Phase.shrink),
        )(counted)
    )()
    assert count >= n


@contextlib.contextmanager
def in_time(seconds: float = SECONDS):
    """Ends what hangs."""

    def late(*_):
        raise TimeoutError(f"A case took longer than {seconds} s")

    before = signal.signal(signal.SIGALRM, late)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def result_or_error(call, *arguments, **named):
    """What the call returns; None where it ends in one clear error of ours. Any other end is raised."""
    try:
        return call(*arguments, **named)
    except CatKerasError as error:
        check_message(str(error))
        return None


def check_message(message: str):
    """One line that a terminal can show and somebody can read."""
    assert message.strip() and len(message) < LONGEST, f"{len(message)} characters"
    odd = {character for character in message if unicodedata.category(character) in ("Cc", "Cs", "Cf", "Zl", "Zp")}
    assert not odd, f"{odd} in {message!r}"
