"""Training a small model for its cascade.

`losses` and `masks` are the objectives. `teacher` keeps what the large model says of each target token as columns, and
`batches` lays them beside the tokens. `trainer` joins a model and an objective, `loop` trains it and resumes where a
killed process stopped, and `step` is one exact update over every device of a `tf.distribute` strategy.
"""

from cat_keras.training.loop import Progress, Schedule, identity, restart, train
from cat_keras.training.trainer import CascadeAware

__all__ = ["CascadeAware", "Progress", "Schedule", "identity", "restart", "train"]
