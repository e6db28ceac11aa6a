"""Which devices train together: a `tf.distribute` strategy from what is there, and process-wide backend settings.

The one place, beside the compiled step and the data path, that knows TensorFlow.
"""

import contextlib
import json
import os
from dataclasses import dataclass

import keras

from cat_keras.errors import CatKerasError, unknown_name

STRATEGIES = ("auto", "none", "mirrored", "multi_worker", "tpu")


@dataclass(frozen=True)
class Distribution:
    """A chosen strategy, and this process's place in it.

    Attributes:
        name: one of `STRATEGIES` but "auto". strategy: the `tf.distribute.Strategy`, or None for "none".
        replicas: how many copies of the model step together, over all processes.
        worker, workers: index of this process and their number. Worker 0, the chief, is the one that writes files.
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
        """Context manager in which models and optimizers are made."""
        return self.strategy.scope() if self.strategy is not None else contextlib.nullcontext()

    def agree(self, value: bool) -> bool:
        """What the chief says, on every worker; returns when all of them have asked."""
        if self.workers == 1:
            return value
        import tensorflow as tf

        @tf.function
        def total(mine):
            return self.strategy.run(
                lambda v: tf.distribute.get_replica_context().all_reduce(tf.distribute.ReduceOp.SUM, tf.identity(v)),
                args=(mine,),
            )

        said = total(tf.constant(float(value and self.chief)))
        return bool(self.strategy.experimental_local_results(said)[0].numpy() > 0)

    def __str__(self):
        hosts = f" on {self.workers} workers (this is {self.worker})" if self.workers > 1 else ""
        return f"{self.name}, {self.replicas} replica{'s' if self.replicas > 1 else ''}{hosts}, {_devices()}"


def choose(name: str = "auto", devices: list[str] | None = None) -> Distribution:
    """The strategy for this machine. Call it before anything else uses TensorFlow: collectives start with the process.

    Args:
        name: "auto" takes multi_worker where `TF_CONFIG` names several workers, tpu where `TPU_NAME` or
            `KUBE_GOOGLE_CLOUD_TPU_ENDPOINTS` is set, mirrored with several GPUs, else none.
        devices: of "mirrored", e.g. ["CPU:0", "CPU:1"]; by default all GPUs, or all logical CPUs without one.

    Raises:
        CatKerasError: an unknown name, what the strategy needs is not there, or a strategy on another backend than
            TensorFlow.
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
    name = _detect() if name == "auto" else name
    if name == "mirrored":
        return _mirrored(devices)
    if name == "multi_worker":
        return _multi_worker()
    return _tpu() if name == "tpu" else Distribution("none")


def is_chief(trainer) -> bool:
    """Whether this process is the one that writes the files of a training."""
    resolver = getattr(getattr(trainer, "distribute_strategy", None), "cluster_resolver", None)
    if resolver is None or not resolver.task_type or resolver.task_type == "chief":
        return True
    return resolver.task_id == 0 and "chief" not in resolver.cluster_spec().jobs


def _detect() -> str:
    import tensorflow as tf

    if len(_cluster().get("worker", ())) + len(_cluster().get("chief", ())) > 1:
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
    # Collectives on CPU keep one group of devices per process for good; a plain sum has no such memory.
    plain = tf.distribute.ReductionToOneDevice() if "CPU" in devices[0] else None
    strategy = tf.distribute.MirroredStrategy(devices, cross_device_ops=plain)
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
    try:
        return json.loads(os.environ.get("TF_CONFIG") or "{}").get("cluster", {})
    except (json.JSONDecodeError, AttributeError) as error:
        raise CatKerasError(f"TF_CONFIG is a JSON object. Received: {os.environ['TF_CONFIG']!r} ({error})") from error


def _devices() -> str:
    if keras.config.backend() != "tensorflow":
        return f"{keras.config.backend()} backend"
    import tensorflow as tf

    gpus = tf.config.list_logical_devices("GPU")
    names = [tf.config.experimental.get_device_details(d).get("device_name", "GPU")
             for d in tf.config.list_physical_devices("GPU")]  # fmt: skip
    return f"{len(gpus)} × {names[0]}" if gpus else f"CPU, {os.cpu_count()} cores"


def set_precision(name: str):
    """Numeric policy of models made after it: "float32", "mixed_bfloat16" or "mixed_float16".

    Variables stay float32; products are computed in 16 bits; losses are always float32.
    """
    policies = ("float32", "mixed_bfloat16", "mixed_float16")
    if name not in policies:
        raise unknown_name("precision", name, policies)
    keras.config.set_dtype_policy(name)


def make_deterministic(seed: int):
    """Seeds every generator and, on TensorFlow, selects deterministic operations (bit-identical reruns on CPU)."""
    keras.utils.set_random_seed(seed)
    if keras.config.backend() == "tensorflow":
        import tensorflow as tf

        tf.config.experimental.enable_op_determinism()


def force_jit(model):
    """Compiles with XLA although op determinism is on.

    Keras then drops an explicit `jit_compile=True`, because XLA lacks some deterministic kernels on GPU. The operations
    used here have them on CPU: two runs give the same bits, which a test holds.
    """
    model._jit_compile = True
