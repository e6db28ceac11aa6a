"""Which machine does what when several share a run.

The machines share the folder of results and nothing else. Each predicts with its share of the models, and trains what
these need. What several of them need (the tokenizer, the encoded data, the start of a seed, the large model, its
columns) is built by the first one to come, under a lease (see `running.leases`), while the others wait. If a machine
dies, another takes over. So every shard finishes whatever becomes of the others, and no result depends on which machine
built it.
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
    """The models of each shard, in the order in which it does them.

    Models are assigned by the FLOPs that they take, the largest first, each to the shard that has the least work so
    far. Within a shard the methods that read the large model's columns come last: the others are trained while another
    machine makes the columns. The estimate takes 4 bytes a token, whatever this machine has in its cache, so that all
    machines find the same shares.
    """
    stages = Estimate(plan).stages()
    training_flops = {s.key: s.flops for s in stages if s.kind == "train" and s.role != "large"}
    predictions = [s for s in stages if s.kind == "predict"]
    flops = {s.model: s.flops + training_flops.get(s.start, 0.0) for s in predictions}
    flops[LARGE] += sum(s.flops for s in stages if s.kind == "teacher" or (s.kind == "train" and s.role == "large"))
    shares: list[list[Model]] = [[] for _ in range(count)]
    loads = [0.0] * count
    for model in sorted(flops, key=lambda m: -flops[m]):
        shard = loads.index(min(loads))
        shares[shard].append(model)
        loads[shard] += flops[model]
    return [ordered(plan, share) for share in shares]


def ordered(plan: Plan, models: list[Model]) -> list[Model]:
    """The large model first, then those that read no columns, then the others, each method by method.

    Where there are models between the large and the small one, they come before it, the largest first.

    The seeds of a method follow each other, so that what was compiled for one serves the next, and can be dropped then.
    """
    methods, roles = list(plan.profile.methods), plan.profile.roles

    def rank(model: Model):
        if model == LARGE:
            return (-len(roles),)
        return -roles.index(plan.role(model)), plan.last(model).needs_teacher, methods.index(model[0]), model[1]

    return sorted(models, key=rank)
