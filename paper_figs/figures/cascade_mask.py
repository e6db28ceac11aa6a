"""The cascade on two real queries, and the mask of cascade-aware training on real tokens."""

import math

from matplotlib.axes import Axes
from matplotlib.patches import FancyBboxPatch, Rectangle

from benchmarks.running import illustrate
from paper_figs import style
from paper_figs.figure import Figure, alone
from paper_figs.source import Source

INKS = {"small": "#9ecae9", "large": "#fdd0a2"}  # light enough to print on; the numbers say the rest
HEIGHT, BOX = 3.15, 0.2  # inches


def draw(source: Source):
    record = source.json(illustrate.SENTENCES)
    figure, axes = style.canvas(1, 2, width=style.PAGE, height=HEIGHT, width_ratios=(1, 1.75))
    for panel, width, title in ((axes[0, 0], 2.5, "a  The cascade"), (axes[0, 1], 4.4, "b  The mask")):
        panel.set(xlim=(0, width), ylim=(HEIGHT - 0.2, 0))
        panel.set_title(title, loc="left", fontweight="bold")
        panel.axis("off")
    _cascade(axes[0, 0], record["queries"])
    for row, sentence in enumerate(chosen(record["sentences"])):
        _sentence(axes[0, 1], 0.05 + 1.0 * row, sentence)
    return figure


def chosen(sentences: list[dict]) -> list[dict]:
    """The longest target of each stratum, at most three."""
    longest: dict[str, dict] = {}
    for sentence in sentences:
        best = longest.get(sentence["group"])
        if best is None or len(sentence["tokens"]) > len(best["tokens"]):
            longest[sentence["group"]] = sentence
    return [longest[group] for group in sorted(longest)][:3]


def _cascade(panel: Axes, queries: list[dict]):
    _node(panel, 0.1, 0.1, 1.0, "small model", INKS["small"])
    _node(panel, 0.1, 0.95, 1.0, "large model", INKS["large"])
    panel.annotate("", (0.6, 0.95), (0.6, 0.4), arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 0.8})
    panel.text(0.66, 0.68, "score < τ: defer", va="center")
    for at, text in ((0.25, "score ≥ τ: keep"), (1.1, "answer")):
        panel.annotate("", (1.45, at), (1.1, at), arrowprops={"arrowstyle": "-|>", "color": "black", "lw": 0.8})
        panel.text(1.5, at, text, va="center")
    y = 1.55
    for query, verdict in zip(queries, ("kept", "deferred"), strict=False):
        relation = "≥" if query["score"] >= query["threshold"] else "<"
        panel.text(0, y, query["prompt"].strip().split("\n")[0], family="DejaVu Sans Mono", fontsize=style.SMALL)
        panel.text(0.1, y + 0.15, f"small: {query['small']}", color="#1f5f99")
        panel.text(0.1, y + 0.3, f"score {query['score']:.3f} {relation} τ = {query['threshold']:.3f}: {verdict}")
        if verdict == "deferred":
            panel.text(0.1, y + 0.45, f"large: {query['large']}", color="#a85400")
        y += 0.6


def _node(panel: Axes, x: float, y: float, width: float, text: str, color: str):
    shape = {"boxstyle": "round,pad=0,rounding_size=0.06", "facecolor": color, "edgecolor": "black", "linewidth": 0.6}
    panel.add_patch(FancyBboxPatch((x, y), width, 0.3, **shape))
    panel.text(x + width / 2, y + 0.15, text, ha="center", va="center")


def _sentence(panel: Axes, y: float, sentence: dict):
    """Tokens above, then one row per model and one for the loss."""
    prompt = sentence["prompt"].strip().split("\n")[0]
    panel.text(0, y + 0.06, f"{sentence['group']}:", va="center", style="italic")
    panel.text(0.42, y + 0.06, prompt, va="center", family="DejaVu Sans Mono", fontsize=style.SMALL)
    for line, label in enumerate(("small", "large", "loss")):
        panel.text(0, y + 0.31 + (line + 0.5) * BOX, label, va="center")
    x = 0.42
    for i, token in enumerate(sentence["tokens"]):
        predictions = {model: (sentence[model]["right"][i], math.exp(sentence[model]["logprob"][i])) for model in INKS}
        x += _token(panel, x, y, readable(token), predictions)


def _token(panel: Axes, x: float, y: float, text: str, predictions: dict[str, tuple[bool, float]]) -> float:
    """Draws the column of one token and returns its width in inches.

    Args:
        predictions: model → whether the token is its most probable one, and the token's probability.
    """
    width, live = max(0.3, 0.07 * len(text) + 0.06), any(right for right, _ in predictions.values())
    panel.text(x + width / 2, y + 0.22, text, ha="center", va="center", color="black" if live else style.COLOURS[3])
    for line, (name, (right, probability)) in enumerate(predictions.items()):
        top = y + 0.31 + line * BOX
        box = {"facecolor": INKS[name] if right else "white", "edgecolor": "#999999", "linewidth": 0.4}
        panel.add_patch(Rectangle((x, top), width, BOX, **box))
        panel.text(x + width / 2, top + BOX / 2, f"{probability:.2f}".lstrip("0"), ha="center", va="center")
    panel.text(x + width / 2, y + 0.31 + 2.5 * BOX, "kept" if live else "out", ha="center", va="center")
    return width


def readable(piece: str) -> str:
    """A SentencePiece token as it stands in the text; a dot for the blank that begins a word."""
    return {"<eos>": "end"}.get(piece, piece.replace("▁", "·"))


FIGURE = Figure(
    name="cascade_mask",
    caption="The cascade and its training mask on real tokens of the embedded suite. (a) A query goes to the small "
    "model; when its score, the mean log-probability of its answer's tokens, is below the threshold τ, the large model "
    "answers instead. Two test queries at the threshold that defers a quarter of them. (b) Target tokens of training "
    "examples with the probability that either model, reading the true beginning, gives them as the objectives start; "
    "a filled box: it is the model's most probable token. Tokens that neither predicts are left out of the loss. "
    "Of each stratum, the longest of the examples kept in `illustration.json`.",
    pick=alone(files=(illustrate.SENTENCES,)),
    draw=draw,
    wants="the tokens of a run on generated tasks: `python -m benchmarks illustrate embedded` after that run",
    files=(illustrate.SENTENCES,),
)
