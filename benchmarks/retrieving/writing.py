"""Queries that a decoder of our own writes for documents (the query generation of EmbedDistill)."""

from dataclasses import dataclass
from pathlib import Path

import keras
import numpy as np

from benchmarks.retrieving.columns import Tokens
from benchmarks.retrieving.profile import Generator as Settings
from cat_keras.data import encoding
from cat_keras.data.records import Example
from cat_keras.decoding.generation import Generator
from cat_keras.decoding.sampling import Sampler
from cat_keras.modeling import models
from cat_keras.retrieval import Texts
from cat_keras.training import CascadeAware, Schedule, train
from cat_keras.training.batches import Batches

ASK = "\nQuestion:\n"


@dataclass(frozen=True, eq=False)
class Written:
    """Queries that were written for documents.

    Attributes:
        texts: tokens. sources: (n,) the document of each. vectors: (n, width) of the teacher.
        negatives: (n, k) rows of hard negatives.
    """

    texts: Texts
    sources: np.ndarray
    vectors: np.ndarray
    negatives: np.ndarray


def write_queries(settings: Settings, tokens: Tokens, progress, scratch: Path) -> list[str]:
    """`per_document` queries for every document, in the order of the corpus.

    The decoder learns the training queries from the documents that answer them; a document that is too long loses its
    end. It writes for the whole corpus, so that a student also hears of documents that no training query asks for.
    """
    shape = {name: getattr(settings, name) for name in ("layers", "width", "heads", "feedforward")}
    model = models.build(tokens.proto, **shape)
    tokenizer, train_part = model.preprocessor.tokenizer, tokens.collections["train"]
    documents = list(train_part.documents.values())
    room = tokens.documents.max_length + settings.max_new_tokens
    examples = [
        Example(name, documents[row] + ASK, text, cut=((0, len(documents[row])),))
        for (name, text), row in zip(train_part.queries.items(), train_part.positives, strict=True)
    ]
    data = encoding.encode(examples, tokenizer, room, long_targets="drop")
    batches = Batches(data, settings.tune.batch_size, loss="xent")
    steps = round(settings.tune.epochs * batches.steps_per_epoch)
    trainer = CascadeAware(model, "xent")
    trainer.compile(keras.optimizers.Adam(clipnorm=1.0), jit_compile=False)
    progress.start("generator: tune", steps, "steps")
    schedule = Schedule(settings.tune.learning_rate, steps, round(steps * settings.tune.warmup))
    scratch.mkdir(parents=True, exist_ok=True)
    history = train(trainer, batches, schedule, scratch / "checkpoint.npz", stop=progress.stopping,
                    progress=lambda state: progress.upto(state.step, steps))  # fmt: skip
    progress.done(f"loss {np.mean(history['loss'][-20:]):.3f}" if steps else "no steps")
    asked = [
        Example("", text + ASK, "", cut=((0, len(text)),)) for text in documents for _ in range(settings.per_document)
    ]
    prompts, _ = encoding.prompts_within(asked, tokenizer, tokens.documents.max_length)
    sampler = Sampler(settings.temperature, settings.top_k) if settings.temperature else Sampler()
    progress.start("generator: write", len(prompts), "queries")
    answers = Generator(model, sampler=sampler)(prompts, settings.max_new_tokens, progress.advance)
    end = set(models.end_ids(model))
    texts = [str(tokenizer.detokenize([i for i in a.tokens if i not in end])).strip() for a in answers]
    progress.done(f"e.g. {next((text for text in texts if text), '')!r}")
    return texts
