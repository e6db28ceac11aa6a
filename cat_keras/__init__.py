"""Cascade-Aware Training of language models in Keras (arXiv 2406.00060).

Public names resolve on first use: `import cat_keras` loads neither TensorFlow nor Keras.
"""

import pkgutil

__version__ = "0.1.0"

# Public name → where it is, as `pkgutil.resolve_name` reads it: "module:object", or "module:" for the module itself.
_PUBLIC = {
    "CatKerasError": "errors:CatKerasError",
    "store": "storage.store:",
    "costs": "modeling.costs:",
    "models": "modeling.models:",
    "lora": "modeling.lora:",
    "Example": "data.records:Example",
    "Prediction": "data.records:Prediction",
    "Chat": "data.chat:Chat",
    "read_jsonl": "data.jsonl:read_jsonl",
    "Encoded": "data.encoding:Encoded",
    "encode": "data.encoding:encode",
    "streaming": "data.streaming:",
    "training": "training:",
    "distribution": "training.distribution:",
    "losses": "training.losses:",
    "Batches": "training.batches:Batches",
    "CascadeAware": "training.trainer:CascadeAware",
    "Schedule": "training.loop:Schedule",
    "train": "training.loop:train",
    "elastic": "training.elastic:",
    "TeacherCache": "training.teacher:TeacherCache",
    "AnyTeacher": "training.teachers:AnyTeacher",
    "CsvLog": "training.log:CsvLog",
    "TensorBoardLog": "training.log:TensorBoardLog",
    "bands": "evaluation.bands:",
    "bootstrap": "evaluation.bootstrap:",
    "confidence": "evaluation.confidence:",
    "curves": "evaluation.curves:",
    "significance": "evaluation.significance:",
    "DeferralCurve": "evaluation.curves:DeferralCurve",
    "speculative": "decoding.speculative:",
    "Endpoint": "decoding.endpoints.endpoint:Endpoint",
    "Generator": "decoding.generation:Generator",
    "Predictor": "decoding.predictor:Predictor",
    "Sampler": "decoding.sampling:Sampler",
    "SpeculativeCascade": "decoding.speculative_cascade:SpeculativeCascade",
    "deferral": "cascades.deferral:",
    "learned": "cascades.deferral.learned:",
    "Calibration": "cascades.calibration:Calibration",
    "Cascade": "cascades.cascade:Cascade",
    "Guarantee": "cascades.guarantee:Guarantee",
    "Policy": "cascades.policy:Policy",
    "rejection": "cascades.rejection:",
    "retrieval": "retrieval:",
    "routing": "cascades.routing:",
    "tune": "cascades.tuning:tune",
    "serving": "serving:",
    "lm_eval": "harness.lm_eval:",
}

__all__ = [*_PUBLIC]


def __getattr__(name):
    if name in _PUBLIC:
        return pkgutil.resolve_name(f"cat_keras.{_PUBLIC[name]}")
    raise AttributeError(f"module 'cat_keras' has no attribute {name!r}")


def __dir__():
    return sorted([*globals(), *__all__])
