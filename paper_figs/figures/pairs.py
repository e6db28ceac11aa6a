"""What a cascade of two models is worth, for public language models and for the pairs of this project."""

import csv
import io

import numpy as np

from benchmarks.report.numbers.pairs import OWN, PUBLIC
from paper_figs import style
from paper_figs.figure import Figure, each
from paper_figs.source import Source

FILES = ("pairs.csv", "correlations.csv", "manifest.json")
# What a panel shows: predictor, outcome, their labels and scales.
PANELS = (
    ("lead", "saving", "lead of the large model (points)", "saving at equal quality (%)", 100, 100),
    ("auroc", "saving", "AUROC of the small model's score", "saving at equal quality (%)", 1, 100),
    ("auroc", "s_d", "AUROC of the small model's score", "s_d", 1, 1),
)
LOWEST = -60.0  # %, where the axis of savings ends; what lies below is drawn at the end


def draw(source: Source):
    rows, stated = (_rows(source, name) for name in FILES[:2])
    sets = dict.fromkeys(_set(row) for row in rows)
    figure, axes = style.canvas(1, len(PANELS), width=style.PAGE, height=2.6)
    for axis, (predictor, outcome, x_label, y_label, x_scale, y_scale) in zip(axes[0], PANELS, strict=True):
        for number, name in enumerate(sets):
            of_set = [row for row in rows if _set(row) == name and row["counted"] == "1"]
            x, y = (np.array([float(row[key] or "nan") for row in of_set]) for key in (predictor, outcome))
            y = np.maximum(y_scale * y, LOWEST) if outcome == "saving" else y_scale * y
            hollow = {"markerfacecolor": "none"} if name.startswith(OWN) else {}
            look = style.nth_look(number) | {"linestyle": "", "markersize": 3, "alpha": 0.8} | hollow
            axis.plot(x_scale * x, y, label=name, **look)
        if outcome == "saving":
            style.zero(axis, horizontal=True)
        axis.set(xlabel=x_label, ylabel=y_label, title=_correlation(stated, predictor, outcome))
    style.legend(figure, axes[0, 0], 4)
    return figure


def _rows(source: Source, file: str) -> list[dict[str, str]]:
    return list(csv.DictReader(io.StringIO((source.folder / file).read_text(encoding="utf-8"))))


def _set(row: dict[str, str]) -> str:
    return f"{OWN}: {row['source'].partition('_')[0]}" if row["kind"] == OWN else row["source"]


def _correlation(stated: list[dict[str, str]], predictor: str, outcome: str) -> str:
    """The rank correlation over the language models, with its interval over questions."""
    for row in stated:
        if (row["over"], row["predictor"], row["outcome"]) == (PUBLIC, predictor, outcome):
            estimate, low, high = (float(row[key]) for key in ("estimate", "low", "high"))
            return f"ρ = {estimate:+.2f} [{low:+.2f}, {high:+.2f}]"
    return ""


FIGURE = Figure(
    name="pairs",
    caption="Pairs of models whose large one is ahead, task by task: what a cascade saves when it is as good as the "
    "large model alone, against how far that is ahead and against the AUROC of the small model's score; and its "
    "deferral gain s_d. Filled: public answers of language models, whose answers cost the parameters that a token "
    "passes through (pairs without stated sizes have no savings); hollow: pairs of this project, in FLOPs. ρ: rank "
    "correlation over the language models with its 95 % interval over questions. Savings below −60 % are drawn there.",
    pick=each(files=FILES),
    draw=draw,
    wants="public answers of language models: `python -m benchmarks pairs FOLDER --to results/regimes/real_pairs`",
    files=FILES,
)
