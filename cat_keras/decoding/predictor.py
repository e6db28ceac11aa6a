"""Answers of one model: generated ones and chosen options, with the log-probability of every answer token."""

import time
from collections.abc import Callable, Sequence

import numpy as np

from cat_keras.data.chat import Chat, turn_of
from cat_keras.data.encoding import prompts_within
from cat_keras.data.fitting import Fit, fit
from cat_keras.data.records import Example, Prediction
from cat_keras.decoding import slots
from cat_keras.decoding.answerable import option_problem
from cat_keras.decoding.beams import BEAMS, BeamSearch
from cat_keras.decoding.cache import CachedModel, supported
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import MEASURES, Generator
from cat_keras.decoding.options import COMPARISONS, OptionScorer
from cat_keras.decoding.packed import PackedScorer
from cat_keras.decoding.sampling import GREEDY, Sampler
from cat_keras.errors import ROWS, TOKENS, CatKerasError, check_list, check_number, unknown_name
from cat_keras.evaluation.grid import on_grid
from cat_keras.modeling import costs, models, tokenizers
from cat_keras.modeling.costs import Price


class Predictor:
    """Answers examples with one `CausalLM`; keeps its compiled functions, so reuse it.

    Classification (examples with options): every option is scored by its log-likelihood after the prompt, end token
    included; the best is the answer, by default without length normalisation (as FLAN does). Everything else is
    generated.

    Args:
        model: a KerasHub `CausalLM` with its preprocessor.
        max_length: context, tokens; longer prompts lose what `Example.cut` says, or their beginning, see `truncated`.
            At most as many as the model has positions, if they are learned (GPT-2, OPT).
        max_new_tokens: at most so many tokens per generated answer, the end token included.
        batch_size: answers or options at a time; bounds memory.
        sampler: how answers are generated, see `sampling.Sampler`.
        measures: further facts of generated answers, of `generation.MEASURES`; "hidden" and "defer" also of
            classifications. "defer" is for a model that was trained with `losses.DeferToken`, see
            `Prediction.defer_logprob`.
        stop: texts that end a generated answer besides the tokens at which the model's own `generate` stops, e.g.
            ["\\n\\n"]. The answer is its text before the first of them, with the tokens that hold this text.
        compare: how options are compared, of `options.COMPARISONS`: "sum", or the log-likelihood per "token",
            "character" or "byte" of the option.
        chat: for an instruct model, how it is asked: prompts are then turns of a conversation, see `Chat`.
        beams: more than 1 for beam search, see `beams.BeamSearch`; no answer is less probable than the greedy one.

    Attributes:
        truncated: prompts cut so far. overlong: of these, prompts that lost more than `Example.cut` allows.
        control_words: examples so far that hold the word of a control token, such as `<eos>`; it was read as text.
        flops: of the model; of an architecture that `costs` does not know all NaN, and so those of its predictions.
        price: of a million tokens read and of a million written; None as long as nobody sets it.
        measures: the further facts, as a set.
        judged: whether answers have what a deferral rule reads; those of an endpoint may not.
    """

    price: Price | None = None
    judged = True

    def __init__(self, model, max_length=512, max_new_tokens=64, batch_size=256, sampler: Sampler = GREEDY,
                 measures: Sequence[str] = (), beams: int = 1, stop: Sequence[str] = (),
                 compare: str = "sum", chat: Chat | None = None):  # fmt: skip
        self.model, self.tokenizer = model, models.tokenizer_of(model)
        check_number("max_length", max_length, TOKENS, whole=True)
        check_number("max_new_tokens", max_new_tokens, "[0, 16777216]", whole=True)
        check_number("batch_size", batch_size, ROWS, whole=True)
        check_number("beams", beams, BEAMS, whole=True)
        if max_new_tokens >= max_length:
            raise CatKerasError(
                f"An answer leaves room for its prompt. Received: max_new_tokens={max_new_tokens}, "
                f"max_length={max_length}"
            )
        models.check_positions(model, max_length, f"max_length={max_length}", "Give max_length={} or less")
        self.max_length, self.max_new_tokens = max_length, max_new_tokens
        if compare not in COMPARISONS:
            raise unknown_name("way to compare options", compare, COMPARISONS)
        self.compare = compare
        self.flops, self.beams = costs.count_if_known(model), beams
        self.truncated = self.overlong = self.control_words = 0
        self._turn = turn_of(chat, self.tokenizer)
        self._endings = Endings.of(model, stop, self._turn.end)
        self._generator, self._scorer = _engines(model, self._endings, batch_size, sampler, measures, beams)
        self.measures = frozenset(measures)

    def check(self):
        """Raises nothing, as a model that is here can answer; a predictor of an endpoint may have no key."""

    def __call__(self, examples: Sequence[Example], progress: Callable[[int], None] | None = None) -> list[Prediction]:
        """Predictions in the order of the examples; `progress` gets the number of examples newly done."""
        examples = check_list("examples", examples, Example)
        empty = [f"{e.task}/{e.id}" for e in examples if not e.prompt]
        if empty:
            raise CatKerasError(f"A prompt is not empty. Received: an empty prompt in example {empty[0]}")
        within = self._turn.control.within
        self.control_words += sum(any(map(within, (e.prompt, *e.options))) for e in examples)
        with_options = [i for i, e in enumerate(examples) if e.options]
        without = [i for i, e in enumerate(examples) if not e.options]
        predictions: list[Prediction | None] = [None] * len(examples)
        for rows, answer in ((with_options, self._classify), (without, self._generate)):
            if rows:
                for i, prediction in zip(rows, answer([examples[i] for i in rows], progress), strict=True):
                    predictions[i] = prediction
        return predictions

    # -- classification ------------------------------------------------------------------------------------------

    def _classify(self, examples, progress):
        prompts, options = self._option_inputs(examples)
        started = time.perf_counter()
        states, asks = [[] for _ in prompts], [None] * len(prompts)
        if self.measures & {"hidden", "defer"}:
            logprobs, states, asks = self._scorer.measured(prompts, options, progress)
        else:
            logprobs = self._scorer(prompts, options, progress)
        seconds = time.perf_counter() - started
        flops = [float(self.flops.classify(len(p), [len(o) for o in choices]))
                 for p, choices in zip(prompts, options, strict=True)]  # fmt: skip
        shares = _shares(seconds, flops, [len(p) + sum(map(len, c)) for p, c in zip(prompts, options, strict=True)])
        return [
            _best_option(e, len(p), lp, f, s, self.compare, h, a)
            for e, p, lp, h, a, f, s in zip(examples, prompts, logprobs, states, asks, flops, shares, strict=True)
        ]

    def _option_inputs(self, examples):
        """Token ids of prompts and of each one's options.

        A prompt starts with the start token and is cut to fit beside the longest option; options end with the end
        token.
        """
        turn, options, rooms = self._turn, [], []
        tokenized_options = iter(turn.data([o for e in examples for o in e.options]))
        for example in examples:
            choices = [next(tokenized_options) for _ in example.options]
            if problem := option_problem(example, choices, turn, self.max_length):
                raise CatKerasError(f"{problem} in {example.task}/{example.id}")
            # The prompt is cut alike for all options of an example, or they would be scored after different contexts.
            rooms.append(turn.room(self.max_length - max(map(len, choices)) - 1))
            options.append([o + [turn.end] for o in choices])
        fitted = fit(examples, rooms, turn)
        self._note(fitted)
        return [[*turn.before, *ids, *turn.tail] for ids in fitted.prompts], options

    def _note(self, fitted: Fit):
        self.truncated += int(fitted.cut.sum())
        self.overlong += int(fitted.overlong.sum())

    # -- generation ----------------------------------------------------------------------------------------------

    def _generate(self, examples, progress):
        room = self.max_length - self.max_new_tokens
        prompts, fitted = prompts_within(examples, self.tokenizer, room, self._turn)
        self._note(fitted)
        started = time.perf_counter()
        answers = self._generator(prompts, self.max_new_tokens, progress)
        seconds = time.perf_counter() - started
        flops = [self._generation_flops(len(p), a.computed) for p, a in zip(prompts, answers, strict=True)]
        shares = _shares(seconds, flops, [len(p) + len(a.tokens) for p, a in zip(prompts, answers, strict=True)])
        return [
            Prediction(
                id=e.id,
                task=e.task,
                text=a.text if self._endings.strings else self._endings.text(a.tokens),
                token_logprobs=tuple(a.logprobs),
                n_prompt=len(p),
                n_answer=len(a.tokens),
                flops=f,
                seconds=s,
                token_entropies=tuple(a.entropy),
                token_margins=tuple(a.margin),
                embedding=() if a.hidden is None else tuple(map(float, a.hidden)),
                defer_logprob=a.defer[0] if a.defer else None,
            )
            for e, p, a, f, s in zip(examples, prompts, answers, flops, shares, strict=True)
        ]

    def _generation_flops(self, n_prompt, computed) -> float:
        """FLOPs of one answer; beams share the prompt."""
        alone = self.flops.forward(n_prompt, computed)
        return float(alone + (self.beams - 1) * (alone - self.flops.forward(n_prompt, 0)))


def _shares(seconds: float, flops: Sequence[float], tokens: Sequence[int]) -> list[float]:
    """The seconds of a call, divided among its answers by their FLOPs, or by their tokens where those are unknown."""
    work = np.asarray(tokens if np.isnan(flops).any() else flops, np.float64)
    return (seconds * work / work.sum()).tolist()


def _best_option(example, n_prompt, logprobs, flops, seconds, compare, states=(), asks=None) -> Prediction:
    """The prediction of a classification from the token log-probabilities and hidden states of each option.

    Args:
        asks: log-probability of the defer token.
    """
    totals, length = [float(lp.sum()) for lp in logprobs], COMPARISONS[compare]
    scores = [t / length(o, len(lp)) for t, o, lp in zip(totals, example.options, logprobs, strict=True)]
    best = int(np.argmax(on_grid(scores)))  # the first of equal ones, in every batch
    return Prediction(
        id=example.id,
        task=example.task,
        text=example.options[best],
        token_logprobs=tuple(map(float, logprobs[best])),
        option_logprobs=tuple(totals),
        n_prompt=n_prompt,
        n_answer=sum(map(len, logprobs)),
        flops=flops,
        seconds=seconds,
        embedding=tuple(map(float, states[best])) if states else (),
        option_scores=() if compare == "sum" else tuple(scores),
        defer_logprob=asks,
    )


def _engines(model, endings, batch_size, sampler, measures, beams):
    """The generator and the option scorer: with a cache of ours where the model allows it, else KerasHub's own way."""
    has_cache = supported(model)
    in_slots = has_cache and slots.supported(model)
    if not (sampler.greedy and not measures) and not (has_cache and beams == 1):
        raise CatKerasError(
            "Sampling and measures need a model whose cache can be written at a position, and no beams. Received: "
            f"{type(model).__name__}, beams={beams}, {sampler}, measures={list(measures)} of {', '.join(MEASURES)}"
        )
    if has_cache:
        cached = CachedModel(model, tight=True) if beams > 1 or not in_slots else model
        generator = Generator(cached, endings, sampler, batch_size, measures)
        defer = tokenizers.defer_id(models.tokenizer_of(model)) if "defer" in measures else None
        way, read = (PackedScorer, model) if in_slots else (OptionScorer, cached)
        score = way(read, batch_size, hidden="hidden" in measures, defer=defer)
    else:
        from cat_keras.decoding import uncached

        cached, scorer = model, uncached.WholeScorer(model, batch_size)
        generator, score = uncached.WholeGenerator(model, endings, scorer, batch_size), scorer.options
    return BeamSearch(cached, endings, generator, beams, batch_size) if beams > 1 else generator, score
