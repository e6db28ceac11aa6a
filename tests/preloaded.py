"""What takes seconds to import and most commands need; `tests.commands` loads it once for all of them."""

import os

os.environ["HF_HUB_OFFLINE"] = "1"
os.environ.setdefault("TF_CPP_MIN_LOG_LEVEL", "3")

import keras_hub  # noqa: F401
import matplotlib.pyplot  # noqa: F401

import benchmarks.report
import benchmarks.running.workbench  # noqa: F401
import cat_keras.cascades.cascade  # noqa: F401
