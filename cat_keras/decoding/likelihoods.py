"""Predictors that also say, of every option and of whole texts, how likely they are and whether they are greedy."""

from collections.abc import Iterator, Sequence

from cat_keras.data.records import Example, Prediction
from cat_keras.decoding.options import OptionScorer
from cat_keras.decoding.packed import PackedScorer
from cat_keras.decoding.predictor import Predictor
from cat_keras.errors import CatKerasError, check_list
from cat_keras.modeling.models import special_id


class LikelihoodPredictor(Predictor):
    """A `Predictor` that keeps, of the examples with options of its last call, the prediction and the greedy options.

    Attributes:
        scored: (task, id) of an example → its prediction, and of each of its options whether every token of it is the
            most probable one after those before, so that greedy decoding would write this option.
    """

    def __init__(self, model, batch_size: int = 256, **arguments):
        super().__init__(model, batch_size=batch_size, **arguments)
        if isinstance(self._scorer, OptionScorer | PackedScorer):
            ranked = self._scorer.ranked()
        else:
            from cat_keras.decoding import uncached

            ranked = uncached.WholeScorer(model, batch_size, ranked=True).options
        self._scorer = _GreedyNoting(ranked)
        self.scored: dict[tuple[str, str], tuple[Prediction, list[bool]]] = {}

    def __call__(self, examples, progress=None) -> list[Prediction]:
        self.scored = {}
        return super().__call__(examples, progress)

    def _classify(self, examples, progress):
        predictions = super()._classify(examples, progress)
        for example, prediction, greedy in zip(examples, predictions, self._scorer.greedy, strict=True):
            self.scored[example.task, example.id] = prediction, greedy
        return predictions


class _GreedyNoting:
    """Scores options like the scorer it stands for, and puts aside which of them are greedy.

    Attributes:
        greedy: per prompt and option of the last call.
    """

    def __init__(self, ranked):
        self.ranked = ranked
        self.greedy: list[list[bool]] = []

    def __call__(self, prompts, options, progress=None):
        return self._noted(self.ranked(prompts, options, progress))

    def measured(self, prompts, options, progress=None):
        scored, *rest = self.ranked.measured(prompts, options, progress)
        return self._noted(scored), *rest

    def _noted(self, scored):
        self.greedy = [[bool(option[:, 1].all()) for option in choices] for choices in scored]
        return [[option[:, 0] for option in choices] for choices in scored]


class ContinuationPredictor(LikelihoodPredictor):
    """Scores options as lm-evaluation-harness does: as continuations of one text, without an end token.

    Prompt and option are tokenized together and then divided; blanks at the end of a prompt belong to its options. In a
    chat they are tokenized apart, as control tokens stand between them. A prompt may be empty: an option then follows
    the start token or, in a family without one, the end token. A prompt that is too long loses its beginning, alike for
    all of its options, and keeps the start token.
    """

    def __call__(self, examples: Sequence[Example], progress=None) -> list[Prediction]:
        examples = check_list("examples", examples, Example)
        if not examples or not all(example.options for example in examples):
            return super().__call__(examples, progress)
        self.scored = {}
        return self._classify(examples, progress)  # without the refusal of empty prompts

    def rolling(self, texts: Sequence[str]) -> list[float]:
        """Log-likelihood of each whole text in nats, in windows of `max_length` tokens; 0 of an empty one.

        Every token is predicted once. The last window is filled with as much context as it has room for.
        """
        tokens = self._turn.data(list(check_list("texts", texts, str)))
        pairs = [(i, *pair) for i, ids in enumerate(tokens) for pair in windows(ids, self._start, self.max_length)]
        totals = [0.0] * len(tokens)
        scored = self._scorer([context for _, context, _ in pairs], [[ids] for _, _, ids in pairs]) if pairs else []
        for (i, _, _), (logprobs,) in zip(pairs, scored, strict=True):
            totals[i] += float(logprobs.sum())
        return totals

    @property
    def _start(self) -> int:
        start = special_id(self.tokenizer, "start")
        return special_id(self.tokenizer, "end") if start is None else start

    def _option_inputs(self, examples):
        turn, prompts, options = self._turn, [], []
        chat = bool(turn.head or turn.lead or turn.trail or turn.tail)
        pairs = iter(self._pairs([(e.prompt, o) for e in examples for o in e.options], apart=chat))
        for example in examples:
            contexts, choices = zip(*(next(pairs) for _ in example.options), strict=True)
            longest = max(map(len, choices))
            # The last token of an option is not read, so one token more than the context has room.
            before = turn.before or ([] if contexts[0] else [self._start])
            room = self.max_length + 1 - longest - len(before) - len(turn.tail)
            if not all(choices):
                option = example.options[choices.index([])]
                raise CatKerasError(
                    "A continuation has a token behind those of its context. Received: "
                    f"{option!r:.80} after {example.prompt[-80:]!r} in {example.task}/{example.id}. Divide the text "
                    "where a word begins"
                )
            if room < turn.least:
                raise CatKerasError(
                    f"A continuation fits the context. Received: {longest} tokens, context {self.max_length}, in "
                    f"{example.task}/{example.id}. Raise max_length"
                )
            self.truncated += len(contexts[0]) > room
            prompts.append([*before, *turn.last(contexts[0], room), *turn.tail])
            options.append(list(choices))
        return prompts, options

    def _pairs(self, pairs, apart: bool) -> list[tuple[list[int], list[int]]]:
        """Token ids of prompts and options, given as texts."""
        if apart:
            contexts = self._turn.ids([context for context, _ in pairs])
            return list(zip(contexts, self._turn.data([option for _, option in pairs]), strict=True))
        stripped = [context.rstrip() for context, _ in pairs]
        whole = self._turn.data([context + option for context, option in pairs])
        texts = list(dict.fromkeys(stripped))
        contexts = dict(zip(texts, self._turn.data(texts), strict=True))
        return [(contexts[c], ids[len(contexts[c]) :]) for c, ids in zip(stripped, whole, strict=True)]


def windows(tokens: Sequence[int], start: int, length: int) -> Iterator[tuple[list[int], list[int]]]:
    """Divides a text into (context, predicted tokens): of each pair at most `length` tokens are read.

    Args:
        tokens: of the text. start: the token that the first one follows. length: of the context of a model.
    """
    whole = [start, *tokens]
    for first in range(0, len(tokens), length):
        last = min(first + length, len(tokens))
        yield whole[max(last - length, 0) : first + 1], whole[first + 1 : last + 1]
