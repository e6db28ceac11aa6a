"""What a job takes of a cluster: cores, an accelerator and memory, by the estimate that `--dry-run` prints."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass

from benchmarks.planning.estimate import FLOAT, Estimate
from benchmarks.planning.graph import Job
from cat_keras.errors import CatKerasError

NO_HOSTS: Mapping[str, int] = {}
PROCESS = 2**30  # bytes of a process that has TensorFlow loaded and nothing else


@dataclass(frozen=True)
class Needs:
    """What a job takes of one node.

    Attributes:
        cpus, gpus: how many. memory: bytes of main memory. kind: of GPU, as Ray names it, e.g. "H100"; "" for any.
    """

    cpus: int
    gpus: int
    memory: int
    kind: str = ""

    def options(self) -> dict:
        """The arguments of a Ray task that takes this much."""
        options = {"num_cpus": self.cpus, "num_gpus": self.gpus, "memory": self.memory}
        return options | ({"accelerator_type": self.kind} if self.kind and self.gpus else {})

    def fit(self, node: dict[str, float]) -> bool:
        """Whether a node has this much when nothing else runs there.

        Args:
            node: what it has, see `joining.Cluster.nodes`.
        """
        enough = all(node.get(name, 0) >= amount for name, amount in self._amounts())
        return enough and (not self.kind or not self.gpus or f"accelerator_type:{self.kind}" in node)

    def _amounts(self):
        return ("CPU", self.cpus), ("GPU", self.gpus), ("memory", self.memory)

    def __str__(self):
        gpus = f", {self.gpus} GPU{f' of kind {self.kind}' * bool(self.kind)}" if self.gpus else ""
        return f"{self.cpus} CPU{gpus} and {self.memory / 2**30:.1f} GiB of memory"


def of(jobs: Iterable[Job], estimate: Estimate | None, gpus: bool, kind: str = "") -> dict[tuple[str, str], Needs]:
    """(role, kind of job) → what such a job takes.

    On processors, a training takes the weights, gradients, moments and activations of the estimate, and what reads a
    model twice its weights. With an accelerator these lie on the device, and main memory has the weights twice.

    Args:
        estimate: of the plan; None where the size of a model is not known, which then counts as nothing.
        gpus: whether the cluster has any. kind: of GPU to ask for; "" for any.
    """
    found = {}
    for role, what in dict.fromkeys((job.role, job.kind) for job in jobs):
        memory = float(PROCESS)
        if role and estimate:
            weights = 2 * FLOAT * estimate.size[role].parameters
            memory += estimate.memory(role)[0] if what == "train" and not gpus else weights
        found[role, what] = Needs(1, int(bool(role) and gpus), int(memory), kind)
    return found


def check(needs: dict[tuple[str, str], Needs], nodes: Sequence[dict[str, float]], hosts: Mapping[str, int] = NO_HOSTS):
    """Raises CatKerasError for the first kind of job that fits on no node, which says what is missing.

    Args:
        needs: from `of`. nodes: what each has. hosts: kind of job → on how many nodes at once it runs, if not on one.
    """
    for (role, what), need in needs.items():
        count = sum(map(need.fit, nodes))
        if count >= hosts.get(what, 1):
            continue
        if count:
            raise CatKerasError(
                f"A training spans as many nodes as --hosts says. Received: {hosts[what]}, and {count} with {need}. "
                "Add nodes, or lower it"
            )
        most = {name: max((node.get(name, 0) for node in nodes), default=0) for name in ("CPU", "GPU", "memory")}
        kinds = sorted({n.partition(":")[2] for node in nodes for n in node if n.startswith("accelerator_type:")})
        raise CatKerasError(
            f"Each job fits on a node of the cluster. Received: {what} of the {role or 'data'} "
            f"{'model ' * bool(role)}with {need}, and nodes of up to {most['CPU']:g} CPUs, {most['GPU']:g} GPUs"
            f"{f' ({chr(44).join(kinds)})' * bool(kinds)} and {most['memory'] / 2**30:.1f} GiB. Add a larger node, or "
            "take less: --set objective.batch_size=8, --set large.lora.rank=16"
        )
