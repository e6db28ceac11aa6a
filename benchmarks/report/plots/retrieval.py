"""The figure of a retrieval run: the staircase of students, and quality over FLOPs as more documents are reranked."""

from benchmarks.report.numbers.retrieval import MAIN, Standings
from benchmarks.report.plots import canvas
from benchmarks.report.plots.palette import COLOURS, GREY, nth_look


def figure(standings: Standings, facts: dict) -> dict[str, bytes]:
    """`retrieval.png` and `retrieval.svg`."""
    with canvas.style():
        made, panels = canvas.grid(2, 4.6, 3.2)
        staircase(panels[0], standings, facts)
        curves(panels[1], standings, facts)
        canvas.legend(made, panels[1])
        return canvas.rendered({"retrieval": made}, vector=("retrieval",))


def staircase(axes, standings: Standings, facts: dict):
    """A bar per student with its interval, and the teacher as a line."""
    names = [model for model, depth in standings if not depth and model != "teacher"]
    for place, model in enumerate(reversed(names)):
        estimate, low, high = (100 * value for value in standings[model, 0].measures[MAIN])
        axes.barh(place, estimate, color=COLOURS[1], height=0.65)
        axes.plot([low, high], [place, place], color=COLOURS[0], linewidth=1.2)
    if ("teacher", 0) in standings:
        axes.axvline(100 * standings["teacher", 0].measures[MAIN].estimate, color=GREY, linestyle="--")
        axes.text(100 * standings["teacher", 0].measures[MAIN].estimate, len(names) - 0.45, "teacher", color=GREY,
                  ha="right", va="bottom", fontsize=8)  # fmt: skip
    axes.set_yticks(range(len(names)), [facts["labels"][model] for model in reversed(names)])
    axes.grid(False, axis="y")
    axes.set(xlabel="MRR@10 × 100")
    axes.set_title("Students", pad=14)


def curves(axes, standings: Standings, facts: dict):
    """A line per retriever, its points the numbers of documents reranked."""
    for number, model in enumerate(model for model in facts["labels"] if any(d for m, d in standings if m == model)):
        points = sorted((depth, standing) for (other, depth), standing in standings.items() if other == model)
        flops = [standing.flops / 1e6 for _, standing in points]
        lines = [[100 * value for value in standing.measures[MAIN]] for _, standing in points]
        look = nth_look(number)
        axes.plot(flops, [line[0] for line in lines], label=facts["labels"][model], markersize=4, **look)
        low, high = ([line[end] for line in lines] for end in (1, 2))
        axes.fill_between(flops, low, high, color=look["color"], alpha=0.12, linewidth=0)
        for (depth, _), x, line in zip(points, flops, lines, strict=True):
            axes.annotate(str(depth), (x, line[0]), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center")
    axes.set_xscale("log")
    axes.set(xlabel="MFLOPs per query", ylabel="MRR@10 × 100", title="So many documents reranked")
