"""The study at a glance: what a cascade does, which tokens cascade-aware training leaves out, and what that gives."""

import math
from typing import NamedTuple

import numpy as np
from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from benchmarks.report.numbers import averages, costs
from benchmarks.report.numbers.cells import RANDOM, Cell
from benchmarks.running import illustrate
from cat_keras.evaluation.curves import DeferralCurve
from paper_figs import style
from paper_figs.figure import Figure
from paper_figs.figures import regimes
from paper_figs.figures.cascade_mask import INKS, readable
from paper_figs.source import PREDICTIONS, Source

METHOD, BASELINE = "cat-xent", "xent"
PHRASING = "embedded_describe"  # the generated task whose targets are English
WORDS = {"small": "#1f5f99", "large": "#a85400"}  # `INKS`, dark enough for letters
SHARES = (0.25, 0.5)  # deferred, of the points that are named
HEIGHT = 5.25  # inches
NOTE = "#444444"
ARROW = {"arrowstyle": "-|>", "color": "black", "lw": 0.9, "shrinkA": 0, "shrinkB": 0}


class Gain(NamedTuple):
    """What `METHOD` adds to the area under the deferral curve of `BASELINE` in one run, in points of quality."""

    run: str
    data: str
    estimate: float
    low: float
    high: float


def pick(sources):
    """All runs that can be compared, the one first whose texts and predictions show how a cascade works."""
    compared = [source for group in regimes.pick(sources) for source in group]
    files = (*PREDICTIONS, illustrate.SENTENCES)
    shown = next((s for s in compared if not s.aside and s.has(*files) and METHOD in s.manifest["methods"]), None)
    return [(shown, *(source for source in compared if source is not shown))] if shown else []


def draw(shown: Source, *others: Source):
    figure, record = style.blank(width=style.PAGE, height=HEIGHT), shown.json(illustrate.SENTENCES)
    _heading(figure, 0.1, 0.2, "A cascade: small model first, large if unsure")
    _cascade(_sheet(figure, 0.1, 0.3, 3.1, 2.1), record["queries"])
    _heading(figure, 0.1, 2.7, "Most of the quality, part of the cost")
    panel = _panel(figure, 0.45, 2.85, 2.7, 1.95)
    if shown.run.complete_seeds(METHOD):
        _trade_off(panel, *curves(shown))
    facts = f"run {shown.folder.name}, {METHOD}:\n{len(shown.run.covered)} tasks, {len(shown.run.seeds)} seeds"
    panel.text(0.98, 0.12, facts, ha="right", va="bottom", transform=panel.transAxes, color=style.GREY)
    _heading(figure, 3.55, 0.2, "Training for it: skip what neither model knows")
    _mask(_sheet(figure, 3.55, 0.3, 3.3, 1.6), sentence(record["sentences"]))
    _heading(figure, 3.55, 2.1, "What that gains, run by run")
    _gains(_panel(figure, 4.7, 2.53, 2.1, 2.27), gains((shown, *others)))
    return figure


def _heading(figure, left: float, top: float, text: str):
    figure.text(left / style.PAGE, 1 - top / HEIGHT, text, fontsize=8.5, fontweight="bold")


def _panel(figure, left: float, top: float, width: float, height: float) -> Axes:
    """A panel at a place of the page, all in inches from its upper left corner."""
    return figure.add_axes((left / style.PAGE, 1 - (top + height) / HEIGHT, width / style.PAGE, height / HEIGHT))


def _sheet(figure, left: float, top: float, width: float, height: float) -> Axes:
    """A panel to draw on in inches from its upper left corner."""
    panel = _panel(figure, left, top, width, height)
    panel.set(xlim=(0, width), ylim=(height, 0))
    panel.axis("off")
    return panel


def _cascade(panel: Axes, queries: list[dict]):
    """The two models with the way of a query through them, and below that two real queries."""
    sure, unsure = "sure", "unsure"
    if queries:
        threshold = math.exp(queries[0]["threshold"])
        sure, unsure = f"sure: confidence ≥ {threshold:.2f}", f"unsure (< {threshold:.2f})"
    _box(panel, 0.0, 0.1, 0.55, "query", "white")
    _box(panel, 0.98, 0.1, 0.95, "small model", INKS["small"])
    _box(panel, 0.98, 0.75, 0.95, "large model", INKS["large"])
    _box(panel, 2.5, 0.42, 0.6, "answer", "white")
    for start, end in (((0.55, 0.25), (0.98, 0.25)), ((1.93, 0.25), (2.5, 0.5)), ((1.93, 0.9), (2.5, 0.64))):
        panel.annotate("", end, start, arrowprops=ARROW)
    panel.annotate("", (1.455, 0.75), (1.455, 0.4), arrowprops=ARROW)
    panel.text(2.06, 0.2, sure, va="center")
    panel.text(1.4, 0.575, f"{unsure}: defer", ha="right", va="center")
    y = 1.27
    for query in queries:
        deferred = query["score"] < query["threshold"]
        prompt, confidence = query["prompt"].strip().split("\n")[0], math.exp(query["score"])
        panel.text(0, y, prompt, va="center", family="DejaVu Sans Mono", fontsize=6.5)
        verdict = f"confidence {confidence:.2f}: {'deferred' if deferred else 'kept'}"
        panel.text(3.1, y, verdict, ha="right", va="center")
        # `illustrate.queries` takes a kept answer that is right, and a deferred one that is so in the large model only.
        for model, mark in (("small", "✗"), ("large", "✓")) if deferred else (("small", "✓"),):
            y += 0.15
            panel.text(0.12, y, f"{model} model: “{query[model]}” {mark}", color=WORDS[model], va="center")
        y += 0.24


def _box(panel: Axes, x: float, y: float, width: float, text: str, color: str):
    shape = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": color, "edgecolor": "black", "linewidth": 0.7}
    panel.add_patch(FancyBboxPatch((x, y), width, 0.3, clip_on=False, **shape))
    panel.text(x + width / 2, y + 0.15, text, ha="center", va="center", fontsize=8)


def curves(source: Source) -> tuple[DeferralCurve, DeferralCurve, float, float]:
    """The cascade of `METHOD` by the run's rule and deferring at random, quality and cost of the large model alone."""
    run = source.run
    seeds = run.complete_seeds(METHOD)
    cells = {(METHOD, seed, name): Cell(run, METHOD, seed, name) for seed in seeds for name in run.covered}
    by_rule, at_random = (
        averages.pooled(averages.curves(cells, METHOD, seeds, run.covered, rule)) for rule in (run.rule, RANDOM)
    )
    quality, cost = (averages.mean(run.large[name][key].mean() for name in run.covered) for key in ("quality", "flops"))
    return by_rule, at_random, quality, cost


def _trade_off(panel: Axes, by_rule: DeferralCurve, at_random: DeferralCurve, quality: float, cost: float):
    """Quality by cost, with the points that a reader can take away."""
    panel.plot(
        100 * costs.share(at_random.cost, cost),
        100 * at_random.quality,
        color=style.GREY,
        linestyle="--",
        linewidth=0.9,
    )
    panel.plot(100 * costs.share(by_rule.cost, cost), 100 * by_rule.quality, color="black")
    points = [(0, INKS["small"]), *((part, "black") for part in SHARES)]
    points = [(share, _at(by_rule, share, cost), color) for share, color in points]
    for _, (x, y), color in (*points, (1, (100, 100 * quality), INKS["large"])):
        panel.plot([x], [y], "o", markersize=6, markerfacecolor=color, markeredgecolor="black", markeredgewidth=0.7)
    (_, small, _), *cascades = points
    _label(panel, small, f"small model alone: {small[1]:.0f} % right", (7, -3), va="top")
    for share, (x, y), _ in cascades:
        words = f"{100 * share:.0f} % deferred:\n{y:.0f} % right,\n{x:.0f} % of the cost"
        _label(panel, (x, y), words, (-5, 0), ha="right", va="bottom")
    _label(panel, (100, 100 * quality), f"large model alone:\n{100 * quality:.0f} % right", (0, 6), ha="center")
    x = 100 * costs.share(at_random.cost[-1], cost) / 2
    _label(panel, (x, 100 * at_random.quality_at(0.5)), "deferring at random", (10, -4), va="top", color=style.GREY)
    panel.set(xlabel="cost: FLOPs per query, % of the large model alone", ylabel="right answers (%)")
    panel.set_xlim(-13, 122)
    low, high = panel.get_ylim()
    panel.set_ylim(low - 0.05 * (high - low), high + 0.2 * (high - low))


def _at(curve: DeferralCurve, share: float, cost: float) -> tuple[float, float]:
    """Cost in percent of the large model's and quality × 100 with a share of the queries deferred."""
    paid = np.interp(share, curve.deferral_rate, curve.cost)
    return 100 * costs.share(paid, cost), 100 * float(curve.quality_at(share))


def _label(panel: Axes, point, words: str, offset, **text):
    panel.annotate(words, point, offset, textcoords="offset points", linespacing=1.15, **text)


def sentence(sentences: list[dict]) -> dict:
    """The one that shows most: in English, with tokens left out and others that only the large model knows; long."""

    def shows(sentence):
        pairs = list(zip(sentence["small"]["right"], sentence["large"]["right"], strict=True))
        return sentence["task"] == PHRASING, (False, False) in pairs, (False, True) in pairs, len(pairs)

    return max(sentences, key=shows)


def _mask(panel: Axes, sentence: dict):
    """One training target: which of its tokens either model predicts, and which count in the loss."""
    prompt = sentence["prompt"].strip().split("\n")[0]
    target = "".join(token for token in sentence["tokens"] if token != "<eos>").replace("▁", " ").strip()
    panel.text(0, 0.12, "training example", va="center")
    panel.text(0.95, 0.12, prompt, family="DejaVu Sans Mono", fontsize=6.5, va="center")
    panel.text(0.95, 0.27, f"→ “{target}”", va="center")
    rows = {"small model": 0.73, "large model": 0.95, "counts in the loss": 1.2}
    for label, y in rows.items():
        panel.text(0, y, label, va="center")
    tokens = [readable(token).lstrip("·") for token in sentence["tokens"]]
    widths = np.array([0.1 + 0.06 * len(token) for token in tokens])
    widths *= 2.35 / widths.sum()
    ends = 0.95 + np.cumsum(widths)
    predicted = zip(sentence["small"]["right"], sentence["large"]["right"], strict=True)
    for token, width, end, knows in zip(tokens, widths, ends, predicted, strict=True):
        middle, live = end - width / 2, any(knows)
        weight = {"ha": "center", "va": "center"} | ({} if live else {"fontweight": "bold", "color": style.COLOURS[3]})
        if not live:
            panel.add_patch(Rectangle((end - width, 0.42), width, 0.9, facecolor="#f9e0d4", edgecolor="none"))
        panel.text(middle, 0.52, token, **weight)
        for y, model, knows_it in zip(rows.values(), INKS, knows, strict=False):
            box = {"facecolor": INKS[model] if knows_it else "white", "edgecolor": "#888888", "linewidth": 0.5}
            panel.add_patch(Rectangle((end - width, y - 0.1), width, 0.2, clip_on=False, **box))
            panel.text(middle, y, "✓" if knows_it else "✗", ha="center", va="center")
        panel.text(middle, rows["counts in the loss"], "✓" if live else "no", **weight)
    panel.text(0, 1.48, "✓ the right token is the one the model finds most probable", va="center", color=NOTE)


def gains(sources) -> list[Gain]:
    """One for each run that says it, by kind of data, from the most gained to the least."""
    rows = []
    for source in sources:
        change = regimes.changes(source).get((METHOD, "audc"))
        if change and np.isfinite(change[0]):
            tasks = source.manifest["tasks"]
            kind = "generated" if all(name.startswith("embedded_") for name in tasks) else "real"
            rows.append(Gain(source.folder.name, f"{len(tasks)} {kind} tasks", *(100 * value for value in change)))
    order = list(dict.fromkeys(row.data for row in rows))
    return sorted(rows, key=lambda row: (order.index(row.data), -row.estimate))


def _gains(panel: Axes, rows: list[Gain]):
    """A forest plot, with a heading for each kind of data."""
    color, y, ticks = style.looks((METHOD,))[METHOD]["color"], -0.4, []
    label = {"transform": panel.get_yaxis_transform(), "ha": "right", "va": "center"}
    for kind in dict.fromkeys(row.data for row in rows):
        panel.text(-0.03, y, kind, fontweight="bold", **label)
        for row in (row for row in rows if row.data == kind):
            y += 1
            clear = row.low > 0 or row.high < 0
            look = {"color": color, "marker": "D", "markersize": 4, "markerfacecolor": color if clear else "white"}
            style.interval(panel, y, row[2:], look, scale=1)
            ticks.append((y, row.run))
        y += 1.3
    style.zero(panel)
    panel.set_yticks([y for y, _ in ticks], [run for _, run in ticks])
    panel.tick_params(axis="y", length=0)
    panel.set_ylim(y - 0.5, -1)
    panel.grid(axis="y", visible=False)
    above, below = sum(row.low > 0 for row in rows), sum(row.high < 0 for row in rows)
    panel.set_title(f"points of quality, cascade-aware ({METHOD}) minus plain ({BASELINE})\n"
                    f"95 % intervals; filled: clear of 0, {above + below} of {len(rows)} runs",
                    fontsize=style.SMALL, x=1, ha="right", color=NOTE)  # fmt: skip
    panel.set_xlabel("cascade-aware better →", loc="right")


FIGURE = Figure(
    name="overview",
    caption="The study at a glance. Upper left: a query goes to the small model, and to the large one when the small "
    "one is unsure, that is when the mean probability of its answer's tokens is below a threshold; two test queries at "
    "the threshold that defers a quarter. Lower left: quality and cost of that cascade, trained with `cat-xent`, by "
    "share of queries deferred; dashed: deferring at random. Upper right: target tokens of a training example; those "
    "that neither model predicts are left out of the loss of the small one. Lower right: difference in the area under "
    "the deferral curve (the mean quality over all shares deferred) of `cat-xent` to `xent`, paired, with its 95 % "
    "interval over examples and seeds, for every committed run that has both.",
    pick=pick,
    draw=draw,
    wants="three or more runs with `xent` and `cat-xent`, one of them illustrated: `python -m benchmarks illustrate "
    "embedded` after that run",
    files=regimes.FILES,
    first=(*PREDICTIONS, illustrate.SENTENCES),
)
