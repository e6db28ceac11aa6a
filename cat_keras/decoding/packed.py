"""Log-likelihoods of options in one pass: a prompt and all of its options are one row, and no option sees another."""

from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

import numpy as np
from keras import ops

from cat_keras.decoding import compiling, slots
from cat_keras.decoding.options import ranked_logprob
from cat_keras.decoding.sampling import without_token
from cat_keras.training.losses import label_logprob

# Tokens of a batch, padding included; a last, smaller batch has a half of it, a quarter, and so on. So few sizes are
# traced. More are no faster on a CPU; a device with static shapes gets four times as many.
TOKENS = 4096
LEAST = 256
OPTION_TOKENS = 512  # of a row; where options have more, the prompt is read once for each row that they take


@dataclass(slots=True)
class Row:
    """A prompt and some of its options.

    Attributes:
        number: of the prompt.
        first: number of the first of these options.
        tokens: of the prompt and then of each option but its last one, which predicts nothing.
        positions: of the tokens; each option continues its prompt.
        segments: of the tokens, 0 for the prompt and then the number of the option in this row from 1 on.
        labels: the tokens of all options. places: of each label, where the row has the token before it.
        spans: of each option, where its labels are.
    """

    number: int
    first: int
    tokens: list[int]
    positions: list[int]
    segments: list[int]
    places: list[int]
    labels: list[int]
    spans: list[slice]

    @classmethod
    def of(cls, number: int, first: int, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> "Row":
        n = len(prompt)
        row = cls(number, first, list(prompt), list(range(n)), [0] * n, [], [], [])
        for segment, option in enumerate(options, 1):
            begin, read = len(row.tokens), len(option) - 1
            row.spans.append(slice(len(row.labels), len(row.labels) + len(option)))
            row.labels += option
            row.places += [n - 1, *range(begin, begin + read)]
            row.tokens += option[:-1]
            row.positions += range(n, n + read)
            row.segments += [segment] * read
        return row


class PackedScorer:
    """Scores continuations of a prompt; keeps its compiled functions, so reuse it.

    Args:
        model: a `CausalLM` that is `slots.supported`.
        rows: at most so many options at a time.
        logits: at most so many numbers in the logits of a batch; bounds the memory with a large vocabulary.
        hidden, defer: see `options.OptionScorer`.
        ranked: whether options get (tokens, 2), see `options.ranked_logprob`.

    Attributes:
        compilations: functions traced so far.
    """

    def __init__(self, model, rows: int = 256, logits: int = 1 << 26, hidden: bool = False, defer: int | None = None,
                 ranked: bool = False):  # fmt: skip
        self.model, self.limit, self.logits, self.hidden, self.defer = model, rows, logits, hidden, defer
        self._of_labels = ranked_logprob if ranked else label_logprob
        self._slots, self._static = slots.SlotModel(model), compiling.needs_static_shapes()
        self.vocabulary = model.backbone.vocabulary_size
        self._functions = {}  # tokens of a batch → what scores it
        self.compilations = 0

    def _function(self, size: int):
        """The compiled function for batches of so many tokens."""
        if size not in self._functions:

            def counted(*arguments):
                self.compilations += 1
                return self._computed(*arguments)

            specs = [((size,), "int32")] * 2 + [((None, None), "int32")] + [((None,), "int32")] * 2
            self._functions[size] = compiling.compiled(counted, specs, self.model, self._static)
        return self._functions[size]

    def ranked(self) -> "PackedScorer":
        """The same, but with (tokens, 2) per option, see `options.ranked_logprob`."""
        return PackedScorer(self.model, self.limit, self.logits, self.hidden, self.defer, ranked=True)

    def _computed(self, tokens, positions, segments, places, labels):
        """What is compiled: of each label what is asked for, from the state at its place in the batch.

        Args:
            tokens, positions: (size,) int32, row after row. segments: (rows, width) int32, −1 for padding.
            places, labels: (labels,) int32.
        """
        order = ops.arange(ops.shape(segments)[1])
        own, seen = segments[:, :, None], segments[:, None, :]
        visible = ops.logical_and(order[:, None] >= order, ops.logical_or(seen == 0, seen == own))
        hidden = self._slots.states(tokens, positions, visible)
        hidden = ops.take(hidden, places, axis=0)
        logits = ops.cast(self._slots.logits(hidden[None])[0], "float32")
        computed = {"hidden": ops.cast(hidden, "float32")} if self.hidden else {}
        if self.defer is not None:
            logits, computed["defer"] = without_token(logits, self.defer)
        return computed | {"logprobs": self._of_labels(logits, labels)}

    def __call__(self, prompts: Sequence[Sequence[int]], options: Sequence[Sequence[Sequence[int]]],
                 progress: Callable[[int], None] | None = None) -> list[list[np.ndarray]]:  # fmt: skip
        """As of `options.OptionScorer`: log-probabilities of the tokens of each option after its prompt."""
        return self.measured(prompts, options, progress)[0]

    def measured(
        self, prompts, options, progress=None
    ) -> tuple[list[list[np.ndarray]], list[list[np.ndarray]], list[float | None]]:
        """As of `options.OptionScorer`: also the hidden states, and what is said of the defer token."""
        logprobs = [[None] * len(choices) for choices in options]
        states = [[None] * len(choices) if self.hidden else [] for choices in options]
        asks: list[float | None] = [None] * len(prompts)
        left = list(map(len, options))  # options of each prompt that are not scored yet
        for batch in self._batches(prompts, options):
            computed, start = self._score_batch(batch), 0
            for row in batch:
                spans = [slice(start + span.start, start + span.stop) for span in row.spans]
                start += len(row.labels)
                for option, span in enumerate(spans, row.first):
                    logprobs[row.number][option] = computed["logprobs"][span]
                    if self.hidden:
                        states[row.number][option] = computed["hidden"][span].mean(axis=0)
                if self.defer is not None:  # it comes before the option, so that all options share it
                    asks[row.number] = float(computed["defer"][spans[0].start])
                left[row.number] -= len(spans)
            if progress:
                progress(sum(left[number] == 0 for number in {row.number for row in batch}))
        return logprobs, states, asks

    def _batches(self, prompts, options) -> Iterator[list[Row]]:
        """Rows of about equal length, as many as fit; those of one prompt in order."""
        rows = [row for i, prompt in enumerate(prompts) for row in _rows(i, prompt, options[i])]
        batch, choices, labels, most = [], 0, 0, TOKENS * (4 if self._static else 1)
        for row in sorted(rows, key=lambda row: (len(row.tokens), row.number)):
            choices, labels = choices + len(row.spans), labels + len(row.labels)
            fits = (
                choices <= self.limit
                and labels * self.vocabulary <= self.logits
                and (len(batch) + 1) * len(row.tokens) <= most
            )
            if batch and not fits:
                yield batch
                batch, choices, labels = [], len(row.spans), len(row.labels)
            batch.append(row)
        if batch:
            yield batch

    def _score_batch(self, batch: Sequence[Row]) -> dict[str, np.ndarray]:
        """What is computed of the labels of all rows, one after the other."""
        rows, width, count = len(batch), len(batch[-1].tokens), sum(len(row.labels) for row in batch)
        if self._static:  # few shapes
            width = -(-width // slots.STEP) * slots.STEP
        size = max(compiling.power_of_two(rows * width), LEAST)
        if self._static:
            rows, count = size // width, max(compiling.power_of_two(count), LEAST)
        tokens, positions = np.zeros((2, size), np.int32)
        segments = np.full((rows, width), -1, np.int32)  # padding sees prompts and padding, and nothing sees it
        places, labels = np.zeros((2, count), np.int32)
        start = 0
        for i, row in enumerate(batch):
            first, n, end = i * width, len(row.tokens), start + len(row.labels)
            tokens[first : first + n], positions[first : first + n] = row.tokens, row.positions
            segments[i, :n] = row.segments
            places[start:end], labels[start:end] = first + np.array(row.places), row.labels
            start = end
        arrays = map(ops.convert_to_tensor, (tokens, positions, segments, places, labels))
        return {name: ops.convert_to_numpy(values) for name, values in self._function(size)(*arrays).items()}


def _rows(number: int, prompt: Sequence[int], options: Sequence[Sequence[int]]) -> Iterator[Row]:
    """A prompt with its options, in as many rows as their tokens need."""
    first, size = 0, 0
    for i, option in enumerate(options):
        if i > first and size + len(option) - 1 > OPTION_TOKENS:
            yield Row.of(number, first, prompt, options[first:i])
            first, size = i, 0
        size += len(option) - 1
    yield Row.of(number, first, prompt, options[first:])
