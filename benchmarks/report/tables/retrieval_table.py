"""Tables of a retrieval run, and the rows of `retrieval.csv`."""

from benchmarks.report.numbers.retrieval import MAIN, MEASURES, Standings, sizes
from benchmarks.report.tables.render import NOTHING, Table, csv_bytes, number, text, with_interval

MILLION = 1e6


def tables(standings: Standings, facts: dict) -> list[Table]:
    """The staircase, reranking, and the sizes of elastic models; the last two where the run has them."""
    made = [_staircase(standings, facts)]
    if any(depth and model in facts["labels"] for model, depth in standings):
        made.append(_reranking(standings, facts))
    return made + [_sizes(standings, facts)] if sizes(facts) else made


def _staircase(standings: Standings, facts: dict) -> Table:
    rows = []
    models = [model for model, depth in standings if not depth and model in facts["labels"]]
    for model in [*(m for m in models if m != "teacher"), *(m for m in models if m == "teacher")]:
        standing = standings[model, 0]
        rows.append(
            (
                facts["labels"][model],
                f"{facts['parameters'][model] / MILLION:.2f}",
                _span(standing.measures[MAIN]),
                with_interval(standing.difference) if standing.difference else NOTHING,
                with_interval(standing.to_alone) if standing.to_alone else NOTHING,
                *(number(100 * standing.measures[name].estimate, 1) for name in MEASURES[1:]),
                number(standing.flops / MILLION, 1),
                number(100 * standing.spread, 1),
            )
        )
    seeds = max(standings[model, 0].seeds for model in models)
    scores = ["The one before the ranker's scores is the student alone."] * ("ranker-scores" in facts["before"])
    return Table(
        f"Students of {facts['queries']['train']:,} training queries, on {facts['queries']['test']:,} others; "
        f"{facts['documents']:,} documents",
        ("", "M parameters\nof a query", "MRR@10", "minus the one before", "minus student alone",
         *MEASURES[1:], "MFLOPs\nper query", "SD of\nseeds"),
        tuple(rows),
        references=1,
        notes=(
            f"All measures × 100. In brackets: 95 % intervals of a paired bootstrap over test queries, of means over "
            f"{seeds} seed{'s' * (seeds > 1)} of the students. FLOPs are of the query and of an exact search; "
            "documents are embedded once.",
            *scores,
        ),
    )  # fmt: skip


def _reranking(standings: Standings, facts: dict) -> Table:
    rows = []
    labelled = {key: standing for key, standing in standings.items() if key[0] in facts["labels"]}
    for (model, depth), standing in sorted(labelled.items(), key=lambda item: (list(facts["labels"]).index(item[0][0]),
                                                                               item[0][1])):  # fmt: skip
        if any(other == model and more for other, more in standings):
            rows.append(
                (
                    f"{facts['labels'][model]}, {depth or 'none'} reranked",
                    number(standing.flops / MILLION, 1),
                    _span(standing.measures[MAIN]),
                    with_interval(standing.difference) if depth and standing.difference else NOTHING,
                    *(number(100 * standing.measures[name].estimate, 1) for name in MEASURES[1:]),
                )
            )
    return Table(
        "Retrieve, then rerank: so many documents of a ranking are read by the ranker",
        ("", "MFLOPs\nper query", "MRR@10", "minus none reranked", "nDCG@10", "R@10", "R@100"),
        tuple(rows),
        notes=("All measures × 100. FLOPs are of the retriever and of the ranker's reading; no wall time enters.",),
    )


def _sizes(standings: Standings, facts: dict) -> Table:
    depth, wholes = facts["elastic"]["reranked"], sizes(facts)
    names = {"denser": "retriever", "ranker": "ranker"}
    rows = []
    for model, whole in wholes.items():
        kind, size = model.split("-", 1)
        standing = standings[model, depth if kind == "ranker" else 0]
        difference = NOTHING if model == whole else with_interval(standing.difference)
        rows.append(_size(f"{names[kind]}, {size}", facts["parameters"][model], standing, difference))
    alone = {"teacher": ("teacher", 0), "teacher, its ranker": ("teacher", depth)}
    parameters = facts["parameters"]["teacher"]
    references = [_size(label, parameters, standings[key], NOTHING) for label, key in alone.items() if key in standings]
    seeds = standings[model, depth].seeds
    return Table(
        "Sizes of the elastic retriever and ranker",
        ("", "M parameters", "MRR@10", "minus the whole", *MEASURES[1:], "MFLOPs\nper query"),
        (*rows, *references),
        references=len(references),
        notes=(
            f"All measures × 100, means over {seeds} seed{'s' * (seeds > 1)}. Retriever and ranker are each one set of "
            "weights that is trained at all sizes together. The retriever embeds queries at a size and documents at "
            f"the whole; the ranker reads the first {depth} documents of the whole retriever, whose FLOPs are counted "
            "too. The teacher and its ranker have the shape of the whole, and are trained at that size alone. The "
            "definition is ours, after the abstract of ElasticLM (arXiv 2311.07204).",
        ),
    )  # fmt: skip


def _size(label: str, parameters: int, standing, difference: str) -> tuple:
    return (
        label,
        f"{parameters / MILLION:.2f}",
        _span(standing.measures[MAIN]),
        difference,
        *(number(100 * standing.measures[name].estimate, 1) for name in MEASURES[1:]),
        number(standing.flops / MILLION, 1),
    )


def _span(interval) -> str:
    estimate, low, high = (100 * value for value in interval)
    return f"{estimate:.1f} [{low:.1f}, {high:.1f}]"


def files(standings: Standings, facts: dict) -> dict[str, bytes]:
    """`retrieval.csv`, and all tables as `table.md`."""
    return {"retrieval.csv": csv_bytes(records(standings)), "table.md": text(tables(standings, facts))}


def records(standings: Standings) -> list[dict]:
    """One row per retriever and number of documents reranked."""
    return [
        {"model": model, "reranked": depth, "seeds": standing.seeds, "flops": standing.flops}
        | {"sd_seeds": standing.spread}
        | {f"{name}{end}": getattr(interval, part) for name, interval in _intervals(standing).items()
           for end, part in (("", "estimate"), ("_low", "low"), ("_high", "high"))}
        for (model, depth), standing in standings.items()
    ]  # fmt: skip


def _intervals(standing) -> dict:
    differences = {"difference": standing.difference, "to_alone": standing.to_alone}
    return {**standing.measures, **{name: value for name, value in differences.items() if value is not None}}
