"""Variables without values of their own, which read the first part of another variable on each axis."""

import keras
from keras import ops


class Shared(keras.Variable):
    """What a variable becomes whose value is `whole[:n0, :n1, …]` from now on; made by `share`.

    Every read slices, inside compiled functions too. So the value follows the whole variable without being copied when
    that changes, and a gradient reaches the whole variable. A write goes to that part of the whole.
    """

    def part(self, shape=None, dtype=None):
        """The value, computed anew; the arguments are those of an initializer."""
        if tuple(self._whole.shape) == tuple(self._shape):
            return self._whole.value
        return self._whole.value[tuple(slice(n) for n in self._shape)]

    def _direct_assign(self, value):
        if tuple(self._whole.shape) != tuple(self._shape):
            whole = ops.convert_to_tensor(self._whole.value)
            value = ops.slice_update(whole, [0] * len(whole.shape), ops.cast(value, whole.dtype))
        self._whole.assign(value)


def share(variable: keras.Variable, whole: keras.Variable):
    """Makes a variable, whoever holds it, a part of another; the memory of its own value is freed.

    Args:
        variable: of a built model. whole: of as many axes, none of them shorter.
    """
    variable.__class__ = Shared
    # Keras calls the initializer for the value of a variable that has none, at every read.
    variable._whole, variable._value, variable._initializer = whole, None, variable.part
    variable.trainable = False  # an optimizer updates the whole


def is_shared(model) -> bool:
    """Whether the weights of a model are parts of another model's."""
    return any(isinstance(variable, Shared) for variable in model.variables)
