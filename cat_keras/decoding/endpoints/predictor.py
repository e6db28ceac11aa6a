"""Answers of a model behind an address, like those of `Predictor`."""

import functools
import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace

import numpy as np

from cat_keras.data.chat import Chat
from cat_keras.data.records import Example, Prediction
from cat_keras.decoding.endpoints import matching, replies
from cat_keras.decoding.endpoints.client import Client
from cat_keras.decoding.endpoints.replies import NoLogprobs, Reply
from cat_keras.decoding.options import COMPARISONS
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.errors import CatKerasError, check_list, check_number, unknown_name
from cat_keras.evaluation.grid import on_grid
from cat_keras.modeling import costs

GIVEN = {"id", "task", "text", "n_prompt", "n_answer", "seconds"}  # columns that every server gives
FROM_LOGPROBS = {"token_logprobs", "token_margins", "option_logprobs"}  # and those that some give


class EndpointPredictor:
    """Answers examples by an endpoint; what a `Cascade` asks of a `Predictor`, it has too.

    A `Prediction` has the tokens that the server bills: a classification by likelihood reads the prompt once per
    option. Its `token_logprobs` are of the text alone, as servers give none of the end token; likewise those of an
    option. `seconds` are those of its requests, one after the other. FLOPs are NaN.

    Args:
        endpoint: the `Endpoint` to ask.
        needs: the columns that answers are judged by; log-probabilities are asked for where they need them.
        max_new_tokens, stop, compare: as of `Predictor`.
        sampler: temperature, top_p and seed are sent; there is no top_k.
        chat: how it is asked where the endpoint does not say.
        max_length, batch_size: of local models; a server has its own. beams: 1. measures: further `needs`, by the names
            of `Predictor`.

    Attributes:
        price: of the endpoint. judged: whether anything is needed of its answers but their text.
        unmatched: generated answers so far that name none of the options; each is the answer as it is.
        truncated, overlong, control_words: 0, as no prompt is changed here.

    Raises:
        CatKerasError: what no server can do, or a column that none gives.
    """

    def __init__(self, endpoint, needs: Sequence[str] = ("token_logprobs",), max_new_tokens: int = 64,
                 sampler: Sampler = GREEDY, stop: Sequence[str] = (), compare: str = "sum", chat: Chat | None = None,
                 measures: Sequence[str] = (), beams: int = 1, max_length: int = 0, batch_size: int = 0):  # fmt: skip
        self.model, self.price, self.flops = endpoint, endpoint.price, costs.UNKNOWN
        self.judged = bool(needs)
        self.truncated = self.overlong = self.control_words = self.unmatched = 0
        check_number("max_new_tokens", max_new_tokens, "[0, 16777216]", whole=True)
        if compare not in COMPARISONS:
            raise unknown_name("way to compare options", compare, COMPARISONS)
        if beams != 1 or sampler.top_k:
            raise CatKerasError(
                f"A server has no beams and no top_k. Received: beams={beams}, {sampler} for {endpoint.name}"
            )
        self.chat = endpoint.chat or chat
        self.likelihood = endpoint.scores(chat is not None)
        replace(endpoint, chat=self.chat)  # checks a chat that came from elsewhere
        names = {
            "entropy": "token_entropies",
            "margin": "token_margins",
            "hidden": "embedding",
            "defer": "defer_logprob",
        }
        self._check_needs({*needs, *(names.get(name, name) for name in measures)})
        self.max_new_tokens, self.sampler, self.stop = max_new_tokens, sampler, tuple(check_list("stop", stop, str))
        self.compare = compare

    @functools.cached_property
    def _client(self) -> Client:
        return Client(self.model)

    def check(self):
        """Raises CatKerasError where nothing can be asked, for want of the package `openai` or of the key."""
        self._client  # noqa: B018

    def _check_needs(self, needs: set[str]):
        given = GIVEN | (FROM_LOGPROBS if self.model.logprobs else set())
        if not self.likelihood:
            given = given - {"option_logprobs"}
        if missing := sorted(needs - given):
            reason = "it has logprobs=False" if FROM_LOGPROBS & {*missing} and not self.model.logprobs else (
                "it matches options and does not score them" if missing == ["option_logprobs"]
                else "no server gives that")  # fmt: skip
            raise CatKerasError(
                f"A deferral rule reads what a model gives. Received: {', '.join(missing)} of {self.model.name}; "
                f"{reason}. Take another rule, such as chow-average, or make the endpoint the last stage"
            )
        self.logprobs, self.margins = bool(needs & FROM_LOGPROBS), "token_margins" in needs

    def __call__(self, examples: Sequence[Example], progress: Callable[[int], None] | None = None) -> list[Prediction]:
        """Predictions in the order of the examples; `progress` gets the number of examples newly done.

        Raises:
            CatKerasError: as `check`; an empty prompt; the server fails, see `Client.ask`.
        """
        examples = check_list("examples", examples, Example)
        if empty := [f"{e.task}/{e.id}" for e in examples if not e.prompt]:
            raise CatKerasError(f"A prompt is not empty. Received: an empty prompt in example {empty[0]}")
        predictions: list[Prediction | None] = [None] * len(examples)
        scored = [i for i, e in enumerate(examples) if e.options and self.likelihood]
        written = [i for i, e in enumerate(examples) if not (e.options and self.likelihood)]
        for rows, answer in ((scored, self._score), (written, self._generate)):
            for i, prediction in zip(rows, answer([examples[i] for i in rows], progress), strict=True):
                predictions[i] = prediction
        return predictions

    # -- generation ----------------------------------------------------------------------------------------------

    def _generate(self, examples, progress) -> list[Prediction]:
        requests = [self._request(matching.asked(e.prompt, e.options), self.max_new_tokens) for e in examples]
        answers = self._client.ask(requests, self._check_margins, progress)
        return [self._prediction(e, reply) for e, reply in zip(examples, answers, strict=True)]

    def _request(self, prompt: str, max_tokens: int, **more) -> dict:
        """The body of a request."""
        sampler, chat = self.sampler, self.chat
        body = {"model": self.model.model, "max_tokens": max_tokens, "temperature": sampler.temperature}
        body |= {"seed": sampler.seed} | ({} if sampler.greedy else {"top_p": sampler.top_p}) | more
        if self.stop and "echo" not in more:  # which could stand in a prompt
            body["stop"] = list(self.stop)
        if chat is None:
            body["prompt"] = prompt
            body |= {"logprobs": 2 if self.margins else 1} if self.logprobs and "logprobs" not in more else {}
        else:
            system = [{"role": "system", "content": chat.system}] if chat.system else []
            body["messages"] = [*system, {"role": "user", "content": prompt}]
            body |= {"logprobs": True, "top_logprobs": 2 if self.margins else 1} if self.logprobs else {}
        return {name: value for name, value in (body | dict(self.model.fields)).items() if value is not None}

    def _check_margins(self, request: Mapping, reply: Reply):
        if self.margins and any(math.isnan(token.margin) for token in reply.tokens):
            raise NoLogprobs("an answer without the second most probable token of each place")

    def _prediction(self, example: Example, reply: Reply) -> Prediction:
        text, tokens = replies.within(reply, self.stop)
        text = text.strip()  # what follows a prompt often begins with a blank
        if example.options:
            option = matching.matched(text, example.options)
            self.unmatched += option is None
            text = text if option is None else option
        return Prediction(
            id=example.id,
            task=example.task,
            text=text,
            token_logprobs=tuple(token.logprob for token in tokens),
            n_prompt=reply.read,
            n_answer=reply.written,
            flops=math.nan,
            seconds=reply.seconds,
            token_margins=tuple(token.margin for token in tokens) if self.margins else (),
        )

    # -- classification by likelihood ----------------------------------------------------------------------------

    def _score(self, examples, progress) -> list[Prediction]:
        """The most probable option of each, from an echo of the prompt with every option."""
        pairs = [(example, option) for example in examples for option in example.options]
        requests = [self._request(e.prompt + option, 1, echo=True, logprobs=1) for e, option in pairs]
        prompts = {id(request): (e.prompt, option) for request, (e, option) in zip(requests, pairs, strict=True)}
        ends = np.cumsum([len(example.options) for example in examples]) if progress else []
        finished = 0

        def advance(count):
            nonlocal finished
            before, finished = np.searchsorted(ends, finished, "right"), finished + count
            progress(int(np.searchsorted(ends, finished, "right") - before))

        answers = self._client.ask(
            requests, lambda request, reply: replies.after(reply, *prompts[id(request)]), progress and advance
        )
        remaining = iter(zip(requests, answers, strict=True))
        return [self._best(e, [next(remaining)[1] for _ in e.options]) for e in examples]

    def _best(self, example: Example, echoes: Sequence[Reply]) -> Prediction:
        tokens = [replies.after(r, example.prompt, o) for r, o in zip(echoes, example.options, strict=True)]
        totals = [sum(token.logprob for token in option) for option in tokens]
        length = COMPARISONS[self.compare]
        scores = [t / length(o, len(k)) for t, o, k in zip(totals, example.options, tokens, strict=True)]
        best = int(np.argmax(on_grid(scores)))
        return Prediction(
            id=example.id,
            task=example.task,
            text=example.options[best],
            token_logprobs=tuple(token.logprob for token in tokens[best]),
            option_logprobs=tuple(totals),
            n_prompt=sum(r.read for r in echoes),
            n_answer=sum(r.written for r in echoes),
            flops=math.nan,
            seconds=sum(r.seconds for r in echoes),
            option_scores=() if self.compare == "sum" else tuple(scores),
        )
