"""What a model or a cascade answers to requests of lm-evaluation-harness, and what each question cost.

The engines know nothing of the class that the harness wants, see `language_model`; so lm_eval need not be installed.
"""

import copy
import logging
import math
from collections.abc import Sequence
from dataclasses import dataclass, fields

from cat_keras.cascades.cascade import MEASURES, Answer, Cascade
from cat_keras.data.records import Prediction
from cat_keras.decoding.likelihoods import ContinuationPredictor, LikelihoodPredictor
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError, check_list, unknown_name
from cat_keras.evaluation.grid import on_grid
from cat_keras.harness.requests import Question, Settings, generations, prompt, questions

LOG = logging.getLogger("lm_eval.cat_keras")
# How a model scores options: name → its predictor.
SCORINGS = {"lm-eval": ContinuationPredictor, "cat-keras": LikelihoodPredictor}


@dataclass(frozen=True, slots=True)
class Answered:
    """What was answered to one question of a task, and what it cost.

    Attributes:
        task: name of the task. doc: number of the document, `doc_id` in the harness's samples.
        text: the chosen option as the harness gave it, or the generated answer.
        stage, score, n_prompt, n_answer, flops, seconds, price: as in answers of `ck.Cascade`; a model is stage 0
            and has no score.
    """

    task: str
    doc: int | None
    text: str
    stage: int
    score: float
    n_prompt: int
    n_answer: int
    flops: float
    seconds: float
    price: float


class Engine:
    """Answers requests; subclasses say how.

    Attributes:
        answers: of every question of the harness so far, in the order of asking.
        truncated: contexts so far that were too long and lost their beginning.
    """

    def __init__(self):
        self.answers: list[Answered] = []
        self.truncated = 0
        self._variants: dict[Settings, object] = {}

    def loglikelihood(self, requests: Sequence) -> list[tuple[float, bool]]:
        """(log-likelihood in nats, whether greedy decoding gives it) of the continuation of each request."""
        asked = questions(requests)
        self.check(asked)
        results: list[tuple[float, bool]] = [(math.nan, False)] * len(requests)
        for question, (answer, logprobs, greedy) in zip(asked, self.choose([q.example for q in asked]), strict=True):
            self._record(question.task, question.doc, answer)
            for place, option in zip(question.places, question.options_of, strict=True):
                results[place] = logprobs[option], greedy[option]
        return results

    def generate_until(self, requests: Sequence) -> list[str]:
        """The answer to each request, up to the first of its stop texts."""
        texts = [""] * len(requests)
        for setting, places in generations(requests, self.seed).items():
            answers = self.generate([prompt(requests[place]) for place in places], setting)
            for place, answer in zip(places, answers, strict=True):
                texts[place] = answer.text
                self._record(requests[place].task_name or "", requests[place].doc_id, answer)
        return texts

    def check(self, asked: Sequence[Question]):
        """Raises CatKerasError where questions have no answer."""

    def choose(self, examples) -> list[tuple[Answer, list[float], list[bool]]]:
        """Per example with options the answer, and per option its log-likelihood and whether it is greedy."""
        raise NotImplementedError

    def generate(self, examples, setting: Settings) -> list[Answer]:
        """Answers to examples without options."""
        raise NotImplementedError

    def _record(self, task, doc, answer):
        names = [field.name for field in fields(Answered)][2:]
        self.answers.append(Answered(task, doc, *(getattr(answer, name) for name in names)))

    def _note(self, predictors, before, asked: int):
        """Counts the contexts that were cut while so many questions were asked, and says so."""
        cut = sum(p.truncated for p in predictors) - before
        self.truncated += cut
        if cut:
            LOG.warning(
                f"{cut} of {asked} contexts (a stage counts its own) were longer than max_length="
                f"{predictors[0].max_length} and lost their beginning"
            )


class ModelEngine(Engine):
    """One model.

    Args:
        model: a `CausalLM`. scoring: see `lm_eval.of`. arguments: of `Predictor`.
    """

    def __init__(self, model, scoring: str, arguments: dict):
        super().__init__()
        if scoring not in SCORINGS:
            raise unknown_name("way to score options", scoring, SCORINGS)
        self.scoring, self.arguments = scoring, arguments
        self.predictor = SCORINGS[scoring](model, **arguments)
        self.seed = arguments["sampler"].seed if "sampler" in arguments else 0

    def choose(self, examples):
        before = self.predictor.truncated
        predictions = self.predictor(examples)
        self._note([self.predictor], before, len(examples))
        return [(_answer(p), *_likelihoods(self.predictor, e, self.scoring == "cat-keras"))
                for e, p in zip(examples, predictions, strict=True)]  # fmt: skip

    def loglikelihood_rolling(self, requests: Sequence) -> list[float]:
        """Log-likelihood of each whole text, in nats."""
        if self.scoring != "lm-eval":
            raise CatKerasError(
                f'Whole texts are scored without end tokens. Received: scoring={self.scoring!r}. Give scoring="lm-eval"'
            )
        return self.predictor.rolling([request.args[0] for request in requests])

    def generate(self, examples, setting):
        if setting not in self._variants:
            self._variants[setting] = Predictor(self.predictor.model, **_changed(self.arguments, setting))
        predictor = self._variants[setting]
        before = predictor.truncated
        predictions = predictor(examples)
        self._note([predictor], before, len(examples))
        return [_answer(p) for p in predictions]


class CascadeEngine(Engine):
    """A whole cascade, which decides per question.

    Args:
        cascade: with thresholds.
    """

    def __init__(self, cascade: Cascade):
        super().__init__()
        if cascade.thresholds is None:
            raise CatKerasError("A cascade needs thresholds before it answers. Call calibrate, or pass thresholds=")
        if not all(isinstance(predictor, Predictor) for predictor in cascade.predictors):
            raise CatKerasError(
                "A cascade is evaluated here if all of its stages are models in this process. Received: another stage"
            )
        if cascade.rejection:
            raise CatKerasError(
                "A harness judges an answer to every question. Received: a cascade that rejects some. Calibrate one "
                "without reject="
            )
        self.cascade = _with(cascade, cascade.arguments, LikelihoodPredictor)
        self.seed = cascade.arguments["sampler"].seed if "sampler" in cascade.arguments else 0

    def check(self, asked):
        lone = next((q for q in asked if len(q.example.options) < 2), None)
        if lone:
            raise CatKerasError(
                "A cascade decides between options of one context, or by an answer that it generates. Received: "
                f"document {lone.doc} of task {lone.task!r}, which asks for the likelihood of one text after "
                f"{lone.example.prompt[-60:]!r}. Evaluate its models alone, ck.lm_eval.of(model)"
            )
        if any(not q.example.prompt for q in asked):
            raise CatKerasError(
                "A cascade answers questions. Received: options after an empty context, as acc_mutual_info asks for. "
                "Leave that metric out"
            )

    def choose(self, examples):
        stages = self.cascade.predictors
        for predictor in stages:  # one that is not asked keeps nothing of an earlier call
            predictor.scored = {}
        before = sum(p.truncated for p in stages)
        answers = self.cascade(examples)
        self._note(stages, before, len(examples))
        return [(a, *_likelihoods(stages[a.stage], e, True)) for e, a in zip(examples, answers, strict=True)]

    def loglikelihood_rolling(self, requests: Sequence) -> list[float]:
        raise CatKerasError(
            "A cascade has no likelihood of a text: it decides per question. Received: a task that asks for it "
            "(loglikelihood_rolling). Evaluate its models alone, ck.lm_eval.of(model)"
        )

    def generate(self, examples, setting):
        if setting not in self._variants:
            arguments = _changed(self.cascade.arguments, setting)
            self._variants[setting] = _with(self.cascade, arguments, Predictor)
        cascade = self._variants[setting]
        before = sum(p.truncated for p in cascade.predictors)
        answers = cascade(examples)
        self._note(cascade.predictors, before, len(examples))
        return answers


def _with(cascade: Cascade, arguments: dict, predictor: type[Predictor]) -> Cascade:
    """The same models, rules, thresholds and memory of calibration, with other arguments of predictors."""
    other = copy.copy(cascade)
    measures = set(check_list("measures", arguments.get("measures", ())))
    measures |= {MEASURES[column] for column in cascade.rule.needs if column in MEASURES}
    other.arguments = arguments
    other.predictors = [predictor(p.model, **arguments | {"measures": sorted(measures)}) for p in cascade.predictors]
    return other


def _changed(arguments: dict, setting: Settings) -> dict:
    """Arguments of `Predictor` with what a task sets; stop texts are added to those that were there."""
    return arguments | setting.arguments() | {"stop": [*dict.fromkeys((*arguments.get("stop", ()), *setting.stop))]}


def _answer(prediction: Prediction) -> Answer:
    p = prediction
    return Answer(p.text, 0, math.nan, p.id, p.n_prompt, p.n_answer, p.flops, p.seconds)


def _likelihoods(predictor: LikelihoodPredictor, example, rounded: bool) -> tuple[list[float], list[bool]]:
    """Of each option; where rounded, to the grid on which options are compared, so that the harness takes the same."""
    prediction, greedy = predictor.scored[example.task, example.id]
    logprobs = prediction.option_logprobs
    return (on_grid(logprobs).tolist() if rounded else list(logprobs)), greedy
