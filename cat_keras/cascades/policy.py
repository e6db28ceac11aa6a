"""A tuned cascade as one JSON file that any gateway can apply: models in order, and when to go on to the next.

    {"format": "cat-keras policy", "version": 1,
     "stages": [{"model": "small-8b", "defer": "below", "threshold": 0.9697,
                 "rule": {"name": "confidence", "formula": "confidence", "reads": {"confidence": "…"}, "config": {…}}},
                {"model": "large-70b"}],
     "limit": {…}, "guarantee": {…}, "held_out": {…}, "made_from": {…}}

To apply it: ask the model of the first stage and compute its score by the formula; keep its answer if the score is at
least the threshold, otherwise ask the model of the next stage; the answer of the last stage is always kept. "defer" is
"below" a threshold, "never" or "always", where there is none. Nothing in the file is code, and no part of it is needed
but "stages"; the rest says where it comes from.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np

from cat_keras.cascades import deferral
from cat_keras.errors import CatKerasError, check_number
from cat_keras.storage import store

FORMAT, VERSION = "cat-keras policy", 1
READS = {
    "token_logprobs": "natural-log probability of each token of the answer",
    "option_logprobs": "natural-log likelihood of each option of a classification",
    "token_entropies": "entropy of the distribution at each token, nats",
    "token_margins": "difference of the two largest probabilities at each token",
    "defer_logprob": "natural-log probability of the token that asks for help, at the first token of the answer",
    "confidence": "probability of the answer, in [0, 1]",
    "stated_confidence": "how sure the model says it is, in [0, 1]",
    "p_true": "probability that it gives to its own answer being true, in [0, 1]",
    "agreement": "share of several sampled answers that say the same, in (0, 1]",
    "task": "name of the task",
}
FORMULAS = {
    "chow-sum": "sum(token_logprobs)",
    "chow-average": "sum(token_logprobs) / len(token_logprobs)",
    "max-probability": "max(softmax(option_logprobs))",
    "margin": "largest minus second largest of softmax(option_logprobs)",
    "entropy": "sum(p * log(p)) with p = softmax(option_logprobs)",
    "token-entropy": "-sum(token_entropies) / len(token_entropies)",
    "token-margin": "sum(token_margins) / len(token_margins)",
    "defer-token": "-defer_logprob",
    "defer-margin": "sum(token_logprobs) - log(p / (1 - p)) with p = exp(defer_logprob)",
    **{name: rule.column for name, rule in deferral.GIVEN.items()},
}


@dataclass(frozen=True, eq=False)
class Policy:
    """A cascade of models that are known by name alone.

    Attributes:
        models: the first is asked first. rules: one per model but the last, each as it scores. thresholds: likewise;
            −inf never defers, inf always.
        facts: what else the file says, by key: "limit", "guarantee", "held_out", "made_from".
    """

    models: tuple[str, ...]
    rules: tuple[deferral.Rule, ...]
    thresholds: tuple[float, ...]
    facts: Mapping[str, object] = field(default_factory=dict)

    def __post_init__(self):
        for threshold in self.thresholds:
            check_number("A threshold", threshold, "[-inf, inf]")
        if not len(self.models) - 1 == len(self.rules) == len(self.thresholds) >= 1:
            raise CatKerasError(
                "A policy has two models or more, and a rule and a threshold for each but the last. Received: "
                f"{len(self.models)} models, {len(self.rules)} rules, thresholds {list(self.thresholds)}"
            )

    def keeps(self, stage: int, predictions: Mapping[str, Sequence]) -> np.ndarray:
        """Which answers of a stage are kept, (n,) bool; all of the last.

        Args:
            stage: from 0. predictions: columns with `id` and what the rule of the stage reads.
        """
        check_number("stage", stage, f"[0, {len(self.rules)}]", whole=True)
        if stage == len(self.rules):
            return np.ones(len(predictions["id"]), bool)
        return self.rules[stage](predictions) >= self.thresholds[stage]

    def check_models(self, names: Sequence[str]):
        """Raises CatKerasError unless all its models are among these."""
        absent = [model for model in self.models if model not in names]
        if absent:
            raise CatKerasError(
                f"A policy is applied to the models it was made for, {', '.join(self.models)}. Received: answers of "
                f"{', '.join(names)}. Tune again, or take the policy of these models"
            )

    def write(self, path: Path):
        """Writes the file, whole or not at all.

        Raises:
            CatKerasError: a rule that plain numbers do not describe.
        """
        stages = [
            {"model": model, "rule": _described(rule), **_limit(threshold)}
            for model, rule, threshold in zip(self.models, self.rules, self.thresholds, strict=False)
        ]
        facts = {"format": FORMAT, "version": VERSION, "stages": [*stages, {"model": self.models[-1]}], **self.facts}
        store.write_json(Path(path), facts)

    @classmethod
    def read(cls, path: Path) -> "Policy":
        """The policy of a file.

        Raises:
            CatKerasError: it is none, of a newer version, or names a rule that does not exist.
        """
        facts = store.read_json(Path(path))
        if not isinstance(facts, dict) or facts.get("format") != FORMAT or facts.get("version") != VERSION:
            raise CatKerasError(f'A policy file says "format": "{FORMAT}", "version": {VERSION}. Received: {path}')
        try:
            *stages, last = facts["stages"]
            rules = tuple(deferral.from_config(stage["rule"]["config"]) for stage in stages)
            thresholds = tuple(_threshold(stage) for stage in stages)
            models = (*(str(stage["model"]) for stage in stages), str(last["model"]))
        except (KeyError, TypeError, ValueError) as error:
            if isinstance(error, CatKerasError):
                raise
            raise CatKerasError(
                f"A policy file has models, rules and thresholds. Received: {path} ({error!r})"
            ) from None
        rest = {key: value for key, value in facts.items() if key not in ("format", "version", "stages")}
        return cls(models, rules, thresholds, rest)


def _limit(threshold: float) -> dict:
    if np.isinf(threshold):
        return {"defer": "always" if threshold > 0 else "never", "threshold": None}
    return {"defer": "below", "threshold": threshold}


def _threshold(stage: Mapping) -> float:
    if stage["defer"] not in ("below", "never", "always"):
        raise ValueError(f"defer is below, never or always, not {stage['defer']!r}")
    return {"never": -np.inf, "always": np.inf}.get(stage["defer"]) or float(stage["threshold"])


def _described(rule: deferral.Rule) -> dict:
    config = {key: value for key, value in rule.config().items() if key != "fitted_on"}
    reads = {name: READS.get(name, name) for name in rule.needs}
    return {"name": rule.name, "formula": _formula(rule.name), "reads": reads, "config": config}


def _formula(name: str) -> str:
    method, _, base = name.partition("-")
    if method in ("isotonic", "platt"):
        curve = {
            "isotonic": "config.curves[task] (of other tasks, config.curves['']), straight between its points (x, y) "
            "and level beyond them",
            "platt": "1 / (1 + exp(-(slope * s + intercept))) of config.curves[task] (of other tasks, "
            "config.curves[''])",
        }[method]
        return f"s = {_formula(base)}; then {curve}; 0 for an empty answer"
    if name.startswith("chow-quantile-"):
        return f"the {name.removeprefix('chow-quantile-')}-quantile of token_logprobs, linear between order statistics"
    return FORMULAS.get(name, f"the rule {name} of cat_keras.deferral")
