"""How a method looks, in every plot: Okabe and Ito's colours, which the colour-blind tell apart, and markers."""

from collections.abc import Sequence

# Their yellow is left out, too faint for a line on white.
COLOURS = ("#000000", "#0072B2", "#E69F00", "#D55E00", "#009E73", "#CC79A7", "#56B4E9")
MARKERS = "osD^vPX"
LINES = ("-", "--", ":")
GREY = "#777777"
# The same method looks the same in every report; others take what is free.
USUAL = ("xent", "dist", "cat-xent", "cat-dist", "gatekeeper")


def place(methods: Sequence[str]) -> dict[str, int]:
    """Number of each method's look; every seven numbers the colours repeat with another line."""
    free = iter(range(len(USUAL), len(USUAL) + len(methods)))
    return {name: USUAL.index(name) if name in USUAL else next(free) for name in methods}


def looks(methods: Sequence[str]) -> dict[str, dict]:
    """Colour, marker and line of each method, as matplotlib takes them."""
    return {
        name: {
            "color": COLOURS[i % len(COLOURS)],
            "marker": MARKERS[i % len(MARKERS)],
            "linestyle": LINES[i // len(COLOURS) % len(LINES)],
        }
        for name, i in place(methods).items()
    }
