"""Deferral rules: one score per prediction of the small model, higher = keep. A cascade defers iff `score < threshold`.

A rule reads *columns*: a mapping from column name to one entry per prediction, which is what a Parquet file gives
(`{"id": ..., "task": ..., "token_logprobs": [array, ...], "option_logprobs": [...]}`, a dict or a pandas DataFrame).
`columns` makes it from a list of `Prediction`. A new rule takes a few lines, and `register` adds it to `RULES`:

    class ShortestFirst(Rule):
        name = "shortest-first"
        needs = ("token_logprobs",)

        def score(self, columns):
            return -row_lengths(columns["token_logprobs"])

    register(ShortestFirst())

Rules that are fitted to the qualities of both models are in `deferral.learned`; `get` finds them by name too.
"""

from collections.abc import Mapping

from cat_keras.cascades.deferral import calibrated
from cat_keras.cascades.deferral.asking import ASKING, DeferMargin, DeferToken
from cat_keras.cascades.deferral.bounds import Oracle, Random
from cat_keras.cascades.deferral.calibrated import Calibrated
from cat_keras.cascades.deferral.ensemble import SeedVariance, confidences
from cat_keras.cascades.deferral.given import GIVEN, GivenConfidence, agreement
from cat_keras.cascades.deferral.options import Entropy, Margin, MaxProbability
from cat_keras.cascades.deferral.rule import NO_ANSWER, Rule, columns, flatten, row_lengths
from cat_keras.cascades.deferral.tokens import ChowAverage, ChowQuantile, ChowSum, TokenEntropy, TokenMargin
from cat_keras.errors import CatKerasError, unknown_name

__all__ = [
    "ASKING", "GIVEN", "NO_ANSWER", "RULES", "Calibrated", "ChowAverage", "ChowQuantile", "ChowSum", "DeferMargin",
    "DeferToken", "Entropy", "GivenConfidence", "Margin", "MaxProbability", "Oracle", "Random", "Rule", "SeedVariance",
    "TokenEntropy", "TokenMargin", "agreement", "columns", "confidences", "flatten", "from_config", "get", "register",
    "row_lengths",
]  # fmt: skip

RULES: dict[str, Rule] = {}
"""Every registered rule by name; a report loops over them."""

LEARNED = "learned-"  # the names of the rules of `deferral.learned` begin with it
_FAMILIES = {"chow-quantile-": (ChowQuantile, float), "random-": (Random, int)}


def register(rule: Rule) -> Rule:
    """Add a rule under its name, and return it.

    Raises:
        CatKerasError: not a `Rule` instance, or the name belongs to a different rule.
    """
    if not isinstance(rule, Rule):
        raise CatKerasError(f"register takes an instance of a Rule subclass; received {rule!r}. Did you forget the ()?")
    if RULES.get(rule.name, rule) != rule:
        raise CatKerasError(f"A rule's name must be unique; {rule.name!r} is {RULES[rule.name]!r}. Choose another name")
    RULES[rule.name] = rule
    return rule


def get(name: str) -> Rule:
    """The rule of that name: one of `RULES`, or `chow-quantile-<alpha>`, `random-<seed>` with any value.

    `learned-<target>` is a rule of `deferral.learned`, still to be fitted; so are `isotonic-<rule>` and `platt-<rule>`
    of `calibrated`. `GIVEN` has the rules that read a confidence which answers came with, and `ASKING` those that read
    the token by which a small model asks for help.

    Raises:
        CatKerasError: no rule has that name, or alpha is outside [0, 1].
    """
    if name in RULES:
        return RULES[name]
    if name in GIVEN or name in ASKING:
        return GIVEN.get(name) or ASKING[name]
    if str(name).startswith(LEARNED):
        from cat_keras.cascades.deferral import learned  # late, as it imports this package

        return learned.named(name)
    method, _, base = str(name).partition("-")
    if method in calibrated.METHODS and base:
        return Calibrated(get(base), method)
    for prefix, (make, cast) in _FAMILIES.items():
        if str(name).startswith(prefix):
            try:
                value = cast(str(name).removeprefix(prefix))
            except ValueError:
                break
            return make(value)
    raise unknown_name("deferral rule", str(name), {*RULES, *GIVEN, *ASKING})


def from_config(config: Mapping) -> Rule:
    """The rule that `Rule.config` described.

    Raises:
        CatKerasError: no rule has that name (a rule of one's own must be registered first), or the rule of that name
            has other arguments.
    """
    name = str(config.get("name"))
    if name.startswith(LEARNED) and name not in RULES:
        from cat_keras.cascades.deferral import learned

        return learned.from_config(config)
    if name.partition("-")[0] in calibrated.METHODS:
        return calibrated.from_config(config, from_config(config["base"]))
    rule = get(name)
    if rule.config() != dict(config):
        raise CatKerasError(
            f"A stored rule is the one of its name; {config!r} was stored, {rule.config()!r} is registered. "
            "Register the rule that it was stored with"
        )
    return rule


for _rule in (
    *(ChowSum(), ChowAverage(), *map(ChowQuantile, (0.0, 0.1, 0.5, 0.9))),
    *(MaxProbability(), Margin(), Entropy(), TokenEntropy(), TokenMargin(), SeedVariance()),
    *(Random(), Oracle()),
):
    register(_rule)
