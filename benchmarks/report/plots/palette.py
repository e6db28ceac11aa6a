"""How a method looks, in every plot: colour, marker and line, which no two methods of a run share.

The first seven colours are those of Okabe and Ito without their yellow, which is too faint for a line on white; the
eighth is the wine of Paul Tol's muted set. People with any of the common colour vision deficiencies tell all eight
apart. From the ninth method on the colours repeat, and both marker and line change.
"""

from collections.abc import Iterable, Sequence

COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9", "#882255")
MARKERS = "osD^v>p<"  # all of them look different when they are hollow
LINES = ("-", "--", ":", "-.", (0, (5, 1, 1, 1, 1, 1)))
GREY = "#777777"
# The place of a method in this list is its look in every figure; `chart.js` of the report draws by the same places.
# The order gives different colours to the methods that are trained side by side in the committed runs.
USUAL = (
    *("xent", "dist", "cat-xent", "cat-dist", "gatekeeper", "mask-random", "rho-1", "cat-uniform"),
    *("mask-soft", "mask-large", "mask-sequence", "mask-both", "mask-small", "cat-floor", "cat-top3", "mask-gap"),
    "cat-start",
)
RESERVED = USUAL.index("gatekeeper") + 1  # places that no method of another name takes


def place(methods: Sequence[str]) -> dict[str, int]:
    """Number of each method's look.

    A usual method has the same number in every run. A variant of one, such as `xent@learning_rate=0.1` or
    `cat-dist-w0.25`, has its colour, and takes the number of it where the run has no plain `xent`. Others take what is
    free in the run.
    """
    places = {name: USUAL.index(name) for name in methods if name in USUAL}
    for name in methods:
        if name not in places:
            base = _base(name)
            candidates = range(RESERVED, RESERVED + len(USUAL) + len(methods))
            if base:
                start = USUAL.index(base) % len(COLOURS)
                candidates = range(start, start + len(COLOURS) * (len(methods) + len(USUAL)), len(COLOURS))
            places[name] = _first_free(candidates, places.values())
    return {name: places[name] for name in methods}


def _base(name: str) -> str | None:
    """The usual method that `name` is a variant of; the longest one where several fit."""
    matches = [usual for usual in USUAL if name.startswith((f"{usual}@", f"{usual}-"))]
    return max(matches, key=len, default=None)


def _first_free(candidates: Iterable[int], taken: Iterable[int]) -> int:
    taken = set(taken)
    return next(number for number in candidates if number not in taken)


def nth_look(number: int) -> dict:
    """Colour, marker and line of a number, as matplotlib takes them; the first 320 are all different."""
    cycle, hue = divmod(number, len(COLOURS))
    return {
        "color": COLOURS[hue],
        "marker": MARKERS[(hue + cycle) % len(MARKERS)],
        "linestyle": LINES[cycle % len(LINES)],
    }


def looks(methods: Sequence[str]) -> dict[str, dict]:
    """The look of each method."""
    return {name: nth_look(number) for name, number in place(methods).items()}
