"""Decoding by a model's own `generate`, and scoring by passes over whole sequences.

Used for models whose cache `cache.CachedModel` cannot write.
"""

import keras
import numpy as np
from keras import ops

from cat_keras.data.encoding import Encoded
from cat_keras.data.padding import bucket_lengths, windows
from cat_keras.decoding.endings import Endings
from cat_keras.decoding.generation import Generated
from cat_keras.decoding.options import ranked_logprob
from cat_keras.modeling import models
from cat_keras.training import distribution, losses


class LabelLogprob(keras.Model):
    """Log-probability of every label under a model."""

    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        logits = self.model({"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]})
        return self.measure(logits, inputs["labels"])

    def measure(self, logits, labels):
        return losses.label_logprob(ops.cast(logits, "float32"), labels)


class RankedLabelLogprob(LabelLogprob):
    """The same, and whether every label is the most probable token; see `options.ranked_logprob`."""

    def measure(self, logits, labels):
        return ranked_logprob(logits, labels)


class WholeScorer:
    """Log-probabilities of tokens by forward passes over whole sequences, `batch_size` at a time.

    Those of `ranked` say also whether each token is the most probable one, (tokens, 2) in place of (tokens,).
    """

    def __init__(self, model, batch_size: int = 64, ranked: bool = False):
        self.model, self.batch_size = (RankedLabelLogprob if ranked else LabelLogprob)(model), batch_size
        self.model.compile(jit_compile=False)  # one pass per shape: XLA would compile longer than it runs
        self.edges = _Edges(models.positions(model))

    def __call__(self, sequences, progress=None) -> list[np.ndarray]:
        """Log-probabilities of what follows each prompt, (tokens,) float32, per (all tokens, length of the prompt)."""
        data = Encoded(
            tokens=np.concatenate([np.asarray(s, np.int32) for s, _ in sequences]),
            offsets=np.concatenate([[0], np.cumsum([len(s) for s, _ in sequences])]).astype(np.int64),
            n_prompt=np.asarray([n for _, n in sequences], np.int32),
            ids=(),
            truncated=0,
            dropped=(),
            tokenizer="",
        )
        logprobs = [np.zeros(0, np.float32)] * len(sequences)
        for rows, arrays in windows(data, self.batch_size, edges=self.edges(data.lengths)):
            batch = self.model.predict_on_batch(arrays)
            for i, row in enumerate(rows):
                logprobs[row] = batch[i][arrays["weights"][i].astype(bool)]
            if progress:
                progress(len(rows))
        return logprobs

    def options(self, prompts, options, progress=None) -> list[list[np.ndarray]]:
        """As `options.OptionScorer`, but every option is read with its whole prompt."""
        prompts_per_option = len(prompts) / sum(map(len, options))
        sequences = [(p + o, len(p)) for p, choices in zip(prompts, options, strict=True) for o in choices]
        logprobs = iter(self(sequences, progress and (lambda rows: progress(rows * prompts_per_option))))
        return [[next(logprobs) for _ in choices] for choices in options]


class WholeGenerator:
    """As `generation.Generator`, by the model's own `generate`, greedy."""

    def __init__(self, model, endings: Endings, scorer: WholeScorer, batch_size: int = 64):
        self.model, self.endings, self.scorer, self.batch_size = model, endings, scorer, batch_size
        self.edges = _Edges(models.positions(model))

    def __call__(self, prompts, max_new_tokens: int, progress=None) -> list[Generated]:
        generate, lengths = _generate_function(self.model), np.array([len(p) for p in prompts])
        answers = [[] for _ in prompts]
        stop = sorted(self.endings.ids) or None
        for rows, edge in self._batches(lengths):
            filled = [prompts[row] for row in rows] + [prompts[rows[0]]] * (self.batch_size - len(rows))
            width = min(int(edge) + max_new_tokens, self.edges.limit)
            tokens = np.array([p + [0] * (width - len(p)) for p in filled], np.int32)
            mask = np.arange(width)[None] < np.array([len(p) for p in filled])[:, None]
            inputs = {"token_ids": ops.convert_to_tensor(tokens), "padding_mask": ops.convert_to_tensor(mask)}
            generated = ops.convert_to_numpy(generate(inputs, stop_token_ids=stop)["token_ids"])
            for row, sequence in zip(rows, generated, strict=False):
                new = sequence[lengths[row] : lengths[row] + max_new_tokens].tolist()
                answers[row] = new[: self.endings.reached(new, 0)]
            if progress:
                progress(len(rows))
        logprobs = self.scorer([(p + a, len(p)) for p, a in zip(prompts, answers, strict=True)])
        generated = [Generated(a, lp.tolist(), computed=len(a)) for a, lp in zip(answers, logprobs, strict=True)]
        for answer in generated if self.endings.strings else ():
            answer.cut(*self.endings.cut(answer.tokens))
        return generated

    def _batches(self, lengths):
        """Numbers of the prompts of each batch, and the length that they are padded to."""
        edges = self.edges(lengths)
        order = np.argsort(lengths, kind="stable")  # equal lengths together: a batch starts at its shortest prompt
        bucket = np.searchsorted(edges, lengths[order])
        for b, edge in enumerate(edges):
            rows = order[bucket == b]
            for start in range(0, len(rows), self.batch_size):
                yield rows[start : start + self.batch_size], edge


class _Edges:
    """Lengths to pad to; those of an earlier call are reused while they cover the next, to spare compilations."""

    def __init__(self, positions: int | None):
        self.edges, self.limit = np.zeros(1, np.int64), positions or 1 << 30

    def __call__(self, lengths, count=3):
        if lengths.max() > self.edges[-1]:
            self.edges = np.minimum(bucket_lengths(lengths, count), self.limit)
        return self.edges


def _generate_function(model):
    """The model's own compiled generation function, set to greedy decoding under XLA."""
    from keras_hub.samplers import GreedySampler

    if not isinstance(getattr(model, "sampler", None), GreedySampler):
        model.sampler = GreedySampler()
        distribution.force_jit(model)
        model.generate_function = None
    return model.make_generate_function()
