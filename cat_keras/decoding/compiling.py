"""Functions of tensors in the form in which each backend runs them fast."""

import keras


def needs_static_shapes() -> bool:
    """Whether the device wants functions of static shapes, compiled with XLA: GPUs, TPUs, and JAX anywhere."""
    if keras.config.backend() == "jax":
        return True
    if keras.config.backend() == "torch":
        return False
    import tensorflow as tf

    return bool(tf.config.list_logical_devices("GPU") or tf.config.list_logical_devices("TPU"))


def compiled(body, specs, model, static: bool):
    """The compiled form of a function of a model on the current backend.

    Args:
        body: a function of tensors and lists of tensors.
        specs: (shape, dtype) of each argument, a list of them for a list; None where a size varies.
        static: whether to compile it with XLA, once for each shape that it is called with.
    """
    backend = keras.config.backend()
    if backend == "tensorflow":
        import tensorflow as tf

        if static:
            return tf.function(body, jit_compile=True, autograph=False)
        signature = [
            [tf.TensorSpec(*leaf) for leaf in spec] if isinstance(spec, list) else tf.TensorSpec(*spec)
            for spec in specs
        ]
        return tf.function(body, input_signature=signature, autograph=False)
    if backend == "jax":
        return _stateless(body, model)
    import torch

    return torch.no_grad()(body)


def _stateless(body, model):
    """A jitted function that takes the weights anew at every call; JAX would otherwise keep those of the first call."""
    import jax

    def pure(weights, *arguments):
        with keras.StatelessScope(state_mapping=zip(model.variables, weights, strict=True)):
            return body(*arguments)

    jitted = jax.jit(pure)
    return lambda *arguments: jitted([v.value for v in model.variables], *arguments)


def power_of_two(n: int) -> int:
    """The smallest power of two that is n or more, so that few sizes are compiled."""
    return 1 << (n - 1).bit_length()
