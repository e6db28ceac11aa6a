"""A cascade at run time: the small model answers, and queries that it is unsure of go to the next model."""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from cat_keras.cascades import calibration, deferral, rejection, saved
from cat_keras.cascades.guarantee import Guarantee
from cat_keras.data.records import Example, Prediction
from cat_keras.decoding.endpoints.endpoint import Endpoint
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError, check_list, check_number, shown
from cat_keras.evaluation.grid import as_threshold, on_grid
from cat_keras.modeling import models
from cat_keras.modeling.costs import Price, check_token_price, of_tokens

# The measure that a predictor is asked for, for each column that a rule may read.
MEASURES = {"token_entropies": "entropy", "token_margins": "margin", "embedding": "hidden"}
# The column that only models have which learned to ask for help, and so never the last one.
ASKS = "defer_logprob"


@dataclass(frozen=True, slots=True)
class Answer:
    """A cascade's answer to one query.

    Attributes:
        text: the answer; None of a rejected query. stage: index of the model that gave it, 0 the smallest.
        id: of the example.
        score: that model's deferral score (higher = surer). Of the last model it is NaN under a rule that was fitted,
            as it was not fitted to that model, under one that reads a token which asks for help, and of an endpoint.
        n_prompt, n_answer: tokens read and written (all options counted). flops, seconds: both, as the tokens, summed
            over all stages reached; a stage that deferred is paid for too. FLOPs are NaN if those of a stage are.
        price: of all stages reached, in the currency of the prices; NaN if that of a stage is not known.
        rejected: whether the query was rejected, see `Cascade.calibrate`; its stage is then 0.
    """

    text: str | None
    stage: int
    score: float
    id: str
    n_prompt: int
    n_answer: int
    flops: float
    seconds: float
    price: float = math.nan
    rejected: bool = False


class Cascade:
    """N language models, smallest first; stage i defers to i + 1 iff its score is below `thresholds[i]`.

    Models may have different tokenizers: a query travels as text.

    Args:
        models: two or more, each a `CausalLM`, the name of a preset, its folder, or an `Endpoint`.
        rule: a deferral rule or its name, see `deferral.RULES`; `calibrate` fits one that learns.
        thresholds: one per stage but the last; or `calibrate`.
        prices: one per stage, of a million tokens read and of a million written, in one currency; None for that of an
            `Endpoint`, or where it is not known. Where all are known, costs are prices, else FLOPs.
        arguments: of `Predictor`, e.g. max_new_tokens; `measures` that the rule reads are added by themselves.

    Attributes:
        calibration: what `calibrate` chose; None before.
        rejection: which queries are rejected; None for none.
    """

    def __init__(self, models, rule="chow-average", thresholds: Sequence[float] | None = None,
                 prices: Sequence[Price | None] | None = None, **arguments):  # fmt: skip
        models = list(check_list("models of a cascade", models))
        if len(models) < 2:
            raise CatKerasError(f"A cascade has at least two models. Received: {len(models)}")
        self.rule = deferral.get(rule) if isinstance(rule, str) else rule
        if not isinstance(self.rule, deferral.Rule):
            raise CatKerasError(f"A cascade's rule is a deferral rule or its name. Received: {rule!r}")
        self.rules = [self.rule] * (len(models) - 1)  # per stage, as a rule that learns is fitted for each
        self.thresholds = None if thresholds is None else _checked(thresholds, len(models))
        # The names of presets that lie elsewhere, which `save` need not copy; None for other models.
        self.references = [m if isinstance(m, str) and not Path(m).is_dir() else None for m in models]
        self.arguments = arguments
        self.predictors = [_predictor(m, self.rule, i, len(models), arguments) for i, m in enumerate(models)]
        for predictor, price in zip(self.predictors, _prices(prices, len(models)), strict=True):
            predictor.price = price or predictor.price
        self.calibration: calibration.Calibration | None = None
        self.rejection: rejection.Rejection | None = None
        self.calibrated_on: frozenset[str] = frozenset()  # `calibration.names` of examples

    def calibrate(
        self,
        examples: Sequence[Example],
        *,
        max_cost: float | None = None,
        min_quality: float | None = None,
        max_deferral: float | None = None,
        guarantee: Guarantee | tuple | None = None,
        quality: Callable[[str, Example], float] | None = None,
        cost: Callable[[Prediction, int], float] | None = None,
        reject: float | None = None,
        traffic: Sequence[Example] | Sequence[str] | None = None,
        rejector: str | rejection.PluginOOD = "plugin-ood",
    ) -> calibration.Calibration:
        """Chooses the thresholds on examples like the queries to come, and fits the rule if it learns.

        Every model answers every example, and the cascade is simulated at many thresholds: with two models at all that
        differ, with more at all combinations on a grid. Within `max_cost` or `max_deferral` the best quality is chosen,
        and the cheapest among equals; within `min_quality` the cheapest. Without references the quality is unknown:
        then every stage passes on the same share of what it sees, as much as the limit allows.

        A rule that learns is fitted on one half of the examples, and thresholds are chosen on the other. The examples
        are remembered, and answering them later is an error, as thresholds look better on the examples they were chosen
        on.

        Args:
            examples: with references, unless only `max_cost` or `max_deferral` is asked for.
            max_cost: of a query on average, all stages reached included, in the currency of the prices, in FLOPs, or in
                the unit of `cost`.
            min_quality: on average, in [0, 1].
            max_deferral: share in [0, 1] that any stage passes on of the queries it sees.
            guarantee: `Guarantee(...)` or its arguments, e.g. (alpha, delta): the loss of quality against always asking
                the last model is at most alpha with probability 1 − delta over the draw of the examples. The choice is
                then among the thresholds that keep it, with all stages passing on the same share of what they see: the
                cheapest, or the best by a limit given besides. A fifth of the examples serves to plan the tests only.
            quality: of an answer, (text, example) → [0, 1]; by default 1 if it is one of the references, else 0.
            cost: of one model's answer, (prediction, stage) → number. By default its price, where the prices of all
                stages are known, else its FLOPs. Where those of a model are not known either, there is no cost without
                this: the cheapest thresholds are then those that ask the fewest models.
            reject: share in (0, 1) of the traffic that may be rejected: queries to which the cascade gives no answer,
                as they are unlike the examples or an answer would be wrong. Limits are kept as if nothing were.
            traffic: for `reject`, unlabelled queries as they arrive, at least 10: examples, or prompts where all
                calibration examples have the same options. The first model answers them.
            rejector: for `reject`, "plugin-ood" or a `rejection.PluginOOD` with arguments.

        Returns:
            what was chosen, and what it gave on the examples that it was chosen on.

        Raises:
            CatKerasError: not one limit; no example, or two with one id; references missing; or a limit or guarantee
                that no threshold keeps (the message has the best there is); or a limit or guarantee of the cost where
                it is unknown; or a request to reject without traffic, with a budget out of range, with a guarantee or
                of an endpoint. The cascade is then as it was.
        """
        guarantee = _guarantee(guarantee)
        limit = calibration.check_limit(
            guarantee, max_cost=max_cost, min_quality=min_quality, max_deferral=max_deferral
        )
        if cost is None and all(predictor.price is not None for predictor in self.predictors):
            cost = self._price
        cost = cost or calibration.flops
        if cost is calibration.flops:
            unpriced = [predictor.model.name for predictor in self.predictors if not predictor.flops.known]
            calibration.check_price(limit, guarantee, unpriced)
        examples = calibration.shuffled(check_list("examples", examples, Example))
        request = rejection.check_request(reject, traffic, rejector, guarantee, examples)
        if request:
            self._measure_states()
        for predictor in self.predictors:
            predictor.check()  # before the first of them spends its time
        predictions = [predictor(examples) for predictor in self.predictors]
        rules, choice = calibration.calibrate(self.rule, examples, predictions, limit, guarantee, quality, cost)
        rejected = None
        if request:
            own, given = calibration.given_quality(rules, choice, examples, predictions, quality)
            rejected = rejection.Rejection.fit(request[0], own, given, self.predictors[0](request[1]), reject)
            choice = replace(choice, rejected=rejected.rejected)
        self.rules, self.calibration, self.rejection = rules, choice, rejected
        self.thresholds = list(choice.thresholds)
        self.calibrated_on = frozenset(name for e in examples for name in calibration.names(e))
        return self.calibration

    def __call__(self, examples: Sequence[Example]) -> list[Answer]:
        """Answers in the order of the examples; deferred queries are regrouped, so that every model runs full batches.

        Raises:
            CatKerasError: no thresholds yet, or an example that the thresholds were calibrated on: one of the same id,
                or of the same prompt and options under another id.
        """
        examples = check_list("examples", examples, Example)
        calibrated = [e for e in examples if not self.calibrated_on.isdisjoint(calibration.names(e))]
        if calibrated:
            raise CatKerasError(
                f"Calibration and test examples are disjoint. Received: {len(calibrated)} that were calibrated on, "
                f"e.g. {calibrated[0].task}/{calibrated[0].id} (by its id or its content). Split the data by both"
            )
        return self._answer(examples)

    def generate(self, prompts: Sequence[str]) -> list[Answer]:
        """Free answers to prompts."""
        return self._answer([Example(f"query-{i}", p, "") for i, p in enumerate(check_list("prompts", prompts, str))])

    def classify(self, prompts: Sequence[str], options: Sequence[str]) -> list[Answer]:
        """The best of `options` for each prompt."""
        prompts, options = check_list("prompts", prompts, str), tuple(check_list("options", options, str))
        if not options:
            raise CatKerasError("A classification chooses among options. Received: none")
        return self._answer([Example(f"query-{i}", p, "", options=options) for i, p in enumerate(prompts)])

    def save(self, directory: str | Path):
        """Writes models, rule, thresholds, arguments and calibration to a folder, all or nothing; see `saved`."""
        saved.save(self, Path(directory))

    @classmethod
    def load(cls, directory: str | Path) -> "Cascade":
        """The cascade that `save` wrote.

        Raises:
            CatKerasError: a file is missing or not what was saved; the message names it.
        """
        return saved.load(Path(directory), cls)

    def _answer(self, examples):
        if self.thresholds is None:
            raise CatKerasError("A cascade needs thresholds before it answers. Call calibrate, or pass thresholds=")
        for predictor in self.predictors:
            predictor.check()
        answers: list[Answer | None] = [None] * len(examples)
        spent = np.zeros((len(examples), 5))
        unanswered = np.arange(len(examples))
        for stage, predictor in enumerate(self.predictors):
            if not len(unanswered):
                break
            predictions = predictor([examples[i] for i in unanswered])
            spent[unanswered] += [
                (p.n_prompt, p.n_answer, p.flops, p.seconds, self._price(p, stage)) for p in predictions
            ]
            scores, keep = self._scores(stage, predictions)
            rejected = np.zeros(len(predictions), bool)
            if stage == 0 and self.rejection is not None:
                rejected = self.rejection(predictions)
            done = keep | rejected
            answered = np.flatnonzero(done)
            for i, row in zip(unanswered[answered], answered, strict=True):
                text = None if rejected[row] else predictions[row].text
                read, written, *costs = spent[i].tolist()
                facts = float(scores[row]), examples[i].id, int(read), int(written), *costs
                answers[i] = Answer(text, stage, *facts, rejected=bool(rejected[row]))
            unanswered = unanswered[~done]
        return answers

    def _scores(self, stage, predictions):
        """Scores of one stage, and whether each of its answers is kept."""
        if stage < len(self.rules):
            rule, threshold = self.rules[stage], self.thresholds[stage]
            scores = rule(predictions)
            return scores, on_grid(scores) >= as_threshold(threshold) if rule.computed else scores >= threshold
        judged = self.predictors[stage].judged and not self.rule.needs_fit and ASKS not in self.rule.needs
        scores = self.rule(predictions) if judged else np.full(len(predictions), np.nan)
        return scores, np.ones(len(predictions), bool)

    def reject_by(self, rejected: rejection.Rejection | None):
        """Rejects as given from now on, or nothing; `calibrate` and `load` call it.

        Raises:
            CatKerasError: the first model is an endpoint.
        """
        if rejected is not None:
            self._measure_states()
        self.rejection = rejected

    def _measure_states(self):
        """Lets the first model give the hidden states that rejecting reads."""
        predictor = self.predictors[0]
        if isinstance(predictor.model, Endpoint):
            raise CatKerasError(
                "Rejecting reads the hidden states of the first model. Received: an endpoint, which gives none. Take a "
                "first model that runs here"
            )
        if "hidden" not in predictor.measures:
            arguments = self.arguments | {"measures": (*self.arguments.get("measures", ()), "hidden")}
            self.predictors[0] = _predictor(predictor.model, self.rule, 0, len(self.predictors), arguments)
            self.predictors[0].price = predictor.price

    def _price(self, prediction, stage) -> float:
        return of_tokens(prediction.n_prompt, prediction.n_answer, self.predictors[stage].price)


def _checked(thresholds, stages):
    thresholds = check_list("thresholds", thresholds)
    if len(thresholds) != stages - 1:
        raise CatKerasError(
            f"A cascade of {stages} models has {stages - 1} thresholds, all of them numbers. "
            f"Received: {shown(thresholds)}"
        )
    return [float(check_number("A threshold", t, "[-inf, inf]")) for t in thresholds]


def _guarantee(given) -> Guarantee | None:
    if given is None or isinstance(given, Guarantee):
        return given
    try:
        return Guarantee(*given)
    except TypeError as error:
        raise CatKerasError(f"A guarantee is (alpha, delta) or a Guarantee. Received: {given!r} ({error})") from None


def _prices(prices, stages) -> list[Price | None]:
    prices = check_list("prices", [None] * stages if prices is None else prices)
    if len(prices) != stages:
        raise CatKerasError(f"A cascade of {stages} models has {stages} prices, or none. Received: {shown(prices)}")
    return [check_token_price("A price", price) for price in prices]


def _predictor(model, rule: deferral.Rule, stage: int, stages: int, arguments: dict):
    """What answers with the model of a stage, and gives what the rule reads of it.

    Answers of the last model are not judged, so that an endpoint need not give anything but its text there.
    """
    if isinstance(model, Endpoint):
        needs = set(rule.needs if stage < stages - 1 else ())
        if stage and "probability_small" in getattr(rule, "fit_needs", ()):  # fitted to the model before it
            needs.add("option_logprobs")
        return model.predictor(tuple(needs), **arguments)
    measures = set(check_list("measures", arguments.get("measures", ())))
    measures |= {MEASURES[c] for c in rule.needs if c in MEASURES}
    measures |= {"defer"} if ASKS in rule.needs and stage < stages - 1 else set()
    # A model that was given by its name or folder is loaded.
    model = models.load(model) if isinstance(model, str | Path) else model
    return Predictor(model, **arguments | {"measures": sorted(measures)})
