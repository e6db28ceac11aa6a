"""Log-likelihoods of the options of a classification, with the prompt that they share computed once.

This is the way of families that `packed` does not read: prompts of about equal length share a position of the cache.
"""

from collections.abc import Callable, Iterator, Sequence

import numpy as np
from keras import ops

from cat_keras.decoding.cache import CachedModel
from cat_keras.decoding.sampling import without_token
from cat_keras.training.losses import label_logprob

# Prompts of one batch differ by at most so many tokens: what exceeds the shortest is computed again for every option.
SPREAD = 4


# How options are compared: name → the length that the log-likelihood of an option is divided by, from its text and the
# number of its tokens, end token included. In lm-evaluation-harness "sum" is acc, "character" acc_norm and "byte"
# acc_bytes; there the end token is not scored.
COMPARISONS: dict[str, Callable[[str, int], int]] = {
    "sum": lambda text, tokens: 1,
    "token": lambda text, tokens: tokens,
    "character": lambda text, tokens: len(text),
    "byte": lambda text, tokens: len(text.encode()),
}


def ranked_logprob(logits, labels):
    """Log-probabilities of labels, and whether each label is the most probable token.

    Args:
        logits: (..., vocabulary). labels: (...) int32.

    Returns:
        (..., 2) float32: nats, and 1 or 0.
    """
    logits = ops.cast(logits, "float32")
    greedy = ops.cast(ops.argmax(logits, axis=-1), "int32") == ops.cast(labels, "int32")
    return ops.stack([label_logprob(logits, labels), ops.cast(greedy, "float32")], axis=-1)


class OptionScorer:
    """Scores continuations of a prompt; keeps its compiled functions, so reuse it.

    Prompts of about equal length make a batch. They are read once, up to the last token but one of the shortest. Then
    the rest of a prompt followed by one of its options is a row, which continues that cache.

    Args:
        model: a `CachedModel`.
        rows: at most so many options at a time.
        logits: at most so many numbers in the logits of a batch; bounds the memory with a large vocabulary.
        hidden: whether `measured` is to give hidden states.
        defer: id of the token that asks for help, which no option holds: log-probabilities are then of the distribution
            without it, and `measured` gives its own. None for a model without such a token.
    """

    def __init__(self, model: CachedModel, rows: int = 256, logits: int = 1 << 26, hidden: bool = False,
                 defer: int | None = None):  # fmt: skip
        self.cached, self.limit, self.logits, self.hidden, self.defer = model, rows, logits, hidden, defer
        self.vocabulary = model.model.backbone.vocabulary_size
        self._score = model.function(self._logprobs, ((None, None), "int32"), ((None, None), "int32"), ((), "int32"))

    def ranked(self) -> "RankedScorer":
        """The same, but with (tokens, 2) per option, see `ranked_logprob`."""
        return RankedScorer(self.cached, self.limit, hidden=self.hidden, defer=self.defer)

    def _logprobs(self, tokens, labels, index, cache):
        logits, hidden, _ = self.cached.read(tokens, cache, index)
        computed = {"hidden": ops.cast(hidden, "float32")} if self.hidden else {}
        if self.defer is not None:
            logits, computed["defer"] = without_token(ops.cast(logits, "float32"), self.defer)
        return computed | {"logprobs": self._of_labels(logits, labels)}

    @staticmethod
    def _of_labels(logits, labels):
        return label_logprob(ops.cast(logits, "float32"), labels)

    def __call__(self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[Sequence[int]]],
                 progress: Callable[[int], None] | None = None) -> list[list[np.ndarray]]:  # fmt: skip
        """Log-probabilities of the tokens of each option after its prompt.

        Args:
            prompts: token ids, at least one each. options: per prompt the token ids of each option, at least one each.
            progress: gets the number of prompts newly done.

        Returns:
            per prompt and option (tokens,) float32, nats.
        """
        return self.measured(prompts, options, progress)[0]

    def measured(
        self, prompts, options, progress=None
    ) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]], list[float | None]]:
        """As calling it, and per prompt and option the hidden state, empty lists unless `hidden`; and per prompt the
        log-probability (nats) of the defer token at the first token of an answer, None unless `defer`.

        A hidden state is (width,) float32, the mean over the tokens of an option of the last one that predicted each.
        """
        logprobs, states = ([[] for _ in prompts] for _ in range(2))
        asks: list[float | None] = [None] * len(prompts)
        for batch in self._batches(prompts, options):
            for i, *of_prompt in zip(batch, *self._score_batch(batch, prompts, options), strict=True):
                logprobs[i], states[i], asks[i] = of_prompt
            if progress:
                progress(len(batch))
        return logprobs, states, asks

    def _batches(self, prompts, options) -> Iterator[list[int]]:
        """Numbers of the prompts of each batch: of about equal length and as many options, as many as fit."""
        order = sorted(range(len(prompts)), key=lambda i: (len(options[i]), len(prompts[i])))
        batch, rows, width = [], 0, 0
        for i in order:
            longest = max(map(len, options[i])) + SPREAD
            wider = max(width, longest)
            rows_fit = rows + len(options[i]) <= self.limit
            logits_fit = (rows + len(options[i])) * wider * self.vocabulary <= self.logits
            alike = batch and len(prompts[i]) - len(prompts[batch[0]]) in range(SPREAD + 1)
            if batch and not (rows_fit and logits_fit and alike):
                yield batch
                batch, rows, wider = [], 0, longest
            batch.append(i)
            rows, width = rows + len(options[i]), wider
        if batch:
            yield batch

    def _score_batch(self, batch, prompts, options):
        """What `measured` returns, of the prompts of a batch."""
        shared = min(len(prompts[i]) for i in batch) - 1
        sequences = [(n, prompts[i][shared:], option) for n, i in enumerate(batch) for option in options[i]]
        longest = max(len(rest) + len(option) - 1 for _, rest, option in sequences)
        # Static shapes round the width up, so that few of them are compiled, but never beyond the end of the context.
        width = min(-(-longest // 8) * 8, self.cached.context - shared) if self.cached.static else longest
        tokens, labels = np.zeros((2, self.cached.rows(len(sequences)), width), np.int32)
        for row, (_, rest, option) in enumerate(sequences):
            sequence = [*rest, *option]
            tokens[row, : len(sequence) - 1], labels[row, : len(sequence) - 1] = sequence[:-1], sequence[1:]
        cache = self.cached.prefix([prompts[i][:shared] for i in batch], self.cached.room(shared + width))
        prompt_of_row = [n for n, _, _ in sequences] + [0] * (len(tokens) - len(sequences))
        arguments = map(ops.convert_to_tensor, (tokens, labels, np.int32(shared)))
        computed = self._score(*arguments, self.cached.take(cache, prompt_of_row))
        computed = {name: ops.convert_to_numpy(values) for name, values in computed.items()}
        per_prompt, states = ([[] for _ in batch] for _ in range(2))
        asks: list[float | None] = [None] * len(batch)
        for row, (n, rest, option) in enumerate(sequences):
            span = slice(len(rest) - 1, len(rest) - 1 + len(option))
            per_prompt[n].append(computed["logprobs"][row, span])
            if self.hidden:
                states[n].append(computed["hidden"][row, span].mean(axis=0))
            if self.defer is not None and asks[n] is None:  # it comes before the option, so that all options share it
                asks[n] = float(computed["defer"][row, span.start])
        return per_prompt, states, asks


class RankedScorer(OptionScorer):
    """As `OptionScorer`, but (tokens, 2) float32 per option, see `ranked_logprob`."""

    _of_labels = staticmethod(ranked_logprob)
