"""A cascade saved as a folder: `cascade.json`, a preset per model, and a manifest with the checksum of every file.

A model that was given by the name of a preset is stored as that name, with the hashes of its weights and tokenizer. An
endpoint is stored as its settings, with the name of the variable that holds its key, and not the key.
"""

import json
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path

from cat_keras.cascades import deferral
from cat_keras.cascades.calibration import Calibration
from cat_keras.cascades.rejection import Rejection
from cat_keras.data.chat import Chat
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.decoding.sampling import Sampler
from cat_keras.errors import CatKerasError
from cat_keras.modeling import models
from cat_keras.storage import store

# 1 named the tokenizer of a preset by its vocabulary alone; 2 had no endpoints and no prices; 4 is of cascades that
# reject, as versions that know nothing of it would answer what is to be rejected.
FORMAT, PLAIN = 4, 3


def save(cascade, directory: Path):
    """Writes the folder; an existing folder is replaced only if it is a saved cascade.

    Raises:
        CatKerasError: no thresholds yet, an argument or a rule that cannot be stored, or a folder of something else.
    """
    if cascade.thresholds is None:
        raise CatKerasError("A cascade is saved with its thresholds. Received: none. Call calibrate first")
    if directory.exists() and not (directory / "cascade.json").exists():
        raise CatKerasError(f"A cascade is saved to a new folder, or over a saved one. Received: {directory}")
    facts = _facts(cascade)
    for config in (facts["rule"], *facts["rules"]):
        deferral.from_config(config)  # an error here is better than one when the cascade is loaded
    with store.replaced(directory) as temporary:
        for stage, (predictor, name) in enumerate(zip(cascade.predictors, cascade.references, strict=True)):
            if name is None and not isinstance(predictor.model, Endpoint):
                models.save(predictor.model, temporary / f"stage-{stage}")
        store.write_json(temporary / "cascade.json", facts)
        store.seal(temporary, {})


def _facts(cascade) -> dict:
    """The content of `cascade.json`, as it will be read back."""
    thresholds = list(map(str, cascade.thresholds))  # JSON has no infinity
    facts = {
        "format": PLAIN,
        "models": [
            _reference(predictor.model, name)
            for predictor, name in zip(cascade.predictors, cascade.references, strict=True)
        ],
        "prices": [predictor.price for predictor in cascade.predictors],
        "arguments": {k: asdict(v) if isinstance(v, Sampler | Chat) else v for k, v in cascade.arguments.items()},
        "rule": cascade.rule.config(),
        "rules": [rule.config() for rule in cascade.rules],
        "thresholds": thresholds,
        "calibration": cascade.calibration and asdict(cascade.calibration) | {"thresholds": thresholds},
        "calibrated_on": sorted(cascade.calibrated_on),
    }
    if cascade.rejection is not None:
        facts |= {"format": FORMAT, "rejection": cascade.rejection.config()}
    try:
        return json.loads(json.dumps(facts, allow_nan=False))
    except (TypeError, ValueError) as error:
        raise CatKerasError(
            f"A cascade is saved with arguments and rules that JSON can hold. Received: others ({error}). "
            "Give numbers, text and lists of them"
        ) from error


def _reference(model, name: str | None) -> dict | None:
    """How `cascade.json` names a model that lies elsewhere; None for one that is in the folder."""
    if isinstance(model, Endpoint):
        return {"endpoint": model.config()}
    return name and {"preset": name, **_hashes(model)}


def _hashes(model):
    return {
        "weights": models.weights_fingerprint(model),
        "tokenizer": models.tokenizer_fingerprint(models.tokenizer_of(model)),
    }


def load(directory: Path, make: Callable):
    """The cascade saved in a folder; see `Cascade.load`.

    Args:
        make: the class of the cascade, called as `make(models, rule, thresholds, prices, **arguments)`.
    """
    damage = store.damage(directory)
    if damage:
        raise CatKerasError(f"A saved cascade is as it was saved. Received: {directory}: {damage}. Save it again")
    facts = store.read_json(directory / "cascade.json")
    if facts["format"] not in range(1, FORMAT + 1):
        raise CatKerasError(f"This version reads cascades of formats 1 to {FORMAT}. Received: {facts['format']}")
    if facts["format"] == 1 and any(facts["models"]):  # models in the folder have checksums, which leave nothing open
        names = ", ".join(repr(model["preset"]) for model in facts["models"] if model)
        raise CatKerasError(
            f"A saved cascade names all of the tokenizer of its presets. Received: {directory} of version 0.1, which "
            f"named the vocabulary alone, with {names}. Calibrate again and save"
        )
    thresholds = list(map(float, facts["thresholds"]))
    stages = [_stage(model, directory / f"stage-{i}") for i, model in enumerate(facts["models"])]
    arguments = facts["arguments"]
    if "sampler" in arguments:
        arguments["sampler"] = Sampler(**arguments["sampler"])
    if arguments.get("chat") is not None:
        arguments["chat"] = Chat(**arguments["chat"])
    cascade = make(stages, deferral.from_config(facts["rule"]), thresholds, facts.get("prices"), **arguments)
    for predictor, model in zip(cascade.predictors, facts["models"], strict=True):
        if model and "preset" in model and model != {"preset": model["preset"], **_hashes(predictor.model)}:
            raise CatKerasError(
                f"The preset of a saved cascade has the weights and tokenizer that it was saved with. Received: others "
                f"under {model['preset']!r}. Calibrate again and save"
            )
    cascade.rules = list(map(deferral.from_config, facts["rules"]))
    cascade.calibrated_on = frozenset(facts["calibrated_on"])
    if "rejection" in facts:
        cascade.reject_by(Rejection.load(facts["rejection"]))
    if choice := facts["calibration"]:
        tuples = {key: tuple(value) for key, value in choice.items() if isinstance(value, list)}
        cascade.calibration = Calibration(**choice | tuples | {"thresholds": tuple(thresholds)})
    return cascade


def _stage(model: dict | None, folder: Path):
    """What `make` gets for a model that `cascade.json` names: a folder, the name of a preset or an endpoint."""
    if model is None:
        return folder
    return Endpoint.from_config(model["endpoint"]) if "endpoint" in model else model["preset"]
