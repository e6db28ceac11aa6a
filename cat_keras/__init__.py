"""Cascade-Aware Training of language models in Keras (arXiv 2406.00060).

Public names resolve on first use: `import cat_keras` loads neither TensorFlow nor Keras.
"""

import importlib

__version__ = "0.1.0"

# name → module that defines it; a module name stands for the module itself.
_PUBLIC = {
    "CatKerasError": "errors",
    "Example": "records",
    "Prediction": "records",
    "encode": "encoding",
    "Encoded": "encoding",
    "Batches": "encoding",
    "CascadeAware": "training",
    "TeacherCache": "teacher",
    "Predictor": "decoding",
    "Generator": "generation",
    "Sampler": "sampling",
    "Cascade": "cascade",
    "SpeculativeCascade": "speculative_decoding",
    "Calibration": "calibration",
    "Guarantee": "guarantee",
    "Schedule": "training",
    "train": "training",
    "CsvLog": "log",
    "TensorBoardLog": "log",
    "DeferralCurve": "curves",
}
_MODULES = (
    *("bands", "bootstrap", "confidence", "costs", "curves", "deferral"),
    *("distribution", "learned", "losses", "models", "significance", "speculative", "store", "training"),
)

__all__ = [*_PUBLIC, *_MODULES]


def __getattr__(name):
    if name in _MODULES:
        return importlib.import_module(f"cat_keras.{name}")
    if name in _PUBLIC:
        return getattr(importlib.import_module(f"cat_keras.{_PUBLIC[name]}"), name)
    raise AttributeError(f"module 'cat_keras' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
