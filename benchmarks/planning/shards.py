"""Who does what when several machines share a run.

Machines share the folder of results and nothing else. Each predicts its share of the models, and trains what these
need. What several need (the tokenizer, the encoded data, the start of a seed, the large model, its columns) is built by
whichever comes first, under a lease (`running.leases`), while the others wait; when a machine dies, another takes
over. So every shard finishes whatever becomes of the others, and nothing depends on which one built it.
"""

import re

from benchmarks.planning.estimate import Estimate
from benchmarks.planning.plan import LARGE, Model, Plan
from cat_keras.errors import CatKerasError


def parse(text: str) -> tuple[int, int]:
    """`"0/4"` → (0, 4).

    Raises:
        CatKerasError: it is not written that way, or there is no such shard.
    """
    match = re.fullmatch(r"(\d{1,6})/(\d{1,6})", text)
    index, count = map(int, match.groups()) if match else (0, 0)
    if index >= count:
        raise CatKerasError(f"A shard is i/n, the first one 0/n and the last one n-1/n. Received: {text!r}")
    return index, count


def assign(plan: Plan, count: int) -> list[list[Model]]:
    """The models of each shard in the order to do them.

    The longest work first, each to the shard that has least. A method that reads the large model's columns comes after
    those of its shard that do not: they are trained while another machine makes the columns. The estimate takes 4 bytes
    a token, whatever this machine has in its cache, so that all machines find the same shares.
    """
    stages = Estimate(plan).stages()
    training = {s.key: s.flops for s in stages if s.kind == "train" and s.role == "small"}
    predicting = [s for s in stages if s.kind == "predict"]
    work = {(s.objective, s.seed): s.flops + training.get(s.start, 0.0) for s in predicting}
    work[LARGE] += sum(s.flops for s in stages if s.role == "large" and s.kind != "predict")
    shares: list[list[Model]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for model in sorted(work, key=lambda m: -work[m]):
        least = loads.index(min(loads))
        shares[least].append(model)
        loads[least] += work[model]
    return [ordered(plan, share) for share in shares]


def ordered(plan: Plan, models: list[Model]) -> list[Model]:
    """The large model first, then method by method: what was compiled for one seed serves the next, and is dropped."""
    methods = list(plan.profile.methods)

    def place(model: Model):
        method, seed = model
        return (True, plan.small[model].needs_teacher, methods.index(method), seed) if model != LARGE else (False,)

    return sorted(models, key=place)
