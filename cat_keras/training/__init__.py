"""Training a small model for its cascade.

`losses` and `masks` are the objectives. `teacher` keeps what the large model says of each target token as columns,
which `forward` computes, and `batches` lays them beside the tokens; `teachers` joins those of several models.
`selection` chooses sequences by them. `trainer` joins a model and an objective, `loop` trains it, and `checkpoint` lets
it continue after a kill. `step` is one exact update over all devices of a `tf.distribute` strategy, which
`distribution` chooses, and `chunks` saves memory in it; `device` says what is fast where it runs. `log` writes each
step down.
"""

from cat_keras.training.loop import Progress, Schedule, identity, restart, train
from cat_keras.training.trainer import CascadeAware

__all__ = ["CascadeAware", "Progress", "Schedule", "identity", "restart", "train"]
