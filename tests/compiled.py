"""A module that compiles a function with XLA where code is kept, and prints how many files there were and are."""

import os
import sys
from pathlib import Path

from cat_keras.storage import compilations

with compilations.kept(Path(sys.argv[1])):
    import tensorflow as tf

    place = Path(os.environ[compilations.FLAGS].split()[0].partition("=")[2])
    before = len(list(place.glob("*.pb")))
    product = tf.function(lambda x: tf.nn.softmax(x @ x) @ x, jit_compile=True)
    total = float(tf.reduce_sum(product(tf.eye(8) * 3.0)))
    print(before, len(list(place.glob("*.pb"))), total)
