"""Prints the plan of a run and what it takes, for `run --dry-run`; nothing is built, downloaded or written."""

import math
from collections.abc import Iterator
from pathlib import Path

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benchmarks.planning import findings, graph, plan, schedule
from benchmarks.planning import hardware as machines
from benchmarks.planning.estimate import Estimate, Stage, bytes_per_token
from cat_keras.errors import check_number
from cat_keras.modeling.costs import of_tokens
from cat_keras.storage.remote import Remote
from cat_keras.storage.store import Store


def show(
    profile,
    data: Path | None,
    out: Path,
    console: Console,
    source: str = "",
    hardware: str = "cpu2",
    price: float = 0.0,
    address: str = "",
):
    """Prints what `run.run` with the same arguments would do, and an estimate of what it takes.

    Args:
        hardware: a name of `hardware.toml`, or "measure"; 8xh100 for a cluster of eight of it.
        price: of an hour of one of it, in any currency; 0 for no price.
        address: as for `run.run`.

    Raises:
        CatKerasError: as `run.run` does before it begins; unknown hardware; a price that is none.
    """
    check_number("--price-hour", price, "[0, 1e6]")
    count, machine = machines.several(hardware)
    with findings.printed(console):
        todo = plan.make(profile, data, source, assume=True)
    cache = Store(out / "cache", remote=Remote(address) if address else None)
    token_bytes, known_from = bytes_per_token(todo, cache)
    estimate = Estimate(todo, token_bytes)
    stages = estimate.stages()
    cached = {s.key for s in stages if cache.exists(s.kind, s.key)}
    console.print(_heading(todo, estimate, known_from), soft_wrap=True, highlight=False)
    console.print(_table(stages, cached, estimate, machine))
    for line in _totals(stages, cached, estimate, machine, price):
        console.print(line, soft_wrap=True, highlight=False)
    if count > 1:
        console.print(
            _on_a_cluster(todo, cache, stages, estimate, machine, count, price), soft_wrap=True, highlight=False
        )


def show_sweep(sweep, data: Path | None, out: Path, console: Console, hardware: str = "cpu2"):
    """Prints how many trainings a sweep takes, what points share counted once, and an estimate of the time.

    Raises:
        CatKerasError: as `show`.
    """
    machine, cache = machines.get(hardware), Store(out / "cache")
    stages, seconds, compiled, like, length = {}, {}, 0.0, {}, {}
    for profile in (profile for point in sweep.points for profile in (point.profile, sweep.validation(point))):
        rows = repr(profile.data)  # points of the same data have the same rows
        with findings.printed(console):
            todo = like[rows] = plan.make(profile, data, assume=True, like=like.get(rows))
        length[rows] = length.get(rows) or bytes_per_token(todo, cache)[0]
        estimate = Estimate(todo, length[rows])
        own = {s.key: s for s in estimate.stages() if not (s.key in stages or cache.exists(s.kind, s.key))}
        stages |= own
        seconds |= {key: estimate.seconds(stage, machine) for key, stage in own.items()}
        compiled += estimate.compile_seconds(list(own.values()), machine)
    trained = [s for s in stages.values() if s.kind == "train"]
    count = {role: sum(s.role == role for s in trained) for role in ("large", "small")}
    console.print(
        f"{sweep.name}: {len(sweep.points)} points. To do: {count['large']} trainings of large models, "
        f"{count['small']} of small ones, {sum(s.kind == 'predict' for s in stages.values())} predictions, "
        f"{sum(s.flops for s in stages.values()):.1e} FLOPs.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip
    console.print(
        f"[bold]Estimate for {escape(machine.name)}: {_time(sum(seconds.values()) + compiled)}[/], of which at most "
        f"{_time(compiled)} compiling.",
        soft_wrap=True, highlight=False,
    )  # fmt: skip


def _heading(todo, estimate: Estimate, known_from: str) -> str:
    tokens = int(estimate.train_lengths.sum())
    text = (
        f"{todo.profile.name}: {len(todo.tasks)} tasks, {len(todo.train):,} training and {len(todo.test):,} test "
        f"examples, {len(todo.models())} models. Estimated: {_count(tokens)} training tokens, "
        f"{_count(estimate.target_tokens)} of them target; {known_from}."
    )
    assumed = dict.fromkeys([*todo.train.assumed, *todo.test.assumed])
    if assumed:
        text += (
            f"\nThe rows of {len(assumed)} tasks are not on this machine: taken as many as the profile allows and as "
            "long as the task allows, which is an upper limit (a whole test split: 3,000). "
            "`python -m benchmarks prepare` downloads them."
        )
    return escape(text)


def _table(stages: list[Stage], cached, estimate: Estimate, machine) -> Table:
    table = Table(box=None, header_style="bold")
    for name in ("stage", "model", "objective"):
        table.add_column(name)
    for name in ("seed", "≈ steps", "FLOPs", "≈ time", "disk"):
        table.add_column(name, justify="right")
    table.add_column("")
    for stage in stages:
        table.add_row(
            stage.label,
            stage.role,
            stage.objective,
            "" if stage.seed < 0 else str(stage.seed),
            f"{stage.steps:,}" if stage.steps else "",
            f"{stage.flops:.1e}",
            _time(estimate.seconds(stage, machine)),
            _size(stage.disk),
            "[green]cached[/]" if stage.key in cached else "to do",
        )
    return table


def _totals(stages: list[Stage], cached, estimate: Estimate, machine, price: float) -> Iterator[str]:
    """The lines below the table: what is to do, how long it takes and what that costs, and the memory of each model."""
    todo = [s for s in stages if s.key not in cached]
    computing, compiling = estimate.times(todo, machine)
    yield (
        f"[bold]To do: {len(todo)} of {len(stages)} stages[/], {sum(s.flops for s in todo):.1e} FLOPs, "
        f"{_size(sum(s.disk for s in todo))} of disk."
    )
    yield (
        f"[bold]Estimate for {escape(machine.name)}: {_time(computing + compiling)}[/], of which "
        f"{_time(compiling)} compiling; at {_shares(machine)} of {_rate(machine.flops)} on each of "
        f"{machine.devices} device{'s' * (machine.devices > 1)} ({escape(machine.source)})."
        + (f" At {price:g} an hour: {(computing + compiling) / 3600 * price:,.2f}." if price else "")
    )
    if (large := estimate.plan.large) and large.small_columns:
        yield (
            f"{large.objective} trains the large model with the small one's help. A plain training of as many steps: "
            "--set large.tune.objective=xent; of as many FLOPs, the small model's forward pass included, which "
            f"{large.objective} alone computes: also --set large.tune.epochs={estimate.equal_epochs(large):.4g}."
        )
    remote = estimate.profile.large.remote()
    if remote:
        read, written = estimate.asked
        price = of_tokens(read, written, remote.price)
        yield (
            f"The large model is asked at {escape(remote.url)}: about {_count(read)} tokens read and at most "
            f"{_count(written)} written" + ("." if math.isnan(price) else f", {price:.2g} at its price.")
        )
    for role in reversed(estimate.profile.roles[:-1] if remote else estimate.profile.roles):
        size, (memory, has_activations) = estimate.size[role], estimate.memory(role, machine.kind)
        need = f"{_size(memory)} of device memory" + ("" if has_activations else " and activations")
        if loras := {c.lora.rank for c in estimate.plan.cells() if c.role == role and c.lora}:
            need += f"; LoRA of rank {', '.join(map(str, sorted(loras)))}"
            need += "" if size.kernels else ", whose factors are not counted"
        fits = "it has" if memory <= machine.memory else "it has only"
        yield (
            f"The {role} model: {_count(size.parameters)} parameters, from {size.known_from}. Estimate of its "
            f"training: {need}, TensorFlow itself not counted; {fits} {_size(machine.memory)}."
        )


def _on_a_cluster(todo, cache: Store, stages: list[Stage], estimate: Estimate, machine, count: int, price) -> str:
    """How long the jobs take on so many machines, one on each at a time, and which of them no machine makes faster.

    Every training is taken to compile its steps, since the machine that did so for another may be busy.
    """
    jobs = graph.make(todo, graph.ordered(todo, todo.models()), cache.exists)
    took = {s.key: estimate.seconds(s, machine) + machine.compile * s.compiled * (s.kind == "train") for s in stages}

    def seconds(job: graph.Job) -> float:
        """A part takes its share; what puts parts together takes no time, nor does what the estimate leaves out."""
        if job.part:
            return took[job.key] / job.part[1]
        joins = any(name.startswith(f"{job.name}-") for name in job.needs)
        return 0.0 if joins else took.get(job.key, 0.0)

    whole, chain = schedule.makespan(jobs, seconds, count), schedule.longest_chain(jobs, seconds)
    names = [f"{job.label} ({_time(seconds(job))})" for job in chain if seconds(job)]
    cost = f" At {price:g} an hour each: {whole / 3600 * price * count:,.2f}." if price else ""
    return escape(
        f"On a cluster of {count} of them, one job on each: {_time(whole)} for {len(jobs)} jobs.{cost} The longest "
        f"chain takes {_time(sum(map(seconds, chain)))}, on however many: {', '.join(names)}."
    )


def _shares(machine) -> str:
    """The share of its FLOP/s that trainings are taken to reach; of the smallest and the largest of measured sizes."""
    shares = [share for _, share in machine.shares] or [machine.train]
    return " to ".join(f"{share:.0%}" for share in dict.fromkeys((shares[0], shares[-1])))


def _count(n: float) -> str:
    for unit, name in ((1e12, "T"), (1e9, "G"), (1e6, "M"), (1e3, "k")):
        if n >= unit:
            return f"{n / unit:.3g} {name}"
    return f"{n:.0f}"


def _rate(flops: float) -> str:
    return f"{_count(flops)}FLOP/s"


def _size(n: float) -> str:
    return f"{_count(n)}B" if n >= 1000 else f"{n:.0f} B"


def _time(seconds: float) -> str:
    for unit, name in ((86400, "d"), (3600, "h"), (60, "min")):
        if seconds >= 2 * unit:
            return f"{seconds / unit:.1f} {name}"
    return f"{seconds:.1f} s" if seconds < 10 else f"{seconds:.0f} s"
