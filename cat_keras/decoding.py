"""Answers of one model: greedy generation and option scoring, with the log-probability of every answer token."""

import time
from collections.abc import Callable, Sequence

import keras
import numpy as np
from keras import ops

from cat_keras import costs, distribution, losses, models
from cat_keras.encoding import Encoded, bucket_lengths, join, tokenize, windows
from cat_keras.errors import CatKerasError
from cat_keras.records import Example, Prediction


class LabelLogprob(keras.Model):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def call(self, inputs):
        logits = self.model({"token_ids": inputs["token_ids"], "padding_mask": inputs["padding_mask"]})
        return losses.label_logprob(ops.cast(logits, "float32"), inputs["labels"])


class Predictor:
    """Answers examples with one `CausalLM`; keeps its compiled functions, so reuse it.

    Classification (examples with options): every option is scored by its log-likelihood after the prompt, end token
    included, without length normalisation (as FLAN does); the best is the answer. Everything else: greedy decoding by
    KerasHub's own `generate`, then one forward pass over the outcome for the log-probabilities.

    Args:
        model: a KerasHub `CausalLM` with its preprocessor.
        max_length: context, tokens; longer prompts lose their beginning, see `truncated`.
        max_new_tokens: at most so many tokens per generated answer, the end token included.
        batch_size: examples (or options) per forward pass.
        buckets: padded lengths per call; each is one compilation.

    Attributes:
        truncated: prompts cut so far.
    """

    def __init__(self, model, max_length=512, max_new_tokens=64, batch_size=64, buckets=3):
        self.model, self.tokenizer = model, models.tokenizer_of(model)
        if max_new_tokens >= max_length:
            raise CatKerasError(
                f"An answer leaves room for its prompt. Received: max_new_tokens={max_new_tokens}, "
                f"max_length={max_length}"
            )
        self.max_length, self.max_new_tokens = max_length, max_new_tokens
        self.batch_size, self.buckets = batch_size, buckets
        self.flops = costs.count(model)
        self.truncated = 0
        self._scorer = LabelLogprob(model)
        self._scorer.compile(jit_compile=False)  # one pass per shape: XLA would compile longer than it runs
        self._lengths = {}

    def __call__(self, examples: Sequence[Example], progress: Callable[[int], None] | None = None) -> list[Prediction]:
        """Predictions in the order of the examples; `progress` gets the number of examples newly done."""
        empty = [f"{e.task}/{e.id}" for e in examples if not e.prompt]
        if empty:
            raise CatKerasError(f"A prompt is not empty. Received: an empty prompt in example {empty[0]}")
        with_options = [i for i, e in enumerate(examples) if e.options]
        without = [i for i, e in enumerate(examples) if not e.options]
        out: list[Prediction | None] = [None] * len(examples)
        for where, answer in ((with_options, self._classify), (without, self._generate)):
            if where:
                for i, prediction in zip(where, answer([examples[i] for i in where], progress), strict=True):
                    out[i] = prediction
        return out

    # -- classification ------------------------------------------------------------------------------------------

    def _classify(self, examples, progress):
        started = time.perf_counter()
        prompts = tokenize(self.tokenizer, [e.prompt for e in examples])
        options = tokenize(self.tokenizer, [o for e in examples for o in e.options])
        sequences, owner, position = [], [], 0
        for i, (example, prompt) in enumerate(zip(examples, prompts, strict=True)):
            mine = options[position : position + len(example.options)]
            position += len(mine)
            if len({tuple(o) for o in mine}) < len(mine) or not all(mine):
                raise CatKerasError(
                    "Options differ and are not empty. "
                    f"Received: {list(example.options)} in {example.task}/{example.id}"
                )
            # One length of prompt for all options of an example, or the options would see different contexts.
            longest = max(mine, key=len)
            fitted = self._join(prompt, longest, example)
            kept = fitted[0][: fitted[1]]
            end = models.special_id(self.tokenizer, "end")
            sequences += [(kept + o + [end], len(kept)) for o in mine]
            owner += [i] * len(mine)
        logprobs = self._score(sequences, lambda n: progress(n) if progress else None, len(examples) / len(sequences))
        share = (time.perf_counter() - started) / len(examples)
        owner = np.asarray(owner)
        return [self._choose(e, [logprobs[j] for j in np.flatnonzero(owner == i)], sequences, owner, i, share)
                for i, e in enumerate(examples)]  # fmt: skip

    def _choose(self, example, logprobs, sequences, owner, i, seconds):
        totals = [float(lp.sum()) for lp in logprobs]
        best = int(np.argmax(totals))
        n_prompt = sequences[int(np.searchsorted(owner, i))][1]
        lengths = [len(lp) for lp in logprobs]
        return Prediction(
            id=example.id,
            task=example.task,
            text=example.options[best],
            token_logprobs=tuple(map(float, logprobs[best])),
            option_logprobs=tuple(totals),
            n_prompt=n_prompt,
            n_answer=sum(lengths),
            flops=float(self.flops.classify(n_prompt, lengths)),
            seconds=seconds,
        )

    # -- generation ----------------------------------------------------------------------------------------------

    def _generate(self, examples, progress):
        started = time.perf_counter()
        prompts = []
        for ids in tokenize(self.tokenizer, [e.prompt for e in examples]):
            room = self.max_length - self.max_new_tokens
            tokens, n_prompt, cut = join(ids, [], self.tokenizer, room, end=False)
            self.truncated += cut
            prompts.append(tokens[:n_prompt])
        answers = self._decode(prompts, progress)
        logprobs = self._score([(p + a, len(p)) for p, a in zip(prompts, answers, strict=True)])
        end = models.special_id(self.tokenizer, "end")
        texts = [self.tokenizer.detokenize([t for t in a if t != end]) if a else "" for a in answers]
        share = (time.perf_counter() - started) / len(examples)
        return [
            Prediction(
                id=e.id,
                task=e.task,
                text=str(text),
                token_logprobs=tuple(map(float, lp)),
                n_prompt=len(p),
                n_answer=len(a),
                flops=float(self.flops.forward(len(p), len(a))),
                seconds=share,
            )
            for e, text, lp, p, a in zip(examples, texts, logprobs, prompts, answers, strict=True)
        ]

    def _decode(self, prompts, progress):
        """Greedy continuation of each prompt, cut after the end token or `max_new_tokens`."""
        generate = _greedy(self.model)
        end = models.special_id(self.tokenizer, "end")
        lengths = np.array([len(p) for p in prompts])
        edges = self._edges("generate", lengths)
        order = np.argsort(lengths, kind="stable")  # equal lengths together: a batch starts at its shortest prompt
        bucket = np.searchsorted(edges, lengths[order])
        answers = [[] for _ in prompts]
        for b, edge in enumerate(edges):
            members = order[bucket == b]
            for start in range(0, len(members), self.batch_size):
                rows = members[start : start + self.batch_size]
                filled = [prompts[r] for r in rows] + [prompts[rows[0]]] * (self.batch_size - len(rows))
                width = int(edge) + self.max_new_tokens
                tokens = np.array([p + [0] * (width - len(p)) for p in filled], np.int32)
                mask = np.arange(width)[None] < np.array([len(p) for p in filled])[:, None]
                inputs = {"token_ids": ops.convert_to_tensor(tokens), "padding_mask": ops.convert_to_tensor(mask)}
                out = ops.convert_to_numpy(generate(inputs, stop_token_ids=[end])["token_ids"])
                for r, row in zip(rows, out, strict=False):
                    new = row[lengths[r] : lengths[r] + self.max_new_tokens].tolist()
                    answers[r] = new[: new.index(end) + 1] if end in new else new
                if progress:
                    progress(len(rows))
        return answers

    # -- shared --------------------------------------------------------------------------------------------------

    def _join(self, prompt, target, example):
        joined = join(prompt, target, self.tokenizer, self.max_length)
        if joined is None:
            raise CatKerasError(
                f"An option fits the context. Received: {len(target)} tokens in {example.task}/{example.id}, "
                f"context {self.max_length}"
            )
        self.truncated += joined[2]
        return joined

    def _edges(self, use, lengths):
        """Padded lengths of this call; those of an earlier call are kept while they cover it (no new compilation)."""
        known = self._lengths.get(use)
        if known is None or lengths.max() > known[-1]:
            self._lengths[use] = known = np.asarray(bucket_lengths(lengths, self.buckets))
        return known

    def _score(self, sequences, progress=None, per_row=1.0):
        """Log-probability of every token after the first `n_prompt`, per (tokens, n_prompt)."""
        data = Encoded(
            tokens=np.concatenate([np.asarray(s, np.int32) for s, _ in sequences]),
            offsets=np.concatenate([[0], np.cumsum([len(s) for s, _ in sequences])]).astype(np.int64),
            n_prompt=np.asarray([n for _, n in sequences], np.int32),
            ids=(),
            truncated=0,
            dropped=(),
            tokenizer="",
        )
        out = [np.zeros(0, np.float32)] * len(sequences)
        for rows, arrays in windows(data, self.batch_size, edges=self._edges("score", data.lengths)):
            found = self._scorer.predict_on_batch(arrays)
            for i, r in enumerate(rows):
                out[r] = found[i][arrays["weights"][i].astype(bool)]
            if progress:
                progress(len(rows) * per_row)
        return out


def _greedy(model):
    """The model's own compiled generation function, set to greedy decoding under XLA."""
    from keras_hub.samplers import GreedySampler

    if not isinstance(getattr(model, "sampler", None), GreedySampler):
        model.sampler = GreedySampler()
        distribution.force_jit(model)
        model.generate_function = None
    return model.make_generate_function()
