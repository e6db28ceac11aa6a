"""`tune`: thresholds for the models of a run, and whether a cascade of them is worth it."""

from pathlib import Path
from typing import Annotated

import typer

from benchmarks.cli.importing import pairs
from benchmarks.cli.options import OutOption, console
from benchmarks.cli.results import RunArgument, _folder
from cat_keras.errors import CatKerasError

PRICE = "Of a million tokens: 0.10, or 0.10/0.40 read/written."


def tune(
    run: RunArgument,
    out: OutOption = Path("runs"),
    max_cost: Annotated[float | None, typer.Option(help="Mean cost of a query, all models asked included.")] = None,
    min_quality: Annotated[float | None, typer.Option(help="Mean quality, in [0, 1].")] = None,
    max_deferral: Annotated[float | None, typer.Option(help="Share of the queries that a model passes on.")] = None,
    guarantee: Annotated[
        str, typer.Option(help="ALPHA,DELTA: lose at most alpha of the last model's quality, but for chance delta.")
    ] = "",
    models: Annotated[str, typer.Option(help="Comma-separated, in the order they are asked; by default a pair.")] = "",
    rule: Annotated[str, typer.Option(help="Deferral rule; isotonic-RULE and platt-RULE calibrate it first.")] = "",
    tasks: Annotated[str, typer.Option(help="Comma-separated tasks; by default all, under the same thresholds.")] = "",
    seed: Annotated[int, typer.Option(help="Which run of the small models.")] = 0,
    price_small: Annotated[str, typer.Option(help=f"{PRICE} The small model's.")] = "",
    price_large: Annotated[str, typer.Option(help=f"{PRICE} The large model's.")] = "",
    price: Annotated[list[str] | None, typer.Option(help=f"MODEL=PRICE, for every model. {PRICE}")] = None,
    cost: Annotated[list[str] | None, typer.Option(help="MODEL=COST of a query, for every model.")] = None,
    method: Annotated[
        str, typer.Option(help="grid, or rational: for three and more models with few labelled rows.")
    ] = "grid",
    held_out: Annotated[float, typer.Option(help="Share of the rows to judge on.")] = 0.5,
    policy: Annotated[Path | None, typer.Option(help="The policy file; by default policy.json in the run.")] = None,
    check: Annotated[Path | None, typer.Option(help="Judge this policy file on the run; tune nothing.")] = None,
):
    """Choose thresholds for the models of a run, judge them on held-out rows, and write them as a policy file."""
    from benchmarks.report.reading import load
    from benchmarks.tuning import checking, search, shown, stages
    from cat_keras.cascades import gateways
    from cat_keras.storage import store

    folder = _folder(run, out)
    loaded = load.load(folder)
    chain = tuple(part for part in models.split(",") if part)
    asked = stages.Asked(
        rule, seed, _prices(loaded, chain, price_small, price_large, price), _costs(cost), held_out,
        tuple(part for part in tasks.split(",") if part),
    )  # fmt: skip
    if check:
        checking.show(check, loaded, asked, console())
        return
    found = search.search(
        loaded, chain, asked, method, max_cost=max_cost, min_quality=min_quality, max_deferral=max_deferral,
        guarantee=_guarantee(guarantee),
    )  # fmt: skip
    shown.show(found, console())
    path, made = policy or folder / "policy.json", search.policy(found, loaded)
    made.write(path)
    typer.echo(f"Policy: {path}")
    router, why = gateways.semantic_router(made)
    if router:
        store.write_bytes(path.with_suffix(".vllm-semantic-router.yaml"), router.encode())
        typer.echo(f"The same for vLLM semantic router: {path.with_suffix('.vllm-semantic-router.yaml')}")
    else:
        typer.echo(f"vLLM semantic router cannot say the same: {why}")


def _guarantee(text: str) -> tuple[float, float] | None:
    if not text:
        return None
    try:
        alpha, delta = map(float, text.split(","))
    except ValueError:
        raise CatKerasError(f"--guarantee is ALPHA,DELTA, e.g. 0.02,0.1. Received: {text!r}") from None
    return alpha, delta


def _prices(run, chain, small: str, large: str, several: list[str] | None):
    from benchmarks.report.numbers import costs
    from benchmarks.tuning.stages import large_name

    if bool(small) != bool(large) or (small and several):
        raise CatKerasError("Give --price-small and --price-large, or --price MODEL=… for every model")
    if small:
        both = costs.prices(small, large)
        found = dict.fromkeys(run.methods, both.small) | {large_name(run): both.large, "large": both.large}
        return found | ({chain[-1]: both.large} if chain else {})
    return {name: costs.prices(text, text).small for name, text in pairs("price", several)} or None


def _costs(several: list[str] | None) -> dict[str, float] | None:
    found = {}
    for name, text in pairs("cost", several):
        try:
            found[name] = float(text)
            if not 0 <= found[name] < float("inf"):
                raise ValueError
        except ValueError:
            raise CatKerasError(f"--cost MODEL=COST has a number of at least 0. Received: {text!r}") from None
    return found or None
