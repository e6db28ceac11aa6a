"""Which devices train together: the choice of a `tf.distribute` strategy, and settings of the whole process.

In this folder, TensorFlow is imported only here, in the compiled step (`step`, `chunks`) and for TensorBoard in `log`.
"""

import contextlib
import json
import os
from dataclasses import dataclass

import keras

from cat_keras.errors import CatKerasError, check_number, unknown_name
from cat_keras.training import device

STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class Distribution:
    """A chosen strategy, and the place of this process in it.

    Attributes:
        name: one of `STRATEGIES`, except "auto".
        strategy: the `tf.distribute.Strategy`, or None for "none".
        replicas: how many copies of the model step together, over all processes.
        worker: index of this process. Worker 0 is the chief, the one that writes files.
        workers: how many processes there are.
    """

    name: str
    strategy: object = None
    replicas: int = 1
    worker: int = 0
    workers: int = 1

    @property
    def chief(self) -> bool:
        return self.worker == 0

    def scope(self):
        """The context in which models and optimizers have to be made."""
        return self.strategy.scope() if self.strategy is not None else contextlib.nullcontext()

    def agree(self, value: bool) -> bool:
        """The chief's value, on every worker. It waits until every worker has called it."""
        if self.workers == 1:
            return value
        import tensorflow as tf

        @tf.function
        def sum_over_workers(vote):
            return self.strategy.run(
                lambda v: tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(v)),
                args=(vote,),
            )

        votes = sum_over_workers(tf.constant(float(value and self.chief)))
        return bool(self.strategy.experimental_local_results(votes)[0].numpy() > 0)

    def __str__(self):
        hosts = f" on {self.workers} workers (this is {self.worker})" if self.workers > 1 else ""
        return f"{self.name}, {self.replicas} replica{'s' if self.replicas > 1 else ''}{hosts}, {_device_text()}"


def choose(name: str = "auto", devices: list[str] | None = None) -> Distribution:
    """The strategy for this machine.

    Call it before anything else uses TensorFlow: collective operations between workers have to be set up first.

    Args:
        name: one of `STRATEGIES`. "auto" takes multi_worker if `TF_CONFIG` names several workers, tpu if `TPU_NAME` or
            `KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS` is set, mirrored if there are several GPUs, else none.
        devices: of "mirrored", e.g. ["CPU:0", "CPU:1"]; by default all GPUs, or all logical CPUs if there is no GPU.

    Raises:
        CatKerasError: the name is unknown, something that the strategy needs is missing, or the backend is not
            TensorFlow and cannot have a strategy.
    """
    if name not in STRATEGIES:
        raise unknown_name("strategy", name, STRATEGIES)
    if keras.config.backend() != "tensorflow":
        if name not in ("auto", "none"):
            raise CatKerasError(
                f"tf.distribute needs the TensorFlow backend. Received: strategy {name} on {keras.config.backend()}. "
                "Set KERAS_BACKEND=tensorflow, or use keras.distribution with fit"
            )
        return Distribution("none")
    name = _detected_name() if name == "auto" else name
    if name == "mirrored":
        return _mirrored(devices)
    if name == "multi_worker":
        return _multi_worker()
    return _tpu() if name == "tpu" else Distribution("none")


def configured_workers() -> int:
    """How many processes `TF_CONFIG` names that train together; 0 without it."""
    cluster = _cluster()
    return len(cluster.get("worker", ())) + len(cluster.get("chief", ()))


def is_chief(trainer) -> bool:
    """Whether this process is the one that writes the files of a training."""
    resolver = getattr(getattr(trainer, "distribute_strategy", None), "cluster_resolver", None)
    if resolver is None or not resolver.task_type or resolver.task_type == "chief":
        return True
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def _detected_name() -> str:
    import tensorflow as tf

    if configured_workers() > 1:
        return "multi_worker"
    if _tpu_address():
        return "tpu"
    return "mirrored" if len(tf.config.list_physical_devices("GPU")) > 1 else "none"


def _mirrored(devices):
    import tensorflow as tf

    devices = devices or [d.name for d in tf.config.list_logical_devices("GPU")]
    devices = devices or [d.name for d in tf.config.list_logical_devices("CPU")]
    if len(devices) < 2:
        raise CatKerasError(
            f"The mirrored strategy joins two devices or more. Received: {devices}. Use --strategy none, or make more "
            "devices visible"
        )
    # On CPU, collective operations keep one group of devices for the life of the process. A sum on one device does not.
    reduction = tf.distribute.ReductionToOneDevice() if "CPU" in devices[0] else None
    strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=reduction)
    return Distribution("mirrored", strategy, strategy.num_replicas_in_sync)


def _multi_worker():
    import tensorflow as tf

    cluster = _cluster()
    workers = [("chief", i) for i in range(len(cluster.get("chief", ())))]
    workers += [("worker", i) for i in range(len(cluster.get("worker", ())))]
    if len(workers) < 2:
        raise CatKerasError(
            "The multi_worker strategy reads two addresses or more from TF_CONFIG, e.g. "
            '{"cluster": {"worker": ["host0:2222", "host1:2222"]}, "task": {"type": "worker", "index": 0}}. '
            f"Received: {os.environ.get('TF_CONFIG', 'no TF_CONFIG')}"
        )
    task = json.loads(os.environ["TF_CONFIG"]).get("task", {})
    place = (task.get("type"), task.get("index"))
    if place not in workers:
        raise CatKerasError(f"TF_CONFIG gives each process a task of its cluster, {workers}. Received: {place}")
    strategy = tf.distribute.MultiWorkerMirroredStrategy()
    return Distribution("multi_worker", strategy, strategy.num_replicas_in_sync, workers.index(place), len(workers))


def _tpu():
    import tensorflow as tf

    address = _tpu_address()
    if not address:
        raise CatKerasError(
            "The tpu strategy finds its slice through TPU_NAME (its name or grpc address, or `local` on a TPU VM). "
            "Received: none. Set TPU_NAME"
        )
    resolver = tf.distribute.cluster_resolver.TPUClusterResolver(tpu=address)
    tf.config.experimental_connect_to_cluster(resolver)
    tf.tpu.experimental.initialize_tpu_system(resolver)
    strategy = tf.distribute.TPUStrategy(resolver)
    return Distribution("tpu", strategy, strategy.num_replicas_in_sync)


def _tpu_address() -> str:
    return os.environ.get("TPU_NAME") or os.environ.get("KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS") or ""


def _cluster() -> dict:
    """The addresses by role that `TF_CONFIG` names, {} without it."""
    try:
        return json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise CatKerasError(f"TF_CONFIG is a JSON object. Received: {os.environ['TF_CONFIG']!r} ({error})") from error


def _device_text() -> str:
    """The devices of this process in words, e.g. "2 × NVIDIA H100"."""
    if keras.config.backend() != "tensorflow":
        return f"{keras.config.backend()} backend"
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    names = [tf.config.experimental.get_device_details(d).get("device_name", "GPU")
             for d in tf.config.list_physical_devices("GPU")]  # fmt: skip
    return f"{len(gpus)} × {names[0]}" if gpus else f"CPU, {os.cpu_count()} cores"


def set_precision(name: str):
    """Sets the numeric policy of all models made after the call.

    Under a mixed policy variables stay float32, products are computed in 16 bits, and losses are float32 as always.

    Args:
        name: "float32", "mixed_bfloat16" or "mixed_float16"; or "auto" for what `device.best_precision` says.
    """
    policies = ("float32", "mixed_bfloat16", "mixed_float16", "auto")
    if name not in policies:
        raise unknown_name("precision", name, policies)
    name = device.best_precision() if name == "auto" else name
    keras.config.set_dtype_policy(name)


def make_deterministic(seed: int):
    """Seeds every generator and, on TensorFlow, selects deterministic operations (bit-identical reruns on CPU)."""
    keras.utils.set_random_seed(check_number("seed", seed, "[0, 4294967295]", whole=True))
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def force_jit(model):
    """Makes a compiled model use XLA although op determinism is on.

    Keras ignores an explicit `jit_compile=True` under op determinism, because XLA lacks some deterministic kernels on
    GPU. On CPU it has all that are used here: a test checks that two runs give the same bits.
    """
    model._jit_compile = True
