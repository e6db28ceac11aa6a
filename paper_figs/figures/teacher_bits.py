"""What must be stored of the large model per target token, against what it buys."""

from collections.abc import Iterator

from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.source import Source
from paper_figs.variants import NAMES, Variant, families, variants

SILENT = ("all", "small")  # masks that ask the large model nothing


def bits(variant: Variant) -> float:
    """Bits per target token that the objective reads of the teacher cache, as the run stored them."""
    stored = variant.source.manifest["teacher"]["bytes_per_token"]
    mask, w = variant.arguments.get("mask", "all"), variant.arguments.get("w", 1.0)
    asks = "helps" in variant.arguments  # where the large model is right
    columns = [] if mask in SILENT and not asks else ["logprob"] if mask == "soft" else ["right"]
    columns += ["ids", "probs"] if w < 1 else []
    return 8 * sum(stored[column] for column in columns)


def pick(sources):
    known = [source for source in sources if "bytes_per_token" in (source.manifest.get("teacher") or {})]
    alike = families(known, ignoring=(*NAMES, "teacher"))
    return [family for family in alike if len({bits(variant) for variant in variants(family)}) > 2]


def draw(*sources: Source):
    looks = style.looks(tuple(dict.fromkeys(v.objective for v in variants(sources))))
    figure, axes = style.canvas(1, 1, height=2.5)
    panel, labelled = axes[0, 0], set()
    for x, variant in _side_by_side(points(sources)):
        look = looks[variant.objective]
        if variant.row.difference:
            style.interval(panel, x, variant.row.difference, look, vertical=True)
        elif variant.method == variant.source.numbers.baseline:
            panel.plot([x], [0], **look | {"linestyle": ""})
        if variant.objective not in labelled:
            labelled.add(variant.objective)
            panel.plot([], [], label=variant.objective, **look | {"linestyle": ""})
    style.zero(panel, horizontal=True)
    panel.set_xscale("symlog", linthresh=1)
    panel.set_xlim(left=-0.4, right=3 * max(map(bits, points(sources))))
    panel.xaxis.set_major_formatter("{x:g}")
    panel.set_xlabel("bits stored per target token")
    panel.set_ylabel("Δ AUDC to xent (× 100)")
    style.legend(figure, panel)
    return figure


def _side_by_side(methods: list[Variant]) -> Iterator[tuple[float, Variant]]:
    """Places on the axis, where methods that read equally much stand beside each other, not on top."""
    for x in sorted(set(map(bits, methods))):
        for i, variant in enumerate(variant for variant in methods if bits(variant) == x):
            yield x * 1.25**i, variant


def points(sources) -> list[Variant]:
    """Every method once: runs that differ in what they store repeat those that read nothing of it."""
    first: dict[tuple, Variant] = {}
    for variant in variants(sources):
        first.setdefault((variant.objective, str(variant.arguments), bits(variant)), variant)
    return list(first.values())


FIGURE = Figure(
    name="teacher_bits",
    caption="What an objective reads of the large model, in bits stored per target token, against the difference in "
    "the area under the deferral curve to `xent`, with its 95 % interval. The mask takes one bit; a distribution takes "
    "the ids and the 16-bit probabilities of its entries.",
    pick=pick,
    draw=draw,
    wants="a run whose manifest says what its teacher cache takes (`teacher.bytes_per_token`), better several that "
    "differ in `teacher.k`: `python -m benchmarks run embedded --seeds 3 --set teacher.k=4 --out runs/k4`",
)
