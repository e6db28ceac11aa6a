"""The figure of a retrieval run: the staircase of students, and quality over FLOPs as more documents are reranked and,
where there are elastic models, at their sizes.
"""

from benchmarks.report.numbers.retrieval import MAIN, Standings, sizes
from benchmarks.report.plots import canvas
from benchmarks.report.plots.palette import COLOURS, GREY, nth_look

MILLION = 1e6


def figure(standings: Standings, facts: dict) -> dict[str, bytes]:
    """`retrieval.png` and `retrieval.svg`."""
    with canvas.style():
        made, panels = canvas.grid(3 if sizes(facts) else 2, 4.6, 3.2)
        staircase(panels[0], standings, facts)
        curves(panels[1], standings, facts)
        if sizes(facts):
            dial(panels[2], standings, facts)
        canvas.legend(made, panels[1], panels[2].get_legend_handles_labels() if sizes(facts) else ((), ()))
        return canvas.rendered({"retrieval": made}, vector=("retrieval",))


def staircase(axes, standings: Standings, facts: dict):
    """A bar per student with its interval, and the teacher as a line."""
    names = [model for model, depth in standings if not depth and model != "teacher" and model in facts["labels"]]
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
        flops = [standing.flops / MILLION for _, standing in points]
        lines = [[100 * value for value in standing.measures[MAIN]] for _, standing in points]
        look = nth_look(number)
        axes.plot(flops, [line[0] for line in lines], label=facts["labels"][model], markersize=4, **look)
        low, high = ([line[end] for line in lines] for end in (1, 2))
        axes.fill_between(flops, low, high, color=look["color"], alpha=0.12, linewidth=0)
        for (depth, _), x, line in zip(points, flops, lines, strict=True):
            axes.annotate(str(depth), (x, line[0]), xytext=(0, 5), textcoords="offset points", fontsize=7, ha="center")
    axes.set_xscale("log")
    axes.set(xlabel="MFLOPs per query", ylabel="MRR@10 × 100", title="So many documents reranked")


def dial(axes, standings: Standings, facts: dict):
    """A line with intervals for the elastic retriever and one for the ranker behind it, their points the sizes."""
    depth = facts["elastic"]["reranked"]
    kinds = {"denser": (0, "elastic retriever"), "ranker": (depth, f"elastic ranker of {depth} documents")}
    for number, (kind, (reranked, label)) in enumerate(kinds.items(), start=3):  # other colours than those of `curves`
        models = [model for model in sizes(facts) if model.startswith(f"{kind}-")]
        points = [standings[model, reranked] for model in models]
        estimates, lows, highs = zip(*(point.measures[MAIN] for point in points), strict=True)
        flops = [point.flops / MILLION for point in points]
        errors = [[100 * (e - low) for e, low in zip(estimates, lows, strict=True)],
                  [100 * (high - e) for e, high in zip(estimates, highs, strict=True)]]  # fmt: skip
        values = [100 * estimate for estimate in estimates]
        axes.errorbar(flops, values, errors, label=label, capsize=2, markersize=4, elinewidth=0.8, **nth_look(number))
        for model, x, y in zip(models, flops, values, strict=True):
            axes.annotate(model.removeprefix(f"{kind}-"), (x, y), xytext=(4, 5), textcoords="offset points", fontsize=7)
    axes.set_xscale("log")
    axes.set(xlabel="MFLOPs per query", ylabel="MRR@10 × 100", title="Sizes of elastic models")
