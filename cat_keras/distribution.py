"""The one place, beside the data path, that knows TensorFlow: process-wide settings of the backend."""

import keras


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
